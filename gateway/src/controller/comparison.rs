//! Store, controller and kernel are compared at the start and once a minute.
//!
//! Of decisions the store's word counts: what it has on the disk is put into force, and what it has ended is
//! ended. Of what the kernel did by itself the kernel's word counts: which measures hold against sources, and
//! until when. After a loss the store does not know all decisions; then those that the kernel holds are adopted.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Controller, Policy, State, offences};
use crate::dataplane::Restrictions;
use crate::detect::{HeldMeasure, Lift, MeasureInForce};
use crate::policy::Overrides;
use crate::store::{self, Actor, Adopted, Fact, Moment, Recalled, Record, StoreError};
use crate::suspension::Suspension;

impl Controller {
    /// Puts right what differs from what the store has on the disk. Blocks.
    pub fn compare(&self) -> Result<(), StoreError> {
        let _deciding = self.decide();
        let now = store::now();
        self.store.note(now.clone());
        let recalled = self.store.read()?.recall(&now)?;
        self.put_right(recalled, &now)
    }

    /// [`Self::compare`] with what was just recalled.
    pub(super) fn put_right(&self, mut recalled: Recalled, now: &Moment) -> Result<(), StoreError> {
        if recalled.is_to_adopt {
            let known = Overrides::of(recalled.suspensions.iter().cloned(), &[]);
            let found = known.found_in(&self.state().held_restrictions(), now.wall);
            self.store.commit(self.adopted(&found, now))?;
            recalled.suspensions.extend(found);
        }
        let mut state = self.state();
        let in_force = offences::of_their_tenants(recalled.measures.clone(), &state.policy.config);
        let mut overrides = Overrides::of(recalled.suspensions.iter().cloned(), &in_force);
        overrides.take_suspensions_over_at(now.wall);
        if !overrides.suspends_like(&state.overrides) {
            match state.is_provisional {
                true => tracing::info!("the ledger can be read, and says who is suspended"),
                false => {
                    tracing::error!("the suspensions in force were not those of the ledger; they are now");
                }
            }
            let before = state.overrides.clone();
            state.overrides.suspend_like(&overrides);
            let after = state.overrides.clone();
            if let Err(error) = state.suspensions_changed(&after.differing(&before)) {
                tracing::error!("cannot put suspensions into force: {error}. It is tried again in a minute");
            }
            self.changed.notify_one();
        }
        state.is_provisional = false;
        state.enforce_suspensions();
        state.end_what_was_lifted(&recalled, now);
        if overrides != state.overrides {
            match state.put_overrides_into_force(overrides, now.wall) {
                Ok(()) => self.changed.notify_one(),
                Err(error) => {
                    tracing::error!("cannot lower caps as decided: {error}. It is tried again in a minute");
                }
            }
        }
        for measure in state.see_measures(now) {
            let MeasureInForce { tenant, source, measure, until, .. } = measure;
            let (source, measure) = (source.map(|source| source.to_string()), measure.label());
            tracing::warn!(tenant, source, measure, %until, "the kernel holds a measure that the ledger does not know");
        }
        Ok(())
    }

    fn adopted(&self, found: &[(String, Suspension)], now: &Moment) -> Vec<Record> {
        let state = self.state();
        let adopted = Fact::Adopted(Adopted { suspensions: found.len() as u64 });
        let config = Some(state.policy.config.digest);
        let mut records =
            vec![Record { at: now.clone(), actor: Actor::controller(), tenant: None, config, fact: adopted }];
        records.extend(found.iter().map(|(tenant, suspension)| {
            let Suspension { scope, reason, .. } = suspension.clone();
            tracing::warn!(tenant, scope = scope.label(), "{reason}: it is adopted");
            state.record(
                now,
                Actor::kernel(),
                tenant,
                Fact::Found(store::Suspended { scope, until: None, reason }),
            )
        }));
        records
    }
}

impl State {
    /// What the kernel forbids tenants; nothing if it cannot be asked.
    fn held_restrictions(&self) -> Restrictions {
        self.plane.as_ref().and_then(|plane| plane.restrictions_in_force()).unwrap_or_default()
    }

    /// What was decided, and what the kernel forbids though nobody decided it.
    pub(super) fn seen_overrides(&self, now: &Moment) -> Overrides {
        let mut seen = self.overrides.clone();
        for (tenant, suspension) in self.overrides.found_in(&self.held_restrictions(), now.wall) {
            seen.suspend(&tenant, suspension);
        }
        seen
    }

    /// The policy as the kernel enforces it, what nobody decided included.
    pub(super) fn seen_policy(&self, now: &Moment) -> Arc<Policy> {
        let seen = self.seen_overrides(now);
        match seen.suspends_like(&self.overrides) {
            true => Arc::clone(&self.policy),
            false => Arc::new(self.policy.with(&seen, self.policy.effective.at())),
        }
    }

    /// Makes what the kernel forbids what is to be forbidden, until the store can say.
    pub(super) fn hold_to_what_is_seen(&mut self, now: &Moment) {
        self.overrides = self.seen_overrides(now);
        self.policy = Arc::new(self.policy.with(&self.overrides, self.policy.effective.at()));
        self.see_measures(now);
    }

    /// Has the kernel forbid what was decided, if it does not.
    fn enforce_suspensions(&mut self) {
        let Some(plane) = self.plane.as_mut() else { return };
        let Some(held) = plane.restrictions_in_force() else { return };
        let tenants = &self.policy.config.tenants;
        let is_policed = |id: &str| tenants.binary_search_by(|tenant| tenant.id.as_str().cmp(id)).is_ok();
        let decided: Restrictions =
            self.overrides.restrictions().filter(|(tenant, _)| is_policed(tenant)).collect();
        let is_otherwise = |tenant: &&String| held.get(*tenant) != decided.get(*tenant);
        let otherwise: BTreeSet<&str> =
            held.keys().chain(decided.keys()).filter(is_otherwise).map(String::as_str).collect();
        if otherwise.is_empty() {
            return;
        }
        match plane.assign(&self.policy.effective, &otherwise.into_iter().collect::<Vec<_>>()) {
            Ok(()) => tracing::error!("the kernel did not forbid what was decided; it does now"),
            Err(error) => {
                tracing::error!(
                    "the kernel does not forbid what was decided: {error}. It is tried again in a minute"
                );
            }
        }
    }

    /// Ends measures in the kernel that the store has ended: a controller may have been killed in between.
    fn end_what_was_lifted(&mut self, recalled: &Recalled, now: &Moment) {
        let Some(plane) = self.plane.as_mut() else { return };
        let Some(held) = plane.held_measures() else { return };
        let is_old = |held: &HeldMeasure, lifted: &MeasureInForce| {
            held.is(lifted) && held.until.duration_since(lifted.until) <= HeldMeasure::TOLERANCE
        };
        for held in held {
            let holds = recalled.measures.iter().any(|measure| held.is(measure));
            if !holds && recalled.lifted.iter().any(|lifted| is_old(&held, lifted)) {
                let (tenant, source) = (held.tenant, Some(held.source));
                tracing::warn!(tenant, %held.source, "a measure held that the ledger has ended; it does no longer");
                let (by, reason) = (Actor::controller().name, "ended before".to_owned());
                plane.lift(&Lift { tenant, source, at: now.wall, by, reason });
                let same: Vec<_> =
                    recalled.measures.iter().filter(|measure| measure.source == source).cloned().collect();
                plane.impose(&same);
            }
        }
    }

    /// Takes the kernel's word for which measures hold; returns those that nobody knew of.
    pub(super) fn see_measures(&mut self, now: &Moment) -> Vec<MeasureInForce> {
        let Some(held) = self.plane.as_ref().and_then(|plane| plane.held_measures()) else {
            return Vec::new();
        };
        Arc::make_mut(&mut self.offences).see(&held, now.wall)
    }
}
