//! What operators decide about tenants: suspended and restored (policy rules E1 and E4).

use std::sync::Arc;

use super::super::{Ended, Release, Released, SuspendError};
use super::cases::restrains;
use super::input::{Answer, Command, Effect, RequestId, Seen, Ticket};
use super::queue::{Act, Asker, Job, Lane, stopping};
use super::{Core, Effects, Report};
use crate::detect::Lift;
use crate::domain::{Actor, Moment, to_microsecond};
use crate::policy::Overrides;
use crate::store::{self, Acknowledged, Expired, Fact, Record, StoreError};
use crate::suspension::Suspension;

impl Core {
    pub(super) fn command(
        &mut self,
        request: RequestId,
        command: Command,
        now: &Moment,
        effects: &mut Effects,
    ) {
        if self.is_stopping {
            return effects.push(Effect::Answer(request, stopping(&command)));
        }
        self.enqueue(Job::Command(request, command), now, effects);
    }

    /// Decides something, now or after what is on its way in the same lane.
    pub(super) fn enqueue(&mut self, job: Job, now: &Moment, effects: &mut Effects) {
        if self.queue.is_busy(&job.lane()) { self.queue.wait(job) } else { self.start(job, now, effects) }
    }

    fn start(&mut self, job: Job, now: &Moment, effects: &mut Effects) {
        match job {
            Job::Command(request, command @ Command::Restore { .. }) => {
                effects.push(Effect::See(request, command))
            }
            Job::Command(request, Command::Suspend { tenant, suspension, by }) => {
                self.suspend(request, tenant, suspension, &Actor::from(&by), now, effects);
            }
            Job::Command(request, Command::Acknowledge { reason, by, losses }) => {
                let (fact, config) = (Fact::Acknowledged(Acknowledged { reason }), self.policy.config.digest);
                let actor = Actor::from(&by);
                let record = Record { at: now.clone(), actor, tenant: None, config: Some(config), fact };
                self.commit(Some(Lane::Ledger), vec![record], Act::Acknowledged { request, losses }, effects);
            }
            Job::Command(request, Command::Case(command)) => {
                self.command_case(request, command, now, effects)
            }
            Job::Lower(offence, measure) => self.lower(offence, measure, now, effects),
            Job::RestoreCases { request, tenant, by, reason, ended } => {
                self.restore_cases(request, (tenant, by, reason), ended, now, effects);
            }
        }
    }

    /// Sends records to the disk; what follows from them takes effect when they are there.
    pub(super) fn commit(
        &mut self,
        lane: Option<Lane>,
        records: Vec<Record>,
        act: Act,
        effects: &mut Effects,
    ) {
        let ticket = Ticket(self.next_id());
        self.queue.begin(ticket, lane, act);
        effects.push(Effect::Commit(ticket, records));
    }

    fn suspend(
        &mut self,
        request: RequestId,
        tenant: String,
        suspension: Suspension,
        actor: &Actor,
        now: &Moment,
        effects: &mut Effects,
    ) {
        if let Err(error) = self.must_know(&tenant) {
            return effects.push(Effect::Answer(request, Answer::Suspended(Err(error))));
        }
        let suspension = Suspension {
            since: to_microsecond(suspension.since),
            until: suspension.until.map(to_microsecond),
            ..suspension
        };
        let Suspension { scope, reason, since, until, .. } = suspension.clone();
        let fact = Fact::Suspended(store::Suspended { scope, until, reason });
        let record = self.record(&now.at(since), actor.clone(), &tenant, fact);
        let lane = Lane::Tenant(tenant.clone());
        self.commit(Some(lane), vec![record], Act::Suspended { request, tenant, suspension }, effects);
    }

    /// What the kernel enforces can be ended, whoever knows of it.
    pub(super) fn seen(
        &mut self,
        request: RequestId,
        command: Command,
        seen: &Seen,
        now: &Moment,
        effects: &mut Effects,
    ) {
        let Command::Restore { tenant, release } = command else { return };
        self.see_measures(seen, now);
        let Release { of, by, reason } = release;
        let source = match of {
            Released::Source(source) => Some(source),
            Released::All | Released::Scope(_) => None,
        };
        let lift = Lift { tenant: tenant.clone(), source, at: now.wall, by: by.name.clone(), reason };
        let lifts_measures = !matches!(of, Released::Scope(_));
        let mut suspensions = self.seen_overrides(seen, now).suspensions(&tenant).to_vec();
        suspensions.retain(|suspension| match of {
            Released::All => true,
            Released::Scope(only) => suspension.scope == only,
            Released::Source(_) => false,
        });
        let has_cases = of == Released::All && self.cases.state().cases_of(&tenant).any(restrains);
        let holds = lifts_measures && self.offences.in_force(now.wall).any(|held| lift.covers(held));
        if suspensions.is_empty() && !holds && has_cases {
            let (reason, ended) = (lift.reason, Ended::default());
            return self.enqueue(Job::RestoreCases { request, tenant, by, reason, ended }, now, effects);
        }
        if suspensions.is_empty() && !holds {
            let error = self.must_know(&tenant).err().unwrap_or(match of {
                Released::All => SuspendError::NothingToRestore(tenant),
                Released::Scope(scope) => SuspendError::NotSuspended(scope, tenant),
                Released::Source(source) => SuspendError::NoMeasure(source, tenant),
            });
            let lane = Lane::Tenant(lift.tenant);
            effects.push(Effect::Answer(request, Answer::Restored(Err(error))));
            return self.start_waiting(&lane, now, effects);
        }
        let mut scopes: Vec<_> = suspensions.iter().map(|suspension| Some(suspension.scope)).collect();
        if scopes.is_empty() {
            scopes.push(None);
        }
        let restored = |scope| {
            let reason = lift.reason.clone();
            let fact = Fact::Restored(store::Restored { scope, measures: lifts_measures, source, reason });
            self.record(now, Actor::from(&by), &tenant, fact)
        };
        let records = scopes.into_iter().map(restored).collect();
        let cases = has_cases.then_some(by);
        let act = Act::Restored { request, suspensions, lift, lifts_measures, cases };
        self.commit(Some(Lane::Tenant(tenant)), records, act, effects);
    }

    pub(super) fn must_know(&self, tenant: &str) -> Result<(), SuspendError> {
        match self.policy.effective.tenant(tenant) {
            Some(_) => Ok(()),
            None => Err(SuspendError::Unknown(tenant.to_owned())),
        }
    }

    /// Something is on the disk, or cannot be.
    pub(super) fn committed(
        &mut self,
        ticket: Ticket,
        outcome: Result<(), StoreError>,
        now: &Moment,
        effects: &mut Effects,
    ) {
        let Some((lane, act)) = self.queue.end(ticket) else { return };
        match outcome {
            Ok(()) => self.act(act, now, effects),
            Err(error) => self.not_kept(act, error, now, effects),
        }
        if let Some(lane) = lane {
            self.start_waiting(&lane, now, effects);
        }
    }

    /// Decides what waits in a lane, up to what is on its way then.
    fn start_waiting(&mut self, lane: &Lane, now: &Moment, effects: &mut Effects) {
        while let Some(job) = self.queue.next(lane) {
            let is_to_see = matches!(job, Job::Command(_, Command::Restore { .. }));
            self.start(job, now, effects);
            // It is decided once it is known what the kernel enforces, and what is behind it after that.
            if is_to_see {
                return;
            }
        }
    }

    /// Puts into effect what is on the disk.
    fn act(&mut self, act: Act, now: &Moment, effects: &mut Effects) {
        match act {
            Act::Suspended { request, tenant, suspension } => {
                self.overrides.suspend(&tenant, suspension);
                let all = self.overrides.suspensions(&tenant).to_vec();
                self.assign([tenant], Some((request, Answer::Suspended(Ok(all)))), effects);
            }
            Act::Restored { request, suspensions, lift, lifts_measures, cases } => {
                let is_ended = |scope| suspensions.iter().any(|ended| ended.scope == scope);
                self.overrides.restore(&lift.tenant, is_ended);
                let mut lifted = Vec::new();
                if lifts_measures {
                    self.overrides.raise_caps(&lift.tenant, |held| lift.covers(held));
                    effects.push(Effect::Lift(lift.clone()));
                    let tally = Arc::make_mut(&mut self.offences);
                    tally.expire(now.wall);
                    lifted = tally.lift(&lift);
                }
                let ended = Ended { suspensions, lifted, ..Ended::default() };
                let Lift { tenant, reason, .. } = lift;
                let Some(by) = cases else {
                    return self.assign([tenant], Some((request, Answer::Restored(Ok(ended)))), effects);
                };
                self.assign([tenant.clone()], None, effects);
                self.enqueue(Job::RestoreCases { request, tenant, by, reason, ended }, now, effects);
            }
            Act::Acknowledged { request, losses } => {
                effects.push(Effect::Answer(request, Answer::Acknowledged(Ok(losses))));
            }
            Act::Lowered { offence, measure } => {
                self.overrides.lower_cap(measure);
                let tenant = offence.tenant.clone();
                self.count(offence, true, effects);
                self.assign([tenant], None, effects);
            }
            Act::Adopted(recalled, seen) => self.put_right(&recalled, &seen, now, effects),
            Act::Case { asked, acts, at } => self.act_on_cases(asked, &acts, at, effects),
            Act::Expired => {}
        }
    }

    fn not_kept(&mut self, act: Act, error: StoreError, now: &Moment, effects: &mut Effects) {
        match act {
            Act::Suspended { request, .. } => {
                effects.push(Effect::Answer(request, Answer::Suspended(Err(error.into()))));
            }
            Act::Restored { request, .. } => {
                effects.push(Effect::Answer(request, Answer::Restored(Err(error.into()))));
            }
            Act::Acknowledged { request, .. } => {
                effects.push(Effect::Answer(request, Answer::Acknowledged(Err(error))));
            }
            Act::Lowered { mut offence, .. } => {
                tracing::error!("{error}. The cap of {} is not lowered", offence.tenant);
                offence.spare();
                self.count(offence, false, effects);
            }
            Act::Adopted(..) => {
                tracing::warn!("{error}. What only the kernel restricts is adopted later");
            }
            Act::Case { asked: Asker::Nobody, .. } => self.cases_not_kept(&error, now),
            Act::Case { asked, .. } => {
                let answer = asked.not_kept(error);
                effects.extend(answer.map(|(request, answer)| Effect::Answer(request, answer)));
            }
            Act::Expired => tracing::error!("{error}. That suspensions are over is recorded later"),
        }
    }

    /// Ends the suspensions whose time is over. That they end was decided when they began: it does not wait for the
    /// disk, and what cannot be recorded now is at the next start: it is over by its time.
    pub(super) fn end_suspensions(&mut self, now: &Moment, effects: &mut Effects) {
        let over = self.overrides.take_suspensions_over_at(now.wall);
        if over.is_empty() {
            return;
        }
        self.assign(over.iter().map(|(tenant, _)| tenant.clone()), None, effects);
        self.record_ends(over, now, effects);
    }

    /// Records that the time of suspensions was over.
    pub(in super::super) fn record_ends(
        &mut self,
        over: Vec<(String, Suspension)>,
        now: &Moment,
        effects: &mut Effects,
    ) {
        if over.is_empty() {
            return;
        }
        let record = |(tenant, suspension): &(String, Suspension)| {
            let fact = Expired { scope: suspension.scope, reason: suspension.reason.clone() };
            self.record(now, Actor::controller(), tenant, Fact::Expired(fact))
        };
        let records = over.iter().map(record).collect();
        self.commit(None, records, Act::Expired, effects);
        effects.extend(over.into_iter().map(|(tenant, over)| Effect::Report(Report::Restored(tenant, over))));
    }

    /// What was decided, and what the kernel forbids though nobody decided it.
    pub(super) fn seen_overrides(&self, seen: &Seen, now: &Moment) -> Overrides {
        let mut all = self.overrides.clone();
        if let Some(held) = &seen.restrictions {
            for (tenant, suspension) in self.overrides.found_in(held, now.wall) {
                all.suspend(&tenant, suspension);
            }
        }
        all
    }
}
