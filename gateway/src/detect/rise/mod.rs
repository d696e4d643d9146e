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
use crate::domain::Usage;
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
    /// The configuration at the last look; none: there was none since the start.
    config: Option<Arc<Config>>,
    /// By the place of the tenant in it, so that a look of all is one pass.
    tenants: Vec<Known>,
    /// What was kept of tenants that have no place, until the next look.
    kept: HashMap<String, Known>,
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

/// What is known of a tenant.
#[derive(Debug, Default)]
struct Known {
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
        usage: &Usage,
        elapsed: Duration,
        now: Timestamp,
    ) -> Vec<Offence> {
        let config = policy.config();
        self.align(config);
        let rates = self.advance(usage, elapsed);
        let before = self.other_bytes.replace(usage.others);
        let other = before.map(|before| rates_of(usage.others, before, elapsed));
        let loads = other.and_then(|other| loads(config, rates.iter().flatten(), other));
        let mut offences = Vec::new();
        for (index, (tenant, rates)) in config.tenants.iter().zip(rates).enumerate() {
            if let Some(rates) = rates {
                offences.extend(self.tenants[index].judge(policy, tenant, rates, loads, now));
            }
        }
        let at_most = config.detection.max_measures_per_minute as usize;
        for offence in offences.iter_mut().filter(|offence| offence.until.is_some()).skip(at_most) {
            offence.spare();
            offence.counters.insert(Offence::HELD.to_owned(), 1);
            if let Some(place) = self.place(&offence.tenant) {
                self.tenants[place].quiet_until = None;
            }
        }
        offences
    }

    /// What was learned until now, by ascending tenant.
    #[must_use]
    pub fn learned(&self) -> Vec<Learned> {
        let config = self.config.iter().flat_map(|config| &config.tenants);
        let placed = config.map(|tenant| &tenant.id).zip(&self.tenants);
        let known =
            placed.chain(&self.kept).filter(|(_, known)| known.baselines.iter().any(Baseline::is_known));
        let mut learned: Vec<_> = known
            .map(|(tenant, &Known { baselines, quiet_until, .. })| Learned {
                tenant: tenant.clone(),
                baselines,
                quiet_until,
            })
            .collect();
        learned.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        learned
    }

    /// Goes on from what an earlier detector had learned, but for tenants that this one knows better.
    pub fn resume(&mut self, learned: Vec<Learned>) {
        for Learned { tenant, baselines, quiet_until } in learned {
            let known = match self.place(&tenant) {
                Some(place) => &mut self.tenants[place],
                None => self.kept.entry(tenant).or_default(),
            };
            for (baseline, earlier) in known.baselines.iter_mut().zip(baselines) {
                if baseline.minutes < earlier.minutes {
                    *baseline = earlier;
                }
            }
            known.quiet_until = known.quiet_until.max(quiet_until);
        }
    }

    /// Gives each tenant of a configuration its place. What is known of tenants that are gone is forgotten.
    fn align(&mut self, config: &Arc<Config>) {
        if self.config.as_ref().is_some_and(|before| Arc::ptr_eq(before, config)) {
            return self.kept.clear();
        }
        let mut known = std::mem::take(&mut self.kept);
        if let Some(before) = self.config.replace(Arc::clone(config)) {
            let ids = before.tenants.iter().map(|tenant| tenant.id.clone());
            known.extend(ids.zip(std::mem::take(&mut self.tenants)));
        }
        let of = |tenant: &Arc<Tenant>| known.remove(&tenant.id).unwrap_or_default();
        self.tenants = config.tenants.iter().map(of).collect();
    }

    /// The place of a tenant, by its id.
    fn place(&self, id: &str) -> Option<usize> {
        let config = self.config.as_ref()?;
        config.tenants.binary_search_by(|tenant| tenant.id.as_str().cmp(id)).ok()
    }

    /// Remembers counters; the rates since the last ones, in the order of the tenants.
    fn advance(&mut self, usage: &Usage, elapsed: Duration) -> Vec<Option<[f64; 2]>> {
        let rates = self.tenants.iter_mut().zip(&usage.tenants).map(|(known, &bytes)| {
            if known.bytes.is_some_and(|before| before[0] > bytes[0] || before[1] > bytes[1]) {
                // Counters that fell are another tenant's of the same name.
                *known = Known::default();
            }
            let before = known.bytes.replace(bytes);
            before.map(|before| rates_of(bytes, before, elapsed))
        });
        rates.collect()
    }
}

impl Known {
    fn judge(
        &mut self,
        policy: &Effective,
        tenant: &Tenant,
        rates: [f64; 2],
        loads: Option<[Load; 2]>,
        now: Timestamp,
    ) -> Option<Offence> {
        let config = policy.config();
        let class = config.detection.class_index(tenant.detect_class.as_deref());
        let rule = config.detection.classes[class].rule(OffenceKind::SuddenRise);
        let mut counters = BTreeMap::new();
        let mut lowered = [None; 2];
        for (direction, rate) in rates.into_iter().enumerate() {
            let load = loads.map(|loads| loads[direction]);
            if let (Some(rise), Some(load)) = (self.rise(direction, rate, load, rule), load) {
                let name = DIRECTIONS[direction];
                counters.insert(format!("{name}_bits_per_second"), bits(rate));
                counters.insert(format!("{name}_baseline_bits_per_second"), bits(rise.from_bytes_per_sec));
                counters.insert(format!("{name}_uplink_load_percent"), load.percent);
                let no_rise = rise.least_bytes_per_sec(rule).max(load.even_share_bytes_per_sec);
                let cap = [tenant.cap_up, tenant.cap_down][direction];
                lowered[direction] = lower_than(cap, no_rise);
            }
            self.baselines[direction].learn(rate);
        }
        let is_quiet = self.quiet_until.is_some_and(|until| now < until);
        if counters.is_empty() || is_quiet || rule.mode == DetectMode::Off || is_allowed(policy, tenant) {
            return None;
        }
        self.quiet_until =
            SignedDuration::try_from(rule.duration).ok().and_then(|quiet| now.checked_add(quiet).ok());
        let [up_bits_per_second, down_bits_per_second] = lowered;
        let mut offence = Offence {
            at: now,
            tenant: tenant.id.clone(),
            source: None,
            kind: OffenceKind::SuddenRise,
            mode: rule.mode,
            measure: rule.measure,
            until: self.quiet_until.filter(|_| rule.mode == DetectMode::Enforce),
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

impl Known {
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
