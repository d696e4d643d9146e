//! Cases: offences become facts, what follows from them is on the disk before it counts.
//!
//! Ladders are climbed in watch only: cases are decided, recorded and shown, and nothing is restricted by them.

use std::collections::{BTreeMap, VecDeque};

use super::Controller;
use crate::config::{CaseClass, CaseSeverity, Enforcement, EnforcementMode};
use crate::domain::{Principal, Role, Way};
use crate::enforcement::{Act, Case, CaseId, Command, Fact, Input, Refusal, Resolution, State};
use crate::store::{self, Actor, CaseEntry, Moment, Record, Store, StoreError};

/// Facts that wait for the disk; more are not kept.
const MAX_WAITING: usize = 1_000;

/// Open cases, and what has not become part of one yet.
#[derive(Default)]
pub(super) struct Cases {
    state: State,
    waiting: VecDeque<Fact>,
    /// Whether the last decision could not be recorded, which has been logged.
    is_in_trouble: bool,
}

impl Cases {
    /// As the store has them.
    pub(super) fn recall(store: &Store) -> Self {
        let recorded = store.read().and_then(|reader| reader.case_entries(None));
        let recorded = recorded.unwrap_or_else(|error| {
            tracing::error!("{error}. Until it can be read, no case is known, nor who was noticed before");
            Vec::new()
        });
        let mut state = State::default();
        recorded.iter().for_each(|entry| state.apply(&entry.act, entry.at));
        Self { state, ..Self::default() }
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
}

/// Why a case cannot be shown or changed.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// There never was one.
    #[error("there is no case {0}; `fairway cases` lists those that are open")]
    Unknown(CaseId),
    /// The machine refuses it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be recorded, or read.
    #[error("{0}. Nothing has changed")]
    NotKept(#[from] StoreError),
}

impl Controller {
    /// Decides what is due: facts that wait, steps whose time is over. What cannot be recorded now is decided
    /// again at the next call.
    pub fn decide_cases(&self) {
        let rules = self.case_rules();
        loop {
            let _deciding = self.decide();
            let now = store::now();
            let input = {
                let cases = self.cases();
                let is_due = cases.state.next_deadline().is_some_and(|due| due <= now.wall);
                match (is_due, cases.waiting.front()) {
                    (true, _) => Input::Clock,
                    (false, Some(fact)) => Input::Fact(fact.clone()),
                    (false, None) => return,
                }
            };
            let taken = self.take(&input, &now, &rules, &Actor::controller());
            let mut cases = self.cases();
            match taken {
                Ok(_) => cases.is_in_trouble = false,
                Err(error) => {
                    if !std::mem::replace(&mut cases.is_in_trouble, true) {
                        tracing::error!("{error}. What follows from offences is decided later");
                    }
                    return;
                }
            }
            if matches!(input, Input::Fact(_)) {
                cases.waiting.pop_front();
            }
        }
    }

    /// Open cases, of one tenant or of all, by their ids.
    #[must_use]
    pub fn open_cases(&self, tenant: Option<&str>) -> Vec<Case> {
        let cases = self.cases();
        let is_asked_for = |case: &&Case| tenant.is_none_or(|tenant| case.tenant == tenant);
        cases.state.cases().filter(is_asked_for).cloned().collect()
    }

    /// A case as it stands, if it is open, and all that was recorded of it.
    pub fn case(&self, id: CaseId) -> Result<(Option<Case>, Vec<CaseEntry>), CaseError> {
        let entries = self.store.read()?.case_entries(Some(id))?;
        if entries.is_empty() {
            return Err(CaseError::Unknown(id));
        }
        Ok((self.cases().state.case(id).cloned(), entries))
    }

    /// Writes something down in a case.
    pub fn note_case(&self, case: CaseId, by: &str, text: String) -> Result<(), CaseError> {
        self.command(by, |by| Command::Note { case, by, text })
    }

    /// Closes a case; a mistake takes its strikes back.
    pub fn close_case(
        &self,
        case: CaseId,
        resolution: Resolution,
        by: &str,
        reason: String,
    ) -> Result<(), CaseError> {
        self.command(by, |by| Command::Close { case, resolution, by, reason })
    }

    fn command(&self, by: &str, command: impl FnOnce(Principal) -> Command) -> Result<(), CaseError> {
        let _deciding = self.decide();
        let who = Principal { name: by.to_owned(), way: Way::Socket, role: Role::Operate };
        let input = Input::Command(command(who));
        self.take(&input, &store::now(), &self.case_rules(), &Actor::operator(by)).map(drop)
    }

    /// Decides, records and only then does it. To be called by whoever has the right to decide.
    fn take(
        &self,
        input: &Input,
        now: &Moment,
        rules: &Enforcement,
        actor: &Actor,
    ) -> Result<Vec<Act>, CaseError> {
        // The ledger keeps microseconds, and what is read again must be the same.
        let at = store::to_microsecond(now.wall);
        let (acts, records) = {
            let cases = self.cases();
            let acts = crate::enforcement::decide(&cases.state, input, at, rules)?;
            let records =
                acts.iter().map(|act| self.case_record(&cases.state, act, &acts, now.at(at), actor));
            let records: Vec<_> = records.collect();
            (acts, records)
        };
        if acts.is_empty() {
            return Ok(acts);
        }
        self.store.commit(records)?;
        let mut cases = self.cases();
        for act in &acts {
            tell(&cases.state, act);
            cases.state.apply(act, at);
        }
        Ok(acts)
    }

    fn case_record(&self, state: &State, act: &Act, acts: &[Act], at: Moment, actor: &Actor) -> Record {
        let opened = |id| {
            acts.iter().find_map(|act| match act {
                Act::Opened { case, tenant, .. } if *case == id => Some(tenant.clone()),
                _ => None,
            })
        };
        let tenant = match act {
            Act::Signalled { tenant, .. } => Some(tenant.clone()),
            _ => act
                .case()
                .and_then(|id| state.case(id).map(|case| case.tenant.clone()).or_else(|| opened(id))),
        };
        let fact = store::Fact::Case(Box::new(act.clone()));
        Record { at, actor: actor.clone(), tenant, config: Some(self.policy().config.digest), fact }
    }

    /// The rules in force. Nothing restricts by them yet, so that `enforce` watches too.
    fn case_rules(&self) -> Enforcement {
        let rules = &self.policy().config.enforcement;
        match rules.mode {
            EnforcementMode::Enforce => rules.in_mode(EnforcementMode::Watch),
            EnforcementMode::Off | EnforcementMode::Watch => rules.clone(),
        }
    }
}

/// Logs what an operator would want to see at once.
fn tell(state: &State, act: &Act) {
    let tenant =
        || act.case().and_then(|id| state.case(id)).map_or("", |case| case.tenant.as_str()).to_owned();
    match act {
        Act::Opened { case, tenant, class, .. } => {
            tracing::info!(tenant, %case, %class, "a case of class {class} is opened: {tenant}");
        }
        Act::Struck { case, strike, step, .. } => {
            let tenant = tenant();
            tracing::info!(tenant, %case, strike, "strike {strike}: {step} (watched: nothing is restricted)");
        }
        Act::Closed { case, resolution, .. } => {
            let (tenant, resolution) = (tenant(), resolution.label());
            tracing::info!(tenant, %case, resolution, "the case is closed: {resolution}");
        }
        _ => {}
    }
}
