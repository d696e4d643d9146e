//! The data plane as the controller sees it: loaded, attached, given a policy, read.
//!
//! The only module that knows aya. The old policy stays in force whenever a call here fails.

mod snapshot;

pub use snapshot::*;

use crate::config::{Config, OnStop};

/// The attached programs and their maps.
pub struct Dataplane {}

/// What went wrong, with what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {cause}. {remedy}")]
pub struct DataplaneError {
    /// What was tried, on what ("attaching to eth0 in native mode").
    pub what: String,
    /// What the kernel or file system said.
    pub cause: String,
    /// What the operator can do.
    pub remedy: String,
}

/// What an [`Dataplane::apply`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Tenants now policed.
    pub tenants: usize,
    /// Prefixes now known.
    pub prefixes: usize,
    /// Time from the validated config to the switch.
    pub took: std::time::Duration,
}

/// Memory of the kernel tables, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableMemory {
    /// Sum over all maps.
    pub bytes: u64,
    /// Tenants that fit without loading the data plane anew.
    pub tenant_capacity: u32,
}

impl Dataplane {
    /// Loads the programs (or takes over those that an earlier controller left), writes the policy,
    /// and attaches to every interface, in that order: no packet is judged by a half-written policy.
    /// All or nothing: on an error every interface is left as it was found.
    pub fn start(_config: &Config) -> Result<Self, DataplaneError> {
        Err(DataplaneError { what: "starting".into(), cause: "not built yet".into(), remedy: String::new() })
    }

    /// Replaces the policy with `config`'s, atomically for every packet; counters and bucket states of
    /// tenants that stay are kept. On an error nothing has changed.
    pub fn apply(&mut self, _config: &Config) -> Result<Applied, DataplaneError> {
        Err(DataplaneError { what: "applying".into(), cause: "not built yet".into(), remedy: String::new() })
    }

    /// Reads all counters.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::default()
    }

    /// Size of the tables.
    pub fn memory(&self) -> TableMemory {
        TableMemory { bytes: 0, tenant_capacity: 0 }
    }

    /// Orderly end: leaves everything enforcing, or detaches every interface and removes the pins.
    pub fn stop(self, _on_stop: OnStop) -> Result<(), DataplaneError> {
        Ok(())
    }

    /// The one-command bypass: detaches whatever is pinned for `config`'s gateway, with or without a
    /// controller running. Returns the names of the interfaces that were policed.
    pub fn detach_pinned(_config: &Config) -> Result<Vec<String>, DataplaneError> {
        Ok(Vec::new())
    }
}
