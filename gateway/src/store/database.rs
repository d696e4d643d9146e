//! The database: opened, migrated, added to. One connection, owned by the thread that writes.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, params};
use rusqlite_migration::{HookResult, M, Migrations};

use super::chain::{self, Hash, Head, Header};
use super::error::StoreError;
use super::fact::{Fact, Record};
use super::projection;
use crate::detect::Learned;
use crate::domain::{BootTime, Moment};
use crate::private;

/// What a backup or an operator's query may take before the database is called locked.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Each release's changes, in order; never edited once released.
fn steps() -> Vec<M<'static>> {
    vec![
        M::up(include_str!("schema/1-offences.sql")),
        M::up(include_str!("schema/2-standings.sql")),
        M::up(include_str!("schema/3-baselines.sql")),
        M::up(include_str!("schema/4-lowered-caps.sql")),
        M::up(include_str!("schema/5-suspensions.sql")),
        M::up_with_hook(
            include_str!("schema/6-entries.sql"),
            |transaction: &Transaction<'_>| -> HookResult {
                Ok(super::migration::chain_old_rows(transaction)?)
            },
        ),
    ]
}

/// The database, open for writing.
pub(super) struct Database {
    file: PathBuf,
    /// Device and inode of the file that is open.
    opened: (u64, u64),
    connection: Connection,
    head: Head,
    /// Where the chain ends if a commit that failed has reached the disk all the same.
    attempted: Option<Head>,
}

impl Database {
    /// Opens the database; makes it, if need be.
    pub(super) fn open(file: &Path) -> Result<Self, StoreError> {
        let opened = private::open_file(file).and_then(|opened| opened.metadata());
        let opened = opened.map_err(|error| StoreError::directory(file, &error))?;
        let opened = (opened.dev(), opened.ino());
        let mut connection = connect(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let failed = |error| StoreError::new("open", file, &error);
        // Readers do not wait for the writer; and what is committed outlasts a power cut.
        connection.pragma_update(None, "journal_mode", "wal").map_err(failed)?;
        connection.pragma_update(None, "synchronous", "full").map_err(failed)?;
        connection.pragma_update(None, "foreign_keys", true).map_err(failed)?;
        let migrations = Migrations::new(steps());
        migrations.to_latest(&mut connection).map_err(|error| StoreError::migrating(file, &error))?;
        let transaction = connection.transaction().map_err(failed)?;
        projection::update(&transaction).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        let head = read_head(&connection).map_err(failed)?;
        let database = Self { file: file.to_owned(), opened, connection, head, attempted: None };
        database.check_end()?;
        Ok(database)
    }

    /// Where it is.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Whether the open file still has its name. SQLite goes on with one that was removed or replaced, and nobody
    /// would ever find what it writes.
    pub(super) fn is_in_place(&self) -> bool {
        fs::symlink_metadata(&self.file).is_ok_and(|found| (found.dev(), found.ino()) == self.opened)
    }

    /// Writes all that it holds into an empty file.
    pub(super) fn copy_into(&self, file: &Path) -> Result<(), StoreError> {
        let copied = self.connection.execute("VACUUM INTO ?", [&*file.to_string_lossy()]);
        copied.map(drop).map_err(|error| StoreError::new("copy", &self.file, &error))
    }

    /// Where the chain ends.
    pub(super) fn head(&self) -> Head {
        self.head
    }

    /// Whether the last entry is where the head says, and is what it was: what a torn copy fails at.
    fn check_end(&self) -> Result<(), StoreError> {
        let failed = |error| StoreError::new("read", &self.file, &error);
        let last = super::reader::last(&self.connection).map_err(failed)?;
        let found = last.map_or(Head::default(), |entry| Head {
            number: entry.header.number,
            hash: chain::link(&entry.previous, &entry.header.digest()),
        });
        if found == self.head {
            return Ok(());
        }
        let cause = format!("its chain ends at entry {}, not at entry {}", found.number, self.head.number);
        Err(StoreError::broken(&self.file, cause))
    }

    /// See [`Self::attempted`].
    pub(super) fn attempted(&self) -> Option<Head> {
        self.attempted
    }

    /// Records all of `records`, or nothing; on the disk when it returns. Notes how far the boot clock has run.
    pub(super) fn append(&mut self, records: &[&Record], seen: Option<&Moment>) -> Result<(), StoreError> {
        let file = &self.file;
        let failed = |error| StoreError::new("write to", file, &error);
        let transaction = self.connection.transaction().map_err(failed)?;
        let mut head = self.head;
        for record in records {
            head = append(&transaction, head, record).map_err(failed)?;
        }
        for moment in records.iter().map(|record| &record.at).chain(seen) {
            note_boot(&transaction, moment).map_err(failed)?;
        }
        if let Err(error) = transaction.commit() {
            self.attempted = Some(head);
            return Err(failed(error));
        }
        self.head = head;
        Ok(())
    }

    /// Puts these baselines in the place of all before, or changes nothing.
    pub(super) fn keep_baselines(&mut self, baselines: &[Learned]) -> Result<(), StoreError> {
        let transaction = self.connection.transaction();
        transaction
            .and_then(|transaction| {
                replace_baselines(&transaction, baselines)?;
                transaction.commit()
            })
            .map_err(|error| StoreError::new("keep baselines in", &self.file, &error))
    }

    /// The text column of every row of a query.
    pub(super) fn texts(&self, query: &str) -> Result<Vec<String>, StoreError> {
        let read = || -> rusqlite::Result<Vec<String>> {
            self.connection.prepare_cached(query)?.query_map([], |row| row.get(0))?.collect()
        };
        read().map_err(|error| StoreError::new("read", &self.file, &error))
    }

    /// What an operator has not acknowledged yet of what was lost.
    pub(super) fn losses(&self) -> Result<Vec<String>, StoreError> {
        self.texts("SELECT what FROM losses WHERE acknowledged_by IS NULL ORDER BY entry")
    }
}

/// A connection to an existing database.
pub(super) fn connect(file: &Path, access: OpenFlags) -> Result<Connection, StoreError> {
    let failed = |error: rusqlite::Error| StoreError::new("open", file, &error);
    // SQLite refuses links anywhere in the path; those to the directory are the operator's.
    let directory = file.parent().unwrap_or(Path::new(".")).canonicalize();
    let directory = directory.map_err(|error| StoreError::directory(file, &error))?;
    let path = directory.join(file.file_name().unwrap_or_default());
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(PATIENCE).map_err(failed)?;
    Ok(connection)
}

/// Adds an entry with its body and all that follows from it; returns the new end of the chain.
pub(super) fn append(transaction: &Transaction<'_>, head: Head, record: &Record) -> rusqlite::Result<Head> {
    let entry = append_entry(transaction, head, record)?;
    projection::apply(transaction, entry.number, record)?;
    Ok(entry)
}

/// The same without what follows from it.
pub(super) fn append_entry(
    transaction: &Transaction<'_>,
    head: Head,
    record: &Record,
) -> rusqlite::Result<Head> {
    let body = record.fact.body().and_then(|body| serde_json::to_string(&body)).map_err(not_json)?;
    let salt: Vec<u8> =
        transaction.prepare_cached("SELECT randomblob(16)")?.query_row([], |row| row.get(0))?;
    let header = Header {
        number: head.number + 1,
        at: record.at.wall,
        boot: record.at.boot.clone(),
        actor: record.actor.name.clone(),
        way: record.actor.way.label().to_owned(),
        role: record.actor.role.map(|role| role.label().to_owned()),
        tenant: record.tenant.clone(),
        kind: record.fact.kind(),
        config_digest: record.config.map(|digest| digest.to_string()).unwrap_or_default(),
        body_digest: chain::body_digest(&salt, &body),
    };
    let hash = chain::link(&head.hash, &header.digest());
    insert(transaction, &header, &head.hash, &hash)?;
    let number = header.number.cast_signed();
    transaction
        .prepare_cached("INSERT INTO bodies (entry, salt, body) VALUES (?, ?, ?)")?
        .execute(params![number, salt, body])?;
    if let Fact::BodiesRemoved(removed) = &record.fact {
        transaction.execute(
            "INSERT INTO removals (entry, first, last) VALUES (?, ?, ?)",
            params![number, removed.first.cast_signed(), removed.last.cast_signed()],
        )?;
    }
    transaction
        .prepare_cached("INSERT OR REPLACE INTO head (one, number, hash) VALUES (1, ?, ?)")?
        .execute(params![number, hash])?;
    Ok(Head { number: header.number, hash })
}

fn insert(
    transaction: &Transaction<'_>,
    header: &Header,
    previous: &Hash,
    hash: &Hash,
) -> rusqlite::Result<usize> {
    transaction
        .prepare_cached(
            "INSERT INTO entries (number, at, boot, boot_us, actor, way, role, tenant, kind, config_digest,
             body_digest, previous, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            header.number.cast_signed(),
            header.at.as_microsecond(),
            header.boot.as_ref().map(|boot| &boot.id),
            header.boot.as_ref().map(|boot| boot.us.cast_signed()),
            header.actor,
            header.way,
            header.role,
            header.tenant,
            header.kind,
            header.config_digest,
            header.body_digest,
            previous,
            hash,
        ])
}

/// Where the chain of a database ends.
pub(super) fn read_head(connection: &Connection) -> rusqlite::Result<Head> {
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Head { number: row.get::<_, i64>("number")?.cast_unsigned(), hash: row.get("hash")? })
    };
    let head = connection.query_row("SELECT number, hash FROM head", [], read).optional()?;
    Ok(head.unwrap_or_default())
}

fn note_boot(transaction: &Transaction<'_>, now: &Moment) -> rusqlite::Result<()> {
    let Some(BootTime { id, us }) = &now.boot else { return Ok(()) };
    transaction
        .prepare_cached(
            "INSERT INTO boots (boot, last_us) VALUES (?1, ?2)
             ON CONFLICT (boot) DO UPDATE SET last_us = max(last_us, ?2)",
        )?
        .execute(params![id, us.cast_signed()])?;
    Ok(())
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

pub(super) fn not_json(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(error.into())
}

/// A database as it was after the first `count` of its changes.
#[cfg(test)]
pub(super) fn as_of_step(file: &Path, count: usize) -> Connection {
    let mut connection = Connection::open(file).unwrap();
    let mut steps = steps();
    steps.truncate(count);
    Migrations::new(steps).to_latest(&mut connection).unwrap();
    connection
}

/// How many changes there are.
#[cfg(test)]
pub(super) fn step_count() -> usize {
    steps().len()
}
