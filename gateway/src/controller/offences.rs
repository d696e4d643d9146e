//! Offences on their way from the data plane into the ledger and the tally, and measures on their way
//! back: after a start, those that still hold; by an operator's hand, those that end (policy rule E4);
//! none while there is an outage upstream.

use std::sync::Arc;
use std::time::Duration;

use ipnetwork::IpNetwork;
use jiff::Timestamp;

use super::suspects::Suspects;
use super::{Controller, StandingError};
use crate::config::Config;
use crate::dataplane::DetectionCounters;
use crate::detect::{
    BREAKER_EVERY, Breaker, ContactTotals, Learned, Lift, MeasureInForce, Offence, OffenceTally, Turn,
};
use crate::ledger::{Ledger, LedgerError, PastEntry};
use crate::standing::{Change, StandingChange, Suspension};

/// Measures are held back this long at a time: a look may come late.
const HOLD: Duration = BREAKER_EVERY.saturating_mul(3);

/// How a tenant is restored.
#[derive(Clone, Debug)]
pub struct Release {
    /// The one source whose measures end; none: all of the tenant's, and its suspension.
    pub source: Option<IpNetwork>,
    /// Who restores it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What a restoration ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// The suspension, if there was one.
    pub suspension: Option<Suspension>,
    /// The measures, if there were any.
    pub lifted: Vec<MeasureInForce>,
}

/// Why a tenant's history cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// Neither the configuration nor the ledger has such a tenant.
    #[error("no tenant {0:?} is configured, and the ledger knows none; `fairway tenants` lists them")]
    Unknown(String),
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// The tally to go on from, with the measures that hold. Policing does not wait for a ledger that cannot
/// be read: then what holds is what the kernel remembers.
pub(super) fn remembered(ledger: &Ledger, config: &Config, now: Timestamp) -> OffenceTally {
    let resumed = ledger.counts().and_then(|counts| Ok((counts, ledger.in_force(now)?)));
    match resumed {
        Ok((counts, mut in_force)) => {
            in_force.retain(|held| is_still_theirs(config, held));
            OffenceTally::resume(counts, in_force)
        }
        Err(error) => {
            tracing::error!(
                "{error}. Offences are counted from zero, and measures from before a reboot do not hold, nor do lowered caps"
            );
            OffenceTally::default()
        }
    }
}

/// Whether the source is the tenant's that the measure was taken against: addresses change hands.
fn is_still_theirs(config: &Config, held: &MeasureInForce) -> bool {
    let has = |prefix: &IpNetwork| {
        held.source
            .is_none_or(|source| prefix.contains(source.network()) || source.contains(prefix.network()))
    };
    config.tenants.iter().any(|tenant| tenant.id == held.tenant && tenant.prefixes.iter().any(has))
}

/// Of these measures, those that the controller takes by itself, through the policy.
pub(super) fn lowered_caps(measures: &[MeasureInForce]) -> Vec<MeasureInForce> {
    measures.iter().filter(|measure| measure.lowered_cap.is_some()).cloned().collect()
}

impl Controller {
    /// Counts and records what the data plane saw since the last call; returns it. What it held back
    /// because of an outage upstream is no offence: everybody's contacts fail then.
    pub fn take_offences(&self) -> Vec<Offence> {
        let mut state = self.state();
        // The packets that led to them first.
        state.read_events();
        let mut offences = state.policer.as_mut().map_or_else(Vec::new, |policer| policer.take_offences());
        state.suspects.forget_before(Timestamp::now() - Suspects::KEPT);
        for offence in offences.iter_mut().filter(|offence| offence.frames.is_empty()) {
            offence.frames = state.suspects.frames(offence.source);
        }
        if state.are_measures_held {
            offences.retain(|offence| !offence.is_held());
        }
        drop(state);
        offences.into_iter().map(|offence| self.offended(offence)).collect()
    }

    /// Counts and records an offence, and lowers the tenant's cap if that is the measure; returns what came
    /// of it.
    pub fn offended(&self, mut offence: Offence) -> Offence {
        let mut state = self.state();
        if let Some(measure) = offence.taken().filter(|measure| measure.lowered_cap.is_some()) {
            let mut lowered = state.policy.lowered_caps.clone();
            lowered.retain(|held| held.identity() != measure.identity());
            lowered.push(measure);
            match state.lower_caps(lowered) {
                Ok(()) => self.changed.notify_one(),
                Err(error) => {
                    tracing::error!("cannot lower the cap of {}: {error}", offence.tenant);
                    offence.spare();
                }
            }
        }
        let tally = Arc::make_mut(&mut state.offences);
        tally.expire(offence.at);
        tally.add(&offence);
        self.ledger.record(offence.clone(), state.policy.config.digest);
        offence
    }

    /// Holds measures back while `breaker` sees an outage upstream, `elapsed` after it looked last.
    pub fn look_for_outage(&self, breaker: &mut Breaker, elapsed: Duration) -> Option<Turn> {
        let mut state = self.state();
        let policer = state.policer.as_mut()?;
        let DetectionCounters { attempted, answered, .. } = policer.detection_counters()?;
        let turn = breaker.sample(ContactTotals { attempted, answered }, elapsed);
        match turn {
            _ if breaker.is_frozen() => policer.hold_measures(HOLD),
            Some(Turn::Thaw) => policer.release_measures(),
            _ => {}
        }
        state.are_measures_held = breaker.is_frozen();
        turn
    }

    /// Ends a tenant's suspension and the measures against it and its sources, or those against one of its
    /// sources.
    pub fn restore(&self, tenant: &str, release: Release) -> Result<Released, StandingError> {
        let mut state = self.state();
        let at = Timestamp::now();
        let Release { source, by, reason } = release;
        let lift = Lift { tenant: tenant.to_owned(), source, at, by, reason };
        let suspension = match source {
            None => state.suspensions.get(tenant).cloned(),
            Some(_) => None,
        };
        let holds = state.offences.in_force(at).any(|held| lift.covers(held));
        if suspension.is_none() && !holds {
            state.must_know(tenant)?;
            return Err(match source {
                Some(source) => StandingError::NoMeasure(source, tenant.to_owned()),
                None => StandingError::NothingToRestore(tenant.to_owned()),
            });
        }
        if suspension.is_some() {
            let changed = state.suspensions.without(tenant);
            state.put_into_force(changed)?;
        }
        state.policer.as_mut().ok_or(StandingError::Stopping)?.lift(&lift);
        let lowered = &state.policy.lowered_caps;
        if lowered.iter().any(|held| lift.covers(held)) {
            let others = lowered.iter().filter(|held| !lift.covers(held)).cloned().collect();
            state.lower_caps(others)?;
        }
        let tally = Arc::make_mut(&mut state.offences);
        tally.expire(at);
        let lifted = tally.lift(&lift);
        let change = StandingChange {
            at,
            change: Change::Restored,
            scope: suspension.as_ref().map(|suspension| suspension.scope),
            source,
            until: None,
            by: Some(lift.by.clone()),
            reason: lift.reason.clone(),
        };
        self.ledger.record_standing(tenant, change, state.policy.config.digest);
        self.ledger.record_lift(lift);
        Ok(Released { suspension, lifted })
    }

    /// Has what was learned of the tenants' use kept for the next controller; returns at once.
    pub fn keep_baselines(&self, baselines: Vec<Learned>) {
        self.ledger.keep_baselines(baselines);
    }

    /// What an earlier controller had learned of the tenants' use.
    pub fn baselines(&self) -> Result<Vec<Learned>, LedgerError> {
        self.ledger.baselines()
    }

    /// The newest `limit` entries of the ledger about a tenant, newest first. A tenant that left the
    /// configuration keeps its history.
    pub fn history(&self, tenant: &str, limit: u32) -> Result<Vec<PastEntry>, HistoryError> {
        let history = self.ledger.history(tenant, limit)?;
        if history.is_empty() && self.state().must_know(tenant).is_err() {
            return Err(HistoryError::Unknown(tenant.to_owned()));
        }
        Ok(history)
    }
}
