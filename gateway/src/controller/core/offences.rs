//! Offences, by whomever they were seen: counted, recorded, and made facts of cases. Measures are held back while
//! there is an outage upstream, and caps lowered where tenants rise all of a sudden (policy rules M4, S1-S3).

use std::sync::Arc;
use std::time::Duration;

use super::input::{Effect, Report};
use super::queue::{Act, Job, Lane};
use super::{Core, Effects, Suspects};
use crate::detect::{BREAKER_EVERY, ContactTotals, Learned, MeasureInForce, Offence, Turn};
use crate::domain::{Moment, Usage, to_microsecond};
use crate::enforcement::Fact;
use crate::store::{self, StoreError};

/// Measures are held back this long at a time: a look may come late.
const HOLD: Duration = BREAKER_EVERY.saturating_mul(3);

impl Core {
    /// What the data plane saw. What it held back because of an outage upstream is no offence: everybody's contacts
    /// fail then.
    pub(super) fn offended(&mut self, offences: Vec<Offence>, now: &Moment, effects: &mut Effects) {
        self.suspects.forget_before(now.wall - Suspects::KEPT);
        for mut offence in offences {
            if self.breaker.is_frozen() && offence.is_held() {
                continue;
            }
            if offence.frames.is_empty() {
                offence.frames = self.suspects.frames(offence.source);
            }
            self.take(offence, now, effects);
        }
    }

    /// Counts and records an offence; a cap that it lowers is on the disk first.
    fn take(&mut self, offence: Offence, now: &Moment, effects: &mut Effects) {
        let offence = Box::new(Offence {
            at: to_microsecond(offence.at),
            until: offence.until.map(to_microsecond),
            ..offence
        });
        match offence.taken().filter(|measure| measure.lowered_cap.is_some()) {
            Some(measure) => self.enqueue(Job::Lower(offence, measure), now, effects),
            None => self.count(offence, false, effects),
        }
    }

    pub(super) fn lower(
        &mut self,
        offence: Box<Offence>,
        measure: MeasureInForce,
        now: &Moment,
        effects: &mut Effects,
    ) {
        let record = store::offence_record(&offence, now, self.policy.config.digest);
        let lane = Lane::Tenant(offence.tenant.clone());
        self.commit(Some(lane), vec![record], Act::Lowered { offence, measure }, effects);
    }

    pub(super) fn count(&mut self, offence: Box<Offence>, is_recorded: bool, effects: &mut Effects) {
        let tally = Arc::make_mut(&mut self.offences);
        tally.expire(offence.at);
        tally.add(&offence);
        if let Some(fact) = Fact::of(&offence) {
            self.cases.add(fact);
        }
        if !is_recorded {
            effects.push(Effect::Observe(offence.clone()));
        }
        effects.push(Effect::Report(Report::Offence(offence)));
    }

    /// Holds measures back while there is an outage upstream.
    pub(super) fn look_for_outage(
        &mut self,
        totals: ContactTotals,
        elapsed: Duration,
        effects: &mut Effects,
    ) {
        let turn = self.breaker.sample(totals, elapsed);
        match turn {
            _ if self.breaker.is_frozen() => effects.push(Effect::HoldMeasures(HOLD)),
            Some(Turn::Thaw) => effects.push(Effect::ReleaseMeasures),
            _ => {}
        }
        effects.extend(turn.map(|turn| Effect::Report(Report::Turn(turn))));
    }

    pub(super) fn look_for_rises(
        &mut self,
        usage: &Usage,
        elapsed: Duration,
        now: &Moment,
        effects: &mut Effects,
    ) {
        let rises = self.rises.sample(&self.policy.effective, usage, elapsed, now.wall);
        if !rises.is_empty() && self.has_learned {
            // The next controller must not report them again: an operator may have restored the tenant.
            effects.push(self.keep_learned());
        }
        for offence in rises {
            self.take(offence, now, effects);
        }
    }

    /// Keeps what was learned of the tenants that there are.
    pub(super) fn keep_learned(&self) -> Effect {
        let mut learned = self.rises.learned();
        learned.retain(|learned| self.policy.effective.tenant(&learned.tenant).is_some());
        Effect::KeepLearned(learned)
    }

    /// What an earlier controller had learned.
    pub(super) fn learned(&mut self, learned: Result<Vec<Learned>, StoreError>) {
        match learned {
            Ok(learned) => {
                self.rises.resume(learned);
                self.has_learned = true;
            }
            Err(error) => tracing::warn!(
                "{error}. Until it can be read, sudden rises are told only of tenants watched for a day since the start"
            ),
        }
    }
}
