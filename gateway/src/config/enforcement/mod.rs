//! `[enforcement]`: what follows from misuse, step by step, and how it ends (policy rules B4, E4, E5).
//!
//! Every class of cases has a ladder. The first strike takes its first step, the next one the second, and the
//! last step holds for every strike beyond it. What a ladder may not do is checked where it is read.

mod defaults;
mod hours;
mod ladder;
mod lint;
mod read;

use std::fmt;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::domain::Role;

pub use hours::OfficeHours;
pub(crate) use hours::hours_and_minutes;
pub use ladder::{Ladder, Release, Restrict, Step};
pub(super) use read::read_enforcement;

/// `[enforcement]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Enforcement {
    /// Whether ladders are climbed, and whether anything is restricted.
    pub mode: EnforcementMode,
    /// The zone that office hours are written in, and that decides which year a case belongs to.
    pub timezone: TimeZone,
    /// When somebody answers for lesser cases.
    pub office_hours: OfficeHours,
    /// Users of the control socket that have the role `approve`, by name, in ascending order.
    pub approvers: Vec<String>,
    /// Signals of different kinds within this time add up to a case of class `compromise`.
    pub signal_window: Duration,
    /// One ladder for each class, in the order of [`CaseClass::WITH_LADDER`].
    ladders: [Ladder; CaseClass::WITH_LADDER.len()],
}

impl Enforcement {
    /// What happens to a tenant for misuse of a class; none: what happens is up to the operator.
    #[must_use]
    pub fn ladder(&self, class: CaseClass) -> Option<&Ladder> {
        self.ladders.get(class as usize)
    }

    /// The same rules in another mode.
    #[must_use]
    pub fn in_mode(&self, mode: EnforcementMode) -> Self {
        Self { mode, ..self.clone() }
    }

    /// What a user of the control socket may.
    #[must_use]
    pub fn role_of(&self, user: &str) -> Role {
        match self.approvers.iter().any(|approver| approver == user) {
            true => Role::Approve,
            false => Role::Operate,
        }
    }

    /// All ladders with their classes.
    pub fn ladders(&self) -> impl Iterator<Item = (CaseClass, &Ladder)> {
        CaseClass::WITH_LADDER.into_iter().zip(&self.ladders)
    }
}

impl Default for Enforcement {
    /// What holds where nothing is written.
    fn default() -> Self {
        Self {
            // An upgrade must not begin to restrict tenants by rules that nobody has read.
            mode: EnforcementMode::Watch,
            timezone: TimeZone::UTC,
            office_hours: OfficeHours::default(),
            approvers: Vec::new(),
            signal_window: Duration::from_secs(86_400),
            ladders: CaseClass::WITH_LADDER.map(Ladder::shipped),
        }
    }
}

/// How far enforcement goes. Suspensions by hand hold in every mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnforcementMode {
    /// Offences open no cases.
    Off,
    /// Cases are decided and recorded; nobody is restricted and no customer is notified.
    Watch,
    /// Steps take effect.
    Enforce,
}

impl EnforcementMode {
    /// As the config and JSON write it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Watch => "watch",
            Self::Enforce => "enforce",
        }
    }
}

/// Which misuse a case is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseClass {
    /// Bulk mail, complaints about mail, an open relay (rules M4 to M6).
    Mail,
    /// Network scans (rule S1).
    Scan,
    /// Floods of SYNs or datagrams (rule S1).
    Flood,
    /// Signals of different kinds that add up: the server is no longer its owner's (rule S2).
    Compromise,
    /// Use of the network that hurts others (rules S3, B2 to B4).
    Usage,
    /// Invalid details or a chargeback (rule E10).
    Account,
    /// What an operator restricts by hand. It has no ladder, and counts no strikes.
    Manual,
}

impl CaseClass {
    /// Those that have a ladder, in its order.
    pub const WITH_LADDER: [Self; 6] =
        [Self::Mail, Self::Scan, Self::Flood, Self::Compromise, Self::Usage, Self::Account];

    /// As the config, metrics and JSON write it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Scan => "scan",
            Self::Flood => "flood",
            Self::Compromise => "compromise",
            Self::Usage => "usage",
            Self::Account => "account",
            Self::Manual => "manual",
        }
    }
}

impl fmt::Display for CaseClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// Whether a step waits for office hours (rule E5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseSeverity {
    /// The step and its notice wait for office hours.
    Lesser,
    /// The step is taken at once, at any hour.
    Serious,
}

impl CaseSeverity {
    /// As the config, metrics and JSON write it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Lesser => "lesser",
            Self::Serious => "serious",
        }
    }
}

/// Who answers for a case (rule E6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Department {
    /// The abuse desk.
    Abuse,
    /// Accounts and payments.
    Billing,
    /// Customer support.
    Support,
}

impl Department {
    /// As the config and JSON write it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Abuse => "abuse",
            Self::Billing => "billing",
            Self::Support => "support",
        }
    }
}
