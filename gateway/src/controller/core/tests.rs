//! Sequences of inputs with their times, and what must hold of the effects whatever the sequence.

use std::collections::BTreeSet;

use gateway_ebpf::restriction::Restriction;
use jiff::ToSpan as _;
use proptest::prelude::*;

use super::*;
use crate::config::{self, Loaded, Measure, OffenceKind};
use crate::controller::{Release, Released};
use crate::dataplane::{Applied, DataplaneError};
use crate::detect::fake::{at, offence};
use crate::detect::{LoweredCap, Offence};
use crate::domain::{BootTime, Principal, Role, Way};
use crate::store::{Recalled, StoreError};
use crate::suspension::{Scope, Suspension};

fn loaded(more: &str) -> Box<Loaded> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gateway.toml");
    let mut text = "[gateway]\nname = \"edge1\"\nstate_dir = \"/nowhere\"\n\
                    [[interface]]\nname = \"eth1\"\nside = \"tenant\"\n\
                    [[interface]]\nname = \"eth0\"\nside = \"uplink\"\n"
        .to_owned();
    text += more;
    for (number, id) in ["acme", "beta"].into_iter().enumerate() {
        text += &format!("[[tenant]]\nid = \"{id}\"\nprefixes = [\"203.0.113.{number}/32\"]\n");
    }
    std::fs::write(&file, text).unwrap();
    let mut loaded = config::load(&file).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    // The path is another one each time, and cannot change in a running gateway.
    loaded.config.file = "/etc/fairway/gateway.toml".into();
    Box::new(loaded)
}

/// `seconds` after the start.
fn now(seconds: u64) -> Moment {
    let boot = BootTime { id: "this".into(), us: (1_000 + seconds) * 1_000_000 };
    Moment { wall: at(i64::try_from(seconds).unwrap()), boot: Some(boot) }
}

fn core() -> Core {
    let policy = Policy::new(*loaded(""), &Overrides::default(), now(0).wall);
    let beginning = Beginning {
        policy,
        overrides: Overrides::default(),
        is_provisional: false,
        offences: OffenceTally::default(),
        cases: enforcement::State::default(),
    };
    Core::new(beginning, &now(0))
}

fn by(name: &str) -> Principal {
    Principal { name: name.into(), way: Way::Socket, role: Role::Operate }
}

fn suspend(tenant: &str, scope: Scope, until: Option<Timestamp>) -> Command {
    let (reason, since) = ("bulk mail".into(), at(0));
    let suspension = Suspension { scope, reason, by: Some("j.doe".into()), since, until };
    Command::Suspend { tenant: tenant.into(), suspension, by: by("j.doe") }
}

fn restore(tenant: &str) -> Command {
    let release = Release { of: Released::All, by: by("a.n"), reason: "mended".into() };
    Command::Restore { tenant: tenant.into(), release }
}

fn rise(tenant: &str, second: u64, until: Timestamp) -> Offence {
    Offence {
        source: None,
        kind: OffenceKind::SuddenRise,
        measure: Measure::LowerCap,
        until: Some(until),
        lowered_cap: Some(LoweredCap { up_bits_per_second: Some(1_000_000), down_bits_per_second: None }),
        ..offence(tenant, "203.0.113.0/32", i64::try_from(second).unwrap())
    }
}

fn applied() -> Applied {
    Applied { tenants: 2, prefixes: 2, took: Duration::ZERO, missing_interfaces: Vec::new() }
}

fn refusal() -> DataplaneError {
    DataplaneError { what: "writing".into(), cause: "no space".into(), remedy: "Make room".into() }
}

fn kind(effect: &Effect) -> &'static str {
    match effect {
        Effect::Commit(..) => "commit",
        Effect::Observe(_) => "observe",
        Effect::Assign { answer: None, .. } => "assign",
        Effect::Assign { answer: Some(_), .. } => "assign and answer",
        Effect::Apply(..) => "apply",
        Effect::Lift(_) => "lift",
        Effect::Impose(_) => "impose",
        Effect::HoldMeasures(_) => "hold",
        Effect::ReleaseMeasures => "release",
        Effect::Look(_) => "look",
        Effect::See(..) => "see",
        Effect::ReadLearned => "read learned",
        Effect::KeepLearned(_) => "keep learned",
        Effect::LimitEvidence(_) => "limit evidence",
        Effect::Answer(..) => "answer",
        Effect::Report(_) => "report",
    }
}

fn kinds(effects: &Effects) -> Vec<&'static str> {
    effects.iter().map(kind).collect()
}

fn ticket(effects: &Effects) -> Ticket {
    let committed = effects.iter().find_map(|effect| match effect {
        Effect::Commit(ticket, _) => Some(*ticket),
        _ => None,
    });
    committed.expect("an act to commit")
}

fn generation(effects: &Effects) -> Generation {
    let applied = effects.iter().find_map(|effect| match effect {
        Effect::Apply(generation, _) => Some(*generation),
        _ => None,
    });
    applied.expect("a policy to apply")
}

fn restriction(core: &Core, tenant: &str) -> Restriction {
    core.policy().effective.tenant(tenant).unwrap().restriction()
}

#[test]
fn a_suspension_is_on_the_disk_then_in_force_then_answered() {
    let mut core = core();
    let asked = core.handle(Input::Command(RequestId(1), suspend("acme", Scope::Mail, None)), &now(1));
    assert_eq!(kinds(&asked), ["commit"]);
    assert_eq!(restriction(&core, "acme"), Restriction::NONE);
    let done = core.handle(Input::Committed(ticket(&asked), Ok(())), &now(2));
    assert_eq!(kinds(&done), ["assign and answer"]);
    assert_eq!(restriction(&core, "acme"), Restriction::NO_MAIL);
}

#[test]
fn what_cannot_be_written_changes_nothing() {
    let mut core = core();
    let asked = core.handle(Input::Command(RequestId(1), suspend("acme", Scope::Mail, None)), &now(1));
    let done = core.handle(Input::Committed(ticket(&asked), Err(StoreError::stopping())), &now(2));
    assert_eq!(kinds(&done), ["answer"]);
    assert_eq!(restriction(&core, "acme"), Restriction::NONE);
    let unknown = core.handle(Input::Command(RequestId(2), suspend("nobody", Scope::Mail, None)), &now(3));
    assert_eq!(kinds(&unknown), ["answer"]);
    let nothing = core.handle(Input::Seen(RequestId(3), restore("acme"), Seen::default()), &now(3));
    assert_eq!(kinds(&nothing), ["answer"]);
}

#[test]
fn acts_about_one_tenant_wait_for_each_other_and_others_do_not() {
    let mut core = core();
    let first = core.handle(Input::Command(RequestId(1), suspend("acme", Scope::Mail, None)), &now(1));
    // Whether there is anything to restore depends on what becomes of the first.
    assert!(core.handle(Input::Command(RequestId(2), restore("acme")), &now(1)).is_empty());
    let third = Input::Command(RequestId(3), suspend("acme", Scope::Outbound, None));
    assert!(core.handle(third, &now(1)).is_empty());
    let other = core.handle(Input::Command(RequestId(4), suspend("beta", Scope::Mail, None)), &now(1));
    assert_eq!(kinds(&other), ["commit"]);
    let second = core.handle(Input::Committed(ticket(&first), Ok(())), &now(2));
    assert_eq!(kinds(&second), ["assign and answer", "see"]);
    let second = core.handle(Input::Seen(RequestId(2), restore("acme"), Seen::default()), &now(2));
    assert_eq!(kinds(&second), ["commit"]);
    let third = core.handle(Input::Committed(ticket(&second), Ok(())), &now(3));
    assert_eq!(kinds(&third), ["lift", "assign and answer", "commit"]);
    core.handle(Input::Committed(ticket(&third), Ok(())), &now(4));
    assert_eq!(restriction(&core, "acme"), Restriction::NO_OUTBOUND);
}

#[test]
fn a_suspension_does_not_wait_for_a_reload_and_outlasts_it() {
    let mut core = core();
    let reload = core.handle(Input::Replace(RequestId(1), loaded("[smtp]\ndefault = \"allow\"\n")), &now(1));
    assert_eq!(kinds(&reload), ["apply"]);
    let asked = core.handle(Input::Command(RequestId(2), suspend("acme", Scope::Mail, None)), &now(1));
    let done = core.handle(Input::Committed(ticket(&asked), Ok(())), &now(2));
    assert_eq!(kinds(&done), ["assign and answer"], "at once, in the tables that are in force");
    let reloaded = core.handle(Input::Applied(generation(&reload), Ok(applied())), &now(3));
    let [.., Effect::Assign { tenants, answer: Some(_), .. }] = &reloaded[..] else { panic!("{reloaded:?}") };
    assert_eq!(tenants, &["acme"], "again, in those that are now");
    assert_eq!(restriction(&core, "acme"), Restriction::NO_MAIL);
    assert_eq!(core.last_reload().succeeded_at, now(3).wall);
}

#[test]
fn whole_policies_come_into_force_one_after_the_other() {
    let mut core = core();
    let first = core.handle(Input::Replace(RequestId(1), loaded("")), &now(1));
    assert!(core.handle(Input::Replace(RequestId(2), loaded("")), &now(1)).is_empty());
    let second = core.handle(Input::Applied(generation(&first), Err(refusal())), &now(2));
    assert_eq!(kinds(&second), ["answer", "apply"]);
    let done = core.handle(Input::Applied(generation(&second), Ok(applied())), &now(3));
    assert_eq!(kinds(&done), ["limit evidence", "assign and answer"]);
    // What was answered for already is no news.
    assert!(core.handle(Input::Applied(generation(&first), Ok(applied())), &now(3)).is_empty());
    let mut renamed = loaded("");
    renamed.config.gateway.name = "edge2".into();
    let refused = core.handle(Input::Replace(RequestId(3), renamed), &now(4));
    assert_eq!(kinds(&refused), ["answer"], "only a restart can bring that in");
}

#[test]
fn a_suspension_ends_by_itself_without_the_disk() {
    let mut core = core();
    let end = Some(now(100).wall);
    let asked = core.handle(Input::Command(RequestId(1), suspend("acme", Scope::Mail, end)), &now(1));
    core.handle(Input::Committed(ticket(&asked), Ok(())), &now(1));
    core.handle(Input::Tick, &now(99));
    assert_eq!(restriction(&core, "acme"), Restriction::NO_MAIL);
    assert_eq!(core.next_deadline(&now(99)), now(100).running());
    let over = core.handle(Input::Tick, &now(100));
    assert_eq!(kinds(&over)[..3], ["assign", "commit", "report"]);
    assert_eq!(restriction(&core, "acme"), Restriction::NONE);
}

#[test]
fn a_lowered_cap_is_on_the_disk_first_and_ends_by_itself() {
    let mut core = core();
    let cap = |core: &Core| {
        core.policy().effective.tenant("acme").unwrap().cap(gateway_ebpf::Direction::Up).value.bits_per_sec()
    };
    let decided = core.handle(Input::Offences(vec![rise("acme", 1, now(50).wall)]), &now(1));
    assert_eq!((kinds(&decided), cap(&core)), (vec!["commit"], 10_000_000));
    let lowered = core.handle(Input::Committed(ticket(&decided), Ok(())), &now(1));
    assert_eq!((kind(&lowered[0]), kind(&lowered[1]), cap(&core)), ("report", "assign", 1_000_000));
    core.handle(Input::Tick, &now(2));
    assert!(core.next_deadline(&now(49)) <= now(50).running());
    let over = core.handle(Input::Tick, &now(50));
    assert_eq!((kind(&over[0]), cap(&core)), ("assign", 10_000_000));

    // One that cannot be recorded is an offence without a measure.
    let decided = core.handle(Input::Offences(vec![rise("acme", 120, now(500).wall)]), &now(120));
    let spared = core.handle(Input::Committed(ticket(&decided), Err(StoreError::stopping())), &now(120));
    let Effect::Observe(offence) = &spared[0] else { panic!("{spared:?}") };
    assert_eq!((offence.measure, offence.until, cap(&core)), (Measure::None, None, 10_000_000));
}

#[test]
fn what_the_data_plane_refuses_is_tried_again_in_a_minute() {
    let mut core = core();
    let asked = core.handle(Input::Command(RequestId(1), suspend("acme", Scope::Mail, None)), &now(1));
    core.handle(Input::Committed(ticket(&asked), Ok(())), &now(1));
    core.handle(Input::NotAssigned(vec!["acme".into()], refusal()), &now(1));
    let assigns = |effects: &Effects| kinds(effects).contains(&"assign");
    assert!(!assigns(&core.handle(Input::Tick, &now(60))));
    assert!(assigns(&core.handle(Input::Tick, &now(61))));
    assert!(!assigns(&core.handle(Input::Tick, &now(200))), "it was taken");
}

#[test]
fn what_was_decided_since_the_store_was_asked_stays() {
    let mut core = core();
    core.compare();
    let asked = core.handle(Input::Command(RequestId(1), suspend("acme", Scope::Mail, None)), &now(1));
    core.handle(Input::Committed(ticket(&asked), Ok(())), &now(1));
    // The store was read before that, and knows a suspension that the core does not.
    let Command::Suspend { suspension, .. } = suspend("", Scope::Everything, None) else { panic!() };
    let recalled = Recalled { suspensions: vec![("beta".into(), suspension)], ..Recalled::default() };
    core.handle(Input::Recalled(Ok(Box::new(recalled)), Seen::default()), &now(2));
    assert_eq!(restriction(&core, "acme"), Restriction::NO_MAIL);
    assert_eq!(restriction(&core, "beta"), Restriction::NOTHING);
}

#[test]
fn looks_are_due_by_the_boot_clock_whatever_the_wall_clock_does() {
    let mut core = core();
    let looks = |effects: &Effects| kinds(effects).iter().filter(|kind| **kind == "look").count();
    assert_eq!(looks(&core.handle(Input::Tick, &now(0))), 4);
    // Set back by a day, and forth by a year.
    let set_back = Moment { wall: now(0).wall - 24.hours(), ..now(1) };
    assert_eq!(kinds(&core.handle(Input::Tick, &set_back)), ["look"]);
    let set_forth = Moment { wall: now(0).wall + (366 * 24).hours(), ..now(2) };
    assert_eq!(kinds(&core.handle(Input::Tick, &set_forth)), ["look"]);
    assert_eq!(looks(&core.handle(Input::Tick, &now(10))), 2);
    assert_eq!(core.next_deadline(&now(10)), now(11).running());
    core.handle(Input::Learned(Ok(Vec::new())), &now(11));
    assert!(kinds(&core.handle(Input::Tick, &now(300))).contains(&"keep learned"));
    assert_eq!(kinds(&core.handle(Input::Stop, &now(301))), ["keep learned"]);
    let late = core.handle(Input::Command(RequestId(1), suspend("acme", Scope::Mail, None)), &now(301));
    assert_eq!(kinds(&late), ["answer"]);
}

/// Sees an input through: the disk takes everything at once.
fn through(core: &mut Core, input: Input, now: &Moment) -> Vec<Effect> {
    let mut done = Vec::new();
    let mut todo = core.handle(input, now);
    while !todo.is_empty() {
        let mut next = Vec::new();
        for effect in todo {
            match effect {
                Effect::Commit(ticket, _) => next.extend(core.handle(Input::Committed(ticket, Ok(())), now)),
                Effect::See(request, command) => {
                    next.extend(core.handle(Input::Seen(request, command, Seen::default()), now));
                }
                effect => done.push(effect),
            }
        }
        todo = next;
    }
    done
}

/// What the desk is answered.
fn answers(effects: Vec<Effect>) -> Vec<Answer> {
    let answer = |effect| match effect {
        Effect::Answer(_, answer) | Effect::Assign { answer: Some((_, answer)), .. } => Some(answer),
        _ => None,
    };
    effects.into_iter().filter_map(answer).collect()
}

const HOUR: u64 = 3_600;

/// A scan of `acme`, `hours` after the start.
fn scan(core: &mut Core, hours: u64) {
    let seconds = i64::try_from(hours * HOUR).unwrap();
    let scan = Offence { kind: OffenceKind::ScanSensitive, ..offence("acme", "203.0.113.0/32", seconds) };
    through(core, Input::Offences(vec![scan]), &now(hours * HOUR));
}

fn enforcing() -> Core {
    let policy =
        Policy::new(*loaded("[enforcement]\nmode = \"enforce\"\n"), &Overrides::default(), now(0).wall);
    let beginning = Beginning {
        policy,
        overrides: Overrides::default(),
        is_provisional: false,
        offences: OffenceTally::default(),
        cases: enforcement::State::default(),
    };
    Core::new(beginning, &now(0))
}

#[test]
fn a_ladder_restricts_step_by_step_and_the_first_restriction_ends_by_itself() {
    let mut core = enforcing();
    scan(&mut core, 0);
    assert_eq!(restriction(&core, "acme"), Restriction::NONE);
    assert_eq!(core.standings()["acme"], Standing::Noticed);
    scan(&mut core, 2);
    assert_eq!(restriction(&core, "acme"), Restriction::NO_OUTBOUND);
    assert_eq!(core.standings()["acme"], Standing::Quarantined);
    assert_eq!(restriction(&core, "beta"), Restriction::NONE);
    let end = now(26 * HOUR);
    assert_eq!(core.next_deadline(&end), end.running());
    // While the disk is busy with it, nothing else is due before the next look.
    let ending = core.handle(Input::Tick, &end);
    assert!(core.next_deadline(&end) > end.running());
    core.handle(Input::Committed(ticket(&ending), Err(StoreError::stopping())), &end);
    let end = now(26 * HOUR + 2);
    let over = through(&mut core, Input::Tick, &end);
    assert!(kinds(&over).contains(&"assign"));
    assert_eq!(restriction(&core, "acme"), Restriction::NONE);
    assert!(core.standings().is_empty());
}

#[test]
fn what_an_approver_has_to_confirm_goes_on_until_somebody_else_does() {
    let mut core = enforcing();
    [0, 2, 4].into_iter().for_each(|hours| scan(&mut core, hours));
    assert_eq!(restriction(&core, "acme"), Restriction::NOTHING);
    let later = now(5 * HOUR);
    let asked = through(&mut core, Input::Command(RequestId(1), restore("acme")), &later);
    // The measure of the kernel ends at once, what the case restricts does not.
    let [Answer::Restored(Ok(ended))] = &answers(asked)[..] else { panic!() };
    assert_eq!((ended.closed.len(), ended.asked.len()), (0, 1));
    let case = ended.asked[0];
    assert_eq!((restriction(&core, "acme"), core.approvals_waiting()), (Restriction::NOTHING, 1));
    let mut confirm = |name: &str, role| {
        let by = Principal { role, ..by(name) };
        let confirm = enforcement::Command::Confirm { case, by, reason: "checked".into() };
        let done = through(&mut core, Input::Command(RequestId(2), Command::Case(confirm)), &later);
        let answers = answers(done);
        let [Answer::Case(answer)] = &answers[..] else { panic!("{answers:?}") };
        (answer.as_ref().map_err(ToString::to_string).copied(), restriction(&core, "acme"))
    };
    let (refused, holds) = confirm("a.n", Role::Approve);
    assert!(refused.unwrap_err().contains("somebody else"), "nobody confirms their own request");
    assert_eq!(holds, Restriction::NOTHING);
    let (refused, _) = confirm("j.doe", Role::Operate);
    assert!(refused.unwrap_err().contains("needs the role approve"));
    assert_eq!(confirm("j.doe", Role::Approve), (Ok(()), Restriction::NONE));
}

#[test]
fn what_a_case_restricts_outlasts_reloads_comparisons_and_starts() {
    let mut core = enforcing();
    [0, 2].into_iter().for_each(|hours| scan(&mut core, hours));
    let later = now(3 * HOUR);
    // The files say that nothing is to be restricted any more: what is restricted ends as it was decided to.
    let reload =
        core.handle(Input::Replace(RequestId(1), loaded("[enforcement]\nmode = \"watch\"\n")), &later);
    core.handle(Input::Applied(generation(&reload), Ok(applied())), &later);
    assert_eq!(restriction(&core, "acme"), Restriction::NO_OUTBOUND);
    // The kernel has it, and nobody suspended the tenant by hand.
    let held = crate::dataplane::Restrictions::from([("acme".into(), Restriction::NO_OUTBOUND)]);
    let seen = Seen { restrictions: Some(held), measures: None };
    let compared = core.handle(Input::Recalled(Ok(Box::default()), seen.clone()), &later);
    assert!(!kinds(&compared).contains(&"assign"), "{compared:?}");
    assert!(core.seen_overrides(&seen, &later).suspensions("acme").is_empty());
    assert_eq!(restriction(&core, "acme"), Restriction::NO_OUTBOUND);
    // The next controller begins with the same cases.
    let [(tenant, held)] = &restraints(core.cases())[..] else { panic!() };
    assert_eq!(
        (tenant.as_str(), held[0].strike, held[0].restriction()),
        ("acme", 2, Restriction::NO_OUTBOUND)
    );
}

/// A step of a made-up history: an input, or an answer of the disk or the kernel to what was asked of it.
#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Suspend(usize, usize, Option<u64>),
    Restore(usize),
    Reload,
    Offence(usize),
    Rise(usize, u64),
    Disk(usize, bool),
    Kernel(bool),
    Refuse(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1_u64..90).prop_map(Step::Wait),
        4 => (0_usize..3, 0_usize..3, prop::option::of(1_u64..200)).prop_map(|(t, s, u)| Step::Suspend(t, s, u)),
        3 => (0_usize..3).prop_map(Step::Restore),
        1 => Just(Step::Reload),
        1 => (0_usize..2).prop_map(Step::Offence),
        1 => (0_usize..2, 1_u64..200).prop_map(|(t, u)| Step::Rise(t, u)),
        6 => (0_usize..4, prop::bool::weighted(0.8)).prop_map(|(n, ok)| Step::Disk(n, ok)),
        4 => prop::bool::weighted(0.8).prop_map(Step::Kernel),
        1 => prop::bool::weighted(0.3).prop_map(Step::Refuse),
    ]
}

/// The core with a disk and a kernel that answer when the history says so.
struct World {
    core: Core,
    second: u64,
    requests: u64,
    answered: BTreeSet<u64>,
    waiting_for_disk: Vec<(Ticket, Vec<Record>)>,
    waiting_for_kernel: Vec<(Generation, Arc<Policy>)>,
    /// What is on the disk, and what the kernel was told.
    on_disk: BTreeSet<(String, Scope)>,
    in_kernel: BTreeMap<String, Restriction>,
    /// Whether the kernel refuses what it is told, and of whom it has.
    refuses: bool,
    refused: BTreeSet<String>,
    log: String,
}

impl World {
    fn new() -> Self {
        Self {
            core: core(),
            second: 0,
            requests: 0,
            answered: BTreeSet::new(),
            waiting_for_disk: Vec::new(),
            waiting_for_kernel: Vec::new(),
            on_disk: BTreeSet::new(),
            in_kernel: BTreeMap::new(),
            refuses: false,
            refused: BTreeSet::new(),
            log: String::new(),
        }
    }

    fn input(&mut self, input: Input) {
        let now = now(self.second);
        let effects = self.core.handle(input, &now);
        assert!(self.core.next_deadline(&now) >= now.running(), "a deadline in the past");
        for effect in effects {
            self.log += kind(&effect);
            match effect {
                Effect::Commit(ticket, records) => self.waiting_for_disk.push((ticket, records)),
                Effect::Apply(generation, policy) => {
                    self.waiting_for_kernel.push((generation, policy));
                    assert_eq!(self.waiting_for_kernel.len(), 1, "one policy at a time");
                }
                Effect::See(request, command) => self.input(Input::Seen(request, command, Seen::default())),
                Effect::Assign { policy, tenants, answer } => {
                    if let Some((request, _)) = answer {
                        self.answer(request);
                    }
                    self.assign(&policy, tenants);
                }
                Effect::Answer(request, _) => self.answer(request),
                _ => {}
            }
        }
    }

    fn answer(&mut self, RequestId(request): RequestId) {
        assert!(self.answered.insert(request), "answered twice");
    }

    fn assign(&mut self, policy: &Policy, tenants: Vec<String>) {
        if self.refuses {
            self.refused.extend(tenants.iter().cloned());
            return self.input(Input::NotAssigned(tenants, refusal()));
        }
        for tenant in tenants {
            self.refused.remove(&tenant);
            let Some(in_force) = policy.effective.tenant(&tenant) else { continue };
            let restriction = in_force.restriction();
            for scope in Scope::ALL.into_iter().filter(|scope| restriction.contains((*scope).into())) {
                let is_on_disk = self.on_disk.contains(&(tenant.clone(), scope));
                assert!(is_on_disk, "{tenant} is restricted before that is on the disk");
            }
            self.in_kernel.insert(tenant, restriction);
        }
    }

    fn command(&mut self, command: Command) {
        self.requests += 1;
        self.input(Input::Command(RequestId(self.requests), command));
    }

    fn step(&mut self, step: &Step) {
        let tenant = |index: usize| ["acme", "beta", "nobody"][index];
        let end = |seconds: &u64| now(self.second + seconds).wall;
        match step {
            Step::Wait(seconds) => {
                self.second += seconds;
                self.input(Input::Tick);
            }
            Step::Suspend(of, scope, until) => {
                let until = until.as_ref().map(end);
                self.command(suspend(tenant(*of), Scope::ALL[*scope], until));
            }
            Step::Restore(of) => self.command(restore(tenant(*of))),
            Step::Reload => {
                self.requests += 1;
                self.input(Input::Replace(RequestId(self.requests), loaded("")));
            }
            Step::Offence(of) => {
                let seconds = i64::try_from(self.second).unwrap();
                self.input(Input::Offences(vec![offence(tenant(*of), "203.0.113.0/32", seconds)]));
            }
            Step::Rise(of, until) => {
                let rise = rise(tenant(*of), self.second, end(until));
                self.input(Input::Offences(vec![rise]));
            }
            Step::Disk(which, succeeds) => {
                if self.waiting_for_disk.is_empty() {
                    return;
                }
                let (ticket, records) = self.waiting_for_disk.remove(which % self.waiting_for_disk.len());
                if !succeeds {
                    return self.input(Input::Committed(ticket, Err(StoreError::stopping())));
                }
                for Record { tenant, fact, .. } in records {
                    match (tenant, fact) {
                        (Some(tenant), Fact::Suspended(suspended)) => {
                            self.on_disk.insert((tenant, suspended.scope));
                        }
                        (Some(tenant), Fact::Restored(restored)) => {
                            self.on_disk
                                .retain(|(of, scope)| *of != tenant || Some(*scope) != restored.scope);
                        }
                        _ => {}
                    }
                }
                self.input(Input::Committed(ticket, Ok(())));
            }
            Step::Kernel(succeeds) => {
                let Some((generation, policy)) = self.waiting_for_kernel.pop() else { return };
                if *succeeds {
                    let overridden = policy.effective.overridden();
                    self.in_kernel = overridden
                        .map(|tenant| (tenant.configured().id.clone(), tenant.restriction()))
                        .collect();
                    self.refused.clear();
                    self.input(Input::Applied(generation, Ok(applied())));
                } else {
                    self.input(Input::Applied(generation, Err(refusal())));
                }
            }
            Step::Refuse(refuses) => self.refuses = *refuses,
        }
    }

    /// What the kernel was told is what the core says is in force, unless it refused.
    fn check(&self) {
        for tenant in self.core.policy().effective.tenants() {
            let id = &tenant.configured().id;
            let told = self.in_kernel.get(id).copied().unwrap_or_default();
            assert!(told == tenant.restriction() || self.refused.contains(id), "of {id}");
        }
    }

    /// In the end, with a disk and a kernel that work, everybody is answered and nothing is left to do.
    fn end(&mut self) {
        self.refuses = false;
        while !(self.waiting_for_disk.is_empty() && self.waiting_for_kernel.is_empty()) {
            self.step(&Step::Disk(0, true));
            self.step(&Step::Kernel(true));
        }
        self.step(&Step::Wait(61));
        self.check();
        assert!(self.refused.is_empty(), "{:?} are not tried again", self.refused);
        assert_eq!(self.answered.len() as u64, self.requests, "somebody waits for ever");
    }
}

proptest! {
    /// Whatever comes in whatever order: nothing takes effect before it is on the disk, the kernel holds what the
    /// core says, no deadline is in the past, everybody is answered once, and the same inputs come to the same effects.
    #[test]
    fn whatever_happens(steps in prop::collection::vec(step(), 1..60)) {
        let (mut world, mut again) = (World::new(), World::new());
        for step in &steps {
            world.step(step);
            world.check();
            again.step(step);
        }
        prop_assert_eq!(&world.log, &again.log);
        world.end();
    }
}
