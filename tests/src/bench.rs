//! The programs on a bench: one packet at a time, on a clock set by hand, and after each packet every
//! counter is compared, those that must not move among them.

use std::fs;
use std::sync::Arc;

use gateway::config::{self, Config, Interface, Side};
use gateway::dataplane::{self, Engine, Judgement, ProgramClock, Verdict};
use gateway::domain::Scope;
use gateway::policy::{Effective, Overrides, compose};
use gateway::suspension::Suspension;

use crate::outcome;
pub use crate::outcome::Outcome as Expected;

/// One row of a fixture table.
pub struct Fixture {
    /// What is tried.
    pub name: &'static str,
    /// Where the frame is received.
    pub side: Side,
    /// The frame.
    pub frame: Vec<u8>,
    /// What must happen to it.
    pub expected: Expected<&'static str>,
}

/// A packet from a tenant.
#[must_use]
pub fn up(name: &'static str, frame: Vec<u8>, expected: Expected<&'static str>) -> Fixture {
    Fixture { name, side: Side::Tenant, frame, expected }
}

/// A packet to a tenant.
#[must_use]
pub fn down(name: &'static str, frame: Vec<u8>, expected: Expected<&'static str>) -> Fixture {
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

/// Ports that an operator closes: of either protocol, out, in and both ways.
pub const CLOSED_PORTS: &str = r#"
[[closed_port]]
name = "smb"
protocol = "tcp"
ports = [445, "137-139"]
direction = "out"
[[closed_port]]
name = "memcached"
protocol = "udp"
ports = [11211]
direction = "in"
[[closed_port]]
name = "telnet"
protocol = "tcp"
ports = [23]
"#;

/// The loopback interface's index, which test runs are received on, in every network namespace.
const LOOPBACK: u32 = 1;

/// A start far from zero, as the kernel's clock has.
pub const START_NS: u64 = 1_000_000_000_000;

/// The loaded programs, with one interface registered that is both sides.
pub struct Bench {
    config: Config,
    engine: Engine,
}

/// Reads a config: an interface of each side, and `more`.
///
/// # Panics
/// If there is a mistake in it.
#[must_use]
pub fn config(more: &str) -> Config {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("gateway.toml");
    fs::write(&file, format!("{BASE}\n{more}")).expect("a file in it");
    config::load(&file).unwrap_or_else(|mistakes| panic!("{mistakes}")).config
}

/// What is in force of a config to which nothing was decided. What expires is up to the programs' clock.
#[must_use]
pub fn in_force(config: &Config) -> Effective {
    Effective::of(config.clone(), jiff::Timestamp::UNIX_EPOCH)
}

/// What is in force of a config with one suspension of each of these scopes.
#[must_use]
pub fn suspending(
    config: &Config,
    suspended: impl IntoIterator<Item = (impl AsRef<str>, Scope)>,
) -> Effective {
    let mut overrides = Overrides::default();
    for (tenant, scope) in suspended {
        let (reason, since) = ("test".to_owned(), jiff::Timestamp::UNIX_EPOCH);
        overrides.suspend(tenant.as_ref(), Suspension { scope, reason, by: None, since, until: None });
    }
    compose(&Arc::new(config.clone()), &overrides, jiff::Timestamp::UNIX_EPOCH)
}

impl Bench {
    /// Suspends a tenant for these scopes, and for no others.
    ///
    /// # Panics
    /// If the tables have no place for its policy, which is the same as before.
    pub fn suspend(&mut self, tenant: &str, scopes: &[Scope]) {
        let effective = suspending(&self.config, scopes.iter().map(|scope| (tenant, *scope)));
        assert!(self.engine.assign(&effective, tenant).expect("no exemption changes"), "no place");
    }

    /// The programs under a [`config()`] with `more` in it.
    #[must_use]
    pub fn new(more: &str) -> Self {
        Self::of(config(more))
    }

    /// The programs under a config whose first interface is the bench's.
    ///
    /// # Panics
    /// If they cannot be loaded.
    #[must_use]
    pub fn of(config: Config) -> Self {
        let mut engine =
            Engine::detached(&in_force(&config), ProgramClock::Virtual).expect("root, and Linux 5.18");
        engine.register(&config.interfaces[0], LOOPBACK).expect("the first interface");
        engine.set_clock(START_NS);
        Self { config, engine }
    }

    /// The programs and their tables.
    pub fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// Goes on with other programs, under the config that they were loaded with.
    pub fn replace(&mut self, config: Config, engine: Engine) {
        (self.config, self.engine) = (config, engine);
    }

    /// Changes what the interface is registered as.
    ///
    /// # Panics
    /// If it cannot be registered.
    pub fn register(&mut self, change: impl FnOnce(&mut Interface)) {
        let interface = &mut self.config.interfaces[0];
        change(interface);
        self.engine.register(interface, LOOPBACK).expect("the same interface");
    }

    /// Runs one packet and compares the verdict and every counter.
    ///
    /// # Panics
    /// If anything differs.
    pub fn check(&mut self, fixture: &Fixture) {
        let Fixture { name, side, frame, expected } = fixture;
        let mut wanted = self.engine.snapshot();
        let verdict = self.engine.run(*side, frame).expect("a frame that the kernel takes");
        let judgement = self.engine.last_judgement();
        let position = |id: &str| wanted.tenants.iter().position(|tenant| tenant.id == id);
        let counted = expected.map(|id| position(id).expect("a configured tenant"));
        counted.count(&mut wanted, *side, frame.len());
        let found = self.engine.snapshot();
        outcome::take_queue_drops(&mut wanted, &found);
        assert_eq!(
            (verdict, &found),
            (if expected.passes() { Verdict::Pass } else { Verdict::Drop }, &wanted),
            "{name}: expected {expected:?}\nframe: {frame:02x?}",
        );
        assert_eq!(judgement, self.judgement(*expected), "{name}: what the program told of it");
    }

    /// What the programs tell of a packet that met this.
    fn judgement(&self, outcome: Expected<&str>) -> Judgement {
        let slot = |id| self.engine.slots().find(|(known, _)| *known == id).map(|(_, slot)| slot);
        let (tenant, outcome) = match outcome {
            Expected::Passed(id) => (slot(id), dataplane::Outcome::Passed),
            Expected::Dropped(id, reason) => (slot(id), dataplane::Outcome::Dropped(reason)),
            Expected::Refused(reason) => (None, dataplane::Outcome::Dropped(reason)),
            Expected::LinkControl => (None, dataplane::Outcome::LinkControl),
            Expected::Unmatched => (None, dataplane::Outcome::Unmatched),
            Expected::UnknownSourcePassed => (None, dataplane::Outcome::UnknownSource),
        };
        Judgement { tenant, outcome }
    }

    /// Runs a whole table.
    pub fn check_all(&mut self, fixtures: &[Fixture]) {
        fixtures.iter().for_each(|fixture| self.check(fixture));
    }
}
