//! What a tenant is forbidden, and how far a suspension goes.

pub use gateway_ebpf::restriction::Restriction;
use serde::{Deserialize, Serialize};

/// How far a suspension goes; see [`Restriction`] for what each means on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// No mail, on relay and submission ports, either way
    Mail,
    /// The tenant opens no connections; its servers still answer
    Outbound,
    /// Nothing passes, either way
    Everything,
}

impl Scope {
    /// All, from the narrowest to the widest.
    pub const ALL: [Self; 3] = [Self::Mail, Self::Outbound, Self::Everything];

    /// As metrics, the ledger and JSON spell it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Outbound => "outbound",
            Self::Everything => "everything",
        }
    }
}

impl From<Scope> for Restriction {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Mail => Self::NO_MAIL,
            Scope::Outbound => Self::NO_OUTBOUND,
            Scope::Everything => Self::NOTHING,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_what_json_spells_and_each_scope_forbids_more_than_none() {
        for scope in Scope::ALL {
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.label());
            assert_ne!(Restriction::from(scope), Restriction::NONE);
        }
    }
}
