//! The policy in force and the data plane that enforces it.
//!
//! ```text
//! kernel, timers ─┐                                   ┌─► data plane (one tenant's policy, or a whole one)
//! commands        ├─ jobs ─► Driver ─ Input ─► Core ──┼─► store ─► Input: committed
//! disk, compiler ─┘                          effects  └─► answers, log, what everybody may read
//! ```
//!
//! One thread owns the [`Driver`]; everybody else has a [`Controller`], by which to ask it. A reload is all or nothing:
//! whatever goes wrong, the policy before it stays in force, and the failure is remembered until a reload succeeds.
//! Exemptions lapse by themselves, without their file being read again (policy rule M2), and caps that were
//! lowered for a sudden rise (S3) are as configured again.

mod core;
mod driver;
mod explain;
mod fixed;
mod handle;
mod headers;
mod observation;
mod policy;
mod reload;
mod samples;
mod suspects;
mod tell;

use ipnetwork::IpNetwork;

pub use self::core::{
    Answer, Beginning, Command, Core, Effect, Effects, Generation, Input, Report, RequestId, Seen, Ticket,
};
pub use driver::{Clock, Driver, Job, Jobs};
pub use explain::{Explained, Owner};
pub use fixed::FixedSettings;
pub use handle::Controller;
pub use headers::Headers;
pub use observation::{Observation, Overview, View};
pub use policy::Policy;
pub use reload::{LastReload, ReloadError, Reloaded, listen_remedy};
pub use samples::{Sample, Samples};

use crate::dataplane::DataplaneError;
use crate::detect::MeasureInForce;
use crate::domain::Principal;
use crate::enforcement::{CaseId, Refusal};
use crate::store::StoreError;
use crate::suspension::{Scope, Suspension};

/// Why a tenant was not suspended or restored.
#[derive(Debug, thiserror::Error)]
pub enum SuspendError {
    /// The configuration has no such tenant.
    #[error("no tenant {0:?} is configured; `fairway tenants` lists them")]
    Unknown(String),
    /// There is nothing to restore.
    #[error("tenant {0:?} is not suspended, and no measure holds against it")]
    NothingToRestore(String),
    /// There is nothing to restore of this scope.
    #[error("tenant {1:?} has no suspension of scope {scope}; `fairway tenants` shows those that it has", scope = .0.label())]
    NotSuspended(Scope, String),
    /// There is nothing to restore for this source.
    #[error("no measure holds against {0} of tenant {1:?}; `fairway history {1}` tells what there was")]
    NoMeasure(IpNetwork, String),
    /// What a case restricts is not to be restored so.
    #[error(transparent)]
    Case(#[from] Refusal),
    /// It could not be recorded.
    #[error("{0}. Nothing has changed")]
    NotKept(#[from] StoreError),
    /// It is on the disk, and the data plane refused it.
    #[error("it is recorded, but not in force: {0}. It is tried again within a minute")]
    NotEnforced(#[from] DataplaneError),
    /// The controller is going down.
    #[error("the controller is stopping; try again when the next one has started")]
    Stopping,
}

/// Why a case cannot be shown or changed.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// There never was one.
    #[error("there is no case {0}; `fairway cases` lists those that are open")]
    Unknown(CaseId),
    /// There is no such tenant.
    #[error(transparent)]
    Tenant(#[from] SuspendError),
    /// The machine refuses it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be recorded, or read.
    #[error("{0}. Nothing has changed")]
    NotKept(#[from] StoreError),
    /// The controller is going down.
    #[error("the controller is stopping; try again when the next one has started")]
    Stopping,
}

/// Why a tenant's history cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// Neither the configuration nor the ledger has such a tenant.
    #[error("no tenant {0:?} is configured, and the ledger knows none; `fairway tenants` lists them")]
    Unknown(String),
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] StoreError),
}

/// How a tenant is restored.
#[derive(Clone, Debug)]
pub struct Release {
    /// What it gets back.
    pub of: Released,
    /// Who restores it.
    pub by: Principal,
    /// Why.
    pub reason: String,
}

/// What a restoration is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// Every suspension, and every measure against the tenant and its sources.
    All,
    /// The suspension of this scope.
    Scope(Scope),
    /// Measures against this source.
    Source(IpNetwork),
}

/// What a restoration ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// The suspensions, if there were any, the narrowest scope first.
    pub suspensions: Vec<Suspension>,
    /// The measures, if there were any.
    pub lifted: Vec<MeasureInForce>,
    /// Cases that were closed, and what they restricted with them.
    pub closed: Vec<CaseId>,
    /// Cases whose restoration an approver has to confirm now.
    pub asked: Vec<CaseId>,
}

impl Ended {
    /// Whether nothing ended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.suspensions.is_empty() && self.lifted.is_empty()
    }
}
