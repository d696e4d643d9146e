//! What is known of cases, strikes and signals, and how acts change it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::case::{Count, InForce, Note, Request};
use super::{Act, Case, CaseId, Resolution, Signal, Standing};
use crate::config::{BitRate, CaseClass, Restrict};

/// All of it. Closed cases are not in it: what was recorded has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Open cases.
    cases: BTreeMap<CaseId, Case>,
    /// Their ids by tenant.
    by_tenant: BTreeMap<String, BTreeSet<CaseId>>,
    /// Strikes by tenant and class.
    strikes: BTreeMap<String, BTreeMap<CaseClass, Strikes>>,
    /// Signals by tenant, each with the time until which it counts.
    signals: BTreeMap<String, BTreeMap<Signal, Timestamp>>,
    /// Cases by when something is to be decided without anybody's doing.
    deadlines: BTreeSet<(Timestamp, CaseId)>,
    /// The last id that was given.
    last: Option<CaseId>,
}

/// Strikes of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strikes {
    /// How many.
    pub count: u32,
    /// Those that restricted the tenant.
    pub restricting: u32,
    /// When they are forgotten.
    pub decays: Timestamp,
    /// Whether they took effect; those that were only watched do not count once enforcement is on.
    pub enforced: bool,
}

/// What the kernel is to be told of a tenant: the union over its cases, and the lowest cap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restraint {
    /// What is closed; a subset of `cap`, `mail`, `outbound`, `everything`, `terminate`.
    pub restricts: BTreeSet<Restrict>,
    /// The lowest cap of its cases.
    pub cap: Option<BitRate>,
    /// Cases that it comes from.
    pub causes: Vec<CaseId>,
}

impl State {
    /// An open case.
    #[must_use]
    pub fn case(&self, id: CaseId) -> Option<&Case> {
        self.cases.get(&id)
    }

    /// Open cases by their ids.
    pub fn cases(&self) -> impl Iterator<Item = &Case> {
        self.cases.values()
    }

    /// A tenant's open cases by their ids.
    pub fn cases_of(&self, tenant: &str) -> impl Iterator<Item = &Case> {
        self.by_tenant.get(tenant).into_iter().flatten().filter_map(|id| self.cases.get(id))
    }

    /// A tenant's strikes of a class, unless they are forgotten.
    #[must_use]
    pub fn strikes(&self, tenant: &str, class: CaseClass, now: Timestamp) -> Strikes {
        let strikes = self.strikes.get(tenant).and_then(|classes| classes.get(&class));
        strikes.filter(|strikes| now < strikes.decays).copied().unwrap_or_default()
    }

    /// Whether a tenant was restricted for misuse and that is not forgotten.
    #[must_use]
    pub fn has_history(&self, tenant: &str, enforced: bool, now: Timestamp) -> bool {
        let counts = |it: &Strikes| it.enforced == enforced && it.restricting > 0 && now < it.decays;
        self.strikes.get(tenant).is_some_and(|classes| classes.values().any(counts))
    }

    /// A tenant's signals that count at a moment.
    pub fn signals(&self, tenant: &str, now: Timestamp) -> impl Iterator<Item = Signal> {
        let signals = self.signals.get(tenant).into_iter().flatten();
        signals.filter(move |(_, until)| now < **until).map(|(signal, _)| *signal)
    }

    /// A tenant's standing: the gravest of its open cases.
    #[must_use]
    pub fn standing(&self, tenant: &str) -> Standing {
        let enforced = self.cases_of(tenant).filter_map(Case::enforced);
        enforced.map(|in_force| in_force.step.restrict.into()).max().unwrap_or_default()
    }

    /// What is restricted of a tenant.
    #[must_use]
    pub fn restraint(&self, tenant: &str) -> Restraint {
        let mut restraint = Restraint::default();
        for case in self.cases_of(tenant) {
            let Some(in_force) = case.enforced() else { continue };
            if in_force.step.restrict == Restrict::None {
                continue;
            }
            restraint.restricts.insert(in_force.step.restrict);
            restraint.cap = [restraint.cap, in_force.step.cap].into_iter().flatten().min();
            restraint.causes.push(case.id);
        }
        restraint
    }

    /// Tenants that have an open case.
    pub fn tenants(&self) -> impl Iterator<Item = &str> {
        self.by_tenant.keys().map(String::as_str)
    }

    /// When something is to be decided next without anybody's doing.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// The case whose deadline is over first.
    pub(super) fn first_due(&self, now: Timestamp) -> Option<&Case> {
        let (at, id) = self.deadlines.first()?;
        if *at <= now { self.cases.get(id) } else { None }
    }

    /// The id of the next case.
    pub(super) fn next_id(&self, year: i16) -> CaseId {
        match self.last {
            // A clock that was set back does not give an id twice.
            Some(last) if last.year >= year => CaseId { number: last.number.saturating_add(1), ..last },
            _ => CaseId { year, number: 1 },
        }
    }

    /// Does what was decided at a moment.
    pub fn apply(&mut self, act: &Act, at: Timestamp) {
        let before = act.case().and_then(|id| self.cases.get(&id)).and_then(Case::deadline);
        self.change(act, at);
        let Some(id) = act.case() else { return };
        let after = self.cases.get(&id).and_then(Case::deadline);
        if before != after {
            before.map(|at| self.deadlines.remove(&(at, id)));
            after.map(|at| self.deadlines.insert((at, id)));
        }
    }

    fn change(&mut self, act: &Act, at: Timestamp) {
        match act {
            Act::Signalled { tenant, signal, until } => {
                let signals = self.signals.entry(tenant.clone()).or_default();
                signals.retain(|_, until| at < *until);
                signals.insert(*signal, *until);
            }
            Act::Opened { case, tenant, class, severity, department } => {
                self.last = Some(*case);
                self.by_tenant.entry(tenant.clone()).or_default().insert(*case);
                let opened = Case {
                    id: *case,
                    tenant: tenant.clone(),
                    class: *class,
                    severity: *severity,
                    department: *department,
                    opened: at,
                    facts: BTreeMap::new(),
                    latest: String::new(),
                    due: None,
                    in_force: None,
                    strikes: 0,
                    restricting_strikes: 0,
                    asked: None,
                    notes: Vec::new(),
                };
                self.cases.insert(*case, opened);
            }
            Act::Collected { case, fact, fact_at, detail } => {
                if let Some(case) = self.cases.get_mut(case) {
                    let count = Count { times: 0, first: *fact_at, last: *fact_at };
                    let count = case.facts.entry(*fact).or_insert(count);
                    count.times += 1;
                    count.last = count.last.max(*fact_at);
                    case.latest.clone_from(detail);
                }
            }
            Act::Waits { case, until } => {
                if let Some(case) = self.cases.get_mut(case) {
                    case.due = *until;
                }
            }
            Act::Struck { .. } => self.strike(act, at),
            Act::Noticed { .. } => {}
            Act::Asked { case, by, resolution, reason } => {
                if let Some(case) = self.cases.get_mut(case) {
                    let (by, reason) = (by.clone(), reason.clone());
                    case.asked = Some(Request { by, at, resolution: *resolution, reason });
                }
            }
            Act::Declined { case, .. } => {
                if let Some(case) = self.cases.get_mut(case) {
                    case.asked = None;
                }
            }
            Act::Noted { case, by, text } => {
                if let Some(case) = self.cases.get_mut(case) {
                    case.notes.push(Note { by: by.clone(), at, text: text.clone() });
                }
            }
            Act::Closed { case, resolution, .. } => self.close(*case, *resolution),
        }
    }

    fn strike(&mut self, act: &Act, at: Timestamp) {
        let Act::Struck { case, strike, step, until, decays, enforced, .. } = act else { return };
        let Some(case) = self.cases.get_mut(case) else { return };
        let restricts = u32::from(step.restrict != Restrict::None);
        case.in_force = Some(InForce {
            strike: *strike,
            step: step.clone(),
            since: at,
            until: *until,
            enforced: *enforced,
        });
        (case.due, case.asked) = (None, None);
        case.strikes += 1;
        case.restricting_strikes += restricts;
        if case.class == CaseClass::Manual {
            return;
        }
        let strikes = self.strikes.entry(case.tenant.clone()).or_default().entry(case.class).or_default();
        if at >= strikes.decays || strikes.enforced != *enforced {
            *strikes = Strikes::default();
        }
        strikes.count += 1;
        strikes.restricting += restricts;
        strikes.decays = *decays;
        strikes.enforced = *enforced;
    }

    fn close(&mut self, id: CaseId, resolution: Resolution) {
        let Some(case) = self.cases.remove(&id) else { return };
        if let Some(ids) = self.by_tenant.get_mut(&case.tenant) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_tenant.remove(&case.tenant);
            }
        }
        if case.class == CaseClass::Compromise {
            // What added up has been dealt with: the next signal is the first again.
            self.signals.remove(&case.tenant);
        }
        if resolution == Resolution::Mistaken
            && let Some(strikes) =
                self.strikes.get_mut(&case.tenant).and_then(|classes| classes.get_mut(&case.class))
        {
            // Some of them may have been forgotten meanwhile.
            strikes.count = strikes.count.saturating_sub(case.strikes);
            strikes.restricting = strikes.restricting.saturating_sub(case.restricting_strikes);
        }
    }
}
