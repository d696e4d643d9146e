//! What is decided, as it is recorded.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{CaseId, FactKind, Signal};
use crate::config::{CaseClass, CaseSeverity, Department, Step};
use crate::domain::Principal;

/// One decision. What it depended on (ladders, the mode, the calendar) is written into it, so that applying
/// it later needs no config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "snake_case")]
pub enum Act {
    /// A signal was remembered.
    Signalled {
        /// Id of the tenant.
        tenant: String,
        /// Which.
        signal: Signal,
        /// Until when it counts.
        until: Timestamp,
    },
    /// A case was opened.
    Opened {
        /// Its id.
        case: CaseId,
        /// Id of the tenant.
        tenant: String,
        /// Which misuse.
        class: CaseClass,
        /// Whether its steps wait for office hours.
        severity: CaseSeverity,
        /// Who answers for it.
        department: Department,
    },
    /// A fact was added to a case.
    Collected {
        /// To which.
        case: CaseId,
        /// What it is.
        fact: FactKind,
        /// When it was certain.
        fact_at: Timestamp,
        /// What it rests on.
        detail: String,
    },
    /// A case's next step waits for office hours.
    Waits {
        /// Which.
        case: CaseId,
        /// Until when; none: it waits no longer.
        until: Option<Timestamp>,
    },
    /// A step of the ladder was taken, or an operator restricted a tenant by hand.
    Struck {
        /// In which case.
        case: CaseId,
        /// Which strike of its class it is, from 1.
        strike: u32,
        /// What it brings, with the release that holds for this tenant.
        step: Step,
        /// When it ends by itself.
        until: Option<Timestamp>,
        /// When the strike is forgotten, unless another follows.
        decays: Timestamp,
        /// Whether it takes effect; not if enforcement only watches.
        enforced: bool,
        /// Whether the release is stricter than the ladder's, because the tenant has a history.
        history: bool,
    },
    /// The customer is to be told.
    Noticed {
        /// Of which case.
        case: CaseId,
        /// What.
        notice: Notice,
    },
    /// Somebody asked for a restoration that somebody else has to confirm.
    Asked {
        /// Of which case.
        case: CaseId,
        /// Who.
        by: Principal,
        /// How the case is to be closed.
        resolution: Resolution,
        /// Why.
        reason: String,
    },
    /// An approver declined a restoration.
    Declined {
        /// Of which case.
        case: CaseId,
        /// Who.
        by: Principal,
        /// Why.
        reason: String,
    },
    /// Somebody wrote something down.
    Noted {
        /// In which case.
        case: CaseId,
        /// Who.
        by: Principal,
        /// What.
        text: String,
    },
    /// A case was closed; whatever it restricted is restricted no longer.
    Closed {
        /// Which.
        case: CaseId,
        /// How.
        resolution: Resolution,
        /// Who decided; none: its time was over.
        by: Option<Principal>,
        /// Who confirmed it, if that was needed.
        confirmed_by: Option<Principal>,
        /// Why.
        reason: String,
    },
}

impl Act {
    /// As JSON writes it.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Signalled { .. } => "signalled",
            Self::Opened { .. } => "opened",
            Self::Collected { .. } => "collected",
            Self::Waits { .. } => "waits",
            Self::Struck { .. } => "struck",
            Self::Noticed { .. } => "noticed",
            Self::Asked { .. } => "asked",
            Self::Declined { .. } => "declined",
            Self::Noted { .. } => "noted",
            Self::Closed { .. } => "closed",
        }
    }

    /// The case that it is about; none: it is about a tenant.
    #[must_use]
    pub const fn case(&self) -> Option<CaseId> {
        match self {
            Self::Signalled { .. } => None,
            Self::Opened { case, .. }
            | Self::Collected { case, .. }
            | Self::Waits { case, .. }
            | Self::Struck { case, .. }
            | Self::Noticed { case, .. }
            | Self::Asked { case, .. }
            | Self::Declined { case, .. }
            | Self::Noted { case, .. }
            | Self::Closed { case, .. } => Some(*case),
        }
    }
}

/// What a customer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// Misuse was seen; nothing is restricted.
    Misuse,
    /// Something is restricted, or more than before.
    Restricted,
    /// What a case restricted is open again.
    Restored,
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// Nothing followed on the notice within its time.
    Lapsed,
    /// The restriction's time is over.
    Served,
    /// The customer mended it, and somebody restored the tenant.
    Restored,
    /// It was a mistake: its strikes do not count.
    Mistaken,
}

impl Resolution {
    /// As JSON writes it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Lapsed => "lapsed",
            Self::Served => "served",
            Self::Restored => "restored",
            Self::Mistaken => "mistaken",
        }
    }
}
