//! What happens to a case, as a table: where it stands, what comes, what follows.
//!
//! [`super::decide()`] does what the table says, and what is not in it is refused. The table of
//! `docs/enforcement.md` is written from here.

use std::fmt;

/// Where a case stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// There is none yet.
    New,
    /// Its first step waits for office hours.
    Waiting,
    /// The customer was notified, nothing is restricted.
    Noticed,
    /// The tenant is restricted.
    Restricted,
    /// The tenant is restricted; its restoration waits for an approver.
    Asked,
    /// It is over.
    Closed,
}

/// What comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A fact that counts as a strike at once.
    Strike,
    /// A fact that counts as a strike of a lesser class, outside of office hours.
    StrikeAfterHours,
    /// A fact that belongs to the last strike, or comes while the next step waits.
    FactSoon,
    /// An operator restricts the tenant by hand.
    Suspend,
    /// Office hours begin, and a step waits for them.
    OfficeOpens,
    /// The time of the step is over.
    TimeOver,
    /// An operator restores the tenant or closes the case, and the step lets an operator.
    Restore,
    /// An operator does, and the step asks for approval.
    RestoreNeedsApproval,
    /// Somebody with the role `approve`, who did not ask, confirms.
    Confirm,
    /// Who asked confirms.
    ConfirmOwn,
    /// Somebody with the role `approve` declines.
    Decline,
    /// Somebody writes something down.
    Note,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The ladder's step for this strike is taken, and the customer notified.
    Strike,
    /// The step waits for office hours.
    Wait,
    /// The fact is added to the case.
    Collect,
    /// What the operator says is restricted, and the customer notified.
    Restrict,
    /// The request waits for an approver.
    Ask,
    /// The request is gone.
    Decline,
    /// The note is added.
    Note,
    /// The case is closed; if the tenant was restricted, that ends and the customer is notified.
    Close,
    /// It is refused.
    Refuse,
}

/// Where the case stands then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Where it stood.
    Same,
    /// As the step says: noticed or restricted.
    Step,
    /// There.
    Phase(Phase),
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Where the case stands.
    pub from: Phase,
    /// What comes.
    pub event: Event,
    /// What follows.
    pub effect: Effect,
    /// Where the case stands then.
    pub to: To,
}

const fn row(from: Phase, event: Event, effect: Effect, to: To) -> Transition {
    Transition { from, event, effect, to }
}

/// Every transition there is.
pub const TRANSITIONS: [Transition; 33] = {
    use {Effect as Do, Event as On, Phase as P};
    [
        row(P::New, On::Strike, Do::Strike, To::Step),
        row(P::New, On::StrikeAfterHours, Do::Wait, To::Phase(P::Waiting)),
        row(P::New, On::Suspend, Do::Restrict, To::Phase(P::Restricted)),
        row(P::Waiting, On::FactSoon, Do::Collect, To::Same),
        row(P::Waiting, On::OfficeOpens, Do::Strike, To::Step),
        row(P::Waiting, On::Restore, Do::Close, To::Phase(P::Closed)),
        row(P::Waiting, On::Note, Do::Note, To::Same),
        row(P::Noticed, On::FactSoon, Do::Collect, To::Same),
        row(P::Noticed, On::Strike, Do::Strike, To::Step),
        row(P::Noticed, On::StrikeAfterHours, Do::Wait, To::Same),
        row(P::Noticed, On::OfficeOpens, Do::Strike, To::Step),
        row(P::Noticed, On::TimeOver, Do::Close, To::Phase(P::Closed)),
        row(P::Noticed, On::Restore, Do::Close, To::Phase(P::Closed)),
        row(P::Noticed, On::Note, Do::Note, To::Same),
        row(P::Restricted, On::FactSoon, Do::Collect, To::Same),
        row(P::Restricted, On::Strike, Do::Strike, To::Step),
        row(P::Restricted, On::StrikeAfterHours, Do::Wait, To::Same),
        row(P::Restricted, On::OfficeOpens, Do::Strike, To::Step),
        row(P::Restricted, On::TimeOver, Do::Close, To::Phase(P::Closed)),
        row(P::Restricted, On::Restore, Do::Close, To::Phase(P::Closed)),
        row(P::Restricted, On::RestoreNeedsApproval, Do::Ask, To::Phase(P::Asked)),
        row(P::Restricted, On::Note, Do::Note, To::Same),
        row(P::Asked, On::FactSoon, Do::Collect, To::Same),
        row(P::Asked, On::Strike, Do::Strike, To::Step),
        row(P::Asked, On::StrikeAfterHours, Do::Wait, To::Same),
        row(P::Asked, On::OfficeOpens, Do::Strike, To::Step),
        row(P::Asked, On::RestoreNeedsApproval, Do::Refuse, To::Same),
        row(P::Asked, On::Confirm, Do::Close, To::Phase(P::Closed)),
        row(P::Asked, On::ConfirmOwn, Do::Refuse, To::Same),
        row(P::Asked, On::Decline, Do::Decline, To::Phase(P::Restricted)),
        row(P::Asked, On::Note, Do::Note, To::Same),
        row(P::Restricted, On::Confirm, Do::Refuse, To::Same),
        row(P::Restricted, On::Decline, Do::Refuse, To::Same),
    ]
};

impl Transition {
    /// The row for an event; none: it is refused.
    #[must_use]
    pub fn of(from: Phase, event: Event) -> Option<&'static Self> {
        TRANSITIONS.iter().find(|row| row.from == from && row.event == event)
    }

    /// The whole table in Markdown.
    #[must_use]
    pub fn markdown() -> String {
        let head = "| a case that is | on | then | and is |\n|---|---|---|---|\n".to_owned();
        TRANSITIONS.iter().fold(head, |table, Self { from, event, effect, to }| {
            table + &format!("| {from} | {event} | {effect} | {to} |\n")
        })
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "new",
            Self::Waiting => "waiting",
            Self::Noticed => "noticed",
            Self::Restricted => "restricted",
            Self::Asked => "asked",
            Self::Closed => "closed",
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Strike => "a fact that is a strike",
            Self::StrikeAfterHours => "a fact that is a strike of a lesser class, outside of office hours",
            Self::FactSoon => "a fact within `collect`, or while a step waits",
            Self::Suspend => "an operator's restriction by hand",
            Self::OfficeOpens => "the beginning of office hours, if a step waits",
            Self::TimeOver => "the end of the step's time",
            Self::Restore => "an operator's restore or close",
            Self::RestoreNeedsApproval => "an operator's restore, if the step asks for approval",
            Self::Confirm => "an approver's confirmation",
            Self::ConfirmOwn => "a confirmation by who asked",
            Self::Decline => "an approver's refusal",
            Self::Note => "a note",
        })
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Strike => "the ladder's step is taken, with its notice",
            Self::Wait => "the step waits",
            Self::Collect => "the fact is added",
            Self::Restrict => "the restriction holds, with its notice",
            Self::Ask => "the request waits for an approver",
            Self::Decline => "the request is gone",
            Self::Note => "the note is added",
            Self::Close => "the case is closed; a restriction ends, with its notice",
            Self::Refuse => "refused",
        })
    }
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => f.write_str("the same"),
            Self::Step => f.write_str("noticed or restricted, as the step says"),
            Self::Phase(phase) => phase.fmt(f),
        }
    }
}
