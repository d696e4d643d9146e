//! Opening whatever is there: a database that is damaged is kept aside, and the newest readable backup takes
//! its place. A backup is made once a day.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rusqlite::OpenFlags;

use super::database::{Database, connect};
use super::error::StoreError;
use super::fact::{Fact, Lost, Record};
use super::files::Files;
use super::import;
use super::reader::Reader;
use crate::domain::{Actor, Moment};
use crate::private;

/// How often a backup is made.
const BACKUP_EVERY: Duration = Duration::from_secs(86_400);
/// How many are kept.
const BACKUPS: usize = 3;

const EXTENSION: &str = "sqlite";

/// Opens the database of a state directory, or what can be had in its place.
pub(super) fn open(files: &Files) -> Result<Database, StoreError> {
    let file = files.database();
    let failed = |error: io::Error| StoreError::directory(&file, &error);
    files.make_state_dir().map_err(failed)?;
    // A recovery was interrupted after the damaged database had been set aside.
    if !file.exists() && files.recovering().exists() {
        files.put_recovered_in_place().map_err(failed)?;
    }
    let mut database = if !file.exists() && !backups(files).is_empty() {
        // A log without its database belongs to nothing.
        recover(files, "is missing", &Files::name_aside("missing", Timestamp::now()))?
    } else {
        match Database::open(&file) {
            Err(error) if error.is_damaged() => {
                let aside = Files::name_aside("damaged", Timestamp::now());
                recover(files, &format!("was damaged ({error}) and is kept as {aside}"), &aside)?
            }
            opened => opened?,
        }
    };
    import::suspensions(&mut database, files, Timestamp::now())?;
    Ok(database)
}

/// Gives an open database its name again, with all that it holds, after its file was removed or replaced. What took
/// its place is kept aside. `open` is to be closed and opened anew.
pub(super) fn put_back(open: &Database, files: &Files) -> Result<(), StoreError> {
    let (file, recovering) = (files.database(), files.recovering());
    let failed = |error: io::Error| StoreError::directory(&file, &error);
    files.make_state_dir().map_err(failed)?;
    remove(&recovering).map_err(failed)?;
    private::open_file(&recovering).map_err(failed)?;
    open.copy_into(&recovering)?;
    File::open(&recovering).and_then(|copy| copy.sync_all()).map_err(failed)?;
    let aside = Files::name_aside("replaced", Timestamp::now());
    let replaced =
        if file.exists() { format!("; what had taken its place is kept as {aside}") } else { String::new() };
    // What SQLite keeps beside the other file must not be taken for this one's.
    files.set_database_aside(&aside).map_err(failed)?;
    files.put_recovered_in_place().map_err(failed)?;
    tracing::error!(
        "the ledger {} was removed or replaced while it was in use: it is in its place again, with every entry{replaced}",
        file.display()
    );
    Ok(())
}

/// Puts the newest readable backup, or a new database, in the place of one that is lost, which is recorded.
fn recover(files: &Files, how: &str, aside: &str) -> Result<Database, StoreError> {
    let (file, recovering) = (files.database(), files.recovering());
    let failed = |error: io::Error| StoreError::directory(&file, &error);
    let now = Timestamp::now();
    let source = backups(files).into_iter().find(|backup| copy_if_readable(backup, &recovering).is_ok());
    let since = match &source {
        Some(backup) => {
            format!("it goes on from the backup {}: what came later is missing", backup.display())
        }
        None => "there is no readable backup: suspensions, measures and history are missing".to_owned(),
    };
    if source.is_none() {
        remove(&recovering).map_err(failed)?;
    }
    let what = format!("the ledger {how}; {since}");
    let mut database = Database::open(&recovering)?;
    let fact = Fact::Lost(Lost { what: what.clone(), kept_as: file.exists().then(|| aside.to_owned()) });
    let at = Moment { wall: now, boot: None };
    let record = Record { at, actor: Actor::controller(), tenant: None, config: None, fact };
    database.append(&[&record], None)?;
    // Its log is folded into it when it is closed, so that one file is all there is to rename.
    drop(database);
    files.set_database_aside(aside).map_err(failed)?;
    files.put_recovered_in_place().map_err(failed)?;
    tracing::error!("{what}");
    Database::open(&file)
}

/// Copies a backup that can be read from end to end.
fn copy_if_readable(backup: &Path, to: &Path) -> Result<(), StoreError> {
    let reader = Reader::of(backup)?;
    let sound = reader.rows("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))?;
    if sound != ["ok"] {
        return Err(StoreError::broken(backup, sound.join("; ")));
    }
    reader.suspensions()?;
    let copy = || -> io::Result<()> {
        remove(to)?;
        let mut copied = private::open_file(to)?;
        io::copy(&mut File::open(backup)?, &mut copied)?;
        copied.sync_all()
    };
    copy().map_err(|error| StoreError::directory(to, &error))?;
    Database::open(to).map(drop)
}

/// Removes a database, with what SQLite keeps beside it.
fn remove(file: &Path) -> io::Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        match fs::remove_file(PathBuf::from(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    Ok(())
}

/// The newest backup that can be read; what it has may be a day old.
pub(super) fn newest_backup(files: &Files) -> Option<Reader> {
    backups(files)
        .iter()
        .find_map(|backup| Reader::of(backup).ok().filter(|reader| reader.suspensions().is_ok()))
}

/// Backups, newest first.
fn backups(files: &Files) -> Vec<PathBuf> {
    let entries = fs::read_dir(files.backups()).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut backups: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == EXTENSION)).collect();
    backups.sort_unstable();
    backups.reverse();
    backups
}

/// Whether it is time for a backup.
pub(super) fn is_backup_due(files: &Files) -> bool {
    let age = backups(files).first().and_then(|newest| {
        let modified = fs::metadata(newest).ok()?.modified().ok()?;
        SystemTime::now().duration_since(modified).ok()
    });
    age.is_none_or(|age| age >= BACKUP_EVERY)
}

/// Makes a backup, over a connection of its own: nothing waits for it.
pub(super) fn back_up(files: &Files) -> Result<(), StoreError> {
    let directory = files.backups();
    let name = Timestamp::now().to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
    let file = directory.join(format!("{name}.{EXTENSION}"));
    let partial = file.with_extension("partial");
    let failed = |error: io::Error| StoreError::directory(&file, &error);
    private::make_directory(&directory).map_err(failed)?;
    remove(&partial).map_err(failed)?;
    private::open_file(&partial).map_err(failed)?;
    let connection = connect(&files.database(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let path = partial.to_string_lossy();
    connection
        .execute("VACUUM INTO ?", [&*path])
        .map_err(|error| StoreError::new("back up", &files.database(), &error))?;
    let settle = || -> io::Result<()> {
        File::open(&partial)?.sync_all()?;
        fs::rename(&partial, &file)?;
        File::open(&directory)?.sync_all()?;
        backups(files).into_iter().skip(BACKUPS).try_for_each(|old| remove(&old))
    };
    settle().map_err(failed)
}
