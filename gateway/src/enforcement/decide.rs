//! The decision: what follows from an input.

use jiff::Timestamp;

use super::transition::{Effect, Event, Phase, Transition};
use super::{Act, Case, CaseId, Fact, Notice, Resolution, State};
use crate::config::{
    BitRate, CaseClass, CaseSeverity, Department, Enforcement, EnforcementMode, Ladder, Release, Restrict,
    Step,
};
use crate::domain::{Principal, Role};

/// What comes from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Something counts against a tenant.
    Fact(Fact),
    /// Somebody wants something.
    Command(Command),
    /// Time has passed. One decision is taken for each: ask again until there is none.
    Clock,
}

/// What somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// To restrict a tenant by hand.
    Suspend {
        /// Id of the tenant.
        tenant: String,
        /// What is closed.
        restrict: Restrict,
        /// The cap, if it is one.
        cap: Option<BitRate>,
        /// When it ends by itself; none: when it is restored.
        until: Option<Timestamp>,
        /// Who.
        by: Principal,
        /// Why.
        reason: String,
    },
    /// To end all that is held against a tenant.
    Restore {
        /// Id of the tenant.
        tenant: String,
        /// Who.
        by: Principal,
        /// Why.
        reason: String,
    },
    /// To close one case, and what it restricts with it.
    Close {
        /// Which.
        case: CaseId,
        /// How.
        resolution: Resolution,
        /// Who.
        by: Principal,
        /// Why.
        reason: String,
    },
    /// To confirm the restoration that somebody else asked for.
    Confirm {
        /// Of which case.
        case: CaseId,
        /// Who.
        by: Principal,
        /// Why.
        reason: String,
    },
    /// To decline it.
    Decline {
        /// Of which case.
        case: CaseId,
        /// Who.
        by: Principal,
        /// Why.
        reason: String,
    },
    /// To write something down.
    Note {
        /// In which case.
        case: CaseId,
        /// Who.
        by: Principal,
        /// What.
        text: String,
    },
}

impl Command {
    /// Whoever asks.
    #[must_use]
    pub const fn by(&self) -> &Principal {
        match self {
            Self::Suspend { by, .. }
            | Self::Restore { by, .. }
            | Self::Close { by, .. }
            | Self::Confirm { by, .. }
            | Self::Decline { by, .. }
            | Self::Note { by, .. } => by,
        }
    }
}

/// Why a command is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such open case.
    #[error("there is no open case {0}; `fairway cases` lists them")]
    NoCase(CaseId),
    /// Nothing is held against the tenant.
    #[error("nothing is held against {0}: there is nothing to restore")]
    NothingToRestore(String),
    /// The role is too small.
    #[error("{name} has the role {has}: this needs the role {needs}", has = .has.label(), needs = .needs.label())]
    Role {
        /// Who.
        name: String,
        /// What they may.
        has: Role,
        /// What is needed.
        needs: Role,
    },
    /// Who asked may not confirm.
    #[error(
        "{name} asked for the restoration in {case}: somebody else with the role approve has to confirm it"
    )]
    OwnRequest {
        /// Which case.
        case: CaseId,
        /// Who.
        name: String,
    },
    /// It was asked already.
    #[error("{name} asked for the restoration in {case} already: `fairway approve {case}` confirms it")]
    AskedAlready {
        /// Which case.
        case: CaseId,
        /// Who.
        name: String,
    },
    /// No transition allows it.
    #[error("{case} is {phase}, and {event} has no meaning there")]
    NotNow {
        /// Which case.
        case: CaseId,
        /// Where it stands.
        phase: Phase,
        /// What was wanted.
        event: Event,
    },
    /// A restriction by hand that restricts nothing.
    #[error("a restriction by hand closes something or lowers the cap")]
    Nothing,
}

/// What follows from `input` at `now`. Applied in order, the acts are all that changes.
///
/// # Errors
/// If a command is refused; nothing follows then.
pub fn decide(
    state: &State,
    input: &Input,
    now: Timestamp,
    rules: &Enforcement,
) -> Result<Vec<Act>, Refusal> {
    let deciding = Deciding { state, now, rules };
    match input {
        Input::Fact(fact) => Ok(deciding.fact(fact)),
        Input::Clock => Ok(state.first_due(now).map_or_else(Vec::new, |case| deciding.clock(case))),
        Input::Command(command) => deciding.command(command),
    }
}

impl State {
    /// Decides and does it.
    ///
    /// # Errors
    /// As [`decide`].
    pub fn take(&mut self, input: &Input, now: Timestamp, rules: &Enforcement) -> Result<Vec<Act>, Refusal> {
        let acts = decide(self, input, now, rules)?;
        acts.iter().for_each(|act| self.apply(act, now));
        Ok(acts)
    }
}

struct Deciding<'s> {
    state: &'s State,
    now: Timestamp,
    rules: &'s Enforcement,
}

impl Deciding<'_> {
    fn fact(&self, fact: &Fact) -> Vec<Act> {
        if self.rules.mode == EnforcementMode::Off {
            return Vec::new();
        }
        let mut acts = Vec::new();
        let mut class = fact.kind.class();
        if let Some(signal) = fact.kind.signal() {
            let until = self.after(self.rules.signal_window);
            acts.push(Act::Signalled { tenant: fact.tenant.clone(), signal, until });
            if self.state.signals(&fact.tenant, self.now).any(|other| other != signal) {
                class = Some(CaseClass::Compromise);
            }
        }
        if let Some(class) = class {
            self.fact_of_class(fact, class, &mut acts);
        }
        acts
    }

    fn fact_of_class(&self, fact: &Fact, class: CaseClass, acts: &mut Vec<Act>) {
        let Some(ladder) = self.rules.ladder(class) else { return };
        let case = self.state.cases_of(&fact.tenant).find(|case| case.class == class);
        let (id, phase) = match case {
            Some(case) => (case.id, case.phase()),
            None => {
                let id = self.next_id();
                let (severity, department) = (ladder.severity, ladder.department);
                acts.push(Act::Opened { case: id, tenant: fact.tenant.clone(), class, severity, department });
                (id, Phase::New)
            }
        };
        acts.push(Act::Collected {
            case: id,
            fact: fact.kind,
            fact_at: fact.at,
            detail: fact.detail.clone(),
        });
        let event = self.event_of_fact(case, ladder);
        match Transition::of(phase, event).map(|row| row.effect) {
            Some(Effect::Strike) => self.strike(id, case, &fact.tenant, class, ladder, acts),
            Some(Effect::Wait) => {
                let until = self.rules.office_hours.next_open(self.now, &self.rules.timezone);
                acts.push(Act::Waits { case: id, until: Some(until) });
            }
            _ => {}
        }
    }

    /// Whether a fact is a strike, and whether it waits.
    fn event_of_fact(&self, case: Option<&Case>, ladder: &Ladder) -> Event {
        let belongs_to_last = case.is_some_and(|case| match &case.in_force {
            None => true,
            Some(_) if case.due.is_some() => true,
            // Watching takes back nothing that took effect.
            Some(in_force) if in_force.enforced && !self.enforces() => true,
            // What was only watched does not count once steps take effect.
            Some(in_force) if !in_force.enforced && self.enforces() => false,
            Some(in_force) => self.now < plus(in_force.since, ladder.collect),
        });
        let is_open = || self.rules.office_hours.next_open(self.now, &self.rules.timezone) <= self.now;
        match ladder.severity {
            _ if belongs_to_last => Event::FactSoon,
            CaseSeverity::Lesser if !is_open() => Event::StrikeAfterHours,
            _ => Event::Strike,
        }
    }

    /// The ladder's step for the next strike.
    fn strike(
        &self,
        id: CaseId,
        case: Option<&Case>,
        tenant: &str,
        class: CaseClass,
        ladder: &Ladder,
        acts: &mut Vec<Act>,
    ) {
        let enforced = self.enforces();
        let before = self.state.strikes(tenant, class, self.now);
        let strike = if before.enforced == enforced { before.count + 1 } else { 1 };
        let mut step = ladder.step(strike).clone();
        // A ladder that became milder meanwhile does not lift what holds.
        if let Some(holds) = case.and_then(|case| case.in_force.as_ref()).filter(|it| it.enforced == enforced)
        {
            step = at_least(step, &holds.step);
        }
        let judges_history = class != CaseClass::Account;
        let history = judges_history
            && !matches!((step.restrict, step.release), (Restrict::None, _) | (_, Release::Approval))
            && self.state.has_history(tenant, enforced, self.now);
        if history {
            step = Step { release: Release::Approval, duration: None, ..step };
        }
        let until = step.duration.map(|duration| self.after(duration));
        let decays = self.after(ladder.decay);
        let restricts = step.restrict != Restrict::None;
        acts.push(Act::Struck { case: id, strike, step, until, decays, enforced, history });
        if enforced {
            let notice = if restricts { Notice::Restricted } else { Notice::Misuse };
            acts.push(Act::Noticed { case: id, notice });
        }
    }

    fn clock(&self, case: &Case) -> Vec<Act> {
        let mut acts = Vec::new();
        let event = if case.due.is_some() { Event::OfficeOpens } else { Event::TimeOver };
        match Transition::of(case.phase(), event).map(|row| row.effect) {
            Some(Effect::Close) => {
                let restricted = case.phase() == Phase::Restricted;
                let resolution = if restricted { Resolution::Served } else { Resolution::Lapsed };
                self.close(case, resolution, None, None, "its time is over", &mut acts);
            }
            Some(Effect::Strike) => {
                let takes_back = case.enforced().is_some() && !self.enforces();
                match self.rules.ladder(case.class) {
                    Some(ladder) if !takes_back => {
                        self.strike(case.id, Some(case), &case.tenant, case.class, ladder, &mut acts);
                    }
                    _ => acts.push(Act::Waits { case: case.id, until: None }),
                }
            }
            // Not in the table; the deadline goes, so that it is not asked for again.
            _ => acts.push(Act::Waits { case: case.id, until: None }),
        }
        acts
    }

    fn command(&self, command: &Command) -> Result<Vec<Act>, Refusal> {
        let mut acts = Vec::new();
        match command {
            Command::Suspend { tenant, restrict, cap, until, by, reason } => {
                needs(by, Role::Operate)?;
                self.suspend(tenant, (*restrict, *cap), *until, by, reason, &mut acts)?;
            }
            Command::Restore { tenant, by, reason } => {
                needs(by, Role::Operate)?;
                let mut refused = Refusal::NothingToRestore(tenant.clone());
                for case in self.state.cases_of(tenant) {
                    // What waits for approval already does not keep the others from being restored.
                    if let Err(refusal) = self.restore(case, Resolution::Restored, by, reason, &mut acts) {
                        refused = refusal;
                    }
                }
                if acts.is_empty() {
                    return Err(refused);
                }
            }
            Command::Close { case, resolution, by, reason } => {
                needs(by, Role::Operate)?;
                self.restore(self.open(*case)?, *resolution, by, reason, &mut acts)?;
            }
            Command::Confirm { case, by, reason } => {
                needs(by, Role::Approve)?;
                let case = self.open(*case)?;
                let is_own = case.asked.as_ref().is_some_and(|asked| asked.by.name == by.name);
                let event = if is_own { Event::ConfirmOwn } else { Event::Confirm };
                let allowed = self.allowed(case, event, by)?;
                if let (Effect::Close, Some(asked)) = (allowed, &case.asked) {
                    let both = format!("{}; confirmed: {reason}", asked.reason);
                    let who = Some(asked.by.clone());
                    self.close(case, asked.resolution, who, Some(by.clone()), &both, &mut acts);
                }
            }
            Command::Decline { case, by, reason } => {
                needs(by, Role::Approve)?;
                let case = self.open(*case)?;
                self.allowed(case, Event::Decline, by)?;
                acts.push(Act::Declined { case: case.id, by: by.clone(), reason: reason.clone() });
            }
            Command::Note { case, by, text } => {
                needs(by, Role::Operate)?;
                let case = self.open(*case)?;
                self.allowed(case, Event::Note, by)?;
                acts.push(Act::Noted { case: case.id, by: by.clone(), text: text.clone() });
            }
        }
        Ok(acts)
    }

    fn suspend(
        &self,
        tenant: &str,
        (restrict, cap): (Restrict, Option<BitRate>),
        until: Option<Timestamp>,
        by: &Principal,
        reason: &str,
        acts: &mut Vec<Act>,
    ) -> Result<(), Refusal> {
        if restrict == Restrict::None || (restrict == Restrict::Cap) != cap.is_some() {
            return Err(Refusal::Nothing);
        }
        let (release, until) = match (restrict, until) {
            (Restrict::Terminate, _) => (Release::Approval, None),
            (_, Some(_)) => (Release::Auto, until),
            (_, None) => (Release::Operator, None),
        };
        let step = Step { restrict, cap, duration: None, release };
        // The same by hand again takes the place of what holds.
        let same = |case: &&Case| {
            let holds = case.in_force.as_ref().map(|it| it.step.restrict);
            case.class == CaseClass::Manual && case.asked.is_none() && holds == Some(restrict)
        };
        let id = match self.state.cases_of(tenant).find(same) {
            Some(case) => case.id,
            None => {
                let id = self.next_id();
                acts.push(Act::Opened {
                    case: id,
                    tenant: tenant.to_owned(),
                    class: CaseClass::Manual,
                    severity: CaseSeverity::Serious,
                    department: Department::Abuse,
                });
                id
            }
        };
        acts.push(Act::Noted { case: id, by: by.clone(), text: reason.to_owned() });
        let (strike, decays) = (1, self.now);
        acts.push(Act::Struck { case: id, strike, step, until, decays, enforced: true, history: false });
        acts.push(Act::Noticed { case: id, notice: Notice::Restricted });
        Ok(())
    }

    /// Closes a case, or asks for it.
    fn restore(
        &self,
        case: &Case,
        resolution: Resolution,
        by: &Principal,
        reason: &str,
        acts: &mut Vec<Act>,
    ) -> Result<(), Refusal> {
        let release = case.enforced().map(|in_force| in_force.step.release);
        let event = match release {
            Some(Release::Approval) => Event::RestoreNeedsApproval,
            _ => Event::Restore,
        };
        match self.allowed(case, event, by)? {
            Effect::Ask => {
                acts.push(Act::Asked { case: case.id, by: by.clone(), resolution, reason: reason.to_owned() })
            }
            _ => self.close(case, resolution, Some(by.clone()), None, reason, acts),
        }
        Ok(())
    }

    fn close(
        &self,
        case: &Case,
        resolution: Resolution,
        by: Option<Principal>,
        confirmed_by: Option<Principal>,
        reason: &str,
        acts: &mut Vec<Act>,
    ) {
        acts.push(Act::Closed { case: case.id, resolution, by, confirmed_by, reason: reason.to_owned() });
        if case.enforced().is_some_and(|it| it.step.restrict != Restrict::None) {
            acts.push(Act::Noticed { case: case.id, notice: Notice::Restored });
        }
    }

    /// What the table says, or why it is refused.
    fn allowed(&self, case: &Case, event: Event, by: &Principal) -> Result<Effect, Refusal> {
        let (id, phase) = (case.id, case.phase());
        match (Transition::of(phase, event).map(|row| row.effect), event, &case.asked) {
            (Some(Effect::Refuse), Event::ConfirmOwn, _) => {
                Err(Refusal::OwnRequest { case: id, name: by.name.clone() })
            }
            (Some(Effect::Refuse), Event::RestoreNeedsApproval, Some(asked)) => {
                Err(Refusal::AskedAlready { case: id, name: asked.by.name.clone() })
            }
            (Some(Effect::Refuse) | None, ..) => Err(Refusal::NotNow { case: id, phase, event }),
            (Some(effect), ..) => Ok(effect),
        }
    }

    fn open(&self, case: CaseId) -> Result<&Case, Refusal> {
        self.state.case(case).ok_or(Refusal::NoCase(case))
    }

    fn next_id(&self) -> CaseId {
        self.state.next_id(self.now.to_zoned(self.rules.timezone.clone()).year())
    }

    fn enforces(&self) -> bool {
        self.rules.mode == EnforcementMode::Enforce
    }

    fn after(&self, duration: std::time::Duration) -> Timestamp {
        plus(self.now, duration)
    }
}

/// A moment that cannot be reached is the last one there is.
fn plus(at: Timestamp, duration: std::time::Duration) -> Timestamp {
    at.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// A step that is in no part milder than another.
fn at_least(step: Step, holds: &Step) -> Step {
    if step.restrict > holds.restrict {
        let release =
            step.release.max(if holds.restrict == Restrict::None { Release::Auto } else { holds.release });
        let duration = step.duration.filter(|_| release == Release::Auto);
        return Step { release, duration, ..step };
    }
    if step.restrict < holds.restrict {
        return holds.clone();
    }
    let release = step.release.max(holds.release);
    let cap = [step.cap, holds.cap].into_iter().flatten().min();
    let duration = step.duration.max(holds.duration).filter(|_| release == Release::Auto);
    Step { restrict: step.restrict, cap, duration, release }
}

fn needs(by: &Principal, role: Role) -> Result<(), Refusal> {
    if by.role >= role {
        return Ok(());
    }
    Err(Refusal::Role { name: by.name.clone(), has: by.role, needs: role })
}
