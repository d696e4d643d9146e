//! What was recorded of cases.

use jiff::Timestamp;
use rusqlite::params;
use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::fact::Fact;
use super::reader::{Reader, stored};
use crate::enforcement::{Act, CaseId};

/// One decision on a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseEntry {
    /// Number of the ledger's entry.
    pub entry: u64,
    /// When.
    pub at: Timestamp,
    /// Who decided it: an operator, or `controller`.
    pub actor: String,
    /// What.
    pub act: Act,
}

impl Reader {
    /// All that was decided of a case, or of all cases and signals, in the order of the ledger.
    pub fn case_entries(&self, case: Option<CaseId>) -> Result<Vec<CaseEntry>, StoreError> {
        let query = "SELECT entries.*, salt, body FROM case_entries
             JOIN entries ON entries.number = case_entries.entry JOIN bodies ON bodies.entry = entries.number
             WHERE ?1 IS NULL OR case_entries.case_id = ?1 ORDER BY entries.number";
        let entries = self.rows(query, params![case.map(|case| case.to_string())], |row| {
            let entry = stored(row)?;
            let fact = entry.fact().map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
            let Some(Fact::Case(act)) = fact else { return Ok(None) };
            let (number, at, actor) = (entry.header.number, entry.header.at, entry.header.actor);
            Ok(Some(CaseEntry { entry: number, at, actor, act: *act }))
        })?;
        Ok(entries.into_iter().flatten().collect())
    }
}
