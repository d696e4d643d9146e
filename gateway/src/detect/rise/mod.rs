//! `sudden_rise`: a tenant that takes far more of a loaded uplink than it is used to (policy rule S3).
//!
//! Growth alone is no offence, and neither is a full line. A tenant is reported if, for some minutes on
//! end, in one direction,
//! - the uplinks together are loaded, as far as their capacities are known,
//! - it takes more than an even share of them among the tenants that are active, and
//! - many times its own baseline: the rate per minute that it exceeded for one minute in a hundred.
//!
//! Where the rule's measure is to lower its cap, the tenant is held for a time to what would have been no
//! rise: the larger of an even share and as many times its baseline. It goes on being learned
//! meanwhile, so who goes on needing more has it in steps, and nobody is held back for good. At most
//! `max_measures_per_minute` are held at a look; the others are judged anew at the next.
//!
//! A tenant is judged once it has been watched for a day. What was learned outlasts the controller: it is
//! to be kept every [`KEEP_EVERY`] and resumed at the start.

mod baseline;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{LoweredCap, Offence};
use crate::config::{BitRate, Config, DetectMode, Measure, OffenceKind, Rule, Side, Tenant, Threshold};
use crate::domain::{Snapshot, TenantCounters};
use crate::policy::Effective;

pub use baseline::Baseline;

/// How often counters are to be looked at.
pub const SAMPLE_EVERY: Duration = Duration::from_secs(60);
/// How often what was learned is to be kept: baselines move by days, and these few minutes are what a crash
/// may cost.
pub const KEEP_EVERY: Duration = Duration::from_secs(300);

/// Nobody is active, nor has a baseline, below this rate: 8 kbit/s.
pub(super) const LEAST_BYTES_PER_SEC: f64 = 1_000.0;
/// Directions by index, as counters are named.
const DIRECTIONS: [&str; 2] = ["up", "down"];

/// Learns baselines and finds rises.
#[derive(Debug, Default)]
pub struct RiseDetector {
    tenants: HashMap<String, Usage>,
    /// Bytes on the uplinks that are no tenant's, by direction, at the last look.
    other_bytes: Option<[u64; 2]>,
}

/// What is known of one tenant's use, as it is kept over restarts.
#[derive(Clone, Debug, PartialEq)]
pub struct Learned {
    /// Id of the tenant.
    pub tenant: String,
    /// What is usual of it, up and down.
    pub baselines: [Baseline; 2],
    /// Its rises are not reported before.
    pub quiet_until: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Usage {
    /// Counters at the last look; none: there was none since the start.
    bytes: Option<[u64; 2]>,
    baselines: [Baseline; 2],
    rises: [Option<Rise>; 2],
    /// Not reported again before.
    quiet_until: Option<Timestamp>,
}

/// One direction of a tenant that has been far over its baseline lately.
#[derive(Clone, Copy, Debug)]
struct Rise {
    minutes: u32,
    /// What the baseline was when it began.
    from_bytes_per_sec: f64,
}

/// One direction of the uplinks during one minute.
#[derive(Clone, Copy, Debug)]
struct Load {
    percent: u64,
    even_share_bytes_per_sec: f64,
}

impl RiseDetector {
    /// Looks at counters `elapsed` after the last ones; returns who has risen. It goes by the caps that the
    /// tenants have without measures.
    pub fn sample(
        &mut self,
        policy: &Effective,
        snapshot: &Snapshot,
        elapsed: Duration,
        now: Timestamp,
    ) -> Vec<Offence> {
        let config = policy.config();
        let rates = self.advance(snapshot, elapsed);
        let other = other_bytes(snapshot);
        let before = self.other_bytes.replace(other);
        let other = before.map(|before| rates_of(other, before, elapsed));
        let loads = other.and_then(|other| loads(config, rates.iter().flatten(), other));
        let judged = config.tenants.iter().zip(rates);
        let judge =
            |(tenant, rates): (&Arc<Tenant>, Option<_>)| self.judge(policy, tenant, rates?, loads, now);
        let mut offences: Vec<_> = judged.filter_map(judge).collect();
        let at_most = config.detection.max_measures_per_minute as usize;
        for offence in offences.iter_mut().filter(|offence| offence.until.is_some()).skip(at_most) {
            offence.spare();
            offence.counters.insert(Offence::HELD.to_owned(), 1);
            if let Some(usage) = self.tenants.get_mut(&offence.tenant) {
                usage.quiet_until = None;
            }
        }
        offences
    }

    /// What was learned until now, by ascending tenant.
    #[must_use]
    pub fn learned(&self) -> Vec<Learned> {
        let known = self.tenants.iter().filter(|(_, usage)| usage.baselines.iter().any(Baseline::is_known));
        let mut learned: Vec<_> = known
            .map(|(tenant, usage)| Learned {
                tenant: tenant.clone(),
                baselines: usage.baselines,
                quiet_until: usage.quiet_until,
            })
            .collect();
        learned.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        learned
    }

    /// Goes on from what an earlier detector had learned, but for tenants that this one knows better.
    pub fn resume(&mut self, learned: Vec<Learned>) {
        for Learned { tenant, baselines, quiet_until } in learned {
            let usage = self.tenants.entry(tenant).or_default();
            for (known, earlier) in usage.baselines.iter_mut().zip(baselines) {
                if known.minutes < earlier.minutes {
                    *known = earlier;
                }
            }
            usage.quiet_until = usage.quiet_until.max(quiet_until);
        }
    }

    /// Remembers counters; the rates since the last ones, in the order of the snapshot's tenants.
    fn advance(&mut self, snapshot: &Snapshot, elapsed: Duration) -> Vec<Option<[f64; 2]>> {
        let mut known = std::mem::take(&mut self.tenants);
        snapshot
            .tenants
            .iter()
            .map(|counters| {
                let bytes = bytes(counters);
                let mut usage = known.remove(&counters.id).unwrap_or_default();
                if usage.bytes.is_some_and(|before| before[0] > bytes[0] || before[1] > bytes[1]) {
                    // Counters that fell are another tenant's of the same name.
                    usage = Usage::default();
                }
                let before = usage.bytes.replace(bytes);
                self.tenants.insert(counters.id.clone(), usage);
                before.map(|before| rates_of(bytes, before, elapsed))
            })
            .collect()
    }

    fn judge(
        &mut self,
        policy: &Effective,
        tenant: &Tenant,
        rates: [f64; 2],
        loads: Option<[Load; 2]>,
        now: Timestamp,
    ) -> Option<Offence> {
        let usage = self.tenants.get_mut(&tenant.id)?;
        let config = policy.config();
        let class = config.detection.class_index(tenant.detect_class.as_deref());
        let rule = config.detection.classes[class].rule(OffenceKind::SuddenRise);
        let mut counters = BTreeMap::new();
        let mut lowered = [None; 2];
        for (direction, rate) in rates.into_iter().enumerate() {
            let load = loads.map(|loads| loads[direction]);
            if let (Some(rise), Some(load)) = (usage.rise(direction, rate, load, rule), load) {
                let name = DIRECTIONS[direction];
                counters.insert(format!("{name}_bits_per_second"), bits(rate));
                counters.insert(format!("{name}_baseline_bits_per_second"), bits(rise.from_bytes_per_sec));
                counters.insert(format!("{name}_uplink_load_percent"), load.percent);
                let no_rise = rise.least_bytes_per_sec(rule).max(load.even_share_bytes_per_sec);
                let cap = [tenant.cap_up, tenant.cap_down][direction];
                lowered[direction] = lower_than(cap, no_rise);
            }
            usage.baselines[direction].learn(rate);
        }
        let is_quiet = usage.quiet_until.is_some_and(|until| now < until);
        if counters.is_empty() || is_quiet || rule.mode == DetectMode::Off || is_allowed(policy, tenant) {
            return None;
        }
        usage.quiet_until =
            SignedDuration::try_from(rule.duration).ok().and_then(|quiet| now.checked_add(quiet).ok());
        let [up_bits_per_second, down_bits_per_second] = lowered;
        let mut offence = Offence {
            at: now,
            tenant: tenant.id.clone(),
            source: None,
            kind: OffenceKind::SuddenRise,
            mode: rule.mode,
            measure: rule.measure,
            until: usage.quiet_until.filter(|_| rule.mode == DetectMode::Enforce),
            lowered_cap: Some(LoweredCap { up_bits_per_second, down_bits_per_second }),
            counters,
            targets: Vec::new(),
            frames: Vec::new(),
        };
        if rule.measure == Measure::None || lowered == [None; 2] {
            offence.spare();
        }
        Some(offence)
    }
}

impl Rise {
    /// The least rate that is one.
    fn least_bytes_per_sec(&self, rule: &Rule) -> f64 {
        self.from_bytes_per_sec * f64::from(rule.threshold(Threshold::TimesBaseline).unwrap_or(u32::MAX))
    }
}

impl Usage {
    /// The rise in a direction, if this minute makes it one that lasts.
    fn rise(&mut self, direction: usize, rate: f64, load: Option<Load>, rule: &Rule) -> Option<Rise> {
        let threshold = |name| rule.threshold(name).unwrap_or(u32::MAX);
        let baseline = &self.baselines[direction];
        let from_bytes_per_sec =
            self.rises[direction].map_or(baseline.bytes_per_sec, |rise| rise.from_bytes_per_sec);
        let is_over = baseline.is_settled()
            && rate >= Rise { minutes: 0, from_bytes_per_sec }.least_bytes_per_sec(rule)
            && load.is_some_and(|load| {
                load.percent >= u64::from(threshold(Threshold::UplinkLoadPercent))
                    && rate > load.even_share_bytes_per_sec
            });
        let minutes = self.rises[direction].map_or(0, |rise| rise.minutes) + 1;
        self.rises[direction] = is_over.then_some(Rise { minutes, from_bytes_per_sec });
        self.rises[direction].filter(|rise| rise.minutes >= threshold(Threshold::Minutes))
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
fn is_allowed(policy: &Effective, tenant: &Tenant) -> bool {
    let sources: Vec<_> = policy
        .allowances()
        .filter(|allow| allow.kinds.is_empty() || allow.kinds.contains(&OffenceKind::SuddenRise))
        .flat_map(|allow| &allow.sources)
        .collect();
    tenant.prefixes.iter().all(|prefix| {
        sources.iter().any(|source| source.prefix() <= prefix.prefix() && source.contains(prefix.network()))
    })
}

/// A rate in whole kbit/s, in bits per second, if it is less than the tenant may use anyway.
fn lower_than(cap: BitRate, bytes_per_sec: f64) -> Option<u64> {
    let rate = bits(bytes_per_sec) / 1_000 * 1_000;
    (rate < cap.bits_per_sec()).then_some(rate)
}

fn bits(bytes_per_sec: f64) -> u64 {
    (bytes_per_sec * 8.0) as u64
}

#[cfg(test)]
mod tests;
