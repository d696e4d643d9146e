//! A tenant's history: what its sources did, what was done about it, by whom, and how it ended.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ipnetwork::IpNetwork;
use jiff::Timestamp;
use rusqlite::{Row, params};
use serde::{Deserialize, Serialize};

use crate::config::{DetectMode, Measure, OffenceKind};
use crate::detect::LoweredCap;
use crate::domain::Way;
use crate::evidence::Captures;
use crate::store::{
    Expired, Fact, OffenceFact, Reader, Restored, StoreError, Stored, Suspended, needed_time, stored,
    time_column,
};
use crate::suspension::{Change, SuspensionChange};

/// One entry of the ledger about a tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum PastEntry {
    /// What one of its sources did, and what came of it.
    Offence(PastOffence),
    /// What an operator did about it, or what ended by itself.
    Suspension(PastSuspension),
}

/// The begin or the end of a suspension as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastSuspension {
    /// What changed.
    #[serde(flatten)]
    pub change: SuspensionChange,
    /// SHA-256 of the configuration in force then.
    pub config_digest: String,
}

/// An offence as it was recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PastOffence {
    /// When.
    pub at: Timestamp,
    /// The IPv4 address (/32) or the IPv6 /64; none: the tenant as a whole.
    pub source: Option<IpNetwork>,
    /// What it was.
    pub kind: OffenceKind,
    /// The rule's mode then.
    pub mode: DetectMode,
    /// What the rule did, or would have done.
    pub measure: Measure,
    /// When it was done; none: it was only reported.
    pub taken: Option<Taken>,
    /// What was counted.
    pub counters: BTreeMap<String, u64>,
    /// Whom it was done to, the first few: addresses, with ports.
    pub targets: Vec<String>,
    /// File with the first packets, in the directory of captures.
    pub capture: Option<String>,
    /// The path of that file; none: there is none, or it had to go (`[evidence]`).
    pub capture_file: Option<PathBuf>,
    /// SHA-256 of the configuration that it was judged under.
    pub config_digest: String,
}

/// A measure that was taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Taken {
    /// Since when.
    pub since: Timestamp,
    /// Until when, unless it was lifted.
    pub until: Timestamp,
    /// What the tenant is held to, if that is the measure.
    pub lowered_cap: Option<LoweredCap>,
    /// Who ended it before its time.
    pub lifted: Option<Lifted>,
}

/// How a measure ended before its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lifted {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// The newest `limit` entries about a tenant, newest first.
pub fn history(
    reader: &Reader,
    captures: &Captures,
    tenant: &str,
    limit: u32,
) -> Result<Vec<PastEntry>, StoreError> {
    let query =
        "SELECT entries.*, bodies.salt, bodies.body, ending.at AS lifted_at, ending.actor AS lifted_by,
             why.body AS lifted_body
         FROM entries JOIN bodies ON bodies.entry = entries.number
         LEFT JOIN measures ON measures.entry = entries.number
         LEFT JOIN entries AS ending ON ending.number = measures.ended_by
         LEFT JOIN bodies AS why ON why.entry = measures.ended_by
         WHERE entries.tenant = ? AND entries.kind NOT LIKE 'case.%'
         ORDER BY entries.at DESC, entries.number DESC LIMIT ?";
    let entries = reader.rows(query, params![tenant, limit], |row| {
        let entry = stored(row)?;
        let fact = entry.fact().map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        Ok(match fact {
            Some(Fact::Offence(offence)) => {
                Some(PastEntry::Offence(past_offence(&entry, offence, captures, lifted(row)?)))
            }
            Some(fact) => change(&entry, fact).map(|change| {
                PastEntry::Suspension(PastSuspension { change, config_digest: entry.header.config_digest })
            }),
            None => None,
        })
    })?;
    Ok(entries.into_iter().flatten().collect())
}

fn past_offence(
    entry: &Stored,
    offence: OffenceFact,
    captures: &Captures,
    lifted: Option<Lifted>,
) -> PastOffence {
    let is_taken = offence.is_measure_taken();
    let OffenceFact { source, kind, mode, measure, until, lowered_cap, counters, targets, capture } = offence;
    let at = entry.header.at;
    let taken = until.filter(|_| is_taken).map(|until| Taken { since: at, until, lowered_cap, lifted });
    let capture_file = capture.as_ref().map(|name| captures.path(name)).filter(|file| file.is_file());
    let config_digest = entry.header.config_digest.clone();
    PastOffence {
        at,
        source,
        kind,
        mode,
        measure,
        taken,
        counters,
        targets,
        capture,
        capture_file,
        config_digest,
    }
}

fn lifted(row: &Row<'_>) -> rusqlite::Result<Option<Lifted>> {
    if time_column(row, "lifted_at")?.is_none() {
        return Ok(None);
    }
    let body: Option<String> = row.get("lifted_body")?;
    let body = body.and_then(|body| serde_json::from_str::<Restored>(&body).ok());
    let reason = body.map(|restored| restored.reason).unwrap_or_default();
    Ok(Some(Lifted { at: needed_time(row, "lifted_at")?, by: row.get("lifted_by")?, reason }))
}

fn change(entry: &Stored, fact: Fact) -> Option<SuspensionChange> {
    // What ended by itself was nobody's doing.
    let by = Some(entry.header.actor.clone()).filter(|_| entry.header.way != Way::Controller.label());
    let at = entry.header.at;
    Some(match fact {
        Fact::Suspended(Suspended { scope, until, reason })
        | Fact::Found(Suspended { scope, until, reason }) => {
            let (scope, change) = (Some(scope), Change::Suspended);
            SuspensionChange { at, change, scope, source: None, until, by, reason }
        }
        Fact::Restored(Restored { scope, source, reason, .. }) => {
            SuspensionChange { at, change: Change::Restored, scope, source, until: None, by, reason }
        }
        Fact::Expired(Expired { scope, reason }) => {
            let (scope, change) = (Some(scope), Change::Expired);
            SuspensionChange { at, change, scope, source: None, until: None, by, reason }
        }
        _ => return None,
    })
}
