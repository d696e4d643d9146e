//! What comes of a reload.

use std::net::SocketAddr;
use std::sync::Arc;

use jiff::Timestamp;

use crate::config::{Diagnostics, Digest, Removals};
use crate::dataplane::{Applied, DataplaneError};
use crate::limits;

/// A reload that succeeded.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// The configuration now in force.
    pub digest: Digest,
    /// What the data plane did.
    pub applied: Applied,
    /// What the new configuration is warned about.
    pub warnings: Arc<Diagnostics>,
}

/// Why a reload was refused. The policy before it stays in force.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The files cannot be read or hold mistakes.
    #[error("{}", diagnostics.render(false).trim_end())]
    Config {
        /// Every mistake found.
        diagnostics: Diagnostics,
    },
    /// Settings differ that the running controller cannot change.
    #[error("{} cannot change in a running gateway. Restart it: systemctl restart fairway", changed.join(", "))]
    NeedsRestart {
        /// See [`super::FixedSettings::changed_by`].
        changed: Vec<String>,
    },
    /// All tenants would be gone, or too many of them.
    #[error(
        "{0}, and cut off. A directory that is missing, or half copied, looks the same: see that all files are there. If \
         they are to go: fairway reload --accept-removals (gateway.removal_limit_percent is what goes without)"
    )]
    Removals(Removals),
    /// The new address of the metrics endpoint cannot be had.
    #[error("cannot serve metrics on {listen}: {source}. {}", listen_remedy(source))]
    Metrics {
        /// `metrics.listen` of the new configuration.
        listen: SocketAddr,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The data plane did not take the policy.
    #[error(transparent)]
    Dataplane(#[from] DataplaneError),
    /// The controller is on its way out.
    #[error("the gateway is stopping")]
    Stopping,
    /// A defect: the reload panicked.
    #[error("the reload crashed ({0}); this is a defect in Fairway, please report it with the log")]
    Crashed(String),
}

/// What the operator can do when an address cannot be listened on.
#[must_use]
pub fn listen_remedy(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "Another program holds this port (`ss -ltnp` names it): end it or change metrics.listen"
        }
        std::io::ErrorKind::AddrNotAvailable => {
            "No interface of this router has the address: correct metrics.listen"
        }
        _ => limits::remedy(error).unwrap_or("Change metrics.listen"),
    }
}

/// How the last reload (or the start, if there was none since) went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastReload {
    /// When it ended.
    pub at: Timestamp,
    /// Why it was refused; none: it succeeded.
    pub error: Option<String>,
    /// The last one that succeeded, or the start.
    pub succeeded_at: Timestamp,
}
