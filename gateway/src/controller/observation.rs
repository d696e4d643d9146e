//! What there is to see of the running gateway.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::{LastReload, Policy};
use crate::config::{CaseClass, CaseSeverity};
use crate::dataplane::{DetectionCounters, EventCounters, InterfaceCounters, Snapshot, TableMemory};
use crate::detect::OffenceTally;
use crate::enforcement::Standing;
use crate::store::Health;

/// What everybody may read at any time, without asking whoever decides.
#[derive(Clone, Debug)]
pub struct View {
    /// The policy in force.
    pub policy: Arc<Policy>,
    /// How the last reload went.
    pub last_reload: LastReload,
}

/// Policy and counters that belong together, read at one moment.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The policy in force.
    pub policy: Arc<Policy>,
    /// How many offences there were, and which measures hold.
    pub offences: Arc<OffenceTally>,
    /// Whether measures are held back: there is an outage upstream.
    pub are_measures_held: bool,
    /// How writing the ledger goes.
    pub ledger: Health,
    /// How many cases are open, by class and severity.
    pub cases: BTreeMap<(CaseClass, CaseSeverity), u64>,
    /// Tenants whose standing is not good, each with it.
    pub standings: BTreeMap<String, Standing>,
    /// How many restorations wait for an approver.
    pub approvals_waiting: u64,
    /// How detection fares; none without detectors.
    pub detection: Option<DetectionCounters>,
    /// Its counters, in the order of the policy's tenants and interfaces.
    pub snapshot: Snapshot,
    /// Events that the programs could not report.
    pub events: EventCounters,
    /// Size of the kernel's tables.
    pub memory: TableMemory,
    /// How the last reload went.
    pub last_reload: LastReload,
    /// When the controller started.
    pub started_at: Timestamp,
}

/// The gateway as a whole: what [`Observation`] has, but for the tenants.
#[derive(Clone, Debug)]
pub struct Overview {
    /// The policy in force.
    pub policy: Arc<Policy>,
    /// In the order of the policy's interfaces.
    pub interfaces: Vec<InterfaceCounters>,
    /// Size of the kernel's tables.
    pub memory: TableMemory,
    /// How writing the ledger goes.
    pub ledger: Health,
    /// How the last reload went.
    pub last_reload: LastReload,
    /// When the controller started.
    pub started_at: Timestamp,
}
