//! Entries as they are read, over a connection of the reader's own that cannot write.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Params, Row};

use super::chain::{Hash, Head, Header};
use super::columns::needed_time;
use super::database::{connect, read_head};
use super::error::StoreError;
use super::fact::Fact;
use super::files::Files;
use crate::domain::{BootTime, Moment};

/// Reads one database, as it is at the moment that it is opened.
pub struct Reader {
    file: PathBuf,
    connection: Connection,
}

/// An entry as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// All but the body.
    pub header: Header,
    /// Hash of the entry before.
    pub previous: Hash,
    /// Its own.
    pub hash: Hash,
    /// What it says; none: that was removed.
    pub body: Option<Body>,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// Goes into the digest before the text.
    pub salt: Vec<u8>,
    /// JSON, keys sorted, without spaces.
    pub text: String,
}

impl Stored {
    /// When it happened.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment { wall: self.header.at, boot: self.header.boot.clone() }
    }

    /// What it says; none: that was removed, or is of a kind that this release does not know.
    pub fn fact(&self) -> serde_json::Result<Option<Fact>> {
        self.body.as_ref().map_or(Ok(None), |body| Fact::read(&self.header.kind, &body.text))
    }
}

/// Which entries to read.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Those of this tenant; none: of all.
    pub tenant: Option<String>,
    /// Those from this moment on.
    pub from: Option<Timestamp>,
    /// Those before this moment.
    pub to: Option<Timestamp>,
}

impl Reader {
    /// Opens the database of a state directory, whether a controller runs or not.
    pub fn open(state_dir: &Path) -> Result<Self, StoreError> {
        Self::of(&Files::of(state_dir).database())
    }

    /// Opens a database.
    pub(super) fn of(file: &Path) -> Result<Self, StoreError> {
        let connection = connect(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let reader = Self { file: file.to_owned(), connection };
        // One moment for all that is read.
        reader.connection.execute_batch("BEGIN").map_err(|error| reader.failed(&error))?;
        Ok(reader)
    }

    /// Where the chain says that it ends.
    pub fn head(&self) -> Result<Head, StoreError> {
        read_head(&self.connection).map_err(|error| self.failed(&error))
    }

    /// The last entry that anything but the chain names.
    pub fn last_referenced(&self) -> Result<u64, StoreError> {
        let query = "SELECT max(entry) AS last FROM (SELECT max(entry) AS entry FROM bodies
             UNION ALL SELECT max(entry) FROM measures UNION ALL SELECT max(entry) FROM suspensions)";
        let last = self.rows(query, [], |row| row.get::<_, Option<i64>>("last"))?;
        Ok(last.into_iter().flatten().max().unwrap_or_default().cast_unsigned())
    }

    /// Hands every entry to `visit`, in their order.
    pub fn each<E>(
        &self,
        mut visit: impl FnMut(Stored) -> Result<(), E>,
    ) -> Result<Result<(), E>, StoreError> {
        let mut stopped = Ok(());
        let visited = each(&self.connection, "", [], |entry| {
            stopped = visit(entry);
            if stopped.is_ok() { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(0)) }
        });
        match (stopped, visited) {
            (Ok(()), Err(error)) => Err(self.failed(&error)),
            (stopped, _) => Ok(stopped),
        }
    }

    /// The first and the last entry of a selection; none: nothing is selected.
    pub fn range(&self, selection: &Selection) -> Result<Option<(u64, u64)>, StoreError> {
        let query = "SELECT min(number), max(number) FROM entries
             WHERE (?1 IS NULL OR tenant = ?1) AND (?2 IS NULL OR at >= ?2) AND (?3 IS NULL OR at < ?3)";
        let Selection { tenant, from, to } = selection;
        let bounds = (tenant, from.map(Timestamp::as_microsecond), to.map(Timestamp::as_microsecond));
        let read = |row: &Row<'_>| -> rusqlite::Result<_> {
            let (first, last): (Option<i64>, Option<i64>) = (row.get(0)?, row.get(1)?);
            Ok(first.zip(last).map(|(first, last)| (first.cast_unsigned(), last.cast_unsigned())))
        };
        self.connection.query_row(query, bounds, read).map_err(|error| self.failed(&error))
    }

    /// Rows of any query, for the rooms that read.
    pub(crate) fn rows<T>(
        &self,
        query: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let all = || -> rusqlite::Result<Vec<T>> {
            self.connection.prepare(query)?.query_map(params, read)?.collect()
        };
        all().map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &rusqlite::Error) -> StoreError {
        StoreError::new("read", &self.file, error)
    }
}

const COLUMNS: &str = "SELECT entries.*, salt, body FROM entries LEFT JOIN bodies ON bodies.entry = number";

/// Hands entries to `visit`, in their order; `which` is the rest of the query.
pub(super) fn each(
    connection: &Connection,
    which: &str,
    params: impl Params,
    mut visit: impl FnMut(Stored) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(&format!("{COLUMNS} {which} ORDER BY number"))?;
    let mut rows = statement.query(params)?;
    while let Some(row) = rows.next()? {
        visit(stored(row)?)?;
    }
    Ok(())
}

/// The last entry.
pub(super) fn last(connection: &Connection) -> rusqlite::Result<Option<Stored>> {
    connection.query_row(&format!("{COLUMNS} ORDER BY number DESC LIMIT 1"), [], stored).optional()
}

/// An entry out of a row that has all columns of `entries` and `bodies`.
pub(crate) fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let (boot, boot_us): (Option<String>, Option<i64>) = (row.get("boot")?, row.get("boot_us")?);
    let header = Header {
        number: row.get::<_, i64>("number")?.cast_unsigned(),
        at: needed_time(row, "at")?,
        boot: boot.zip(boot_us).map(|(id, us)| BootTime { id, us: us.cast_unsigned() }),
        actor: row.get("actor")?,
        way: row.get("way")?,
        role: row.get("role")?,
        tenant: row.get("tenant")?,
        kind: row.get("kind")?,
        config_digest: row.get("config_digest")?,
        body_digest: row.get("body_digest")?,
    };
    let (salt, text): (Option<Vec<u8>>, Option<String>) = (row.get("salt")?, row.get("body")?);
    let body = salt.zip(text).map(|(salt, text)| Body { salt, text });
    Ok(Stored { header, previous: row.get("previous")?, hash: row.get("hash")?, body })
}
