use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::database::{self, Database};
use super::*;
use crate::config::Measure;
use crate::detect::fake::{at, offence};
use crate::detect::{Baseline, LoweredCap, MeasureInForce};
use crate::domain::{BootTime, Role, Way};
use crate::ledger::verify;
use crate::suspension::{Scope, Suspension};

const LIMITS: EvidenceLimits = EvidenceLimits { max_bytes: u64::MAX, keep: Duration::from_secs(u64::MAX) };
const DIGEST: Digest = Digest([0xab; 32]);

fn store(directory: &tempfile::TempDir) -> Store {
    Store::open(directory.path(), LIMITS)
}

/// `seconds` after an arbitrary moment, in a boot that began a day before.
fn moment(seconds: i64) -> Moment {
    let us = u64::try_from(86_400 + seconds).unwrap() * 1_000_000;
    Moment { wall: at(seconds), boot: Some(BootTime { id: "this".into(), us }) }
}

fn act(tenant: &str, seconds: i64, fact: Fact) -> Record {
    let (actor, tenant) = (
        Actor { name: "j.doe".into(), way: Way::Socket, role: Some(Role::Operate) },
        Some(tenant.to_owned()),
    );
    Record { at: moment(seconds), actor, tenant, config: Some(DIGEST), fact }
}

fn suspend(tenant: &str, scope: Scope, seconds: i64) -> Record {
    act(tenant, seconds, Fact::Suspended(Suspended { scope, until: None, reason: "spam run".into() }))
}

fn restore(tenant: &str, scope: Option<Scope>, source: Option<&str>, seconds: i64) -> Record {
    let source = source.map(|source| source.parse().unwrap());
    let reason = "cleaned up".to_owned();
    act(tenant, seconds, Fact::Restored(Restored { scope, measures: true, source, reason }))
}

fn observe(store: &Store, offence: Offence) {
    let now = moment(offence.at.duration_since(at(0)).as_secs());
    store.observe(offence, &now, DIGEST);
}

fn suspensions(store: &Store) -> Vec<(String, Scope)> {
    let found = store.read().unwrap().suspensions().unwrap().into_iter();
    found.map(|(tenant, suspension)| (tenant, suspension.scope)).collect()
}

fn in_force(store: &Store, seconds: i64) -> Vec<MeasureInForce> {
    store.read().unwrap().recall(&moment(seconds)).unwrap().measures
}

/// The state directory as a controller that is killed now leaves it behind.
fn killed(directory: &tempfile::TempDir) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in
        fs::read_dir(directory.path()).unwrap().map(Result::unwrap).filter(|file| file.path().is_file())
    {
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    copy
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_act_is_on_the_disk_when_it_is_answered() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    store.commit(vec![suspend("acme", Scope::Mail, 0), suspend("acme", Scope::Outbound, 0)]).unwrap();
    let suspended = [("acme".to_owned(), Scope::Mail), ("acme".to_owned(), Scope::Outbound)];
    assert_eq!(suspensions(&Store::open(killed(&directory).path(), LIMITS)), suspended);
    let committed = store.commit(vec![restore("acme", Some(Scope::Mail), None, 1)]).unwrap();
    assert_eq!((committed.head.number, store.health().head), (3, Some(committed.head)));
    assert_eq!(suspensions(&Store::open(killed(&directory).path(), LIMITS)), suspended[1..]);
}

#[test]
fn the_last_moment_is_known_in_this_boot_and_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    let last_seen = |boot: &str| {
        let boot = Some(BootTime { id: boot.into(), us: 0 });
        store.read().unwrap().last_seen(&Moment { wall: at(0), boot }).unwrap()
    };
    assert_eq!(last_seen("this"), None);
    store.commit(vec![suspend("acme", Scope::Mail, 0), suspend("acme", Scope::Outbound, 10)]).unwrap();
    let boot = Duration::from_secs(86_410);
    assert_eq!(last_seen("this"), Some(Earlier::ThisBoot(crate::clock::Reading { wall: at(10), boot })));
    assert_eq!(last_seen("next"), Some(Earlier::AnotherBoot(at(10))));
    // The boot went on after the last entry.
    store.note(moment(70));
    eventually("the note", || last_seen("next") == Some(Earlier::AnotherBoot(at(70))));
}

#[test]
fn acts_that_wait_together_are_one_transaction() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    let tenants: Vec<_> = (0..200).map(|number| format!("t{number:03}")).collect();
    thread::scope(|scope| {
        for tenant in &tenants {
            scope.spawn(|| store.commit(vec![suspend(tenant, Scope::Mail, 0)]).unwrap());
        }
    });
    let expected: Vec<_> = tenants.into_iter().map(|tenant| (tenant, Scope::Mail)).collect();
    assert_eq!(suspensions(&store), expected);
    assert_eq!(verify(&store.read().unwrap(), None).unwrap().findings, []);
}

#[test]
fn what_cannot_be_written_is_refused_and_nothing_has_changed() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    store.commit(vec![suspend("acme", Scope::Mail, 0)]).unwrap();
    // As a full disk fails: in the middle of a transaction.
    let other = Connection::open(directory.path().join("ledger.sqlite")).unwrap();
    let full = "CREATE TRIGGER full BEFORE INSERT ON bodies WHEN NEW.body LIKE '%outbound%'
         BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END";
    other.execute_batch(full).unwrap();
    let acts = vec![restore("acme", Some(Scope::Mail), None, 1), suspend("acme", Scope::Outbound, 1)];
    let error = store.commit(acts).unwrap_err().to_string();
    assert!(error.contains("disk is full"), "{error}");
    assert_eq!(suspensions(&store), [("acme".to_owned(), Scope::Mail)]);
    other.execute_batch("DROP TRIGGER full").unwrap();
    store.commit(vec![suspend("acme", Scope::Outbound, 2)]).unwrap();
    assert_eq!(store.health().trouble, None);
    assert_eq!(verify(&store.read().unwrap(), None).unwrap().entries, 2);
}

#[test]
fn a_locked_database_refuses_acts_and_keeps_observations() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    store.commit(vec![suspend("acme", Scope::Mail, 0)]).unwrap();
    let other = Connection::open(directory.path().join("ledger.sqlite")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    observe(&store, offence("acme", "192.0.2.1/32", 1));
    let error = store.commit(vec![restore("acme", Some(Scope::Mail), None, 2)]).unwrap_err().to_string();
    assert!(error.contains("locked") && error.contains("fuser"), "{error}");
    assert_eq!((store.health().waiting, store.health().lost), (1, 0));
    other.execute_batch("ROLLBACK").unwrap();
    store.commit(vec![suspend("beta", Scope::Mail, 3)]).unwrap();
    let recalled = store.read().unwrap().recall(&moment(4)).unwrap();
    assert_eq!((recalled.suspensions.len(), recalled.measures.len()), (2, 1));
}

#[test]
fn nobody_waits_for_a_store_that_has_ended() {
    let queue = Queue::new(LIMITS);
    let directory = tempfile::tempdir().unwrap();
    queue.close();
    queue.write(&Files::of(directory.path()), &Captures::of(directory.path()));
    let (reply, answer) = sync_channel(1);
    queue.request(vec![suspend("acme", Scope::Mail, 0)], Box::new(move |told| reply.send(told).unwrap()));
    assert!(answer.recv().unwrap().is_none());
}

#[test]
fn what_is_in_force_ends_by_time_and_by_lift_and_is_prolonged_by_repetition() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    for (source, seconds) in
        [("192.0.2.1/32", 0), ("192.0.2.1/32", 600), ("192.0.2.2/32", 0), ("2001:db8:10::/64", 0)]
    {
        observe(&store, offence("acme", source, seconds));
    }
    let held = |seconds| -> Vec<_> {
        let held = in_force(&store, seconds).into_iter();
        held.map(|held| (held.source.unwrap().to_string(), held.until.duration_since(at(0)).as_secs()))
            .collect()
    };
    let expect = |source: &str, until| (source.to_owned(), until);
    let all =
        [expect("192.0.2.1/32", 4_200), expect("192.0.2.2/32", 3_600), expect("2001:db8:10::/64", 3_600)];
    assert_eq!(held(601), all);
    store.commit(vec![restore("acme", None, Some("192.0.2.2/32"), 602)]).unwrap();
    assert_eq!(held(603), [all[0].clone(), all[2].clone()]);
    let lifted = store.read().unwrap().recall(&moment(603)).unwrap().lifted;
    assert_eq!(lifted, [offence("acme", "192.0.2.2/32", 0).taken().unwrap()]);
    store.commit(vec![restore("beta", None, None, 604)]).unwrap();
    assert_eq!((held(3_599).len(), held(3_600)), (2, vec![all[0].clone()]));
    store.commit(vec![restore("acme", None, None, 3_601)]).unwrap();
    assert_eq!(held(3_602), []);
    let counts = store.read().unwrap().recall(&moment(3_602)).unwrap().counts;
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [4]);
}

/// The clock was a year behind at boot, and is set right while the measure holds.
#[test]
fn a_lift_reaches_a_measure_that_only_the_boot_clock_knows_to_hold() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    let year = jiff::SignedDuration::from_hours(365 * 24);
    let behind = Moment { wall: at(0) - year, ..moment(0) };
    let wrong =
        Offence { at: at(0) - year, until: Some(at(3_600) - year), ..offence("acme", "192.0.2.1/32", 0) };
    store.observe(wrong, &behind, DIGEST);
    assert_eq!(in_force(&store, 600)[0].until, at(3_600), "as long as it was taken for, by the right clock");
    store.commit(vec![restore("acme", None, None, 601)]).unwrap();
    assert_eq!(in_force(&store, 602), []);
}

#[test]
fn a_lowered_cap_is_an_act_and_holds_until_it_is_lifted() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    let cap = LoweredCap { up_bits_per_second: None, down_bits_per_second: Some(10_000_000_000) };
    let rise = Offence {
        source: None,
        measure: Measure::LowerCap,
        lowered_cap: Some(cap),
        ..offence("acme", "192.0.2.1/32", 0)
    };
    store.commit(vec![offence_record(&rise, &moment(0), DIGEST)]).unwrap();
    store.commit(vec![restore("acme", None, Some("192.0.2.1/32"), 1)]).unwrap();
    assert_eq!(in_force(&store, 2), [rise.taken().unwrap()]);
    store.commit(vec![restore("acme", None, None, 3)]).unwrap();
    assert_eq!(in_force(&store, 4), []);
}

/// Something of every kind.
fn eventful(store: &Store) {
    observe(store, offence("acme", "192.0.2.1/32", 0));
    observe(store, offence("acme", "192.0.2.2/32", 1));
    store.commit(vec![suspend("acme", Scope::Mail, 2), suspend("acme", Scope::Outbound, 2)]).unwrap();
    store.commit(vec![restore("acme", Some(Scope::Mail), None, 3)]).unwrap();
    let expired = Expired { scope: Scope::Outbound, reason: "spam run".into() };
    store
        .commit(vec![act("acme", 4, Fact::Expired(expired)), suspend("beta", Scope::Everything, 4)])
        .unwrap();
    observe(store, offence("beta", "192.0.2.17/32", 5));
    let lost = Lost { what: "half of it".into(), kept_as: None };
    store.commit(vec![act("beta", 6, Fact::Lost(lost))]).unwrap();
    let acknowledged = Acknowledged { reason: "looked through".into() };
    store.commit(vec![act("beta", 7, Fact::Acknowledged(acknowledged))]).unwrap();
}

#[test]
fn what_follows_from_the_entries_is_the_same_when_it_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    eventful(&store);
    drop(store);
    let mut connection = Connection::open(directory.path().join("ledger.sqlite")).unwrap();
    let before = projection::dump(&connection);
    assert_eq!(before.len(), 3 + 1 + 2 + 1, "{before:#?}");
    let transaction = connection.transaction().unwrap();
    projection::make_anew(&transaction).unwrap();
    transaction.commit().unwrap();
    assert_eq!(projection::dump(&connection), before);
}

#[test]
fn what_is_recorded_cannot_be_changed() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    eventful(&store);
    let connection = Connection::open(directory.path().join("ledger.sqlite")).unwrap();
    for change in [
        "UPDATE entries SET tenant = 'beta' WHERE number = 1",
        "DELETE FROM entries WHERE number = 1",
        "UPDATE bodies SET body = '{}' WHERE entry = 1",
        "DELETE FROM bodies WHERE entry = 1",
    ] {
        let error = connection.execute(change, []).unwrap_err().to_string();
        assert!(error.contains("only ever added to"), "{change}: {error}");
    }
}

#[test]
fn bodies_go_only_where_an_entry_says_so_and_the_chain_still_verifies() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    eventful(&store);
    store.commit(vec![act("acme", 8, Fact::BodiesRemoved(BodiesRemoved { first: 1, last: 1 }))]).unwrap();
    let counts = store.read().unwrap().recall(&moment(9)).unwrap().counts;
    drop(store);
    let mut connection = Connection::open(directory.path().join("ledger.sqlite")).unwrap();
    assert_eq!(connection.execute("DELETE FROM bodies WHERE entry = 1", []).unwrap(), 1);
    let verified = verify(&Reader::open(directory.path()).unwrap(), None).unwrap();
    assert_eq!((verified.findings, verified.removed_bodies), (vec![], 1));
    let transaction = connection.transaction().unwrap();
    projection::make_anew(&transaction).unwrap();
    transaction.commit().unwrap();
    let recalled = Reader::open(directory.path()).unwrap().recall(&moment(9)).unwrap();
    assert_eq!(recalled.counts, counts, "an offence counts without its body");
}

#[test]
fn everything_is_for_the_owner_alone_and_links_are_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let state_dir = directory.path().join("state");
    let store = Store::open(&state_dir, LIMITS);
    observe(&store, offence("acme", "192.0.2.1/32", 0));
    store.commit(vec![suspend("acme", Scope::Mail, 0)]).unwrap();
    eventually("a backup", || {
        fs::read_dir(state_dir.join("backup")).is_ok_and(|found| {
            found.flatten().any(|file| file.path().extension().is_some_and(|end| end == "sqlite"))
        })
    });
    drop(store);
    let mut directories = vec![state_dir.clone()];
    while let Some(directory) = directories.pop() {
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700, "{}", directory.display());
        for entry in fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()) {
            match entry.is_dir() {
                true => directories.push(entry),
                false => assert_eq!(mode(&entry), 0o600, "{}", entry.display()),
            }
        }
    }
    let elsewhere = directory.path().join("elsewhere");
    let linked = directory.path().join("linked");
    fs::create_dir(&linked).unwrap();
    std::os::unix::fs::symlink(&elsewhere, linked.join("ledger.sqlite")).unwrap();
    let store = Store::open(&linked, LIMITS);
    store.commit(vec![suspend("acme", Scope::Mail, 0)]).unwrap_err();
    assert!(!elsewhere.exists());
}

fn learned(tenant: &str, minutes: u32) -> Learned {
    let baseline = |bytes_per_sec| Baseline { bytes_per_sec, minutes };
    let quiet_until = (minutes > 1_440).then_some(at(9));
    Learned { tenant: tenant.into(), baselines: [baseline(1_000.5), baseline(125_000_000.0)], quiet_until }
}

#[test]
fn baselines_are_the_last_that_were_kept_even_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    let baselines = |store: &Store| store.read().unwrap().baselines().unwrap();
    assert_eq!(baselines(&store), []);
    store.keep_baselines(vec![learned("acme", 7), learned("gone", 9)]);
    let last = [learned("acme", 1_500), learned("beta", 5)];
    store.keep_baselines(last.to_vec());
    eventually("baselines", || baselines(&store) == last);
    assert_eq!(baselines(&Store::open(killed(&directory).path(), LIMITS)), last);
    store.keep_baselines(vec![learned("beta", 6)]);
    drop(store);
    let next = Store::open(directory.path(), LIMITS);
    assert_eq!(baselines(&next), [learned("beta", 6)], "the end writes what waits");
}

#[test]
fn what_does_not_fit_into_memory_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    // A directory in the file's place: nothing can be written, whoever runs the test.
    fs::create_dir(directory.path().join("ledger.sqlite")).unwrap();
    let store = store(&directory);
    let small = Offence { frames: Vec::new(), ..offence("acme", "192.0.2.1/32", 0) };
    for _ in 0..Health::MAX_WAITING + 7 {
        observe(&store, small.clone());
    }
    store.queue.settle();
    let health = store.health();
    assert_eq!((health.waiting, health.lost), (Health::MAX_WAITING, 7));
    assert!(health.trouble.unwrap().contains("Check [gateway] state_dir"));
}

#[test]
fn a_database_of_a_newer_release_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    drop(store(&directory));
    let connection = Connection::open(directory.path().join("ledger.sqlite")).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    let error = store(&directory).commit(vec![suspend("acme", Scope::Mail, 0)]).unwrap_err().to_string();
    assert!(error.contains("newer release"), "{error}");
}

/// Damages the pages of a database, beginning with the given one.
fn damage(file: &Path, from_page: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[from_page * 4_096..].iter_mut().for_each(|byte| *byte = 0x55);
    fs::write(file, bytes).unwrap();
}

#[test]
fn a_damaged_database_is_kept_aside_and_the_newest_readable_backup_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ledger.sqlite");
    let running = store(&directory);
    running.commit(vec![suspend("acme", Scope::Mail, 0)]).unwrap();
    let backup = || {
        let found = fs::read_dir(directory.path().join("backup")).into_iter().flatten().flatten();
        found.map(|file| file.path()).find(|path| path.extension().is_some_and(|end| end == "sqlite"))
    };
    eventually("a backup", || backup().is_some());
    drop(running);
    let broken = backup().unwrap().with_file_name("99991231T000000Z.sqlite");
    fs::copy(backup().unwrap(), &broken).unwrap();
    damage(&broken, 1);
    damage(&file, 0);

    let recovered = store(&directory);
    assert_eq!(suspensions(&recovered), [("acme".to_owned(), Scope::Mail)]);
    let health = recovered.health();
    assert_eq!(health.trouble, None);
    assert!(health.losses[0].contains("it goes on from the backup"), "{:?}", health.losses);
    assert!(recovered.read().unwrap().recall(&moment(1)).unwrap().is_to_adopt);
    assert_eq!(verify(&recovered.read().unwrap(), None).unwrap().findings, []);
    let aside = fs::read_dir(directory.path()).unwrap().flatten().map(|file| file.file_name());
    assert!(aside.into_iter().any(|name| name.to_string_lossy().starts_with("ledger.sqlite.damaged-")));
    let adopted = act("acme", 2, Fact::Adopted(Adopted { suspensions: 0 }));
    let acknowledged = act("acme", 2, Fact::Acknowledged(Acknowledged { reason: "compared".into() }));
    recovered.commit(vec![adopted, acknowledged]).unwrap();
    assert_eq!(recovered.health().losses, [""; 0]);
    drop(recovered);
    let again = store(&directory);
    assert!(!again.read().unwrap().recall(&moment(3)).unwrap().is_to_adopt);
    assert_eq!(again.health().losses, [""; 0]);
}

/// By hand, by a clean-up job, by a restored copy: while the store is open.
#[test]
fn a_database_that_is_removed_or_replaced_is_in_its_place_again_with_every_entry() {
    let replaced = |directory: &Path| {
        fs::remove_file(directory.join("ledger.sqlite")).unwrap();
        fs::write(directory.join("ledger.sqlite"), "another's").unwrap();
    };
    let moved = |directory: &Path| {
        fs::rename(directory.join("ledger.sqlite"), directory.join("ledger.old")).unwrap();
    };
    let all_removed = |directory: &Path| fs::remove_dir_all(directory).unwrap();
    let lose: [&dyn Fn(&Path); 3] = [&replaced, &moved, &all_removed];
    for (case, lose) in lose.into_iter().enumerate() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("state");
        let store = Store::open(&directory, LIMITS);
        store.commit(vec![suspend("acme", Scope::Mail, 0)]).unwrap();
        lose(&directory);
        let committed = store.commit(vec![suspend("beta", Scope::Mail, 1)]).unwrap();
        assert_eq!(committed.head.number, 2);
        let both = [("acme".to_owned(), Scope::Mail), ("beta".to_owned(), Scope::Mail)];
        assert_eq!(suspensions(&store), both, "case {case}");
        // Without anything to write it is noticed, too.
        lose(&directory);
        eventually("the file", || {
            Reader::of(&directory.join("ledger.sqlite")).is_ok_and(|reader| reader.suspensions().is_ok())
        });
        store.commit(vec![restore("acme", Some(Scope::Mail), None, 2)]).unwrap();
        drop(store);
        let next = Store::open(&directory, LIMITS);
        assert_eq!(suspensions(&next), both[1..], "case {case}");
        assert_eq!(verify(&next.read().unwrap(), None).unwrap().findings, []);
        assert_eq!(next.health().losses, [""; 0], "nothing is lost");
        let names = fs::read_dir(&directory).unwrap().flatten().map(|file| file.file_name());
        let names = names.map(|name| name.into_string().unwrap());
        let is_kept = |name: &String| name.starts_with("ledger.sqlite.replaced-") && name.ends_with('Z');
        let kept = names.filter(is_kept).count();
        assert_eq!(kept > 0, case == 0, "what was put there is somebody's");
    }
}

#[test]
fn a_database_that_is_missing_at_the_start_goes_on_from_the_backup() {
    let directory = tempfile::tempdir().unwrap();
    let first = store(&directory);
    first.commit(vec![suspend("acme", Scope::Mail, 0)]).unwrap();
    eventually("a backup", || recovery::newest_backup(&Files::of(directory.path())).is_some());
    drop(first);
    fs::remove_file(directory.path().join("ledger.sqlite")).unwrap();
    let next = store(&directory);
    assert_eq!(suspensions(&next), [("acme".to_owned(), Scope::Mail)]);
    assert!(
        next.health().losses[0].contains("the ledger is missing; it goes on from the backup"),
        "{:?}",
        next.health()
    );
    assert!(next.read().unwrap().recall(&moment(1)).unwrap().is_to_adopt);
}

#[test]
fn without_a_backup_a_new_chain_says_what_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("ledger.sqlite"), "this is no database ".repeat(1_000)).unwrap();
    let store = store(&directory);
    store.commit(vec![suspend("acme", Scope::Mail, 0)]).unwrap();
    assert!(store.health().losses[0].contains("no readable backup"), "{:?}", store.health());
    assert_eq!(verify(&store.read().unwrap(), None).unwrap().entries, 2);
}

/// As the release before each step left it.
#[test]
fn a_database_of_an_earlier_release_becomes_a_chain() {
    for steps in 1..database::step_count() {
        let directory = tempfile::tempdir().unwrap();
        let connection = database::as_of_step(&directory.path().join("ledger.sqlite"), steps);
        let us = |seconds| at(seconds).as_microsecond();
        let offence = |id: i64, seconds: i64, source: &str| {
            let caps = if steps < 4 { "" } else { ", NULL, NULL" };
            format!(
                "INSERT INTO offences VALUES ({id}, {}, 'acme', '{source}', 'scan_vertical', 'enforce',
                 'quarantine', '{{\"ports\": 32}}', '[\"198.51.100.7:22\"]', 'a.pcapng', '{}');
                 INSERT INTO measures VALUES ({id}, {id}, {}, {}{caps});",
                us(seconds),
                "ab".repeat(32),
                us(seconds),
                us(seconds + 3_600)
            )
        };
        connection.execute_batch(&offence(1, 0, "192.0.2.1/32")).unwrap();
        connection.execute_batch(&offence(2, 10, "192.0.2.2/32")).unwrap();
        let lift = format!("INSERT INTO lifts VALUES (1, {}, 'j.doe', 'cleaned');", us(20));
        connection.execute_batch(&lift).unwrap();
        if steps >= 2 {
            let table = if steps < 5 { "standings" } else { "suspensions" };
            let standing = |seconds, change: &str, scope: &str, source: &str, by: &str| {
                format!(
                    "INSERT INTO {table} (at, tenant, change, scope, source, ends_at, done_by, reason, config_digest)
                     VALUES ({}, 'acme', '{change}', {scope}, {source}, NULL, {by}, 'cleaned', 'd');",
                    us(seconds)
                )
            };
            for row in [
                standing(5, "suspended", "'mail'", "NULL", "'j.doe'"),
                standing(20, "restored", "NULL", "'192.0.2.1/32'", "'j.doe'"),
                standing(30, "expired", "'mail'", "NULL", "NULL"),
                standing(40, "suspended", "'everything'", "NULL", "'j.doe'"),
            ] {
                connection.execute_batch(&row).unwrap();
            }
        }
        if steps >= 3 {
            connection
                .execute_batch("INSERT INTO baselines VALUES ('acme', 1000.5, 7, 125000000.0, 7, NULL)")
                .unwrap();
        }
        drop(connection);

        let store = store(&directory);
        let read = store.read().unwrap();
        let verified = verify(&read, None).unwrap();
        let entries = if steps >= 2 { 2 + 4 + 1 } else { 2 + 1 };
        assert_eq!((verified.findings, verified.entries), (vec![], entries), "from step {steps}");
        let recalled = read.recall(&moment(50)).unwrap();
        let held: Vec<_> = recalled.measures.iter().map(|held| held.source.unwrap().to_string()).collect();
        assert_eq!(held, ["192.0.2.2/32"], "from step {steps}");
        assert_eq!(recalled.counts.into_values().collect::<Vec<_>>(), [2]);
        // The file of suspensions decides, and there is none.
        assert_eq!(recalled.suspensions, []);
        let baselines = if steps >= 3 { vec![learned("acme", 7)] } else { vec![] };
        assert_eq!(read.baselines().unwrap(), baselines);
        let history = crate::ledger::history(&read, &Captures::of(directory.path()), "acme", 10).unwrap();
        assert_eq!(history.len() as u64, entries);
        let kinds: Vec<_> =
            read.rows("SELECT kind FROM entries ORDER BY number", [], |row| row.get::<_, String>(0)).unwrap();
        let expected: &[&str] = if steps >= 2 {
            &[
                "offence.scan_vertical",
                "suspended",
                "offence.scan_vertical",
                "restored",
                "expired",
                "suspended",
                "restored",
            ]
        } else {
            &["offence.scan_vertical", "offence.scan_vertical", "restored"]
        };
        assert_eq!(kinds, expected);
    }
}

#[test]
fn suspensions_of_an_earlier_release_are_imported_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("suspensions.json");
    let written = r#"{"version":1,"suspensions":{
        "acme":{"scope":"mail","reason":"bulk mail","since":"2026-09-01T00:00:00Z","until":null},
        "beta":{"scope":"everything","reason":"r","by":"j.doe","since":"2026-09-02T00:00:00Z","until":"2027-01-01T00:00:00Z"}}}"#;
    fs::write(&file, written).unwrap();
    let first = store(&directory);
    let imported = first.read().unwrap().suspensions().unwrap();
    let suspension = |scope, reason: &str, by: &str, since: &str, until: Option<&str>| Suspension {
        scope,
        reason: reason.into(),
        by: Some(by.into()),
        since: since.parse().unwrap(),
        until: until.map(|until| until.parse().unwrap()),
    };
    let expected = [
        ("acme".to_owned(), suspension(Scope::Mail, "bulk mail", "unknown", "2026-09-01T00:00:00Z", None)),
        (
            "beta".to_owned(),
            suspension(Scope::Everything, "r", "j.doe", "2026-09-02T00:00:00Z", Some("2027-01-01T00:00:00Z")),
        ),
    ];
    assert_eq!(imported, expected);
    assert!(!file.exists() && directory.path().join("suspensions.json.imported").exists());
    first.commit(vec![restore("acme", Some(Scope::Mail), None, 0)]).unwrap();
    drop(first);
    // It was killed before it renamed the file.
    fs::write(&file, written).unwrap();
    let again = store(&directory);
    assert_eq!(suspensions(&again), [("beta".to_owned(), Scope::Everything)]);
    assert!(!file.exists());
}

#[test]
fn a_damaged_file_of_suspensions_is_kept_and_told() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("suspensions.json"), "{ not json").unwrap();
    let store = store(&directory);
    assert_eq!(suspensions(&store), []);
    assert!(store.health().losses[0].contains("suspensions.json could not be understood"));
    assert!(directory.path().join("suspensions.json.damaged").exists());
}

#[test]
fn an_interrupted_recovery_is_ended() {
    let directory = tempfile::tempdir().unwrap();
    let first = store(&directory);
    first.commit(vec![suspend("acme", Scope::Mail, 0)]).unwrap();
    drop(first);
    fs::rename(directory.path().join("ledger.sqlite"), directory.path().join("ledger.sqlite.recovering"))
        .unwrap();
    assert_eq!(suspensions(&store(&directory)), [("acme".to_owned(), Scope::Mail)]);
    drop(Database::open(&directory.path().join("ledger.sqlite")).unwrap());
}
