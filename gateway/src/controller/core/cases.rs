//! Cases: what offences and operators' commands become of (policy rules B4, E1-E10).
//!
//! Offences become facts; what follows from them is on the disk before it counts. What steps that took effect restrict is
//! part of the tenant's policy for as long as its case is open, whatever the mode is by then.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;

use super::super::Ended;
use super::input::{Answer, Effect, Report, RequestId};
use super::queue::{Act, Asker, Lane};
use super::{Core, Effects};
use crate::config::{CaseClass, CaseSeverity, Restrict, Step};
use crate::domain::{Actor, Moment, Principal, to_microsecond};
use crate::enforcement::{self, Case, Fact, InForce, Input, Resolution, State};
use crate::policy::Restraint;
use crate::store::{self, Record, StoreError};

/// Facts that wait for the disk; more are not kept.
const MAX_WAITING: usize = 1_000;

/// Open cases, and what has not become part of one yet.
pub(super) struct Cases {
    state: State,
    waiting: VecDeque<Fact>,
    /// Whether the fact in front is being decided.
    is_deciding_fact: bool,
    /// When what could not be recorded is decided again; none: the last decision could.
    again_at: Option<Timestamp>,
}

impl Cases {
    pub(super) fn new(state: State) -> Self {
        Self { state, waiting: VecDeque::new(), is_deciding_fact: false, again_at: None }
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// How many are open, by class and severity.
    pub(super) fn counts(&self) -> BTreeMap<(CaseClass, CaseSeverity), u64> {
        let mut counts = BTreeMap::new();
        for case in self.state.cases() {
            *counts.entry((case.class, case.severity)).or_default() += 1;
        }
        counts
    }

    pub(super) fn add(&mut self, fact: Fact) {
        if self.waiting.len() == MAX_WAITING {
            tracing::error!("a fact about {} belongs to no case: too many wait for the disk", fact.tenant);
            return;
        }
        self.waiting.push_back(fact);
    }

    /// When something is to be decided without anybody's doing.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let due = self.state.next_deadline();
        due.map(|due| self.again_at.map_or(due, |again| due.max(again)))
    }

    /// What is to be decided now, if anything is.
    fn next(&self, now: Timestamp) -> Option<Input> {
        if self.again_at.is_some_and(|again| now < again) {
            return None;
        }
        if self.state.next_deadline().is_some_and(|due| due <= now) {
            return Some(Input::Clock);
        }
        self.waiting.front().cloned().map(Input::Fact)
    }
}

impl Core {
    /// Decides what is due: steps whose time is over, and facts that wait.
    pub(super) fn decide_cases(&mut self, now: &Moment, effects: &mut Effects) {
        let at = to_microsecond(now.wall);
        while !self.queue.is_busy(&Lane::Cases) && !self.is_stopping {
            let Some(input) = self.cases.next(at) else { return };
            self.cases.is_deciding_fact = matches!(input, Input::Fact(_));
            // Nobody asked, so that nothing is refused.
            let acts = enforcement::decide(&self.cases.state, &input, at, &self.policy.config.enforcement)
                .unwrap_or_default();
            if acts.is_empty() {
                self.fact_is_decided();
                if matches!(input, Input::Clock) {
                    return;
                }
                continue;
            }
            self.commit_cases(Asker::Nobody, acts, &Actor::controller(), now, effects);
        }
    }

    pub(super) fn command_case(
        &mut self,
        request: RequestId,
        command: enforcement::Command,
        now: &Moment,
        effects: &mut Effects,
    ) {
        if let enforcement::Command::Suspend { tenant, .. } = &command
            && let Err(error) = self.must_know(tenant)
        {
            return effects.push(Effect::Answer(request, Answer::Case(Err(error.into()))));
        }
        // The ledger keeps microseconds, and what is read again must be the same.
        let at = to_microsecond(now.wall);
        let actor = Actor::from(command.by());
        let decided = enforcement::decide(
            &self.cases.state,
            &Input::Command(command),
            at,
            &self.policy.config.enforcement,
        );
        match decided {
            Ok(acts) if acts.is_empty() => effects.push(Effect::Answer(request, Answer::Case(Ok(())))),
            Ok(acts) => self.commit_cases(Asker::Acts(request), acts, &actor, now, effects),
            Err(refusal) => effects.push(Effect::Answer(request, Answer::Case(Err(refusal.into())))),
        }
    }

    fn commit_cases(
        &mut self,
        asked: Asker,
        acts: Vec<enforcement::Act>,
        actor: &Actor,
        now: &Moment,
        effects: &mut Effects,
    ) {
        let at = to_microsecond(now.wall);
        let records = acts.iter().map(|act| self.case_record(act, &acts, now.at(at), actor)).collect();
        self.commit(Some(Lane::Cases), records, Act::Case { asked, acts, at }, effects);
    }

    /// They are on the disk.
    pub(super) fn act_on_cases(
        &mut self,
        asked: Asker,
        acts: &[enforcement::Act],
        at: Timestamp,
        effects: &mut Effects,
    ) {
        let mut tenants = BTreeSet::new();
        for act in acts {
            let tenant = self.tenant_of(act, acts).unwrap_or_default();
            self.cases.state.apply(act, at);
            if let Some(case) = act.case() {
                let act = Box::new(act.clone());
                effects.push(Effect::Report(Report::Case { case, tenant: tenant.clone(), act }));
            }
            tenants.insert(tenant);
        }
        if matches!(asked, Asker::Nobody) {
            self.cases.again_at = None;
            self.fact_is_decided();
        }
        let before = self.overrides.clone();
        self.restrain(&tenants);
        let changed: Vec<_> = self.overrides.differing(&before).into_iter().map(str::to_owned).collect();
        let answer = asked.answer(acts);
        match (changed.is_empty(), answer) {
            (true, Some((request, answer))) => effects.push(Effect::Answer(request, answer)),
            (true, None) => {}
            (false, answer) => self.assign(changed, answer, effects),
        }
    }

    /// Ends what cases restrict of a tenant, or asks for it, after its suspensions and measures have ended.
    pub(super) fn restore_cases(
        &mut self,
        request: RequestId,
        (tenant, by, reason): (String, Principal, String),
        ended: Ended,
        now: &Moment,
        effects: &mut Effects,
    ) {
        let at = to_microsecond(now.wall);
        let actor = Actor::from(&by);
        let mut acts = Vec::new();
        let mut refused = enforcement::Refusal::NothingToRestore(tenant.clone());
        for case in self.cases.state.cases_of(&tenant).filter(|case| restrains(case)) {
            let (case, by, reason) = (case.id, by.clone(), reason.clone());
            let close = enforcement::Command::Close { case, resolution: Resolution::Restored, by, reason };
            let close = Input::Command(close);
            match enforcement::decide(&self.cases.state, &close, at, &self.policy.config.enforcement) {
                Ok(decided) => acts.extend(decided),
                // What waits for approval already does not keep the others from being restored.
                Err(refusal) => refused = refusal,
            }
        }
        match (acts.is_empty(), ended.is_empty()) {
            (false, _) => {
                self.commit_cases(Asker::Restores(request, Box::new(ended)), acts, &actor, now, effects);
            }
            (true, true) => effects.push(Effect::Answer(request, Answer::Restored(Err(refused.into())))),
            (true, false) => effects.push(Effect::Answer(request, Answer::Restored(Ok(ended)))),
        }
    }

    /// What follows could not be recorded: it is decided again in a while.
    pub(super) fn cases_not_kept(&mut self, error: &StoreError, now: &Moment) {
        if self.cases.again_at.is_none() {
            tracing::error!("{error}. What follows from offences is decided later");
        }
        self.cases.again_at = now.wall.checked_add(jiff::SignedDuration::from_secs(1)).ok();
    }

    fn fact_is_decided(&mut self) {
        if std::mem::take(&mut self.cases.is_deciding_fact) {
            self.cases.waiting.pop_front();
        }
    }

    fn tenant_of(&self, act: &enforcement::Act, acts: &[enforcement::Act]) -> Option<String> {
        let opened = |id| {
            acts.iter().find_map(|act| match act {
                enforcement::Act::Opened { case, tenant, .. } if *case == id => Some(tenant.clone()),
                _ => None,
            })
        };
        if let enforcement::Act::Signalled { tenant, .. } = act {
            return Some(tenant.clone());
        }
        let known = |id| self.cases.state.case(id).map(|case| case.tenant.clone());
        act.case().and_then(|id| known(id).or_else(|| opened(id)))
    }

    fn case_record(
        &self,
        act: &enforcement::Act,
        acts: &[enforcement::Act],
        at: Moment,
        actor: &Actor,
    ) -> Record {
        let (tenant, fact) = (self.tenant_of(act, acts), store::Fact::Case(Box::new(act.clone())));
        Record { at, actor: actor.clone(), tenant, config: Some(self.policy.config.digest), fact }
    }

    /// Restricts tenants as their open cases say.
    fn restrain<'t>(&mut self, tenants: impl IntoIterator<Item = &'t String>) {
        for tenant in tenants {
            self.overrides.restrain(tenant, restraints_of(&self.cases.state, tenant));
        }
    }
}

/// Every tenant that open cases restrict, with what they do.
pub(in super::super) fn restraints(cases: &State) -> Vec<(String, Vec<Restraint>)> {
    let tenants = cases.tenants().map(|tenant| (tenant.to_owned(), restraints_of(cases, tenant)));
    tenants.filter(|(_, restraints)| !restraints.is_empty()).collect()
}

/// Whether a case restricts its tenant.
pub(super) fn restrains(case: &Case) -> bool {
    case.enforced().is_some_and(|in_force| in_force.step.restrict != Restrict::None)
}

fn restraints_of(cases: &State, tenant: &str) -> Vec<Restraint> {
    let restraint = |case: &Case| {
        let InForce { strike, step, since, until, .. } = case.enforced()?.clone();
        let Step { restrict, cap, release, .. } = step;
        let (case, class) = (case.id.to_string(), case.class);
        Some(Restraint { case, class, strike, restrict, cap, since, until, release })
    };
    cases.cases_of(tenant).filter(|case| restrains(case)).filter_map(restraint).collect()
}
