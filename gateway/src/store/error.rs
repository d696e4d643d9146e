//! Why the database cannot be used, and what the operator can do.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use rusqlite_migration::MigrationDefinitionError;

/// Why the database cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot {verb} the ledger {}: {cause}. {remedy}", file.display())]
pub struct StoreError {
    verb: &'static str,
    file: PathBuf,
    cause: String,
    remedy: &'static str,
    /// Whether the file itself is broken, rather than out of reach.
    is_damaged: bool,
}

const OWNER: &str = "Check [gateway] state_dir and who owns it";

impl StoreError {
    pub(super) fn new(verb: &'static str, file: &Path, error: &rusqlite::Error) -> Self {
        let remedy =
            error.sqlite_error_code().map_or("This is a defect in Fairway, please report it", remedy);
        let is_damaged =
            matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase));
        Self { verb, file: file.into(), cause: error.to_string(), remedy, is_damaged }
    }

    /// The entries do not fit together.
    pub(super) fn broken(file: &Path, cause: String) -> Self {
        Self { verb: "read", file: file.into(), cause, remedy: DAMAGED, is_damaged: true }
    }

    /// The thread that writes is gone.
    pub(super) fn stopped(file: &Path) -> Self {
        let cause = "its thread has ended".to_owned();
        Self {
            verb: "write to",
            file: file.into(),
            cause,
            remedy: "Restart the controller: systemctl restart fairway",
            is_damaged: false,
        }
    }

    /// Whoever writes is about to end.
    #[must_use]
    pub fn stopping() -> Self {
        Self {
            verb: "write to",
            file: "ledger.sqlite".into(),
            cause: "the controller is stopping".to_owned(),
            remedy: "Try again when the next one has started",
            is_damaged: false,
        }
    }

    /// Whether the file itself is broken, rather than out of reach.
    pub(super) fn is_damaged(&self) -> bool {
        self.is_damaged
    }

    pub(super) fn migrating(file: &Path, error: &rusqlite_migration::Error) -> Self {
        let (cause, remedy, is_damaged) = match error {
            rusqlite_migration::Error::RusqliteError { err, .. } => return Self::new("open", file, err),
            rusqlite_migration::Error::MigrationDefinition(MigrationDefinitionError::DatabaseTooFarAhead) => {
                (
                    "it was written by a newer release".to_owned(),
                    "Run that release, or move the file away: then a new one is begun",
                    false,
                )
            }
            other => (other.to_string(), DAMAGED, true),
        };
        Self { verb: "open", file: file.into(), cause, remedy, is_damaged }
    }

    pub(super) fn directory(file: &Path, error: &std::io::Error) -> Self {
        Self { verb: "open", file: file.into(), cause: error.to_string(), remedy: OWNER, is_damaged: false }
    }
}

const DAMAGED: &str = "The next start keeps it aside and goes on from the newest readable backup; \
                       sqlite3's .recover may bring back more of it";

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
