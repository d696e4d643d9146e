//! What follows from the entries: suspensions and measures in force, offences by tenant and kind, losses.
//!
//! Written in the transaction of the entry that it follows from, and made anew from all of them when its
//! shape changes; so there is one way from entries to state.

use rusqlite::{Transaction, params};

use super::database::not_json;
use super::fact::{Expired, Fact, OffenceFact, Record, Restored, Suspended};
use super::reader;
use crate::domain::{BootTime, Moment};

/// Of `schema/projections.sql`.
const VERSION: i64 = 2;

const TABLES: [&str; 6] = ["suspensions", "measures", "offence_counts", "losses", "imports", "case_entries"];

/// Makes the projections anew if they are not of this release's shape.
pub(super) fn update(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch("CREATE TABLE IF NOT EXISTS projections (version INTEGER NOT NULL) STRICT;")?;
    let version: Option<i64> =
        transaction.query_row("SELECT max(version) FROM projections", [], |row| row.get(0))?;
    if version == Some(VERSION) {
        return Ok(());
    }
    make_anew(transaction)?;
    transaction.execute("DELETE FROM projections", [])?;
    transaction.execute("INSERT INTO projections (version) VALUES (?)", [VERSION])?;
    Ok(())
}

/// Makes the projections from the entries alone.
pub(super) fn make_anew(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    for table in TABLES {
        transaction.execute_batch(&format!("DROP TABLE IF EXISTS {table};"))?;
    }
    transaction.execute_batch(include_str!("schema/projections.sql"))?;
    reader::each(transaction, "", params![], |entry| {
        let (number, at) = (entry.header.number, entry.moment());
        let tenant = entry.header.tenant.clone();
        match entry.fact().map_err(not_json)? {
            Some(fact) => apply_fact(transaction, number, &at, &entry.header.actor, tenant.as_deref(), &fact),
            // Its body has gone, but its kind is known.
            None => count_offence(transaction, tenant.as_deref(), Fact::offence_kind(&entry.header.kind)),
        }
    })
}

/// Writes what follows from an entry.
pub(super) fn apply(transaction: &Transaction<'_>, number: u64, record: &Record) -> rusqlite::Result<()> {
    let Record { at, actor, tenant, fact, .. } = record;
    apply_fact(transaction, number, at, &actor.name, tenant.as_deref(), fact)
}

fn apply_fact(
    transaction: &Transaction<'_>,
    number: u64,
    at: &Moment,
    actor: &str,
    tenant: Option<&str>,
    fact: &Fact,
) -> rusqlite::Result<()> {
    let entry = number.cast_signed();
    match fact {
        Fact::Offence(offence) => {
            count_offence(transaction, tenant, Some(offence.kind.label()))?;
            insert_measure(transaction, entry, at, tenant, offence)
        }
        Fact::Suspended(suspended) | Fact::Found(suspended) => {
            let Suspended { scope, until, reason } = suspended;
            let until = until.map(jiff::Timestamp::as_microsecond);
            transaction
                .prepare_cached("INSERT OR REPLACE INTO suspensions VALUES (?, ?, ?, ?, ?, ?, ?)")?
                .execute(params![
                    tenant,
                    scope.label(),
                    entry,
                    at.wall.as_microsecond(),
                    until,
                    actor,
                    reason
                ])
                .map(drop)
        }
        Fact::Restored(restored) => {
            if let Some(scope) = restored.scope {
                end_suspension(transaction, tenant, scope.label())?;
            }
            if restored.measures { end_measures(transaction, entry, at, tenant, restored) } else { Ok(()) }
        }
        Fact::Expired(Expired { scope, .. }) => end_suspension(transaction, tenant, scope.label()),
        Fact::Lost(lost) => transaction
            .execute("INSERT INTO losses (entry, what) VALUES (?, ?)", params![entry, lost.what])
            .map(drop),
        Fact::Adopted(_) => transaction
            .execute("UPDATE losses SET adopted_by = ? WHERE adopted_by IS NULL", [entry])
            .map(drop),
        Fact::Acknowledged(_) => transaction
            .execute("UPDATE losses SET acknowledged_by = ? WHERE acknowledged_by IS NULL", [entry])
            .map(drop),
        Fact::Imported(imported) => transaction
            .execute("INSERT OR IGNORE INTO imports VALUES (?, ?)", params![imported.digest, entry])
            .map(drop),
        Fact::BodiesRemoved(_) => Ok(()),
        Fact::Case(act) => transaction
            .prepare_cached("INSERT INTO case_entries VALUES (?, ?)")?
            .execute(params![entry, act.case().map(|case| case.to_string())])
            .map(drop),
    }
}

fn count_offence(
    transaction: &Transaction<'_>,
    tenant: Option<&str>,
    kind: Option<&str>,
) -> rusqlite::Result<()> {
    let (Some(tenant), Some(kind)) = (tenant, kind) else { return Ok(()) };
    transaction
        .prepare_cached(
            "INSERT INTO offence_counts VALUES (?, ?, 1)
             ON CONFLICT (tenant, kind) DO UPDATE SET offences = offences + 1",
        )?
        .execute(params![tenant, kind])
        .map(drop)
}

fn insert_measure(
    transaction: &Transaction<'_>,
    entry: i64,
    at: &Moment,
    tenant: Option<&str>,
    offence: &OffenceFact,
) -> rusqlite::Result<()> {
    let (true, Some(until)) = (offence.is_measure_taken(), offence.until) else { return Ok(()) };
    let cap = offence.lowered_cap.unwrap_or_default();
    transaction
        .prepare_cached("INSERT INTO measures VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)")?
        .execute(params![
            entry,
            tenant,
            offence.source.map(|source| source.to_string()),
            offence.kind.label(),
            offence.measure.label(),
            at.wall.as_microsecond(),
            until.as_microsecond(),
            at.boot.as_ref().map(|boot| &boot.id),
            at.boot.as_ref().map(|boot| boot.us.cast_signed()),
            cap.up_bits_per_second.map(u64::cast_signed),
            cap.down_bits_per_second.map(u64::cast_signed),
        ])
        .map(drop)
}

/// Measures that hold by either clock: the wall clock may have been set since they were taken.
fn end_measures(
    transaction: &Transaction<'_>,
    entry: i64,
    at: &Moment,
    tenant: Option<&str>,
    restored: &Restored,
) -> rusqlite::Result<()> {
    let (boot, boot_us) = match &at.boot {
        Some(BootTime { id, us }) => (Some(id), Some(us.cast_signed())),
        None => (None, None),
    };
    let source = restored.source.map(|source| source.to_string());
    transaction
        .prepare_cached(
            "UPDATE measures SET ended_by = ?1
             WHERE tenant = ?2 AND (?3 IS NULL OR source = ?3) AND ended_by IS NULL
             AND (ends_at > ?4 OR boot = ?5 AND starts_boot_us + (ends_at - starts_at) > ?6)",
        )?
        .execute(params![entry, tenant, source, at.wall.as_microsecond(), boot, boot_us])
        .map(drop)
}

fn end_suspension(transaction: &Transaction<'_>, tenant: Option<&str>, scope: &str) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM suspensions WHERE tenant = ? AND scope = ?")?
        .execute(params![tenant, scope])
        .map(drop)
}

/// All projections as text, row by row.
#[cfg(test)]
pub(super) fn dump(connection: &rusqlite::Connection) -> Vec<String> {
    let mut rows = Vec::new();
    for table in TABLES {
        let mut statement = connection.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2")).unwrap();
        let columns = statement.column_count();
        let mut found = statement.query([]).unwrap();
        while let Some(row) = found.next().unwrap() {
            let values: Vec<String> = (0..columns)
                .map(|column| format!("{:?}", row.get::<_, rusqlite::types::Value>(column).unwrap()))
                .collect();
            rows.push(format!("{table}: {}", values.join(" ")));
        }
    }
    rows
}
