//! Policies on their way into force: one tenant's at once, a whole one beside everything else.

use std::sync::Arc;
use std::time::Duration;

use super::super::{FixedSettings, Policy, ReloadError, Reloaded};
use super::input::{Answer, Effect, Generation, Report, RequestId};
use super::{Core, Effects};
use crate::config::Loaded;
use crate::dataplane::{Applied, DataplaneError};
use crate::domain::Moment;
use crate::policy::{Lapsed, Overrides};

/// Time before what the data plane did not take is tried again.
const RETRY: Duration = Duration::from_secs(60);

/// A whole policy that is on its way into force.
pub(super) struct Applying {
    generation: Generation,
    policy: Arc<Policy>,
    /// What it was composed of.
    overrides: Overrides,
    change: Change,
}

/// Why a whole policy is put into force.
pub(super) enum Change {
    /// The files say something else; it is taken out when its turn comes.
    Config(RequestId, Option<Box<Loaded>>),
    /// Something has lapsed that is of no single tenant.
    Lapse,
}

impl Core {
    /// Puts the policies of these tenants into force, as decided.
    pub(super) fn assign(
        &mut self,
        tenants: impl IntoIterator<Item = String>,
        answer: Option<(RequestId, Answer)>,
        effects: &mut Effects,
    ) {
        self.policy = Arc::new(self.policy.with(&self.overrides, self.policy.effective.at()));
        let (policy, tenants) = (Arc::clone(&self.policy), tenants.into_iter().collect());
        effects.push(Effect::Assign { policy, tenants, answer });
    }

    pub(super) fn not_assigned(&mut self, tenants: Vec<String>, error: &DataplaneError, now: &Moment) {
        let of = tenants.join(", ");
        tracing::error!(
            "cannot put into force what was decided of {of}: {error}. It is tried again in a minute"
        );
        self.refused.extend(tenants);
        self.retry_at = Some(now.running() + RETRY);
    }

    /// Tries again what the data plane did not take.
    pub(super) fn retry(&mut self, now: &Moment, effects: &mut Effects) {
        if self.retry_at.is_some_and(|at| at <= now.running()) {
            self.retry_at = None;
            let refused = std::mem::take(&mut self.refused);
            if !refused.is_empty() {
                self.assign(refused, None, effects);
            }
        }
    }

    /// Takes exemptions, allowances and lowered caps out of force whose time is over. Of one tenant alone that is
    /// one assignment. Allowances are of no tenant, and after a step back of the wall clock exemptions of any
    /// tenant may hold again: then the whole policy is applied.
    pub(super) fn lapse(&mut self, now: &Moment, effects: &mut Effects) {
        let ends = self.policy.effective.next_end().is_some_and(|end| end <= now.wall);
        let is_under_way = self.applying.is_some() || !self.changes.is_empty() || self.retry_at.is_some();
        let lapsed =
            if ends && !is_under_way { self.policy.effective.lapsed_at(now.wall) } else { Vec::new() };
        if lapsed.is_empty() {
            return;
        }
        let is_back = now.wall < self.policy.effective.at();
        if is_back || lapsed.iter().any(|over| over.tenant().is_none()) {
            return self.change(Change::Lapse, now, effects);
        }
        self.overrides.raise_caps_over_at(now.wall);
        self.policy = Arc::new(self.policy.with(&self.overrides, now.wall));
        self.assign(lapsed.iter().filter_map(Lapsed::tenant).map(str::to_owned), None, effects);
        effects.extend(lapsed.into_iter().map(|lapsed| Effect::Report(Report::Lapsed(lapsed))));
    }

    pub(super) fn replace(
        &mut self,
        request: RequestId,
        loaded: Box<Loaded>,
        now: &Moment,
        effects: &mut Effects,
    ) {
        let changed = FixedSettings::from(&*self.policy.config).changed_by(&(&loaded.config).into());
        let refusal = match (self.is_stopping, changed.is_empty()) {
            (true, _) => Some(ReloadError::Stopping),
            (false, false) => Some(ReloadError::NeedsRestart { changed }),
            (false, true) => None,
        };
        match refusal {
            Some(error) => effects.push(Effect::Answer(request, Answer::Replaced(Err(error)))),
            None => self.change(Change::Config(request, Some(loaded)), now, effects),
        }
    }

    /// Puts a whole policy into force, after those before it.
    fn change(&mut self, change: Change, now: &Moment, effects: &mut Effects) {
        self.changes.push_back(change);
        if self.applying.is_none() {
            self.apply_next(now, effects);
        }
    }

    fn apply_next(&mut self, now: &Moment, effects: &mut Effects) {
        let Some(mut change) = self.changes.pop_front() else { return };
        let mut overrides = self.overrides.clone();
        overrides.raise_caps_over_at(now.wall);
        let loaded = match &mut change {
            Change::Config(_, loaded) => loaded.take(),
            Change::Lapse => None,
        };
        let policy = match loaded {
            Some(loaded) => Policy::new(*loaded, &overrides, now.wall),
            None => self.policy.with(&overrides, now.wall),
        };
        let (generation, policy) = (Generation(self.next_id()), Arc::new(policy));
        effects.push(Effect::Apply(generation, Arc::clone(&policy)));
        self.applying = Some(Applying { generation, policy, overrides, change });
    }

    /// A whole policy is in force, or the one before still is.
    pub(super) fn applied(
        &mut self,
        generation: Generation,
        outcome: Result<Applied, DataplaneError>,
        now: &Moment,
        effects: &mut Effects,
    ) {
        let is_awaited = |applying: &mut Applying| applying.generation == generation;
        let Some(applying) = self.applying.take_if(is_awaited) else { return };
        match outcome {
            Ok(applied) => self.in_force(applying, applied, now, effects),
            Err(error) => self.not_in_force(applying.change, error, now, effects),
        }
        self.apply_next(now, effects);
    }

    fn in_force(&mut self, applying: Applying, applied: Applied, now: &Moment, effects: &mut Effects) {
        let Applying { policy, overrides, change, .. } = applying;
        let lapsed = self.policy.effective.lapsed_at(policy.effective.at());
        self.overrides.raise_caps_over_at(policy.effective.at());
        // What was decided while it was on its way.
        let missed: Vec<_> = overrides.differing(&self.overrides).into_iter().map(str::to_owned).collect();
        self.retry_at = None;
        self.refused.clear();
        self.policy = policy;
        match change {
            Change::Config(request, _) => {
                let (digest, warnings) = (self.policy.config.digest, Arc::clone(&self.policy.warnings));
                self.succeeded(now.wall);
                let effective = &self.policy.effective;
                self.samples.retain(|id| effective.tenant(id).is_some());
                effects.push(Effect::LimitEvidence(self.policy.config.evidence));
                let reloaded = Reloaded { digest, applied, warnings };
                self.assign(missed, Some((request, Answer::Replaced(Ok(reloaded)))), effects);
            }
            Change::Lapse => {
                effects.extend(lapsed.into_iter().map(|lapsed| Effect::Report(Report::Lapsed(lapsed))));
                self.assign(missed, None, effects);
            }
        }
    }

    fn not_in_force(&mut self, change: Change, error: DataplaneError, now: &Moment, effects: &mut Effects) {
        match change {
            Change::Config(request, _) => {
                effects.push(Effect::Answer(request, Answer::Replaced(Err(error.into()))));
            }
            Change::Lapse => {
                tracing::error!("cannot take what lapsed out of the tables: {error}");
                self.retry_at = Some(now.running() + RETRY);
            }
        }
    }
}
