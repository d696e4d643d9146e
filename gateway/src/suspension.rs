//! What an operator takes from a tenant: suspended how far, by whom, why, and restored (policy rules E1 and E4).

use ipnetwork::IpNetwork;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use crate::domain::Scope;

/// A suspension of a tenant. It may have one of each scope at the same time; what they forbid adds up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// How far it goes.
    pub scope: Scope,
    /// Why.
    pub reason: String,
    /// Who suspended the tenant; none: it was kept by a release that did not say.
    #[serde(default)]
    pub by: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself; none: when somebody restores the tenant.
    pub until: Option<Timestamp>,
}

/// The begin or the end of a suspension, as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspensionChange {
    /// When.
    pub at: Timestamp,
    /// What became of the tenant.
    pub change: Change,
    /// How far the suspension goes that began, or went that ended; none: only measures ended.
    pub scope: Option<Scope>,
    /// The one source whose measures ended; none: the tenant as a whole.
    pub source: Option<IpNetwork>,
    /// When the suspension that began ends by itself; none: it does not.
    pub until: Option<Timestamp>,
    /// Who did it; none: nobody, a time was over.
    pub by: Option<String>,
    /// Why. Where a time was over: why the tenant had been suspended.
    pub reason: String,
}

/// What became of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It was suspended, or its suspension of this scope replaced.
    Suspended,
    /// Somebody ended its suspension of this scope, or if there was none, measures against its sources.
    Restored,
    /// Its suspension ended by itself.
    Expired,
}

impl Change {
    /// As the ledger and JSON spell it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Suspended => "suspended",
            Self::Restored => "restored",
            Self::Expired => "expired",
        }
    }
}

impl SuspensionChange {
    /// That a suspension began.
    #[must_use]
    pub fn suspended(suspension: &Suspension) -> Self {
        let Suspension { scope, reason, by, since, until } = suspension.clone();
        let (scope, change) = (Some(scope), Change::Suspended);
        Self { at: since, change, scope, source: None, until, by, reason }
    }

    /// That one ended by itself.
    #[must_use]
    pub fn expired(suspension: &Suspension, at: Timestamp) -> Self {
        Self { at, change: Change::Expired, until: None, by: None, ..Self::suspended(suspension) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_what_json_spells() {
        for change in [Change::Suspended, Change::Restored, Change::Expired] {
            assert_eq!(serde_json::to_value(change).unwrap(), change.label());
        }
    }
}
