//! A tenant's standing: the gravest of its open cases.

use serde::{Deserialize, Serialize};

use crate::config::Restrict;

/// Where a tenant stands, the best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// No case holds against it.
    #[default]
    Good,
    /// It was notified of misuse.
    Noticed,
    /// Its cap is lowered.
    Slowed,
    /// Its mail is closed.
    SmtpClosed,
    /// It opens no connections.
    Quarantined,
    /// It reaches nothing but the walled garden.
    Suspended,
    /// The same, and the contract ends.
    Terminated,
}

impl Standing {
    /// Every standing, the best first.
    pub const ALL: [Self; 7] = [
        Self::Good,
        Self::Noticed,
        Self::Slowed,
        Self::SmtpClosed,
        Self::Quarantined,
        Self::Suspended,
        Self::Terminated,
    ];

    /// As metrics and JSON write it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Noticed => "noticed",
            Self::Slowed => "slowed",
            Self::SmtpClosed => "smtp_closed",
            Self::Quarantined => "quarantined",
            Self::Suspended => "suspended",
            Self::Terminated => "terminated",
        }
    }
}

impl From<Restrict> for Standing {
    /// What a step makes of a tenant.
    fn from(restrict: Restrict) -> Self {
        match restrict {
            Restrict::None => Self::Noticed,
            Restrict::Cap => Self::Slowed,
            Restrict::Mail => Self::SmtpClosed,
            Restrict::Outbound => Self::Quarantined,
            Restrict::Everything => Self::Suspended,
            Restrict::Terminate => Self::Terminated,
        }
    }
}
