//! What the ledger knows: a tenant's history, what is in force, how much was counted.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ipnetwork::IpNetwork;
use jiff::Timestamp;
use rusqlite::{Row, params};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::LedgerError;
use super::store::{self, Counters, conversion, time};
use crate::config::{DetectMode, Measure, OffenceKind};
use crate::detect::{Baseline, Learned, LoweredCap, MeasureInForce};
use crate::suspension::SuspensionChange;

/// One entry of the ledger about a tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum PastEntry {
    /// What one of its sources did, and what came of it.
    Offence(PastOffence),
    /// What an operator did about it, or what ended by itself.
    Suspension(PastSuspension),
}

impl PastEntry {
    /// When it happened.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Offence(offence) => offence.at,
            Self::Suspension(suspension) => suspension.change.at,
        }
    }
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
    pub counters: Counters,
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
pub(super) fn history(file: &Path, tenant: &str, limit: u32) -> Result<Vec<PastEntry>, LedgerError> {
    let offences = offences(file, tenant, limit)?.into_iter().map(PastEntry::Offence);
    let suspensions = suspensions(file, tenant, limit)?.into_iter().map(PastEntry::Suspension);
    let mut entries: Vec<_> = offences.chain(suspensions).collect();
    entries.sort_by_key(|entry| Reverse(entry.at()));
    entries.truncate(limit as usize);
    Ok(entries)
}

fn offences(file: &Path, tenant: &str, limit: u32) -> Result<Vec<PastOffence>, LedgerError> {
    let query =
        "SELECT offences.*, starts_at, ends_at, up_bits_per_second, down_bits_per_second, lifts.at AS lifted_at, lifted_by, reason FROM offences
         LEFT JOIN measures ON measures.offence = offences.id LEFT JOIN lifts ON lifts.measure = measures.id
         WHERE tenant = ? ORDER BY offences.at DESC, offences.id DESC LIMIT ?";
    rows(file, query, params![tenant, limit], past_offence)
}

fn suspensions(file: &Path, tenant: &str, limit: u32) -> Result<Vec<PastSuspension>, LedgerError> {
    let query = "SELECT * FROM suspensions WHERE tenant = ? ORDER BY at DESC, id DESC LIMIT ?";
    rows(file, query, params![tenant, limit], past_suspension)
}

/// Measures that hold at `now`, by tenant and source.
pub(super) fn in_force(file: &Path, now: Timestamp) -> Result<Vec<MeasureInForce>, LedgerError> {
    let query =
        "SELECT tenant, source, kind, measure, starts_at, ends_at, up_bits_per_second, down_bits_per_second
         FROM measures JOIN offences ON offences.id = measures.offence
         WHERE ends_at > ? AND measures.id NOT IN (SELECT measure FROM lifts) ORDER BY measures.id";
    let all = rows(file, query, params![now.as_microsecond()], |row| {
        Ok(MeasureInForce {
            tenant: row.get("tenant")?,
            source: source(row)?,
            kind: labelled(row, "kind")?,
            measure: labelled(row, "measure")?,
            lowered_cap: lowered_cap(row)?,
            since: needed_time(row, "starts_at")?,
            until: needed_time(row, "ends_at")?,
        })
    })?;
    // A repeated offence prolongs the measure that is in force already.
    let mut latest = BTreeMap::new();
    for measure in all {
        latest.insert(measure.identity(), measure);
    }
    Ok(latest.into_values().collect())
}

/// All offences ever recorded, by tenant and kind.
pub(super) fn counts(file: &Path) -> Result<BTreeMap<(String, OffenceKind), u64>, LedgerError> {
    let query = "SELECT tenant, kind, count(*) AS offences FROM offences GROUP BY tenant, kind";
    let counted = |row: &Row<'_>| {
        let offences: i64 = row.get("offences")?;
        Ok(((row.get("tenant")?, labelled(row, "kind")?), offences.unsigned_abs()))
    };
    rows(file, query, [], counted).map(|rows| rows.into_iter().collect())
}

/// What was learned of the tenants' use, as it was last kept.
pub(super) fn baselines(file: &Path) -> Result<Vec<Learned>, LedgerError> {
    rows(file, "SELECT * FROM baselines ORDER BY tenant", [], |row| {
        let baseline = |rate, minutes| -> rusqlite::Result<_> {
            Ok(Baseline { bytes_per_sec: row.get(rate)?, minutes: row.get(minutes)? })
        };
        Ok(Learned {
            tenant: row.get("tenant")?,
            baselines: [
                baseline("up_bytes_per_second", "up_minutes")?,
                baseline("down_bytes_per_second", "down_minutes")?,
            ],
            quiet_until: time(row, "quiet_until")?,
        })
    })
}

fn rows<T>(
    file: &Path,
    query: &str,
    params: impl rusqlite::Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, LedgerError> {
    let all = || -> rusqlite::Result<Vec<T>> {
        store::open_for_reading(file)?.prepare(query)?.query_map(params, read)?.collect()
    };
    all().map_err(|error| LedgerError::new("read", file, &error))
}

fn past_offence(row: &Row<'_>) -> rusqlite::Result<PastOffence> {
    let lifted = match time(row, "lifted_at")? {
        Some(at) => Some(Lifted { at, by: row.get("lifted_by")?, reason: row.get("reason")? }),
        None => None,
    };
    let taken = match (time(row, "starts_at")?, time(row, "ends_at")?) {
        (Some(since), Some(until)) => Some(Taken { since, until, lowered_cap: lowered_cap(row)?, lifted }),
        _ => None,
    };
    Ok(PastOffence {
        at: needed_time(row, "at")?,
        source: source(row)?,
        kind: labelled(row, "kind")?,
        mode: labelled(row, "mode")?,
        measure: labelled(row, "measure")?,
        taken,
        counters: json(row, "counters")?,
        targets: json(row, "targets")?,
        capture: row.get("capture")?,
        capture_file: None,
        config_digest: row.get("config_digest")?,
    })
}

fn past_suspension(row: &Row<'_>) -> rusqlite::Result<PastSuspension> {
    let scope: Option<String> = row.get("scope")?;
    let change = SuspensionChange {
        at: needed_time(row, "at")?,
        change: labelled(row, "change")?,
        scope: scope.map(|_| labelled(row, "scope")).transpose()?,
        source: source(row)?,
        until: time(row, "ends_at")?,
        by: row.get("done_by")?,
        reason: row.get("reason")?,
    };
    Ok(PastSuspension { change, config_digest: row.get("config_digest")? })
}

fn lowered_cap(row: &Row<'_>) -> rusqlite::Result<Option<LoweredCap>> {
    let rate = |column| row.get(column).map(|rate: Option<i64>| rate.map(i64::unsigned_abs));
    let cap = LoweredCap {
        up_bits_per_second: rate("up_bits_per_second")?,
        down_bits_per_second: rate("down_bits_per_second")?,
    };
    Ok((cap != LoweredCap::default()).then_some(cap))
}

fn source(row: &Row<'_>) -> rusqlite::Result<Option<IpNetwork>> {
    let text: Option<String> = row.get("source")?;
    text.map(|text| text.parse())
        .transpose()
        .map_err(|error: ipnetwork::IpNetworkError| conversion("source", error.into()))
}

fn needed_time(row: &Row<'_>, column: &str) -> rusqlite::Result<Timestamp> {
    time(row, column)?.ok_or_else(|| missing(column))
}

fn json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| conversion(column, error.into()))
}

/// One of a few words, as JSON spells it.
fn labelled<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_value(text.into()).map_err(|error| conversion(column, error.into()))
}

fn missing(column: &str) -> rusqlite::Error {
    conversion(column, "empty".into())
}
