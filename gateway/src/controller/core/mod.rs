//! Decides: what operators want, what the data plane saw and what time it is come in, and what is to be done
//! comes out.
//!
//! The core owns what is decided and does nothing itself: no clock, no thread, no I/O. Whoever drives it hands in
//! the time with every input, does the effects in their order, and reports back what became of those that can
//! fail. Given the same inputs at the same times, it comes to the same state.
//!
//! Three rules hold at every step:
//! - what is decided is on the disk before it takes effect, and has taken effect before it is answered;
//! - acts about one tenant follow one another: the second may depend on what becomes of the first. Others do not
//!   wait for them;
//! - one whole policy at a time is on its way into force, and no decision waits for it: it takes effect in the policy
//!   that is in force, and again in the next if that was composed without it.

mod acts;
mod cases;
mod comparison;
mod input;
mod offences;
mod policies;
mod queue;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub use input::{Answer, Command, Effect, Generation, Input, Report, RequestId, Seen, Ticket};

pub(super) use cases::restraints;
pub(super) use comparison::of_their_tenants;

use super::samples::{Sample, Samples};
use super::suspects::Suspects;
use super::{LastReload, Policy};
use crate::config::{CaseClass, CaseSeverity};
use crate::dataplane::{Event, EventKind};
use crate::detect::{Breaker, Look, OffenceTally, RiseDetector, Second};
use crate::domain::{Actor, Moment};
use crate::enforcement::{self, Standing};
use crate::policy::Overrides;
use crate::store::{Fact, Record};
use cases::Cases;
use policies::{Applying, Change};
use queue::{Lane, Queue};

/// All that is decided.
pub struct Core {
    policy: Arc<Policy>,
    /// What was decided at run time; all of it is on the disk, unless it is provisional.
    overrides: Overrides,
    /// Whether `overrides` have suspensions that only a backup or the kernel knows: the store could not be read,
    /// or has lost something that was not adopted yet.
    is_provisional: bool,
    offences: Arc<OffenceTally>,
    samples: Samples,
    suspects: Suspects,
    last_reload: LastReload,
    second: Second,
    breaker: Breaker,
    rises: RiseDetector,
    /// Whether what an earlier controller had learned is in `rises`: it must not be replaced before.
    has_learned: bool,
    cases: Cases,
    queue: Queue,
    /// The whole policy that is on its way into force.
    applying: Option<Applying>,
    /// What is to be put into force after it, in this order.
    changes: VecDeque<Change>,
    /// Tenants whose policy the data plane did not take.
    refused: BTreeSet<String>,
    /// When what the data plane did not take is tried again.
    retry_at: Option<Duration>,
    is_stopping: bool,
    last_id: u64,
}

/// What to do, in this order.
pub type Effects = Vec<Effect>;

/// What a core begins with.
pub struct Beginning {
    /// The policy in force.
    pub policy: Policy,
    /// What was decided beside the files.
    pub overrides: Overrides,
    /// Whether that is only what a backup and the kernel know.
    pub is_provisional: bool,
    /// Offences counted, and measures in force.
    pub offences: OffenceTally,
    /// Open cases.
    pub cases: enforcement::State,
}

impl Core {
    /// Begins with a policy that is in force.
    #[must_use]
    pub fn new(beginning: Beginning, now: &Moment) -> Self {
        let Beginning { policy, overrides, is_provisional, offences, cases } = beginning;
        Self {
            policy: Arc::new(policy),
            overrides,
            is_provisional,
            offences: Arc::new(offences),
            samples: Samples::default(),
            suspects: Suspects::default(),
            last_reload: LastReload { at: now.wall, error: None, succeeded_at: now.wall },
            second: Second::default(),
            breaker: Breaker::default(),
            rises: RiseDetector::default(),
            has_learned: false,
            cases: Cases::new(cases),
            queue: Queue::default(),
            applying: None,
            changes: VecDeque::new(),
            refused: BTreeSet::new(),
            retry_at: None,
            is_stopping: false,
            last_id: 0,
        }
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Offences counted, and measures in force as far as known.
    #[must_use]
    pub fn offences(&self) -> &Arc<OffenceTally> {
        &self.offences
    }

    /// The last dropped packets.
    #[must_use]
    pub fn samples(&self) -> &Samples {
        &self.samples
    }

    /// Whether measures are held back: there is an outage upstream.
    #[must_use]
    pub fn are_measures_held(&self) -> bool {
        self.breaker.is_frozen()
    }

    /// How the last reload went.
    #[must_use]
    pub fn last_reload(&self) -> &LastReload {
        &self.last_reload
    }

    /// Open cases.
    #[must_use]
    pub fn cases(&self) -> &enforcement::State {
        self.cases.state()
    }

    /// Whether nothing is on its way to the disk or into force.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.queue.is_empty() && self.applying.is_none()
    }

    /// How many cases are open, by class and severity.
    #[must_use]
    pub fn case_counts(&self) -> BTreeMap<(CaseClass, CaseSeverity), u64> {
        self.cases.counts()
    }

    /// Tenants whose standing is not good, each with it.
    #[must_use]
    pub fn standings(&self) -> BTreeMap<String, Standing> {
        let cases = self.cases.state();
        let standing = |tenant: &str| (tenant.to_owned(), cases.standing(tenant));
        cases.tenants().map(standing).filter(|(_, standing)| *standing != Standing::Good).collect()
    }

    /// How many restorations wait for an approver.
    #[must_use]
    pub fn approvals_waiting(&self) -> u64 {
        self.cases.state().cases().filter(|case| case.asked.is_some()).count() as u64
    }

    /// Takes note of what happened; returns what is to be done.
    pub fn handle(&mut self, input: Input, now: &Moment) -> Effects {
        let mut effects = Effects::new();
        match input {
            Input::Tick => self.tick(now, &mut effects),
            Input::Command(request, command) => self.command(request, command, now, &mut effects),
            Input::Seen(request, command, seen) => self.seen(request, command, &seen, now, &mut effects),
            Input::Replace(request, loaded) => self.replace(request, loaded, now, &mut effects),
            Input::Confirmed => self.succeeded(now.wall),
            Input::Refused(error) => {
                (self.last_reload.at, self.last_reload.error) = (now.wall, Some(error));
            }
            Input::Committed(ticket, outcome) => self.committed(ticket, outcome, now, &mut effects),
            Input::Applied(generation, outcome) => self.applied(generation, outcome, now, &mut effects),
            Input::NotAssigned(tenants, error) => self.not_assigned(tenants, &error, now),
            Input::Events(events) => self.file(events),
            Input::Offences(offences) => self.offended(offences, now, &mut effects),
            Input::Totals(totals, elapsed) => self.look_for_outage(totals, elapsed, &mut effects),
            Input::Used(config, usage, elapsed) => {
                // Else it was read by the places of other tenants.
                if Arc::ptr_eq(&config, &self.policy.config) {
                    self.look_for_rises(&usage, elapsed, now, &mut effects);
                }
            }
            Input::Learned(learned) => self.learned(learned),
            Input::Recalled(recalled, seen) => self.recalled(recalled, &seen, now, &mut effects),
            Input::Stop => self.stop(&mut effects),
        }
        self.decide_cases(now, &mut effects);
        effects
    }

    /// When [`Input::Tick`] is due, as [`Moment::running`] tells it: now, if something is.
    #[must_use]
    pub fn next_deadline(&self, now: &Moment) -> Duration {
        let running = now.running();
        let by_wall = |end: Timestamp| {
            running
                + Duration::try_from(end.duration_since(now.wall).max(SignedDuration::ZERO))
                    .unwrap_or_default()
        };
        let lapse = self.policy.effective.next_end().filter(|_| self.applying.is_none()).map(by_wall);
        // What could not be ended is tried again, and not all the time.
        let lapse = lapse.map(|end| self.retry_at.map_or(end, |retry| end.max(retry)));
        let suspension = self.overrides.next_suspension_end().map(by_wall);
        // While a decision about cases is on its way to the disk, no other is made.
        let case = self.cases.next_deadline().filter(|_| !self.queue.is_busy(&Lane::Cases)).map(by_wall);
        let all = [lapse, suspension, case, self.retry_at, Some(self.second.next_deadline())];
        all.into_iter().flatten().min().unwrap_or(running).max(running)
    }

    fn tick(&mut self, now: &Moment, effects: &mut Effects) {
        self.end_suspensions(now, effects);
        self.lapse(now, effects);
        self.retry(now, effects);
        for look in self.second.due(now.running()) {
            match look {
                Look::Baselines if self.has_learned => {
                    effects.push(self.keep_learned());
                }
                Look::Baselines => effects.push(Effect::ReadLearned),
                Look::Comparison => {
                    self.queue.begin_comparison();
                    effects.push(Effect::Look(look));
                }
                look => effects.push(Effect::Look(look)),
            }
        }
    }

    /// Has store, controller and kernel compared now.
    pub(super) fn compare(&mut self) -> Effects {
        self.queue.begin_comparison();
        vec![Effect::Look(Look::Comparison)]
    }

    fn file(&mut self, events: Vec<Event>) {
        for Event { at, tenant, direction, kind } in events {
            match kind {
                EventKind::Drop(reason, packet) => {
                    self.samples.add(Sample::of(tenant, at, direction, reason, &packet));
                }
                EventKind::Suspect(packet) => self.suspects.add(at, packet),
            }
        }
    }

    fn stop(&mut self, effects: &mut Effects) {
        self.is_stopping = true;
        for job in self.queue.give_up() {
            effects.extend(job.refused());
        }
        if self.has_learned {
            effects.push(self.keep_learned());
        }
    }

    fn succeeded(&mut self, at: Timestamp) {
        self.last_reload = LastReload { at, error: None, succeeded_at: at };
    }

    /// What is recorded of a fact about a tenant.
    fn record(&self, at: &Moment, actor: Actor, tenant: &str, fact: Fact) -> Record {
        let (tenant, config) = (Some(tenant.to_owned()), Some(self.policy.config.digest));
        Record { at: at.clone(), actor, tenant, config, fact }
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}
