//! Offences on their way from the data plane into the ledger and the tally, and measures on their way
//! back: after a start, those that still hold; by an operator's hand, those that end (policy rule E4);
//! none while there is an outage upstream.

use std::sync::Arc;
use std::time::Duration;

use ipnetwork::IpNetwork;
use jiff::Timestamp;

use super::suspects::Suspects;
use super::{Controller, State, SuspendError};
use crate::config::{Config, Digest};
use crate::dataplane::DetectionCounters;
use crate::detect::{BREAKER_EVERY, Breaker, ContactTotals, Learned, Lift, MeasureInForce, Offence, Turn};
use crate::evidence::Captures;
use crate::ledger::{self, PastEntry};
use crate::store::{self, Actor, Fact, Moment, Recalled, Restored, Store, StoreError};
use crate::suspension::{Scope, Suspension};

/// Measures are held back this long at a time: a look may come late.
const HOLD: Duration = BREAKER_EVERY.saturating_mul(3);

/// How a tenant is restored.
#[derive(Clone, Debug)]
pub struct Release {
    /// What it gets back.
    pub of: Released,
    /// Who restores it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What a restoration is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// Every suspension, and every measure against the tenant and its sources.
    All,
    /// The suspension of this scope.
    Scope(Scope),
    /// Measures against this source.
    Source(IpNetwork),
}

/// What a restoration ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The suspensions, if there were any, the narrowest scope first.
    pub suspensions: Vec<Suspension>,
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
    Ledger(#[from] StoreError),
}

/// What holds, as the store has it. Policing does not wait for one that cannot be read: then restrictions are
/// those of the newest backup and of the kernel, and measures those that the kernel remembers.
/// Returns too whether it could be read.
pub(super) fn recall(store: &Store, now: &Moment) -> (Recalled, bool) {
    let error = match store.read().and_then(|reader| reader.recall(now)) {
        Ok(recalled) => return (recalled, true),
        Err(error) => error,
    };
    let backup = store.read_backup().and_then(|backup| backup.suspensions().ok());
    let known_from = match backup {
        Some(_) => "the newest backup and the kernel",
        None => "the kernel alone: there is no backup",
    };
    tracing::error!(
        "{error}. Until it can be read, offences are counted from zero, measures from before a reboot do not hold, \
         nor do lowered caps; who is suspended is known from {known_from}"
    );
    (Recalled { suspensions: backup.unwrap_or_default(), ..Recalled::default() }, false)
}

/// Of these measures, those whose source still is the tenant's.
pub(super) fn of_their_tenants(mut in_force: Vec<MeasureInForce>, config: &Config) -> Vec<MeasureInForce> {
    in_force.retain(|held| is_still_theirs(config, held));
    in_force
}

/// Whether the source is the tenant's that the measure was taken against: addresses change hands.
fn is_still_theirs(config: &Config, held: &MeasureInForce) -> bool {
    let has = |prefix: &IpNetwork| {
        held.source
            .is_none_or(|source| prefix.contains(source.network()) || source.contains(prefix.network()))
    };
    config.tenants.iter().any(|tenant| tenant.id == held.tenant && tenant.prefixes.iter().any(has))
}

impl Controller {
    /// Counts and records what the data plane saw since the last call; returns it. What it held back
    /// because of an outage upstream is no offence: everybody's contacts fail then.
    pub fn take_offences(&self) -> Vec<Offence> {
        let mut state = self.state();
        // The packets that led to them first.
        state.read_events();
        let mut offences = state.plane.as_mut().map_or_else(Vec::new, |plane| plane.take_offences());
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
    pub fn offended(&self, offence: Offence) -> Offence {
        let now = store::now();
        let digest = self.policy().config.digest;
        let offence = Offence {
            at: store::to_microsecond(offence.at),
            until: offence.until.map(store::to_microsecond),
            ..offence
        };
        let offence = match offence.taken().filter(|measure| measure.lowered_cap.is_some()) {
            Some(measure) => self.decide_to_lower(offence, measure, &now, digest),
            None => {
                self.state().count(&offence);
                self.store.observe(offence.clone(), &now, digest);
                offence
            }
        };
        if let Some(fact) = crate::enforcement::Fact::of(&offence) {
            self.cases().add(fact);
        }
        offence
    }

    /// A lower cap is the controller's own decision: on the disk before it takes effect.
    fn decide_to_lower(
        &self,
        mut offence: Offence,
        measure: MeasureInForce,
        now: &Moment,
        digest: Digest,
    ) -> Offence {
        let _deciding = self.decide();
        if let Err(error) = self.store.commit(vec![store::offence_record(&offence, now, digest)]) {
            tracing::error!("{error}. The cap of {} is not lowered", offence.tenant);
            offence.spare();
            self.state().count(&offence);
            self.store.observe(offence.clone(), now, digest);
            return offence;
        }
        let mut state = self.state();
        state.count(&offence);
        let mut overrides = state.overrides.clone();
        overrides.lower_cap(measure);
        match state.put_overrides_into_force(overrides, now.wall) {
            Ok(()) => self.changed.notify_one(),
            Err(error) => {
                let tenant = &offence.tenant;
                tracing::error!("cannot lower the cap of {tenant}: {error}. It is tried again in a minute");
            }
        }
        offence
    }

    /// Holds measures back while `breaker` sees an outage upstream, `elapsed` after it looked last.
    pub fn look_for_outage(&self, breaker: &mut Breaker, elapsed: Duration) -> Option<Turn> {
        let mut state = self.state();
        let plane = state.plane.as_mut()?;
        let DetectionCounters { attempted, answered, .. } = plane.detection_counters()?;
        let turn = breaker.sample(ContactTotals { attempted, answered }, elapsed);
        match turn {
            _ if breaker.is_frozen() => plane.hold_measures(HOLD),
            Some(Turn::Thaw) => plane.release_measures(),
            _ => {}
        }
        state.are_measures_held = breaker.is_frozen();
        turn
    }

    /// Ends a tenant's suspensions and the measures against it and its sources, or one of them.
    pub fn restore(&self, tenant: &str, release: Release) -> Result<Ended, SuspendError> {
        let _deciding = self.decide();
        let now = store::now();
        let Release { of, by, reason } = release;
        let ends = |scope| match of {
            Released::All => true,
            Released::Scope(only) => scope == only,
            Released::Source(_) => false,
        };
        let source = match of {
            Released::Source(source) => Some(source),
            Released::All | Released::Scope(_) => None,
        };
        let lift = Lift { tenant: tenant.to_owned(), source, at: now.wall, by, reason };
        let measures = !matches!(of, Released::Scope(_));
        let (suspensions, records) = {
            let mut state = self.state();
            state.must_run()?;
            // What the kernel enforces can be ended, whoever knows of it.
            state.see_measures(&now);
            let mut suspensions = state.seen_overrides(&now).suspensions(tenant).to_vec();
            suspensions.retain(|suspension| ends(suspension.scope));
            let holds = measures && state.offences.in_force(now.wall).any(|held| lift.covers(held));
            if suspensions.is_empty() && !holds {
                state.must_know(tenant)?;
                let tenant = tenant.to_owned();
                return Err(match of {
                    Released::All => SuspendError::NothingToRestore(tenant),
                    Released::Scope(scope) => SuspendError::NotSuspended(scope, tenant),
                    Released::Source(source) => SuspendError::NoMeasure(source, tenant),
                });
            }
            let mut scopes: Vec<_> = suspensions.iter().map(|suspension| Some(suspension.scope)).collect();
            if scopes.is_empty() {
                scopes.push(None);
            }
            let restored = |scope| {
                let fact = Restored { scope, measures, source, reason: lift.reason.clone() };
                state.record(&now, Actor::operator(&lift.by), tenant, Fact::Restored(fact))
            };
            let records: Vec<_> = scopes.into_iter().map(restored).collect();
            (suspensions, records)
        };
        self.store.commit(records)?;
        let mut state = self.state();
        let mut changed = Ok(());
        if !suspensions.is_empty() {
            state.overrides.restore(tenant, ends);
            changed = state.suspensions_changed(&[tenant]);
        }
        // Whatever becomes of one, the other is done.
        let lifted = if measures { state.lift(&lift) } else { Ok(Vec::new()) };
        changed?;
        Ok(Ended { suspensions, lifted: lifted? })
    }

    /// Has what was learned of the tenants' use kept for the next controller; returns at once.
    pub fn keep_baselines(&self, baselines: Vec<Learned>) {
        self.store.keep_baselines(baselines);
    }

    /// What an earlier controller had learned of the tenants' use.
    pub fn baselines(&self) -> Result<Vec<Learned>, StoreError> {
        self.store.read()?.baselines()
    }

    /// The newest `limit` entries of the ledger about a tenant, newest first. A tenant that left the
    /// configuration keeps its history.
    pub fn history(&self, tenant: &str, limit: u32) -> Result<Vec<PastEntry>, HistoryError> {
        let captures = Captures::of(self.store.state_dir());
        let history = ledger::history(&self.store.read()?, &captures, tenant, limit)?;
        if history.is_empty() && self.state().must_know(tenant).is_err() {
            return Err(HistoryError::Unknown(tenant.to_owned()));
        }
        Ok(history)
    }
}

impl State {
    fn count(&mut self, offence: &Offence) {
        let tally = Arc::make_mut(&mut self.offences);
        tally.expire(offence.at);
        tally.add(offence);
    }

    /// Ends measures; returns those that held.
    fn lift(&mut self, lift: &Lift) -> Result<Vec<MeasureInForce>, SuspendError> {
        self.plane.as_mut().ok_or(SuspendError::Stopping)?.lift(lift);
        if self.overrides.lowered_caps(&lift.tenant).iter().any(|held| lift.covers(held)) {
            let mut overrides = self.overrides.clone();
            overrides.raise_caps(&lift.tenant, |held| lift.covers(held));
            self.put_overrides_into_force(overrides, lift.at)?;
        }
        let tally = Arc::make_mut(&mut self.offences);
        tally.expire(lift.at);
        Ok(tally.lift(lift))
    }
}
