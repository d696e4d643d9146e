//! What the core is told, and what it wants done.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, EvidenceLimits, Loaded};
use crate::dataplane::{Applied, DataplaneError, Event, Restrictions};
use crate::detect::{ContactTotals, HeldMeasure, Learned, Lift, Look, MeasureInForce, Offence, Turn};
use crate::domain::{Principal, Usage};
use crate::enforcement::{self, CaseId};
use crate::policy::Lapsed;
use crate::store::{Recalled, Record, StoreError};
use crate::suspension::Suspension;

use super::super::{CaseError, Ended, Policy, Release, ReloadError, Reloaded, SuspendError};

/// Names a request to its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Names what is on its way to the disk to what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Names a whole policy that is on its way into force to what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// Somebody wants something; [`Effect::Answer`] answers.
    Command(RequestId, Command),
    /// What the kernel enforces, for a command that depends on it ([`Effect::See`]).
    Seen(RequestId, Command, Seen),
    /// A configuration was read and is to replace the one in force; [`Effect::Answer`] answers.
    Replace(RequestId, Box<Loaded>),
    /// The files hold what is in force already.
    Confirmed,
    /// A reload was refused before it came here.
    Refused(String),
    /// Acts are on the disk, or cannot be.
    Committed(Ticket, Result<(), StoreError>),
    /// A whole policy is in force, or the one before still is.
    Applied(Generation, Result<Applied, DataplaneError>),
    /// The policies of these tenants could not be put into force.
    NotAssigned(Vec<String>, DataplaneError),
    /// What the programs reported.
    Events(Vec<Event>),
    /// Offences that the data plane saw, and acted on by itself.
    Offences(Vec<Offence>),
    /// Contacts of all sources, this long after the last look.
    Totals(ContactTotals, Duration),
    /// What everybody has used under this configuration, this long after the last look.
    Used(Arc<Config>, Usage, Duration),
    /// What an earlier controller had learned of the tenants' use.
    Learned(Result<Vec<Learned>, StoreError>),
    /// What the store has on the disk, and what the kernel enforces.
    Recalled(Result<Box<Recalled>, StoreError>, Seen),
    /// The data plane is about to be given up: nothing is decided any more.
    Stop,
}

/// What the kernel enforces; none: it cannot be asked.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// What tenants are forbidden.
    pub restrictions: Option<Restrictions>,
    /// Measures against sources.
    pub measures: Option<Vec<HeldMeasure>>,
}

/// What somebody wants.
#[derive(Clone, Debug)]
pub enum Command {
    /// To suspend a tenant, in the place of any suspension of the same scope.
    Suspend {
        /// The tenant's id.
        tenant: String,
        /// How, until when, and why.
        suspension: Suspension,
        /// Who wants it.
        by: Principal,
    },
    /// To end suspensions or measures.
    Restore {
        /// The tenant's id.
        tenant: String,
        /// Which, by whom and why.
        release: Release,
    },
    /// To take notice of what was lost of the ledger.
    Acknowledge {
        /// What was done about it.
        reason: String,
        /// Who does.
        by: Principal,
        /// What is not acknowledged yet.
        losses: Vec<String>,
    },
    /// Something about a case.
    Case(enforcement::Command),
}

/// Something to do. Those of one input are to be done in their order.
#[derive(Debug)]
pub enum Effect {
    /// Puts records on the disk, then says so ([`Input::Committed`]). Nothing of them holds before.
    Commit(Ticket, Vec<Record>),
    /// Records an offence that happened already; it may wait.
    Observe(Box<Offence>),
    /// Puts the policies of these tenants into force as `policy` has them, then gives the answer. If the data plane
    /// refuses, that is the answer, and [`Input::NotAssigned`] follows.
    Assign {
        /// The policy.
        policy: Arc<Policy>,
        /// Ids of the tenants.
        tenants: Vec<String>,
        /// Who waits for it, and for which answer.
        answer: Option<(RequestId, Answer)>,
    },
    /// Puts a whole policy into force, then says so ([`Input::Applied`]).
    Apply(Generation, Arc<Policy>),
    /// Ends measures of the kernel.
    Lift(Lift),
    /// Has the kernel take measures that still hold.
    Impose(Vec<MeasureInForce>),
    /// Takes no new measures for a while.
    HoldMeasures(Duration),
    /// Takes measures again.
    ReleaseMeasures,
    /// Looks at something: offences ([`Input::Offences`]), totals, usage, or the store ([`Input::Recalled`]).
    Look(Look),
    /// Reads what the kernel enforces for a command ([`Input::Seen`]).
    See(RequestId, Command),
    /// Reads what an earlier controller had learned ([`Input::Learned`]).
    ReadLearned,
    /// Keeps what was learned for the next controller.
    KeepLearned(Vec<Learned>),
    /// Changes what evidence is kept.
    LimitEvidence(EvidenceLimits),
    /// Answers a request.
    Answer(RequestId, Answer),
    /// Reports something to the log.
    Report(Report),
}

/// What came of a request.
#[derive(Debug)]
pub enum Answer {
    /// All suspensions that the tenant has now.
    Suspended(Result<Vec<Suspension>, SuspendError>),
    /// What was ended.
    Restored(Result<Ended, SuspendError>),
    /// The configuration is in force, or the policy before it still is.
    Replaced(Result<Reloaded, ReloadError>),
    /// What had not been acknowledged before.
    Acknowledged(Result<Vec<String>, StoreError>),
    /// Something was done about a case.
    Case(Result<(), CaseError>),
}

/// Something for the log.
#[derive(Debug)]
pub enum Report {
    /// An offence, and what was done about it.
    Offence(Box<Offence>),
    /// Measures are held back from now on, or taken again.
    Turn(Turn),
    /// What held for a time is over.
    Lapsed(Lapsed),
    /// A suspension's time is over.
    Restored(String, Suspension),
    /// What came of a case.
    Case {
        /// Which.
        case: CaseId,
        /// Whose it is.
        tenant: String,
        /// What was decided.
        act: Box<enforcement::Act>,
    },
}
