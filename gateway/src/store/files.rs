//! Where the store's files are.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::private;

const DATABASE: &str = "ledger.sqlite";
const RECOVERING: &str = "ledger.sqlite.recovering";
const BACKUPS: &str = "backup";
const SUSPENSIONS: &str = "suspensions.json";

/// The files of one state directory.
#[derive(Clone, Debug)]
pub(super) struct Files {
    state_dir: PathBuf,
}

impl Files {
    pub(super) fn of(state_dir: &Path) -> Self {
        Self { state_dir: state_dir.to_owned() }
    }

    /// The database.
    pub(super) fn database(&self) -> PathBuf {
        self.state_dir.join(DATABASE)
    }

    /// What releases before the store kept suspensions in.
    pub(super) fn suspensions(&self) -> PathBuf {
        self.state_dir.join(SUSPENSIONS)
    }

    /// The directory of backups, one file a day.
    pub(super) fn backups(&self) -> PathBuf {
        self.state_dir.join(BACKUPS)
    }

    /// What takes the place of a damaged database, once it is whole.
    pub(super) fn recovering(&self) -> PathBuf {
        self.state_dir.join(RECOVERING)
    }

    /// Makes the state directory, if need be.
    pub(super) fn make_state_dir(&self) -> io::Result<()> {
        private::make_directory(&self.state_dir)
    }

    /// What a database is to be called that is `what`.
    pub(super) fn name_aside(what: &str, now: Timestamp) -> String {
        format!("{DATABASE}.{what}-{}", now.strftime("%Y%m%dT%H%M%SZ"))
    }

    /// Renames the database, with what SQLite keeps beside it.
    pub(super) fn set_database_aside(&self, name: &str) -> io::Result<()> {
        for suffix in ["-wal", "-shm", ""] {
            let from = self.state_dir.join(format!("{DATABASE}{suffix}"));
            match fs::rename(from, self.state_dir.join(format!("{name}{suffix}"))) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                moved => moved?,
            }
        }
        self.sync()
    }

    /// Puts what was made in place of a damaged database into its place.
    pub(super) fn put_recovered_in_place(&self) -> io::Result<()> {
        fs::rename(self.recovering(), self.database())?;
        self.sync()
    }

    /// Brings renamed files of the state directory to the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(&self.state_dir)?.sync_all()
    }
}
