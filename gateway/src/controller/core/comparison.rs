//! Store, controller and kernel are compared at the start and once a minute.
//!
//! Of decisions the store's word counts: what it has on the disk is put into force, and what it has ended is
//! ended. Of what the kernel did by itself the kernel's word counts: which measures hold against sources, and
//! until when. After a loss the store does not know all decisions; then those that the kernel holds are adopted.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::Policy;
use super::cases::restraints;
use super::input::{Effect, Seen};
use super::queue::Act;
use super::{Core, Effects};
use crate::config::Config;
use crate::dataplane::Restrictions;
use crate::detect::{HeldMeasure, Lift, MeasureInForce};
use crate::domain::{Actor, Moment};
use crate::policy::Overrides;
use crate::store::{self, Adopted, Fact, Recalled, Record, StoreError};
use crate::suspension::Suspension;

impl Core {
    pub(super) fn recalled(
        &mut self,
        recalled: Result<Box<Recalled>, StoreError>,
        seen: &Seen,
        now: &Moment,
        effects: &mut Effects,
    ) {
        let mut recalled = match recalled {
            Ok(recalled) => recalled,
            Err(error) => return tracing::warn!("{error}. What is in force cannot be compared with it"),
        };
        if recalled.is_to_adopt {
            recalled.is_to_adopt = false;
            let mut known = Overrides::of(recalled.suspensions.iter().cloned(), &[]);
            for (tenant, restraints) in restraints(self.cases.state()) {
                known.restrain(&tenant, restraints);
            }
            let found = known.found_in(seen.restrictions.as_ref().unwrap_or(&Restrictions::new()), now.wall);
            let records = self.adopted(&found, now);
            recalled.suspensions.extend(found);
            return self.commit(None, records, Act::Adopted(recalled, seen.clone()), effects);
        }
        self.put_right(&recalled, seen, now, effects);
    }

    /// Has in force what the store has on the disk. Of tenants about which something was decided since it was asked,
    /// it may be out of date: what is in force stays.
    pub(super) fn put_right(
        &mut self,
        recalled: &Recalled,
        seen: &Seen,
        now: &Moment,
        effects: &mut Effects,
    ) {
        let in_force = of_their_tenants(recalled.measures.clone(), &self.policy.config);
        let mut overrides = Overrides::of(recalled.suspensions.iter().cloned(), &in_force);
        overrides.take_suspensions_over_at(now.wall);
        overrides.keep(self.queue.decided_since(), &self.overrides);
        for (tenant, restraints) in restraints(self.cases.state()) {
            overrides.restrain(&tenant, restraints);
        }
        let mut changed: BTreeSet<String> =
            overrides.differing(&self.overrides).into_iter().map(str::to_owned).collect();
        if !overrides.suspends_like(&self.overrides) {
            if self.is_provisional {
                tracing::info!("the ledger can be read, and says who is suspended");
            } else {
                tracing::error!("the suspensions in force were not those of the ledger; they are now");
            }
        }
        (self.overrides, self.is_provisional) = (overrides, false);
        let otherwise = self.restricted_otherwise(seen);
        let unheard: BTreeSet<_> = otherwise.difference(&changed).cloned().collect();
        if !unheard.is_empty() {
            tracing::error!("the kernel did not forbid what was decided of {unheard:?}; it is told again");
        }
        changed.extend(unheard);
        changed.append(&mut self.refused);
        if !changed.is_empty() {
            self.assign(changed, None, effects);
        }
        self.end_what_was_lifted(recalled, seen, now, effects);
        for measure in self.see_measures(seen, now) {
            let MeasureInForce { tenant, source, measure, until, .. } = measure;
            let (source, measure) = (source.map(|source| source.to_string()), measure.label());
            tracing::warn!(tenant, source, measure, %until, "the kernel holds a measure that the ledger does not know");
        }
    }

    fn adopted(&self, found: &[(String, Suspension)], now: &Moment) -> Vec<Record> {
        let adopted = Fact::Adopted(Adopted { suspensions: found.len() as u64 });
        let config = Some(self.policy.config.digest);
        let mut records =
            vec![Record { at: now.clone(), actor: Actor::controller(), tenant: None, config, fact: adopted }];
        records.extend(found.iter().map(|(tenant, suspension)| {
            let Suspension { scope, reason, .. } = suspension.clone();
            tracing::warn!(tenant, scope = scope.label(), "{reason}: it is adopted");
            let fact = Fact::Found(store::Suspended { scope, until: None, reason });
            self.record(now, Actor::kernel(), tenant, fact)
        }));
        records
    }

    /// Tenants that the kernel does not forbid what was decided.
    fn restricted_otherwise(&self, seen: &Seen) -> BTreeSet<String> {
        let Some(held) = &seen.restrictions else { return BTreeSet::new() };
        let is_policed = |tenant: &str| self.policy.effective.tenant(tenant).is_some();
        let decided: Restrictions =
            self.overrides.restrictions().filter(|(tenant, _)| is_policed(tenant)).collect();
        let is_otherwise = |tenant: &&String| held.get(*tenant) != decided.get(*tenant);
        held.keys().chain(decided.keys()).filter(is_otherwise).cloned().collect()
    }

    /// Makes what the kernel forbids what is to be forbidden, until the store can say.
    pub(in super::super) fn hold_to_what_is_seen(&mut self, seen: &Seen, now: &Moment) {
        self.overrides = self.seen_overrides(seen, now);
        self.policy = Arc::new(self.policy.with(&self.overrides, self.policy.effective.at()));
        self.see_measures(seen, now);
    }

    /// The policy as the kernel enforces it, what nobody decided included; takes the kernel's word for which
    /// measures hold.
    pub(in super::super) fn see(&mut self, seen: &Seen, now: &Moment) -> Arc<Policy> {
        self.see_measures(seen, now);
        let all = self.seen_overrides(seen, now);
        match all.suspends_like(&self.overrides) {
            true => Arc::clone(&self.policy),
            false => Arc::new(self.policy.with(&all, self.policy.effective.at())),
        }
    }

    /// Ends measures in the kernel that the store has ended: a controller may have been killed in between.
    fn end_what_was_lifted(&mut self, recalled: &Recalled, seen: &Seen, now: &Moment, effects: &mut Effects) {
        let is_old = |held: &HeldMeasure, lifted: &MeasureInForce| {
            held.is(lifted) && held.until.duration_since(lifted.until) <= HeldMeasure::TOLERANCE
        };
        for held in seen.measures.iter().flatten() {
            let holds = recalled.measures.iter().any(|measure| held.is(measure));
            if !holds && recalled.lifted.iter().any(|lifted| is_old(held, lifted)) {
                let HeldMeasure { tenant, source, .. } = held.clone();
                tracing::warn!(tenant, %source, "a measure held that the ledger has ended; it does no longer");
                let (source, by) = (Some(source), Actor::controller().name);
                effects.push(Effect::Lift(Lift {
                    tenant,
                    source,
                    at: now.wall,
                    by,
                    reason: "ended before".into(),
                }));
                let same: Vec<_> =
                    recalled.measures.iter().filter(|measure| measure.source == source).cloned().collect();
                effects.push(Effect::Impose(same));
            }
        }
    }

    /// Takes the kernel's word for which measures hold; returns those that nobody knew of.
    pub(super) fn see_measures(&mut self, seen: &Seen, now: &Moment) -> Vec<MeasureInForce> {
        let Some(held) = &seen.measures else { return Vec::new() };
        Arc::make_mut(&mut self.offences).see(held, now.wall)
    }
}

/// Of these measures, those whose source still is the tenant's: addresses change hands.
pub(in super::super) fn of_their_tenants(
    mut in_force: Vec<MeasureInForce>,
    config: &Config,
) -> Vec<MeasureInForce> {
    in_force.retain(|held| is_still_theirs(config, held));
    in_force
}

fn is_still_theirs(config: &Config, held: &MeasureInForce) -> bool {
    let Ok(index) = config.tenants.binary_search_by(|tenant| tenant.id.as_str().cmp(&held.tenant)) else {
        return false;
    };
    held.source.is_none_or(|source| {
        let mut prefixes = config.tenants[index].prefixes.iter();
        prefixes.any(|prefix| prefix.contains(source.network()) || source.contains(prefix.network()))
    })
}
