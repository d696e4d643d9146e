//! What is recorded: facts, each with its time and whoever brought it about.

use std::collections::BTreeMap;

use ipnetwork::IpNetwork;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::{DetectMode, Digest, Measure, OffenceKind};
use crate::detect::{LoweredCap, Offence, Target};
use crate::domain::{Actor, Moment};
use crate::enforcement::Act;
use crate::suspension::Scope;

/// One thing to record.
#[derive(Clone, Debug)]
pub struct Record {
    /// When it happened.
    pub at: Moment,
    /// Who did it.
    pub actor: Actor,
    /// Id of the tenant that it is about; none: of no tenant.
    pub tenant: Option<String>,
    /// The configuration in force then; none: not known.
    pub config: Option<Digest>,
    /// What it is.
    pub fact: Fact,
}

/// What happened, or was decided.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// A detector saw an offence.
    Offence(OffenceFact),
    /// A tenant was suspended in one scope, in the place of any suspension in the same.
    Suspended(Suspended),
    /// Suspensions, measures or both were ended.
    Restored(Restored),
    /// A suspension's time was over.
    Expired(Expired),
    /// A suspension was found in the kernel that the ledger did not know.
    Found(Suspended),
    /// Part of the ledger was lost.
    Lost(Lost),
    /// After a loss, what the kernel restricts was compared with the ledger, and added to it.
    Adopted(Adopted),
    /// An operator has taken notice of all losses so far.
    Acknowledged(Acknowledged),
    /// A file of an earlier release was taken over.
    Imported(Imported),
    /// Bodies whose time is over were removed.
    BodiesRemoved(BodiesRemoved),
    /// Something was decided on a case, or a signal remembered.
    Case(Box<Act>),
}

/// An offence, and the measure that was taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OffenceFact {
    /// The IPv4 address (/32) or the IPv6 /64; none: the tenant as a whole.
    pub source: Option<IpNetwork>,
    /// What it is.
    pub kind: OffenceKind,
    /// The rule's mode at that time.
    pub mode: DetectMode,
    /// What the rule does about it.
    pub measure: Measure,
    /// How long the measure holds; none: it was not taken.
    pub until: Option<Timestamp>,
    /// What the tenant is held to meanwhile, if that is the measure.
    pub lowered_cap: Option<LoweredCap>,
    /// What was counted, by name.
    pub counters: BTreeMap<String, u64>,
    /// Whom it was done to, the first few: addresses, with ports.
    pub targets: Vec<String>,
    /// File with the first packets, in the directory of captures.
    pub capture: Option<String>,
}

impl OffenceFact {
    /// Whether a measure was taken.
    #[must_use]
    pub fn is_measure_taken(&self) -> bool {
        self.measure != Measure::None && self.until.is_some()
    }
}

impl From<&Offence> for OffenceFact {
    fn from(offence: &Offence) -> Self {
        Self {
            source: offence.source,
            kind: offence.kind,
            mode: offence.mode,
            measure: offence.measure,
            until: offence.until,
            lowered_cap: offence.lowered_cap,
            counters: offence.counters.clone(),
            targets: offence.targets.iter().map(Target::to_string).collect(),
            capture: None,
        }
    }
}

/// A suspension that began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspended {
    /// How far it goes.
    pub scope: Scope,
    /// When it ends by itself; none: it does not.
    pub until: Option<Timestamp>,
    /// Why.
    pub reason: String,
}

/// What an operator ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// How far the suspension went that ended; none: there was none.
    pub scope: Option<Scope>,
    /// Whether measures end.
    pub measures: bool,
    /// The one source whose measures end; none: all of the tenant's.
    pub source: Option<IpNetwork>,
    /// Why.
    pub reason: String,
}

/// A suspension that ended by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expired {
    /// How far it went.
    pub scope: Scope,
    /// Why the tenant had been suspended.
    pub reason: String,
}

/// What was lost of the ledger, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// For people: what happened, and what may be missing.
    pub what: String,
    /// Where the damaged file is kept.
    pub kept_as: Option<String>,
}

/// What was found in the kernel after a loss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopted {
    /// How many suspensions the ledger did not know.
    pub suspensions: u64,
}

/// An operator's notice of losses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// What was done about it.
    pub reason: String,
}

/// A file that was taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Its name in the state directory.
    pub file: String,
    /// SHA-256 of its bytes, lower-case hex.
    pub digest: String,
}

/// Which bodies were removed: those of offences among these entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodiesRemoved {
    /// The first entry.
    pub first: u64,
    /// The last entry.
    pub last: u64,
}

const OFFENCE: &str = "offence.";
const CASE: &str = "case.";

impl Fact {
    /// What it is, in a word; of an offence with its kind, which outlasts the body.
    #[must_use]
    pub fn kind(&self) -> String {
        let kind = match self {
            Self::Offence(offence) => return format!("{OFFENCE}{}", offence.kind.label()),
            Self::Suspended(_) => "suspended",
            Self::Restored(_) => "restored",
            Self::Expired(_) => "expired",
            Self::Found(_) => "found",
            Self::Lost(_) => "lost",
            Self::Adopted(_) => "adopted",
            Self::Acknowledged(_) => "acknowledged",
            Self::Imported(_) => "imported",
            Self::BodiesRemoved(_) => "bodies_removed",
            Self::Case(act) => return format!("{CASE}{}", act.label()),
        };
        kind.to_owned()
    }

    /// The rest of it as JSON.
    pub(super) fn body(&self) -> serde_json::Result<Value> {
        match self {
            Self::Offence(body) => serde_json::to_value(body),
            Self::Suspended(body) | Self::Found(body) => serde_json::to_value(body),
            Self::Restored(body) => serde_json::to_value(body),
            Self::Expired(body) => serde_json::to_value(body),
            Self::Lost(body) => serde_json::to_value(body),
            Self::Adopted(body) => serde_json::to_value(body),
            Self::Acknowledged(body) => serde_json::to_value(body),
            Self::Imported(body) => serde_json::to_value(body),
            Self::BodiesRemoved(body) => serde_json::to_value(body),
            Self::Case(body) => serde_json::to_value(body),
        }
    }

    /// The fact of this kind with this body; none: it is not of a kind that this release knows.
    pub fn read(kind: &str, body: &str) -> serde_json::Result<Option<Self>> {
        Ok(Some(match kind {
            _ if kind.starts_with(OFFENCE) => Self::Offence(serde_json::from_str(body)?),
            _ if kind.starts_with(CASE) => Self::Case(serde_json::from_str(body)?),
            "suspended" => Self::Suspended(serde_json::from_str(body)?),
            "restored" => Self::Restored(serde_json::from_str(body)?),
            "expired" => Self::Expired(serde_json::from_str(body)?),
            "found" => Self::Found(serde_json::from_str(body)?),
            "lost" => Self::Lost(serde_json::from_str(body)?),
            "adopted" => Self::Adopted(serde_json::from_str(body)?),
            "acknowledged" => Self::Acknowledged(serde_json::from_str(body)?),
            "imported" => Self::Imported(serde_json::from_str(body)?),
            "bodies_removed" => Self::BodiesRemoved(serde_json::from_str(body)?),
            _ => return Ok(None),
        }))
    }

    /// The kind of offence that an entry of this kind is about.
    #[must_use]
    pub fn offence_kind(kind: &str) -> Option<&str> {
        kind.strip_prefix(OFFENCE)
    }
}
