//! A case: what the abuse desk works on.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{FactKind, Phase, Resolution};
use crate::config::{CaseClass, CaseSeverity, Department, Restrict, Step};
use crate::domain::Principal;

/// `C-2026-00042`: the year that it was opened in, and a number counted from 1 each year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CaseId {
    /// The year, in the zone that the config names.
    pub year: i16,
    /// From 1.
    pub number: u32,
}

/// Why a text is no case's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not the id of a case: write it as C-2026-00042; `fairway cases` lists them")]
pub struct CaseIdError(String);

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "C-{:04}-{:05}", self.year, self.number)
    }
}

impl FromStr for CaseId {
    type Err = CaseIdError;

    fn from_str(written: &str) -> Result<Self, CaseIdError> {
        let parse = || {
            let (year, number) = written.strip_prefix("C-")?.split_once('-')?;
            let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            if year.len() != 4 || number.len() < 5 || !digits(year) || !digits(number) {
                return None;
            }
            Some(Self { year: year.parse().ok()?, number: number.parse().ok()? })
        };
        parse().ok_or_else(|| CaseIdError(written.to_owned()))
    }
}

impl Serialize for CaseId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CaseId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = std::borrow::Cow::<str>::deserialize(deserializer)?;
        written.parse().map_err(serde::de::Error::custom)
    }
}

/// An open case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// Its id.
    pub id: CaseId,
    /// Id of the tenant.
    pub tenant: String,
    /// Which misuse.
    pub class: CaseClass,
    /// Whether its steps wait for office hours.
    pub severity: CaseSeverity,
    /// Who answers for it.
    pub department: Department,
    /// Since when.
    pub opened: Timestamp,
    /// What it rests on, by kind.
    pub facts: BTreeMap<FactKind, Count>,
    /// The latest fact's own words.
    pub latest: String,
    /// When its next step is taken, if that waits for office hours.
    pub due: Option<Timestamp>,
    /// The step that holds; none: its first one waits.
    pub in_force: Option<InForce>,
    /// Strikes that it brought.
    pub strikes: u32,
    /// Those of them that restricted the tenant.
    pub restricting_strikes: u32,
    /// Its restoration, if that waits for somebody else to confirm.
    pub asked: Option<Request>,
    /// What the desk wrote down.
    pub notes: Vec<Note>,
}

/// How often something was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// How often.
    pub times: u64,
    /// For the first time.
    pub first: Timestamp,
    /// For the last time.
    pub last: Timestamp,
}

/// A step that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForce {
    /// Which strike of its class it was, from 1.
    pub strike: u32,
    /// What it does, with the release that holds for this tenant.
    pub step: Step,
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// Whether it took effect; not if enforcement only watched.
    pub enforced: bool,
}

/// A restoration that waits to be confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Who asked.
    pub by: Principal,
    /// When.
    pub at: Timestamp,
    /// How the case is to be closed.
    pub resolution: Resolution,
    /// Why.
    pub reason: String,
}

/// What somebody wrote down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Who.
    pub by: Principal,
    /// When.
    pub at: Timestamp,
    /// What.
    pub text: String,
}

impl Case {
    /// Where it stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match &self.in_force {
            _ if self.asked.is_some() => Phase::Asked,
            None => Phase::Waiting,
            Some(in_force) if in_force.step.restrict == Restrict::None => Phase::Noticed,
            Some(_) => Phase::Restricted,
        }
    }

    /// The step that holds and took effect.
    #[must_use]
    pub fn enforced(&self) -> Option<&InForce> {
        self.in_force.as_ref().filter(|in_force| in_force.enforced)
    }

    /// When something is to be decided without anybody's doing. While a further step waits for office hours, the
    /// one that holds does not end by itself: the tenant offended again meanwhile.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        self.due.or_else(|| self.in_force.as_ref().and_then(|in_force| in_force.until))
    }
}
