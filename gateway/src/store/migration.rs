//! What releases before the chain recorded, in tables of its own kinds, becomes entries in the order of time.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Row, Transaction};

use super::chain::{Head, unhex};
use super::columns::{json, labelled, lowered_cap, needed_time, source, time};
use super::database::append_entry;
use super::fact::{Expired, Fact, OffenceFact, Record, Restored, Suspended};
use crate::config::{Digest, OffenceKind};
use crate::domain::{Actor, Moment, Way};

/// Makes entries of all rows, then removes the tables. The projections are made afterwards.
pub(super) fn chain_old_rows(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut records = offences(transaction)?;
    records.extend(suspensions(transaction)?);
    records.extend(lifts(transaction)?);
    // Stable: of what happened at once, offences come before what was done about them.
    records.sort_by_key(|record| record.at.wall);
    let mut head = Head::default();
    for record in &records {
        head = append_entry(transaction, head, record)?;
    }
    // Dropping a table fires no triggers.
    transaction
        .execute_batch("DROP TABLE lifts; DROP TABLE measures; DROP TABLE offences; DROP TABLE suspensions;")
}

fn record(at: Timestamp, actor: Actor, tenant: String, config: Option<Digest>, fact: Fact) -> Record {
    Record { at: Moment { wall: at, boot: None }, actor, tenant: Some(tenant), config, fact }
}

fn person(name: String) -> Actor {
    Actor { name, way: Way::Import, role: None }
}

fn offences(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<Record>> {
    let query = "SELECT offences.*, ends_at, up_bits_per_second, down_bits_per_second FROM offences
         LEFT JOIN measures ON measures.offence = offences.id ORDER BY offences.id";
    let offence = |row: &Row<'_>| {
        let kind: OffenceKind = labelled(row, "kind")?;
        let fact = OffenceFact {
            source: source(row)?,
            kind,
            mode: labelled(row, "mode")?,
            measure: labelled(row, "measure")?,
            until: time(row, "ends_at")?,
            lowered_cap: lowered_cap(row)?,
            counters: json(row, "counters")?,
            targets: json(row, "targets")?,
            capture: row.get("capture")?,
        };
        let actor = if kind == OffenceKind::SuddenRise { Actor::controller() } else { Actor::kernel() };
        Ok(record(needed_time(row, "at")?, actor, row.get("tenant")?, digest(row)?, Fact::Offence(fact)))
    };
    rows(transaction, query, offence)
}

fn suspensions(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<Record>> {
    let change = |row: &Row<'_>| {
        let (change, reason): (String, String) = (row.get("change")?, row.get("reason")?);
        let scope: Option<String> = row.get("scope")?;
        let scope = scope.map(|_| labelled(row, "scope")).transpose()?;
        let actor = row.get::<_, Option<String>>("done_by")?.map_or_else(Actor::controller, person);
        let fact = match (change.as_str(), scope) {
            ("suspended", Some(scope)) => {
                Fact::Suspended(Suspended { scope, until: time(row, "ends_at")?, reason })
            }
            ("expired", Some(scope)) => Fact::Expired(Expired { scope, reason }),
            _ => Fact::Restored(Restored { scope, measures: true, source: source(row)?, reason }),
        };
        Ok(record(needed_time(row, "at")?, actor, row.get("tenant")?, digest(row)?, fact))
    };
    rows(transaction, "SELECT * FROM suspensions ORDER BY id", change)
}

/// Those that the first release recorded without a restoration beside them.
fn lifts(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<Record>> {
    let query = "SELECT lifts.at, lifted_by, reason, tenant, source FROM lifts
         JOIN measures ON measures.id = lifts.measure JOIN offences ON offences.id = measures.offence
         WHERE NOT EXISTS (SELECT 1 FROM suspensions WHERE suspensions.tenant = offences.tenant
                           AND suspensions.at = lifts.at AND change = 'restored')";
    type Key = (Timestamp, String, String, String);
    let mut by_act: BTreeMap<Key, Vec<Option<ipnetwork::IpNetwork>>> = BTreeMap::new();
    let lift = |row: &Row<'_>| {
        let key = (needed_time(row, "at")?, row.get("tenant")?, row.get("lifted_by")?, row.get("reason")?);
        Ok((key, source(row)?))
    };
    for (key, source) in rows(transaction, query, lift)? {
        by_act.entry(key).or_default().push(source);
    }
    let restored = |((at, tenant, by, reason), sources): (Key, Vec<Option<ipnetwork::IpNetwork>>)| {
        let one = sources[0].filter(|first| sources.iter().all(|source| *source == Some(*first)));
        let fact = Restored { scope: None, measures: true, source: one, reason };
        record(at, person(by), tenant, None, Fact::Restored(fact))
    };
    Ok(by_act.into_iter().map(restored).collect())
}

fn rows<T>(
    transaction: &Transaction<'_>,
    query: &str,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    transaction.prepare(query)?.query_map([], read)?.collect()
}

fn digest(row: &Row<'_>) -> rusqlite::Result<Option<Digest>> {
    let text: String = row.get("config_digest")?;
    Ok(unhex(&text).and_then(|bytes| bytes.try_into().ok()).map(Digest))
}
