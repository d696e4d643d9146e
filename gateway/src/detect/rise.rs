//! `sudden_rise`: a tenant that takes far more of a loaded uplink than it is used to (policy rule S3).
//!
//! Growth alone is no offence, and neither is a full line. A tenant is reported if, for some minutes on
//! end, in one direction,
//! - the uplinks together are loaded, as far as their capacities are known,
//! - it takes more than an even share of them among the tenants that are active, and
//! - many times its own baseline: the rate per minute that it exceeded for one minute in a hundred.
//!
//! The baseline is learned by stochastic approximation (Robbins, Monro 1951; the quantile form is that of
//! Ma, Muthukrishnan, Sandler 2013): one number, moved up a large step when the rate exceeds it and down
//! a small one when not. What recurs, an hour's backup each night, is half forgotten by the next
//! night and no rise; what stays is the new baseline within half an hour. A tenant is judged once it has
//! been watched for a day; a restart of the controller begins anew.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Offence;
use crate::config::{Config, DetectMode, Measure, OffenceKind, Rule, Side, Tenant, Threshold};
use crate::dataplane::{Snapshot, TenantCounters};

/// How often counters are to be looked at.
pub const SAMPLE_EVERY: Duration = Duration::from_secs(60);

/// What a baseline exceeds in this share of all minutes.
const QUANTILE: f64 = 0.99;
/// How far a minute over the baseline moves it, as a factor; one below it moves it by 1/99 of that.
const STEP: f64 = 0.05;
/// Minutes before a tenant is judged: a day, since days differ less than hours do.
const LEARNING_MINUTES: u32 = 24 * 60;
/// Nobody is active, nor has a baseline, below this rate: 8 kbit/s.
const LEAST_BYTES_PER_SEC: f64 = 1_000.0;
/// Directions by index, as counters are named.
const DIRECTIONS: [&str; 2] = ["up", "down"];

/// Learns baselines and finds rises.
#[derive(Debug, Default)]
pub struct RiseDetector {
    tenants: HashMap<String, Usage>,
    /// Bytes on the uplinks that are no tenant's, by direction, at the last look.
    other_bytes: Option<[u64; 2]>,
}

#[derive(Debug)]
struct Usage {
    bytes: [u64; 2],
    learned: [Baseline; 2],
    /// Not reported again before.
    quiet_until: Option<Timestamp>,
}

/// One direction of one tenant.
#[derive(Clone, Copy, Debug, Default)]
struct Baseline {
    bytes_per_sec: f64,
    minutes: u32,
    /// For how many minutes the rate has been far over the baseline, and what that was when it began.
    over: Option<(u32, f64)>,
}

/// One direction of the uplinks during one minute.
#[derive(Clone, Copy, Debug)]
struct Load {
    percent: u64,
    even_share_bytes_per_sec: f64,
}

impl RiseDetector {
    /// Looks at counters `elapsed` after the last ones; returns who has risen.
    pub fn sample(
        &mut self,
        config: &Config,
        snapshot: &Snapshot,
        elapsed: Duration,
        now: Timestamp,
    ) -> Vec<Offence> {
        let rates = self.advance(snapshot, elapsed);
        let other = other_bytes(snapshot);
        let before = self.other_bytes.replace(other);
        let other = before.map(|before| rates_of(other, before, elapsed));
        let loads = other.and_then(|other| loads(config, rates.iter().flatten(), other));
        let judged = config.tenants.iter().zip(rates);
        judged.filter_map(|(tenant, rates)| self.judge(config, tenant, rates?, loads, now)).collect()
    }

    /// Remembers counters; the rates since the last ones, in the order of the snapshot's tenants.
    fn advance(&mut self, snapshot: &Snapshot, elapsed: Duration) -> Vec<Option<[f64; 2]>> {
        let mut known = std::mem::take(&mut self.tenants);
        snapshot
            .tenants
            .iter()
            .map(|counters| {
                let bytes = bytes(counters);
                let (usage, rates) = match known.remove(&counters.id) {
                    // Counters that fell are another tenant's of the same name.
                    Some(usage) if usage.bytes[0] <= bytes[0] && usage.bytes[1] <= bytes[1] => {
                        let rates = rates_of(bytes, usage.bytes, elapsed);
                        (Usage { bytes, ..usage }, Some(rates))
                    }
                    _ => (Usage { bytes, learned: Default::default(), quiet_until: None }, None),
                };
                self.tenants.insert(counters.id.clone(), usage);
                rates
            })
            .collect()
    }

    fn judge(
        &mut self,
        config: &Config,
        tenant: &Tenant,
        rates: [f64; 2],
        loads: Option<[Load; 2]>,
        now: Timestamp,
    ) -> Option<Offence> {
        let usage = self.tenants.get_mut(&tenant.id)?;
        let class = config.detection.class_index(tenant.detect_class.as_deref());
        let rule = config.detection.classes[class].rule(OffenceKind::SuddenRise);
        let mut counters = BTreeMap::new();
        for (direction, rate) in rates.into_iter().enumerate() {
            let learned = &mut usage.learned[direction];
            let load = loads.map(|loads| loads[direction]);
            if let (Some(baseline), Some(load)) = (learned.rise(rate, load, rule), load) {
                let name = DIRECTIONS[direction];
                counters.insert(format!("{name}_bits_per_second"), bits(rate));
                counters.insert(format!("{name}_baseline_bits_per_second"), bits(baseline));
                counters.insert(format!("{name}_uplink_load_percent"), load.percent);
            }
            learned.learn(rate);
        }
        let is_quiet = usage.quiet_until.is_some_and(|until| now < until);
        if counters.is_empty() || is_quiet || rule.mode == DetectMode::Off || is_allowed(config, tenant) {
            return None;
        }
        usage.quiet_until =
            SignedDuration::try_from(rule.duration).ok().and_then(|quiet| now.checked_add(quiet).ok());
        Some(Offence {
            at: now,
            tenant: tenant.id.clone(),
            source: None,
            kind: OffenceKind::SuddenRise,
            mode: rule.mode,
            measure: Measure::None,
            until: None,
            counters,
            targets: Vec::new(),
            frames: Vec::new(),
        })
    }
}

impl Baseline {
    /// The baseline before the rise, if this minute makes it one that lasts.
    fn rise(&mut self, rate: f64, load: Option<Load>, rule: &Rule) -> Option<f64> {
        let threshold = |name| rule.threshold(name).unwrap_or(u32::MAX);
        let (minutes, baseline) = self.over.unwrap_or((0, self.bytes_per_sec));
        let is_over = self.minutes >= LEARNING_MINUTES
            && rate >= baseline * f64::from(threshold(Threshold::TimesBaseline))
            && load.is_some_and(|load| {
                load.percent >= u64::from(threshold(Threshold::UplinkLoadPercent))
                    && rate > load.even_share_bytes_per_sec
            });
        self.over = is_over.then_some((minutes + 1, baseline));
        (is_over && minutes + 1 >= threshold(Threshold::Minutes)).then_some(baseline)
    }

    fn learn(&mut self, rate: f64) {
        let rate = rate.max(LEAST_BYTES_PER_SEC);
        let factor =
            if rate > self.bytes_per_sec { 1.0 + STEP * QUANTILE } else { 1.0 - STEP * (1.0 - QUANTILE) };
        self.bytes_per_sec =
            if self.minutes == 0 { rate } else { (self.bytes_per_sec * factor).max(LEAST_BYTES_PER_SEC) };
        self.minutes = self.minutes.saturating_add(1);
    }
}

/// What a tenant puts on the uplinks: what leaves, and what arrives, dropped here or not.
fn bytes(counters: &TenantCounters) -> [u64; 2] {
    let TenantCounters { up, down, .. } = counters;
    [up.passed.bytes, down.passed.bytes + down.dropped_total().bytes]
}

/// The same of packets that are no tenant's.
fn other_bytes(snapshot: &Snapshot) -> [u64; 2] {
    let mut bytes = [0, 0];
    for interface in &snapshot.interfaces {
        match interface.side {
            Side::Tenant => bytes[0] += interface.unknown_source_passed.bytes,
            Side::Uplink => {
                let dropped: u64 = interface.dropped.iter().map(|(_, tally)| tally.bytes).sum();
                bytes[1] += interface.unmatched.bytes + interface.link_control.bytes + dropped;
            }
        }
    }
    bytes
}

/// In bytes per second.
fn rates_of(now: [u64; 2], before: [u64; 2], elapsed: Duration) -> [f64; 2] {
    let seconds = elapsed.as_secs_f64().max(1.0);
    std::array::from_fn(|direction| now[direction].saturating_sub(before[direction]) as f64 / seconds)
}

/// How loaded the uplinks are; nothing if one's capacity is not known.
fn loads<'r>(
    config: &Config,
    rates: impl Iterator<Item = &'r [f64; 2]> + Clone,
    other: [f64; 2],
) -> Option<[Load; 2]> {
    let uplinks = config.interfaces.iter().filter(|interface| interface.side == Side::Uplink);
    let capacities: Option<Vec<u64>> =
        uplinks.map(|interface| interface.capacity.map(|capacity| capacity.bits_per_sec / 8)).collect();
    let capacity_bytes_per_sec = capacities?.iter().sum::<u64>() as f64;
    Some(std::array::from_fn(|direction| {
        let rates = rates.clone().map(|rates| rates[direction]);
        let active = rates.clone().filter(|rate| *rate >= LEAST_BYTES_PER_SEC).count().max(1);
        let used = rates.sum::<f64>() + other[direction];
        Load {
            percent: (100.0 * used / capacity_bytes_per_sec) as u64,
            even_share_bytes_per_sec: capacity_bytes_per_sec / active as f64,
        }
    }))
}

/// Whether all of a tenant's networks are allowed to rise.
fn is_allowed(config: &Config, tenant: &Tenant) -> bool {
    let allow = config.detection.allow.iter();
    let sources: Vec<_> = allow
        .filter(|allow| allow.kinds.is_empty() || allow.kinds.contains(&OffenceKind::SuddenRise))
        .flat_map(|allow| &allow.sources)
        .collect();
    tenant.prefixes.iter().all(|prefix| {
        sources.iter().any(|source| source.prefix() <= prefix.prefix() && source.contains(prefix.network()))
    })
}

fn bits(bytes_per_sec: f64) -> u64 {
    (bytes_per_sec * 8.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::dataplane::{DirectionCounters, InterfaceCounters, Tally};
    use crate::detect::fake::at;

    const MBIT: f64 = 1_000_000.0;
    const DAY: u32 = 24 * 60;

    /// Two tenants and 100 others behind an uplink of 1 Gbit/s, minute by minute.
    struct Simulation {
        config: Config,
        detector: RiseDetector,
        snapshot: Snapshot,
        minute: i64,
        reported: Vec<(i64, Offence)>,
    }

    impl Simulation {
        fn new(more: &str) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join("gateway.toml");
            let mut text = "[gateway]\nname = \"edge1\"\n[[interface]]\nname = \"eth1\"\nside = \"tenant\"\n\
                            [[interface]]\nname = \"eth0\"\nside = \"uplink\"\ncapacity = \"1 Gbit/s\"\n"
                .to_owned();
            text += more;
            for (id, network) in [("acme", 1), ("beta", 2), ("others", 3)] {
                text += &format!("[[tenant]]\nid = \"{id}\"\nprefixes = [\"192.0.{network}.0/28\"]\n");
            }
            std::fs::write(&file, text).unwrap();
            let config = config::load(&file, at(0)).unwrap_or_else(|error| panic!("{error}")).config;
            let none = |tenant: &Tenant| TenantCounters {
                id: tenant.id.clone(),
                up: DirectionCounters::default(),
                down: DirectionCounters::default(),
            };
            let snapshot = Snapshot {
                tenants: config.tenants.iter().map(|tenant| none(tenant)).collect(),
                interfaces: config.interfaces.iter().map(InterfaceCounters::none).collect(),
            };
            Self { config, detector: RiseDetector::default(), snapshot, minute: 0, reported: Vec::new() }
        }

        /// `minutes` in which the tenants send at these bit rates.
        fn pass(&mut self, minutes: u32, bits_per_sec: [f64; 3]) {
            for _ in 0..minutes {
                for (tenant, rate) in self.snapshot.tenants.iter_mut().zip(bits_per_sec) {
                    tenant.up.passed += Tally { packets: 1, bytes: (rate * 60.0 / 8.0) as u64 };
                }
                self.minute += 1;
                let now = at(self.minute * 60);
                let found = self.detector.sample(&self.config, &self.snapshot, SAMPLE_EVERY, now);
                self.reported.extend(found.into_iter().map(|offence| (self.minute, offence)));
            }
        }

        fn reports(&self) -> Vec<(i64, &str)> {
            self.reported.iter().map(|(minute, offence)| (*minute, offence.tenant.as_str())).collect()
        }
    }

    #[test]
    fn a_rise_on_a_loaded_uplink_is_reported_once_it_lasts() {
        let mut simulation = Simulation::new("");
        simulation.pass(DAY + 1, [100.0 * MBIT, 100.0 * MBIT, 300.0 * MBIT]);
        let start = simulation.minute;
        simulation.pass(4, [500.0 * MBIT, 100.0 * MBIT, 300.0 * MBIT]);
        assert_eq!(simulation.reports(), []);
        simulation.pass(30, [500.0 * MBIT, 100.0 * MBIT, 300.0 * MBIT]);
        assert_eq!(simulation.reports(), [(start + 5, "acme")]);
        let offence = &simulation.reported[0].1;
        assert_eq!((offence.source, offence.kind, offence.until), (None, OffenceKind::SuddenRise, None));
        let counter = |name: &str| offence.counters[name];
        assert_eq!(counter("up_bits_per_second"), 500_000_000);
        assert_eq!(counter("up_uplink_load_percent"), 90);
        let baseline = counter("up_baseline_bits_per_second");
        assert!((95_000_000..=105_000_000).contains(&baseline), "{baseline}");
        assert_eq!(offence.counters.len(), 3, "nothing rose the other way");
    }

    #[test]
    fn nothing_is_reported_that_hurts_nobody() {
        let mut simulation = Simulation::new("");
        let usual = [100.0 * MBIT, MBIT, 300.0 * MBIT];
        simulation.pass(DAY + 1, usual);
        // Five times the baseline on a line that is two thirds idle.
        simulation.pass(20, [10.0 * MBIT, 5.0 * MBIT, 300.0 * MBIT]);
        simulation.pass(20, [100.0 * MBIT, 50.0 * MBIT, 300.0 * MBIT]);
        // Fifty times the baseline on a loaded line, and still far below an even share.
        simulation.pass(20, [100.0 * MBIT, 50.0 * MBIT, 800.0 * MBIT]);
        // Three and a half times.
        simulation.pass(20, [350.0 * MBIT, MBIT, 500.0 * MBIT]);
        assert_eq!(simulation.reports(), []);
    }

    #[test]
    fn a_tenant_is_not_judged_before_a_day_is_over() {
        let mut simulation = Simulation::new("");
        simulation.pass(DAY - 10, [10.0 * MBIT, 10.0 * MBIT, 300.0 * MBIT]);
        simulation.pass(10, [600.0 * MBIT, 10.0 * MBIT, 300.0 * MBIT]);
        assert_eq!(simulation.reports(), []);
    }

    #[test]
    fn what_recurs_each_night_is_learned() {
        let mut simulation = Simulation::new("");
        let (day, night) =
            ([50.0 * MBIT, 50.0 * MBIT, 300.0 * MBIT], [500.0 * MBIT, 50.0 * MBIT, 300.0 * MBIT]);
        simulation.pass(DAY + 1, day);
        for _ in 0..7 {
            simulation.pass(60, night);
            simulation.pass(DAY - 60, day);
        }
        let first_night = i64::from(DAY) + 1;
        assert_eq!(simulation.reports(), [(first_night + 5, "acme")]);
    }

    #[test]
    fn what_is_off_or_allowed_is_not_reported_and_unknown_capacity_judges_nobody() {
        let rises = |more: &str| {
            let mut simulation = Simulation::new(more);
            simulation.pass(DAY + 1, [100.0 * MBIT, 100.0 * MBIT, 300.0 * MBIT]);
            simulation.pass(10, [500.0 * MBIT, 100.0 * MBIT, 300.0 * MBIT]);
            simulation.reports().len()
        };
        assert_eq!(rises(""), 1);
        assert_eq!(rises("[detect.sudden_rise]\nmode = \"watch\"\n"), 1);
        assert_eq!(rises("[detect.sudden_rise]\nmode = \"off\"\n"), 0);
        let allow = |source: &str| {
            format!(
                "[[detect.allow]]\nsources = [\"{source}\"]\nreason = \"other\"\nticket = \"NET-1\"\nexpires = 2999-01-01\n"
            )
        };
        assert_eq!(rises(&allow("192.0.1.0/28")), 0);
        assert_eq!(rises(&allow("192.0.1.0/29")), 1);
        assert_eq!(rises("[[interface]]\nname = \"eth2\"\nside = \"uplink\"\n"), 0);
    }

    #[test]
    fn counters_that_begin_anew_are_no_rise() {
        let mut simulation = Simulation::new("");
        simulation.pass(DAY + 1, [100.0 * MBIT, 100.0 * MBIT, 300.0 * MBIT]);
        simulation.snapshot.tenants[0].up = DirectionCounters::default();
        simulation.pass(20, [500.0 * MBIT, 100.0 * MBIT, 300.0 * MBIT]);
        assert_eq!(simulation.reports(), [], "a tenant of this name that is not known yet");
    }
}
