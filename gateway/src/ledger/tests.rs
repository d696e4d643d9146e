use std::fs;
use std::time::Duration;

use super::*;
use crate::config::{DetectMode, Measure};
use crate::detect::fake::{at, offence};
use crate::detect::{Baseline, LoweredCap};
use crate::suspension::{Change, Scope, Suspension};

const LIMITS: EvidenceLimits = EvidenceLimits { max_bytes: u64::MAX, keep: Duration::from_secs(u64::MAX) };
const DIGEST: Digest = Digest([0xab; 32]);

/// A tenant's offences, newest first.
fn offences(ledger: &Ledger, tenant: &str) -> Vec<PastOffence> {
    let entries = ledger.history(tenant, 10).unwrap().into_iter();
    let offence = |entry| match entry {
        PastEntry::Offence(offence) => Some(offence),
        PastEntry::Suspension(_) => None,
    };
    entries.filter_map(offence).collect()
}

fn lift(tenant: &str, source: Option<&str>, seconds: i64) -> Lift {
    Lift {
        tenant: tenant.into(),
        source: source.map(|source| source.parse().unwrap()),
        at: at(seconds),
        by: "j.doe".into(),
        reason: "cleaned up".into(),
    }
}

#[test]
fn history_tells_offences_measures_and_captures_newest_first_and_survives() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(directory.path(), LIMITS);
    ledger.record(offence("acme", "192.0.2.1/32", 0), DIGEST);
    ledger.record(offence("beta", "192.0.2.17/32", 1), DIGEST);
    let watched = Offence {
        source: None,
        kind: OffenceKind::SuddenRise,
        mode: DetectMode::Watch,
        measure: Measure::None,
        until: None,
        targets: Vec::new(),
        frames: Vec::new(),
        ..offence("acme", "192.0.2.1/32", 2)
    };
    ledger.record(watched, DIGEST);
    ledger.record_lift(lift("acme", None, 3));
    drop(ledger);

    let ledger = Ledger::open(directory.path(), LIMITS);
    let history = offences(&ledger, "acme");
    assert_eq!(history.len(), 2);
    let (newest, first) = (&history[0], &history[1]);
    assert_eq!((newest.at, newest.source, newest.kind), (at(2), None, OffenceKind::SuddenRise));
    assert_eq!((newest.mode, &newest.taken, &newest.capture), (DetectMode::Watch, &None, &None));
    assert_eq!((first.at, first.measure), (at(0), Measure::Quarantine));
    let lifted = Lifted { at: at(3), by: "j.doe".into(), reason: "cleaned up".into() };
    assert_eq!(
        first.taken,
        Some(Taken { since: at(0), until: at(3_600), lowered_cap: None, lifted: Some(lifted) })
    );
    assert_eq!(first.targets, ["198.51.100.7:22", "2001:db8::7"]);
    assert_eq!(first.counters, BTreeMap::from([("ports".into(), 32), ("ports_answered".into(), 1)]));
    assert_eq!(first.config_digest, "ab".repeat(32));
    let capture = directory.path().join("evidence").join(first.capture.as_ref().unwrap());
    assert_eq!(first.capture_file.as_ref(), Some(&capture));
    assert!(capture.is_file());
    assert_eq!(ledger.history("acme", 1).unwrap().len(), 1);
    assert_eq!(ledger.history("nobody", 10).unwrap(), []);
    let counts = BTreeMap::from([
        (("acme".into(), OffenceKind::ScanVertical), 1),
        (("acme".into(), OffenceKind::SuddenRise), 1),
        (("beta".into(), OffenceKind::ScanVertical), 1),
    ]);
    assert_eq!(ledger.counts().unwrap(), counts);
}

fn suspension(seconds: i64) -> Suspension {
    let (by, until) = (Some("j.doe".into()), Some(at(seconds + 60)));
    Suspension { scope: Scope::Mail, reason: "spam run".into(), by, since: at(seconds), until }
}

#[test]
fn history_puts_suspensions_and_restorations_among_offences_by_time() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(directory.path(), LIMITS);
    let suspended = SuspensionChange::suspended(&suspension(1));
    let restored = SuspensionChange {
        at: at(3),
        change: Change::Restored,
        source: Some("192.0.2.1/32".parse().unwrap()),
        until: None,
        ..suspended.clone()
    };
    let expired = SuspensionChange::expired(&suspension(4), at(64));
    for change in [&suspended, &restored, &expired] {
        ledger.record_suspension("acme", change.clone(), DIGEST);
    }
    ledger.record_suspension("beta", suspended.clone(), DIGEST);
    ledger.record(offence("acme", "192.0.2.1/32", 2), DIGEST);
    drop(ledger);

    let ledger = Ledger::open(directory.path(), LIMITS);
    let history = ledger.history("acme", 10).unwrap();
    let entry = |change: &SuspensionChange| {
        PastEntry::Suspension(PastSuspension { change: change.clone(), config_digest: "ab".repeat(32) })
    };
    assert_eq!(history[..2], [entry(&expired), entry(&restored)]);
    assert!(matches!(&history[2], PastEntry::Offence(offence) if offence.at == at(2)));
    assert_eq!(history[3..], [entry(&suspended)]);
    assert_eq!(ledger.history("acme", 2).unwrap(), history[..2], "the newest of all");
    assert_eq!((expired.by, expired.until, expired.reason.as_str()), (None, None, "spam run"));
}

/// As the release before each step left it.
#[test]
fn a_ledger_of_an_earlier_release_goes_on() {
    for steps in 1..store::STEPS.len() {
        let directory = tempfile::tempdir().unwrap();
        let connection = store::as_of_step(&store::file(directory.path()), steps);
        let (since, until) = (at(0).as_microsecond(), at(3_600).as_microsecond());
        let offence = format!(
            "INSERT INTO offences VALUES (1, {since}, 'acme', '192.0.2.1/32', 'scan_vertical', 'enforce', 'quarantine',
             '{{\"ports\": 32}}', '[]', NULL, 'd'); INSERT INTO measures (id, offence, starts_at, ends_at) VALUES (1, 1, {since}, {until});"
        );
        connection.execute_batch(&offence).unwrap();
        let had_suspensions = (2..5).contains(&steps);
        if had_suspensions {
            let suspended = format!(
                "INSERT INTO standings VALUES (1, {since}, 'acme', 'suspended', 'mail', NULL, NULL, 'x', 'spam', 'd')"
            );
            connection.execute_batch(&suspended).unwrap();
        }
        drop(connection);

        let ledger = Ledger::open(directory.path(), LIMITS);
        ledger.record_suspension("acme", SuspensionChange::suspended(&suspension(1)), DIGEST);
        let history = ledger.history("acme", 10).unwrap();
        assert!(matches!(&history[0], PastEntry::Suspension(suspension) if suspension.change.at == at(1)));
        let before = history[1..].iter().filter(|entry| matches!(entry, PastEntry::Suspension(_)));
        assert_eq!(before.count(), usize::from(had_suspensions));
        let past = &offences(&ledger, "acme")[0];
        assert_eq!(past.counters, BTreeMap::from([("ports".into(), 32)]));
        let taken = Taken { since: at(0), until: at(3_600), lowered_cap: None, lifted: None };
        assert_eq!(past.taken, Some(taken));
        assert_eq!((ledger.in_force(at(1)).unwrap().len(), ledger.baselines().unwrap()), (1, vec![]));
        assert_eq!(ledger.health(), Health::default());
    }
}

#[test]
fn what_is_in_force_ends_by_time_and_by_lift_and_is_prolonged_by_repetition() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(directory.path(), LIMITS);
    for (source, seconds) in
        [("192.0.2.1/32", 0), ("192.0.2.1/32", 600), ("192.0.2.2/32", 0), ("2001:db8:10::/64", 0)]
    {
        ledger.record(offence("acme", source, seconds), DIGEST);
    }
    let in_force = |seconds| -> Vec<_> {
        let held = ledger.in_force(at(seconds)).unwrap();
        held.iter()
            .map(|held| (held.source.unwrap().to_string(), held.until.as_second() - at(0).as_second()))
            .collect()
    };
    let held = |source: &str, until| (source.to_owned(), until);
    let all = [held("192.0.2.1/32", 4_200), held("192.0.2.2/32", 3_600), held("2001:db8:10::/64", 3_600)];
    assert_eq!(in_force(601), all);
    ledger.record_lift(lift("acme", Some("192.0.2.2/32"), 602));
    assert_eq!(in_force(603), [all[0].clone(), all[2].clone()]);
    ledger.record_lift(lift("beta", None, 604));
    assert_eq!(in_force(3_599).len(), 2);
    assert_eq!(in_force(3_600), [all[0].clone()]);
    ledger.record_lift(lift("acme", None, 3_601));
    assert_eq!(in_force(3_602), []);
}

#[test]
fn a_lowered_cap_is_in_force_until_it_is_lifted() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(directory.path(), LIMITS);
    let cap = LoweredCap { up_bits_per_second: None, down_bits_per_second: Some(10_000_000_000) };
    let rise = Offence {
        source: None,
        kind: OffenceKind::SuddenRise,
        measure: Measure::LowerCap,
        lowered_cap: Some(cap),
        ..offence("acme", "192.0.2.1/32", 0)
    };
    ledger.record(rise.clone(), DIGEST);
    ledger.record_lift(lift("acme", Some("192.0.2.1/32"), 1));
    assert_eq!(ledger.in_force(at(2)).unwrap(), [rise.taken().unwrap()]);
    assert_eq!(offences(&ledger, "acme")[0].taken.as_ref().unwrap().lowered_cap, Some(cap));
    ledger.record_lift(lift("acme", None, 3));
    assert_eq!(ledger.in_force(at(4)).unwrap(), []);
}

fn learned(tenant: &str, minutes: u32) -> Learned {
    let baseline = |bytes_per_sec| Baseline { bytes_per_sec, minutes };
    let quiet_until = (minutes > 1_440).then_some(at(9));
    Learned { tenant: tenant.into(), baselines: [baseline(1_000.5), baseline(125_000_000.0)], quiet_until }
}

#[test]
fn baselines_are_the_last_that_were_kept_even_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(directory.path(), LIMITS);
    assert_eq!(ledger.baselines().unwrap(), []);
    ledger.keep_baselines(vec![learned("acme", 7), learned("gone", 9)]);
    let last = [learned("acme", 1_500), learned("beta", 5)];
    ledger.keep_baselines(last.to_vec());
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while ledger.baselines().unwrap() != last {
        assert!(std::time::Instant::now() < deadline, "never written");
    }
    // What the disk holds while the writer is at work is what a killed one leaves behind.
    let crashed = tempfile::tempdir().unwrap();
    for file in
        fs::read_dir(directory.path()).unwrap().map(Result::unwrap).filter(|file| file.path().is_file())
    {
        fs::copy(file.path(), crashed.path().join(file.file_name())).unwrap();
    }
    assert_eq!(Ledger::open(crashed.path(), LIMITS).baselines().unwrap(), last);

    ledger.keep_baselines(vec![learned("beta", 6)]);
    drop(ledger);
    let next = Ledger::open(directory.path(), LIMITS);
    assert_eq!(next.baselines().unwrap(), [learned("beta", 6)], "the end writes what waits");
}

#[test]
fn offences_are_recorded_once_where_there_is_no_room_for_baselines() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(directory.path(), LIMITS);
    assert_eq!(ledger.baselines().unwrap(), []);
    let full = "CREATE TRIGGER full BEFORE INSERT ON baselines BEGIN SELECT RAISE(ABORT, 'full'); END";
    let connection = rusqlite::Connection::open(store::file(directory.path())).unwrap();
    connection.execute_batch(full).unwrap();
    ledger.keep_baselines(vec![learned("acme", 7)]);
    ledger.record(offence("acme", "192.0.2.1/32", 0), DIGEST);
    drop(ledger);
    let ledger = Ledger::open(directory.path(), LIMITS);
    assert_eq!(offences(&ledger, "acme").len(), 1);
    ledger.keep_baselines(vec![learned("acme", 8)]);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while ledger.health().trouble.is_none() {
        assert!(std::time::Instant::now() < deadline, "nobody was told");
    }
    assert!(ledger.health().trouble.unwrap().contains("cannot keep baselines in the ledger"));
    assert_eq!((ledger.health().lost, ledger.baselines().unwrap()), (0, vec![]));
}

/// What waited in memory is written once the file can be written again.
#[test]
fn a_damaged_file_is_told_and_what_waited_is_not_lost() {
    let directory = tempfile::tempdir().unwrap();
    let file = store::file(directory.path());
    fs::write(&file, "this is no database, and long enough to be taken for one ".repeat(100)).unwrap();
    let ledger = Ledger::open(directory.path(), LIMITS);
    ledger.record(offence("acme", "192.0.2.1/32", 0), DIGEST);
    let error = ledger.history("acme", 10).unwrap_err().to_string();
    assert!(error.starts_with("cannot read the ledger ") && error.contains("Move the file away"), "{error}");
    let health = ledger.health();
    assert_eq!((health.waiting, health.lost), (1, 0));
    let trouble = health.trouble.unwrap();
    assert!(trouble.contains("file is not a database"), "{trouble}");

    fs::remove_file(&file).unwrap();
    // The end is one more try.
    drop(ledger);
    let ledger = Ledger::open(directory.path(), LIMITS);
    assert_eq!(ledger.history("acme", 10).unwrap().len(), 1);
    assert_eq!(ledger.health(), Health::default());
}

#[test]
fn a_full_disk_keeps_nobody_waiting_and_what_does_not_fit_into_memory_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    // A directory in the file's place: nothing can be written, whoever runs the test.
    fs::create_dir(store::file(directory.path())).unwrap();
    let ledger = Ledger::open(directory.path(), LIMITS);
    let small = Offence { frames: Vec::new(), ..offence("acme", "192.0.2.1/32", 0) };
    for _ in 0..Health::MAX_WAITING + 7 {
        ledger.record(small.clone(), DIGEST);
    }
    ledger.queue.settle();
    let health = ledger.health();
    assert_eq!((health.waiting, health.lost), (Health::MAX_WAITING, 7));
    assert!(health.trouble.unwrap().contains("Check [gateway] state_dir"));
}

#[test]
fn a_ledger_of_a_newer_release_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    drop(Ledger::open(directory.path(), LIMITS));
    let connection = rusqlite::Connection::open(store::file(directory.path())).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    let ledger = Ledger::open(directory.path(), LIMITS);
    ledger.record_lift(lift("acme", None, 0));
    ledger.queue.settle();
    let trouble = ledger.health().trouble.unwrap();
    assert!(trouble.contains("newer release"), "{trouble}");
}
