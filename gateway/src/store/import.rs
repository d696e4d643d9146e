//! Takes over `suspensions.json`, in which releases before the store kept what was in force.
//!
//! What they recorded of suspensions could be lost, so the file decides: what it has is suspended, what the
//! migrated entries alone have is not. It is taken over once; its digest is an entry.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::chain::hex;
use super::database::Database;
use super::error::StoreError;
use super::fact::{Fact, Imported, Lost, Record, Restored, Suspended};
use super::files::Files;
use super::reader::Reader;
use crate::domain::{Actor, Moment, Way};
use crate::suspension::Suspension;

#[derive(Deserialize)]
struct Written {
    suspensions: BTreeMap<String, Suspended1or2>,
}

/// One suspension of a tenant, as the first release wrote it, or one for each scope.
#[derive(Deserialize)]
#[serde(untagged)]
enum Suspended1or2 {
    One(Suspension),
    Several(Vec<Suspension>),
}

/// Imports the file, if there is one that has not been, and renames it.
pub(super) fn suspensions(database: &mut Database, files: &Files, now: Timestamp) -> Result<(), StoreError> {
    let file = files.suspensions();
    let failed = |error: &io::Error| StoreError::directory(&file, error);
    let bytes = match fs::read(&file) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(&error)),
    };
    let imported = database.texts("SELECT digest FROM imports")?;
    let digest = bytes.as_deref().map(|bytes| hex(&Sha256::digest(bytes)));
    let is_first = imported.is_empty();
    let mut outcome = "imported";
    if is_first || digest.as_ref().is_some_and(|digest| !imported.contains(digest)) {
        let (suspensions, lost) = match read(bytes.as_deref()) {
            Ok(suspensions) => (Some(suspensions), None),
            Err(error) => (None, Some(error)),
        };
        let mut records = Vec::new();
        if let Some(suspensions) = suspensions {
            let known = Reader::of(database.file())?.suspensions()?;
            if is_first {
                records.extend(not_in_the_file(database, &known, &suspensions, now)?);
            }
            let news = suspensions.into_iter().filter(|found| !known.contains(found));
            records.extend(news.map(|(tenant, suspension)| suspended(tenant, suspension)));
        }
        if let Some(error) = lost {
            outcome = "damaged";
            records.push(unreadable(&file, outcome, &error, now));
        }
        if let Some(digest) = digest {
            let file = "suspensions.json".to_owned();
            records.push(by_import(now, None, Fact::Imported(Imported { file, digest })));
        }
        database.append(&records.iter().collect::<Vec<_>>(), None)?;
    }
    if bytes.is_some() {
        fs::rename(&file, file.with_extension(format!("json.{outcome}"))).map_err(|error| failed(&error))?;
        files.sync().map_err(|error| failed(&error))?;
    }
    Ok(())
}

fn read(bytes: Option<&[u8]>) -> Result<Vec<(String, Suspension)>, serde_json::Error> {
    let Some(bytes) = bytes else { return Ok(Vec::new()) };
    let written: Written = serde_json::from_slice(bytes)?;
    let mut all = Vec::new();
    for (tenant, suspensions) in written.suspensions {
        let suspensions = match suspensions {
            Suspended1or2::One(suspension) => vec![suspension],
            Suspended1or2::Several(suspensions) => suspensions,
        };
        all.extend(suspensions.into_iter().map(|suspension| (tenant.clone(), suspension)));
    }
    Ok(all)
}

/// That suspensions of migrated entries are over which the file does not have.
fn not_in_the_file(
    database: &Database,
    known: &[(String, Suspension)],
    suspensions: &[(String, Suspension)],
    now: Timestamp,
) -> Result<Vec<Record>, StoreError> {
    let migrated = database.texts(
        "SELECT suspensions.tenant || '/' || scope FROM suspensions
         JOIN entries ON entries.number = suspensions.entry WHERE way = 'import'",
    )?;
    let is_over = |(tenant, suspension): &&(String, Suspension)| {
        let scope = suspension.scope;
        migrated.contains(&format!("{tenant}/{}", scope.label()))
            && !suspensions.iter().any(|(found, of)| found == tenant && of.scope == scope)
    };
    let restored = |(tenant, suspension): &(String, Suspension)| {
        let reason = "suspensions.json did not have it: it had ended".to_owned();
        let scope = Some(suspension.scope);
        let fact = Fact::Restored(Restored { scope, measures: false, source: None, reason });
        by_import(now, Some(tenant.clone()), fact)
    };
    Ok(known.iter().filter(is_over).map(restored).collect())
}

fn suspended(tenant: String, suspension: Suspension) -> Record {
    let Suspension { scope, reason, by, since, until } = suspension;
    let actor = Actor { name: by.unwrap_or_else(|| "unknown".into()), way: Way::Import, role: None };
    let fact = Fact::Suspended(Suspended { scope, until, reason });
    Record { actor, ..by_import(since, Some(tenant), fact) }
}

fn unreadable(file: &Path, outcome: &str, error: &serde_json::Error, now: Timestamp) -> Record {
    let what = format!(
        "{} could not be understood ({error}): tenants that were suspended in it no longer are, \
         unless the kernel still held them",
        file.display()
    );
    let kept_as = Some(format!("suspensions.json.{outcome}"));
    by_import(now, None, Fact::Lost(Lost { what, kept_as }))
}

fn by_import(at: Timestamp, tenant: Option<String>, fact: Fact) -> Record {
    let actor = Actor { name: "controller".to_owned(), way: Way::Import, role: None };
    Record { at: Moment { wall: at, boot: None }, actor, tenant, config: None, fact }
}
