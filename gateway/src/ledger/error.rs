//! Why the ledger cannot be used, and what the operator can do.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use rusqlite_migration::MigrationDefinitionError;

/// Why the ledger's file cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot {verb} the ledger {}: {cause}. {remedy}", file.display())]
pub struct LedgerError {
    verb: &'static str,
    file: PathBuf,
    cause: String,
    remedy: &'static str,
}

const OWNER: &str = "Check [gateway] state_dir and who owns it";

impl LedgerError {
    pub(super) fn new(verb: &'static str, file: &Path, error: &rusqlite::Error) -> Self {
        let remedy =
            error.sqlite_error_code().map_or("This is a defect in Fairway, please report it", remedy);
        Self { verb, file: file.into(), cause: error.to_string(), remedy }
    }

    pub(super) fn migrating(file: &Path, error: &rusqlite_migration::Error) -> Self {
        let (cause, remedy) = match error {
            rusqlite_migration::Error::RusqliteError { err, .. } => return Self::new("open", file, err),
            rusqlite_migration::Error::MigrationDefinition(MigrationDefinitionError::DatabaseTooFarAhead) => {
                (
                    "it was written by a newer release".to_owned(),
                    "Run that release, or move the file away: then a new one is begun",
                )
            }
            other => (other.to_string(), DAMAGED),
        };
        Self { verb: "open", file: file.into(), cause, remedy }
    }

    pub(super) fn directory(file: &Path, error: &std::io::Error) -> Self {
        Self { verb: "open", file: file.into(), cause: error.to_string(), remedy: OWNER }
    }
}

const DAMAGED: &str = "Move the file away, with those beside it that begin with its name: then a new one is begun. \
                       A backup, or sqlite3's .recover, brings back what it held";

fn remedy(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::DiskFull => "Make room on the disk",
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            "Another program keeps it locked (`fuser` names it): end it"
        }
        ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly => OWNER,
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => DAMAGED,
        ErrorCode::SystemIoFailure => "Check the disk: the kernel's log says more",
        _ => "This is a defect in Fairway, please report it",
    }
}
