//! What an open case restricts of a tenant (policy rules E4, E5).

use gateway_ebpf::restriction::Restriction;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::{BitRate, CaseClass, Release, Restrict};

/// What one case restricts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restraint {
    /// The case's id.
    pub case: String,
    /// Which misuse.
    pub class: CaseClass,
    /// Which strike of its class it was.
    pub strike: u32,
    /// What is closed.
    pub restrict: Restrict,
    /// The cap in both directions, if that is what it does.
    pub cap: Option<BitRate>,
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// Who ends it.
    pub release: Release,
}

impl Restraint {
    /// What it forbids.
    #[must_use]
    pub const fn restriction(&self) -> Restriction {
        match self.restrict {
            Restrict::None | Restrict::Cap => Restriction::NONE,
            Restrict::Mail => Restriction::NO_MAIL,
            Restrict::Outbound => Restriction::NO_OUTBOUND,
            Restrict::Everything | Restrict::Terminate => Restriction::NOTHING,
        }
    }

    /// How it ends, for people: "until 2026-11-30T18:00:00Z".
    #[must_use]
    pub fn end(&self) -> String {
        match (self.release, self.until) {
            (Release::Auto, Some(until)) => format!("until {until:.0}"),
            (Release::Auto | Release::Operator, _) => "until an operator restores the tenant".to_owned(),
            (Release::Approval, _) => "until an approver confirms that it is restored".to_owned(),
        }
    }
}
