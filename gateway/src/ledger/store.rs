//! The ledger's file: an SQLite database that is only ever added to, but for one table of notes.
//!
//! Triggers refuse to change or remove what is recorded; that a measure was lifted is a row of its own.
//! Baselines are no record: they are what the next controller is to know.
//! Times are microseconds since 1970, UTC.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, params};
use rusqlite_migration::{M, Migrations};

use super::error::LedgerError;
use crate::detect::{Learned, Lift, Offence, Target};
use crate::suspension::{Scope, SuspensionChange};

const FILE: &str = "ledger.sqlite";

/// What a backup or an operator's query may take before the ledger is called locked.
const PATIENCE: Duration = Duration::from_secs(5);

/// Each release's changes, in order; never edited once released.
pub(super) const STEPS: &[M<'_>] = &[
    M::up(include_str!("schema/1-offences.sql")),
    M::up(include_str!("schema/2-standings.sql")),
    M::up(include_str!("schema/3-baselines.sql")),
    M::up(include_str!("schema/4-lowered-caps.sql")),
    M::up(include_str!("schema/5-suspensions.sql")),
];
const MIGRATIONS: Migrations<'_> = Migrations::from_slice(STEPS);

/// One thing to record.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Offence {
        offence: Box<Offence>,
        /// SHA-256 of the configuration that the offence was judged under, lower-case hex.
        config_digest: String,
        /// File with the packets, in the directory of captures.
        capture: Option<String>,
    },
    Lift(Lift),
    Suspension {
        /// Id of the tenant.
        tenant: String,
        change: SuspensionChange,
        /// SHA-256 of the configuration in force then, lower-case hex.
        config_digest: String,
    },
}

/// Where the ledger of `state_dir` is.
pub(super) fn file(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

/// The ledger, open for writing.
pub(super) struct Store {
    file: PathBuf,
    connection: Connection,
}

impl Store {
    /// Opens the ledger; makes it, and its directory, if need be.
    pub(super) fn open(file: &Path) -> Result<Self, LedgerError> {
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory).map_err(|error| LedgerError::directory(file, &error))?;
        }
        // What customers did is for the operator alone; SQLite itself would let everybody read.
        let made = File::options().append(true).create(true).mode(0o600).open(file);
        made.map_err(|error| LedgerError::directory(file, &error))?;
        let failed = |error| LedgerError::new("open", file, &error);
        let mut connection = Connection::open(file).map_err(failed)?;
        connection.busy_timeout(PATIENCE).map_err(failed)?;
        // Readers do not wait for the writer; and what is committed outlasts a power cut.
        connection.pragma_update(None, "journal_mode", "wal").map_err(failed)?;
        connection.pragma_update(None, "synchronous", "full").map_err(failed)?;
        connection.pragma_update(None, "foreign_keys", true).map_err(failed)?;
        MIGRATIONS.to_latest(&mut connection).map_err(|error| LedgerError::migrating(file, &error))?;
        Ok(Self { file: file.into(), connection })
    }

    /// Records all of `entries`, or nothing.
    pub(super) fn append<'e>(
        &mut self,
        entries: impl IntoIterator<Item = &'e Entry>,
    ) -> Result<(), LedgerError> {
        let file = &self.file;
        let failed = |error| LedgerError::new("write to", file, &error);
        let transaction = self.connection.transaction().map_err(failed)?;
        for entry in entries {
            match entry {
                Entry::Offence { offence, config_digest, capture } => {
                    insert_offence(&transaction, offence, config_digest, capture.as_deref())
                }
                Entry::Lift(lift) => insert_lift(&transaction, lift),
                Entry::Suspension { tenant, change, config_digest } => {
                    insert_suspension(&transaction, tenant, change, config_digest)
                }
            }
            .map_err(failed)?;
        }
        transaction.commit().map_err(failed)
    }

    /// Puts these baselines in the place of all before, or changes nothing.
    pub(super) fn keep_baselines(&mut self, baselines: &[Learned]) -> Result<(), LedgerError> {
        let transaction = self.connection.transaction();
        transaction
            .and_then(|transaction| {
                replace_baselines(&transaction, baselines)?;
                transaction.commit()
            })
            .map_err(|error| LedgerError::new("keep baselines in", &self.file, &error))
    }
}

fn replace_baselines(transaction: &Transaction<'_>, baselines: &[Learned]) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM baselines", [])?;
    let mut insert = transaction.prepare_cached("INSERT INTO baselines VALUES (?, ?, ?, ?, ?, ?)")?;
    for Learned { tenant, baselines: [up, down], quiet_until } in baselines {
        insert.execute(params![
            tenant,
            up.bytes_per_sec,
            up.minutes,
            down.bytes_per_sec,
            down.minutes,
            quiet_until.map(Timestamp::as_microsecond),
        ])?;
    }
    Ok(())
}

fn insert_offence(
    transaction: &Transaction<'_>,
    offence: &Offence,
    config_digest: &str,
    capture: Option<&str>,
) -> rusqlite::Result<()> {
    let source = offence.source.map(|source| source.to_string());
    let targets: Vec<_> = offence.targets.iter().map(Target::to_string).collect();
    transaction
        .prepare_cached(
            "INSERT INTO offences (at, tenant, source, kind, mode, measure, counters, targets, capture, config_digest)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            offence.at.as_microsecond(),
            offence.tenant,
            source,
            offence.kind.label(),
            offence.mode.label(),
            offence.measure.label(),
            json(&offence.counters)?,
            json(&targets)?,
            capture,
            config_digest,
        ])?;
    if let Some(taken) = offence.taken() {
        let cap = taken.lowered_cap.unwrap_or_default();
        transaction
            .prepare_cached(
                "INSERT INTO measures (offence, starts_at, ends_at, up_bits_per_second, down_bits_per_second)
                 VALUES (?, ?, ?, ?, ?)",
            )?
            .execute(params![
                transaction.last_insert_rowid(),
                taken.since.as_microsecond(),
                taken.until.as_microsecond(),
                cap.up_bits_per_second.map(u64::cast_signed),
                cap.down_bits_per_second.map(u64::cast_signed),
            ])?;
    }
    Ok(())
}

fn insert_lift(transaction: &Transaction<'_>, lift: &Lift) -> rusqlite::Result<()> {
    let source = lift.source.map(|source| source.to_string());
    transaction
        .prepare_cached(
            "INSERT INTO lifts (measure, at, lifted_by, reason)
             SELECT measures.id, ?1, ?2, ?3 FROM measures JOIN offences ON offences.id = measures.offence
             WHERE offences.tenant = ?4 AND (?5 IS NULL OR offences.source = ?5) AND measures.ends_at > ?1
             AND measures.id NOT IN (SELECT measure FROM lifts)",
        )?
        .execute(params![lift.at.as_microsecond(), lift.by, lift.reason, lift.tenant, source])?;
    Ok(())
}

fn insert_suspension(
    transaction: &Transaction<'_>,
    tenant: &str,
    change: &SuspensionChange,
    config_digest: &str,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO suspensions (at, tenant, change, scope, source, ends_at, done_by, reason, config_digest)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            change.at.as_microsecond(),
            tenant,
            change.change.label(),
            change.scope.map(Scope::label),
            change.source.map(|source| source.to_string()),
            change.until.map(Timestamp::as_microsecond),
            change.by,
            change.reason,
            config_digest,
        ])?;
    Ok(())
}

fn json(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// As [`super::read`] needs it.
pub(super) fn open_for_reading(file: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(file, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(PATIENCE)?;
    Ok(connection)
}

/// A time as it is recorded.
pub(super) fn time(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<Option<Timestamp>> {
    let microseconds: Option<i64> = row.get(column)?;
    let unreadable = |error: jiff::Error| conversion(column, error.into());
    microseconds.map(Timestamp::from_microsecond).transpose().map_err(unreadable)
}

/// A column that does not hold what was written there.
pub(super) fn conversion(column: &str, error: Box<dyn std::error::Error + Send + Sync>) -> rusqlite::Error {
    let error = format!("column {column}: {error}").into();
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error)
}

/// Counters by name.
pub(super) type Counters = BTreeMap<String, u64>;

/// A ledger as it was after the first `steps` of its changes.
#[cfg(test)]
pub(super) fn as_of_step(file: &Path, steps: usize) -> Connection {
    let mut connection = Connection::open(file).unwrap();
    Migrations::from_slice(&STEPS[..steps]).to_latest(&mut connection).unwrap();
    connection
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::detect::fake::{at, offence};
    use crate::suspension::Suspension;

    #[test]
    fn only_the_owner_may_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = file(directory.path());
        drop(Store::open(&file).unwrap());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn migrations_are_valid() {
        MIGRATIONS.validate().unwrap();
    }

    #[test]
    fn what_is_recorded_cannot_be_changed() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&file(directory.path())).unwrap();
        let entry = Entry::Offence {
            offence: Box::new(offence("acme", "192.0.2.1/32", 0)),
            config_digest: "d".into(),
            capture: None,
        };
        let suspension = Suspension {
            scope: Scope::Mail,
            reason: "spam run".into(),
            by: Some("j.doe".into()),
            since: at(0),
            until: None,
        };
        let change = SuspensionChange::suspended(&suspension);
        let suspended = Entry::Suspension { tenant: "acme".into(), change, config_digest: "d".into() };
        store.append([&entry, &suspended]).unwrap();
        for change in [
            "UPDATE offences SET tenant = 'beta'",
            "DELETE FROM offences",
            "UPDATE measures SET ends_at = 0",
            "DELETE FROM measures",
            "DELETE FROM lifts",
            "UPDATE lifts SET reason = ''",
            "DELETE FROM suspensions",
            "UPDATE suspensions SET done_by = 'nobody'",
        ] {
            // Triggers fire for each row: there must be one to protect.
            let lift = "INSERT OR IGNORE INTO lifts VALUES (1, 0, 'a', 'b')";
            store.connection.execute(lift, []).unwrap();
            let error = store.connection.execute(change, []).unwrap_err().to_string();
            assert!(error.contains("only ever added to"), "{change}: {error}");
        }
    }
}
