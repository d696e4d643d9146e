//! Acts on their way to the disk, and those that wait for them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::{CaseError, Ended, SuspendError};
use super::input::{Answer, Command, Effect, RequestId, Seen, Ticket};
use crate::detect::{Lift, MeasureInForce, Offence};
use crate::domain::Principal;
use crate::enforcement;
use crate::store::{Recalled, StoreError};
use crate::suspension::Suspension;

/// What acts follow one another in: those about one tenant, those about cases, those about the ledger.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// Of one tenant.
    Tenant(String),
    /// Of all cases: they have numbers in common.
    Cases,
    /// Of the ledger.
    Ledger,
}

/// Something to decide, once nothing is on its way in its lane.
#[derive(Debug)]
pub(super) enum Job {
    Command(RequestId, Command),
    /// Lowers a cap for an offence.
    Lower(Box<Offence>, MeasureInForce),
    /// Ends what cases restrict of a tenant, or asks for it, once the rest has ended.
    RestoreCases {
        request: RequestId,
        tenant: String,
        by: Principal,
        reason: String,
        ended: Ended,
    },
}

impl Job {
    pub(super) fn lane(&self) -> Lane {
        match self {
            Self::Command(_, Command::Suspend { tenant, .. } | Command::Restore { tenant, .. }) => {
                Lane::Tenant(tenant.clone())
            }
            Self::Command(_, Command::Acknowledge { .. }) => Lane::Ledger,
            Self::Command(_, Command::Case(_)) | Self::RestoreCases { .. } => Lane::Cases,
            Self::Lower(offence, _) => Lane::Tenant(offence.tenant.clone()),
        }
    }

    /// What whoever waits for it is told when the controller stops.
    pub(super) fn refused(self) -> Option<Effect> {
        match self {
            Self::Command(request, command) => Some(Effect::Answer(request, stopping(&command))),
            Self::RestoreCases { request, .. } => {
                Some(Effect::Answer(request, Answer::Restored(Err(SuspendError::Stopping))))
            }
            Self::Lower(..) => None,
        }
    }
}

/// What becomes of a command once the controller is stopping.
pub(super) fn stopping(command: &Command) -> Answer {
    match command {
        Command::Suspend { .. } => Answer::Suspended(Err(SuspendError::Stopping)),
        Command::Restore { .. } => Answer::Restored(Err(SuspendError::Stopping)),
        Command::Acknowledge { .. } => Answer::Acknowledged(Err(StoreError::stopping())),
        Command::Case(_) => Answer::Case(Err(CaseError::Stopping)),
    }
}

/// Who waits for what is decided about cases.
#[derive(Debug)]
pub(super) enum Asker {
    /// Nobody: a fact came in, or a time was over.
    Nobody,
    /// Whoever acts on a case.
    Acts(RequestId),
    /// Whoever restores a tenant, with what has ended already.
    Restores(RequestId, Box<Ended>),
}

impl Asker {
    /// What it is told of what was decided.
    pub(super) fn answer(self, acts: &[enforcement::Act]) -> Option<(RequestId, Answer)> {
        match self {
            Self::Nobody => None,
            Self::Acts(request) => Some((request, Answer::Case(Ok(())))),
            Self::Restores(request, mut ended) => {
                for act in acts {
                    match act {
                        enforcement::Act::Closed { case, .. } => ended.closed.push(*case),
                        enforcement::Act::Asked { case, .. } => ended.asked.push(*case),
                        _ => {}
                    }
                }
                Some((request, Answer::Restored(Ok(*ended))))
            }
        }
    }

    /// What it is told if that could not be recorded.
    pub(super) fn not_kept(self, error: StoreError) -> Option<(RequestId, Answer)> {
        match self {
            Self::Nobody => None,
            Self::Acts(request) => Some((request, Answer::Case(Err(error.into())))),
            Self::Restores(request, _) => Some((request, Answer::Restored(Err(error.into())))),
        }
    }
}

/// What takes effect once its records are on the disk.
#[derive(Debug)]
pub(super) enum Act {
    Suspended {
        request: RequestId,
        tenant: String,
        suspension: Suspension,
    },
    Restored {
        request: RequestId,
        suspensions: Vec<Suspension>,
        lift: Lift,
        lifts_measures: bool,
        /// Who restores what cases restrict, too.
        cases: Option<Principal>,
    },
    Acknowledged {
        request: RequestId,
        losses: Vec<String>,
    },
    Lowered {
        offence: Box<Offence>,
        measure: MeasureInForce,
    },
    /// Restrictions that only the kernel knew are part of what was recalled.
    Adopted(Box<Recalled>, Seen),
    /// Of cases; decided at the moment that the records say.
    Case {
        asked: Asker,
        acts: Vec<enforcement::Act>,
        at: jiff::Timestamp,
    },
    /// That suspensions are over, which they were already.
    Expired,
}

#[derive(Default)]
pub(super) struct Queue {
    on_their_way: BTreeMap<Ticket, (Option<Lane>, Act)>,
    busy: BTreeSet<Lane>,
    waiting: VecDeque<Job>,
    /// Tenants about which something was or is decided since the store was asked last: what it said of them may
    /// be out of date.
    decided_since: BTreeSet<String>,
}

impl Queue {
    /// Whether nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.on_their_way.is_empty()
    }

    /// Whether a job has to wait for another.
    pub(super) fn is_busy(&self, lane: &Lane) -> bool {
        self.busy.contains(lane)
    }

    pub(super) fn wait(&mut self, job: Job) {
        self.waiting.push_back(job);
    }

    /// An act is on its way to the disk; its lane is closed meanwhile.
    pub(super) fn begin(&mut self, ticket: Ticket, lane: Option<Lane>, act: Act) {
        if let Some(lane) = &lane {
            self.busy.insert(lane.clone());
            if let Lane::Tenant(tenant) = lane {
                self.decided_since.insert(tenant.clone());
            }
        }
        self.on_their_way.insert(ticket, (lane, act));
    }

    /// The act is on the disk, or will not be.
    pub(super) fn end(&mut self, ticket: Ticket) -> Option<(Option<Lane>, Act)> {
        let (lane, act) = self.on_their_way.remove(&ticket)?;
        if let Some(lane) = &lane {
            self.busy.remove(lane);
        }
        Some((lane, act))
    }

    /// The next job of a lane, unless it is closed.
    pub(super) fn next(&mut self, lane: &Lane) -> Option<Job> {
        if self.busy.contains(lane) {
            return None;
        }
        let index = self.waiting.iter().position(|job| job.lane() == *lane)?;
        self.waiting.remove(index)
    }

    /// The store is asked what it has.
    pub(super) fn begin_comparison(&mut self) {
        let busy = self.busy.iter().filter_map(|lane| match lane {
            Lane::Tenant(tenant) => Some(tenant.clone()),
            Lane::Cases | Lane::Ledger => None,
        });
        self.decided_since = busy.collect();
    }

    /// Tenants of whom the store's word may be out of date.
    pub(super) fn decided_since(&self) -> &BTreeSet<String> {
        &self.decided_since
    }

    /// Nothing that waits is decided any more.
    pub(super) fn give_up(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.waiting).into()
    }
}
