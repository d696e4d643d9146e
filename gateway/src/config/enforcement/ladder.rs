//! A ladder, and what its steps mean.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CaseSeverity, Department};
use crate::config::{BitRate, DurationText};

/// `[enforcement.ladder.CLASS]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ladder {
    /// Whether its steps wait for office hours.
    pub severity: CaseSeverity,
    /// Who answers for its cases.
    pub department: Department,
    /// Strikes are forgotten after this time without another one.
    pub decay: Duration,
    /// Facts within this time after a strike belong to that strike; a later one is the next strike.
    pub collect: Duration,
    /// At least one. The last holds for every further strike.
    pub steps: Vec<Step>,
}

impl Ladder {
    /// What the n-th strike brings, from 1.
    #[must_use]
    pub fn step(&self, strike: u32) -> &Step {
        let last = self.steps.len() - 1;
        &self.steps[usize::try_from(strike.saturating_sub(1)).map_or(last, |step| step.min(last))]
    }
}

/// One step of a ladder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What is closed to the tenant.
    pub restrict: Restrict,
    /// The tenant's cap in both directions, if that is what it does.
    pub cap: Option<BitRate>,
    /// How long it holds, if it ends by itself.
    #[serde(rename = "for_seconds", with = "seconds")]
    pub duration: Option<Duration>,
    /// Who ends it.
    pub release: Release,
}

impl fmt::Display for Step {
    /// "outbound for 1d, then released", "everything until an approver confirms".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match (self.restrict, self.cap) {
            (Restrict::None, _) => "notice".to_owned(),
            (Restrict::Cap, Some(cap)) => format!("cap {cap}"),
            (restrict, _) => restrict.label().to_owned(),
        };
        match (self.release, self.duration) {
            (Release::Auto, Some(duration)) => write!(f, "{what} for {}", DurationText(duration)),
            (Release::Auto, None) => write!(f, "{what} without end"),
            (Release::Operator, _) => write!(f, "{what} until an operator restores"),
            (Release::Approval, _) => write!(f, "{what} until an approver confirms"),
        }
    }
}

/// What a step closes to a tenant, the mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restrict {
    /// Nothing: the customer is notified.
    None,
    /// A lower cap.
    Cap,
    /// Mail, on relay and submission ports, either way.
    Mail,
    /// Connections that the tenant opens.
    Outbound,
    /// Everything but the walled garden.
    Everything,
    /// The same, and the contract with it.
    Terminate,
}

impl Restrict {
    /// Every one, the mildest first.
    pub const ALL: [Self; 6] =
        [Self::None, Self::Cap, Self::Mail, Self::Outbound, Self::Everything, Self::Terminate];

    /// As the config and JSON write it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Cap => "cap",
            Self::Mail => "mail",
            Self::Outbound => "outbound",
            Self::Everything => "everything",
            Self::Terminate => "terminate",
        }
    }
}

/// Who ends a step, the easiest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Release {
    /// It ends by itself.
    Auto,
    /// An operator restores the tenant, with a reason.
    Operator,
    /// An operator asks, and somebody else with the role `approve` confirms.
    Approval,
}

impl Release {
    /// As the config and JSON write it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Operator => "operator",
            Self::Approval => "approval",
        }
    }
}

/// Durations in JSON are whole seconds.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "the signature that serde asks for")]
    pub(super) fn serialize<S: Serializer>(value: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        value.map(|duration| duration.as_secs()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Duration::from_secs))
    }
}
