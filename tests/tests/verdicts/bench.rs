//! The programs on a bench: one packet at a time, on a clock set by hand, and after each packet every
//! counter is compared, those that must not move among them.

use std::fs;

use gateway::config::{self, Config, Interface, Side};
use gateway::dataplane::{
    DirectionCounters, Engine, Judgement, Outcome, ProgramClock, Snapshot, Tally, TenantCounters, Verdict,
};
use gateway_ebpf::DropReason;

/// What must happen to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Passed, and counted for this tenant.
    Passed(&'static str),
    /// Dropped, and counted for this tenant.
    Dropped(&'static str, DropReason),
    /// Dropped, and counted for the interface alone.
    Refused(DropReason),
    /// Passed as control traffic of the link.
    LinkControl,
    /// Passed, being for no tenant.
    Unmatched,
    /// Passed from an unknown source, and counted.
    UnknownSourcePassed,
}

/// One row of a fixture table.
pub(crate) struct Fixture {
    pub(crate) name: &'static str,
    pub(crate) side: Side,
    pub(crate) frame: Vec<u8>,
    pub(crate) expected: Expected,
}

/// A packet from a tenant.
pub(crate) fn up(name: &'static str, frame: Vec<u8>, expected: Expected) -> Fixture {
    Fixture { name, side: Side::Tenant, frame, expected }
}

/// A packet to a tenant.
pub(crate) fn down(name: &'static str, frame: Vec<u8>, expected: Expected) -> Fixture {
    Fixture { name, side: Side::Uplink, frame, expected }
}

/// The settings that fixtures share: an interface of each side. More of `[gateway]` may follow.
const BASE: &str = r#"
[[interface]]
name = "lo"
side = "tenant"
mode = "generic"
[[interface]]
name = "up"
side = "uplink"
[gateway]
name = "bench"
"#;

/// The loopback interface's index, which test runs are received on, in every network namespace.
const LOOPBACK: u32 = 1;

/// A start far from zero, as the kernel's clock has.
pub(crate) const START_NS: u64 = 1_000_000_000_000;

pub(crate) struct Bench {
    engine: Engine,
}

/// Reads a config of [`BASE`] and `more`.
pub(crate) fn config(more: &str) -> Config {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.toml");
    fs::write(&file, format!("{BASE}\n{more}")).unwrap();
    let now = "2026-11-01T00:00:00Z".parse().unwrap();
    config::load(&file, now).unwrap_or_else(|mistakes| panic!("{mistakes}")).config
}

impl Bench {
    /// The programs under a config of [`BASE`] and `more`.
    pub(crate) fn new(more: &str) -> Self {
        let config = config(more);
        let mut engine = Engine::detached(&config, ProgramClock::Virtual).unwrap();
        engine.register(&config.interfaces[0], LOOPBACK).unwrap();
        engine.set_clock(START_NS);
        Self { engine }
    }

    pub(crate) fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// Changes what the interface is registered as.
    pub(crate) fn register(&mut self, change: impl FnOnce(&mut Interface)) {
        let mut interface = config("").interfaces[0].clone();
        change(&mut interface);
        self.engine.register(&interface, LOOPBACK).unwrap();
    }

    /// Runs one packet and compares the verdict and every counter.
    pub(crate) fn check(&mut self, fixture: &Fixture) {
        let mut wanted = self.engine.snapshot();
        let verdict = self.engine.run(fixture.side, &fixture.frame).unwrap();
        let judgement = self.engine.last_judgement();
        let is_pass = !matches!(fixture.expected, Expected::Dropped(..) | Expected::Refused(_));
        count(&mut wanted, fixture);
        let found = self.engine.snapshot();
        assert_eq!(
            (verdict, &found),
            (if is_pass { Verdict::Pass } else { Verdict::Drop }, &wanted),
            "{}: expected {:?}\nframe: {:02x?}",
            fixture.name,
            fixture.expected,
            fixture.frame,
        );
        let slot = |id| self.engine.slots().find(|(known, _)| *known == id).map(|(_, slot)| slot);
        let (tenant, outcome) = match fixture.expected {
            Expected::Passed(id) => (slot(id), Outcome::Passed),
            Expected::Dropped(id, reason) => (slot(id), Outcome::Dropped(reason)),
            Expected::Refused(reason) => (None, Outcome::Dropped(reason)),
            Expected::LinkControl => (None, Outcome::LinkControl),
            Expected::Unmatched => (None, Outcome::Unmatched),
            Expected::UnknownSourcePassed => (None, Outcome::UnknownSource),
        };
        assert_eq!(judgement, Judgement { tenant, outcome }, "{}", fixture.name);
    }

    pub(crate) fn check_all(&mut self, fixtures: &[Fixture]) {
        fixtures.iter().for_each(|fixture| self.check(fixture));
    }
}

/// Moves the counters in `snapshot` as `fixture` must move them.
fn count(snapshot: &mut Snapshot, fixture: &Fixture) {
    let one = Tally { packets: 1, bytes: fixture.frame.len() as u64 };
    let Snapshot { tenants, interfaces } = snapshot;
    let side = fixture.side;
    match fixture.expected {
        Expected::Passed(id) => of_tenant(tenants, id, side).passed += one,
        Expected::Dropped(id, reason) => add(&mut of_tenant(tenants, id, side).dropped, reason, one),
        Expected::Refused(reason) => add(&mut interfaces[0].dropped, reason, one),
        Expected::LinkControl => interfaces[0].link_control += one,
        Expected::Unmatched => interfaces[0].unmatched += one,
        Expected::UnknownSourcePassed => interfaces[0].unknown_source_passed += one,
    }
}

fn of_tenant<'s>(tenants: &'s mut [TenantCounters], id: &str, side: Side) -> &'s mut DirectionCounters {
    let tenant = tenants.iter_mut().find(|tenant| tenant.id == id).expect("a configured tenant");
    match side {
        Side::Tenant => &mut tenant.up,
        Side::Uplink => &mut tenant.down,
    }
}

fn add(dropped: &mut Vec<(DropReason, Tally)>, reason: DropReason, one: Tally) {
    match dropped.iter_mut().find(|(known, _)| *known == reason) {
        Some((_, tally)) => *tally += one,
        None => {
            dropped.push((reason, one));
            dropped.sort_by_key(|(reason, _)| *reason);
        }
    }
}
