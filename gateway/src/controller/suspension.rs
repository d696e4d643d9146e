//! Suspensions in force (policy rule E1), by tenant.
//!
//! They are kept in a file of the state directory, written before they take effect, so that they survive
//! a restart and a reboot. A tenant that leaves the configuration keeps its suspension for when it comes
//! back.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::dataplane::Standings;
use crate::standing::Suspension;

const FILE: &str = "suspensions.json";

/// Version of the file's shape.
const VERSION: u32 = 1;

/// All suspensions, by tenant.
#[derive(Clone, Debug, Default)]
pub struct Suspensions {
    file: PathBuf,
    by_tenant: BTreeMap<String, Suspension>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    suspensions: BTreeMap<String, Suspension>,
}

/// Why the file of suspensions cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} the suspensions in {file}: {cause}. {remedy}")]
pub struct SuspensionsError {
    verb: &'static str,
    file: PathBuf,
    cause: String,
    remedy: &'static str,
}

impl Suspensions {
    /// Reads what earlier controllers kept in `state_dir`, which is made if need be.
    ///
    /// # Errors
    /// If the directory cannot be made, or the file is there but cannot be understood: forgetting who is
    /// suspended would be worse than not starting.
    pub fn load(state_dir: &Path) -> Result<Self, SuspensionsError> {
        let file = state_dir.join(FILE);
        let failed = |cause: &dyn std::fmt::Display, remedy| SuspensionsError {
            verb: "read",
            file: file.clone(),
            cause: cause.to_string(),
            remedy,
        };
        fs::create_dir_all(state_dir)
            .map_err(|error| failed(&error, "Check [gateway] state_dir and who owns it"))?;
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { file, by_tenant: BTreeMap::new() });
            }
            Err(error) => return Err(failed(&error, "Check who may read it")),
        };
        const DAMAGED: &str = "Restore it from a backup, or move it away: then nobody is suspended any more";
        let written: Written = serde_json::from_str(&text).map_err(|error| failed(&error, DAMAGED))?;
        if written.version != VERSION {
            let cause = format!("version {}, this controller knows {VERSION}", written.version);
            return Err(failed(&cause, "It was written by a newer release; run that one"));
        }
        Ok(Self { file, by_tenant: written.suspensions })
    }

    /// The suspension of a tenant.
    #[must_use]
    pub fn get(&self, tenant: &str) -> Option<&Suspension> {
        self.by_tenant.get(tenant)
    }

    /// The same with one more, in the place of any that the tenant had.
    pub(super) fn with(&self, tenant: &str, suspension: Suspension) -> Self {
        let mut changed = self.clone();
        changed.by_tenant.insert(tenant.to_owned(), suspension);
        changed
    }

    /// The same without a tenant's.
    pub(super) fn without(&self, tenant: &str) -> Self {
        let mut changed = self.clone();
        changed.by_tenant.remove(tenant);
        changed
    }

    /// Tenants whose suspension is over at `now`.
    pub(super) fn over_at(&self, now: Timestamp) -> Vec<String> {
        let over = self
            .by_tenant
            .iter()
            .filter(|(_, suspension)| suspension.until.is_some_and(|until| until <= now));
        over.map(|(tenant, _)| tenant.clone()).collect()
    }

    /// When the next one ends by itself.
    pub(super) fn next_end(&self) -> Option<Timestamp> {
        self.by_tenant.values().filter_map(|suspension| suspension.until).min()
    }

    /// As the data plane takes them.
    pub(super) fn standings(&self) -> Standings {
        self.by_tenant.iter().map(|(tenant, suspension)| (tenant.clone(), suspension.scope.into())).collect()
    }

    /// Writes them where [`Self::load`] finds them: whole or not at all, and on the disk before it returns.
    pub(super) fn save(&self) -> Result<(), SuspensionsError> {
        let written = Written { version: VERSION, suspensions: self.by_tenant.clone() };
        let save = || -> io::Result<()> {
            let partial = self.file.with_extension("json.partial");
            let mut file = File::create(&partial)?;
            file.write_all(serde_json::to_string_pretty(&written)?.as_bytes())?;
            file.sync_all()?;
            fs::rename(&partial, &self.file)?;
            // The rename itself reaches the disk with its directory.
            self.file.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
        };
        save().map_err(|error| SuspensionsError {
            verb: "keep",
            file: self.file.clone(),
            cause: error.to_string(),
            remedy: "Nothing has changed. Make room on the disk, or check [gateway] state_dir and who owns it",
        })
    }
}

#[cfg(test)]
mod tests {
    use gateway_ebpf::standing::Standing;

    use super::*;
    use crate::standing::Scope;

    fn suspension(until: Option<i64>) -> Suspension {
        Suspension {
            scope: Scope::Mail,
            reason: "bulk mail".into(),
            by: Some("j.doe".into()),
            since: Timestamp::from_second(1_000).unwrap(),
            until: until.map(|second| Timestamp::from_second(second).unwrap()),
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let state_dir = dir.path().join("made");
        let none = Suspensions::load(&state_dir).unwrap();
        assert!(none.by_tenant.is_empty());
        let some = none.with("acme", suspension(Some(2_000))).with("beta", suspension(None));
        some.save().unwrap();
        let loaded = Suspensions::load(&state_dir).unwrap();
        assert_eq!(loaded.by_tenant, some.by_tenant);
        assert_eq!(
            loaded.standings(),
            Standings::from([("acme".into(), Standing::NO_MAIL), ("beta".into(), Standing::NO_MAIL)])
        );
        assert_eq!(loaded.next_end(), Some(Timestamp::from_second(2_000).unwrap()));
        assert_eq!(loaded.over_at(Timestamp::from_second(1_999).unwrap()), Vec::<String>::new());
        assert_eq!(loaded.over_at(Timestamp::from_second(2_000).unwrap()), ["acme"]);
        assert_eq!(loaded.without("acme").get("acme"), None);
    }

    #[test]
    fn a_suspension_from_before_it_was_kept_who_did_it_still_holds() {
        let dir = tempfile::tempdir().unwrap();
        let acme = r#"{"scope":"mail","reason":"bulk mail","since":"1970-01-01T00:16:40Z","until":null}"#;
        let text = format!(r#"{{"version":1,"suspensions":{{"acme":{acme}}}}}"#);
        fs::write(dir.path().join(FILE), text).unwrap();
        let expected = Suspension { by: None, ..suspension(None) };
        assert_eq!(Suspensions::load(dir.path()).unwrap().get("acme"), Some(&expected));
    }

    #[test]
    fn a_damaged_file_is_not_taken_for_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        for (text, expected) in [("{", "EOF"), (r#"{"version":9,"suspensions":{}}"#, "version 9")] {
            fs::write(dir.path().join(FILE), text).unwrap();
            let error = Suspensions::load(dir.path()).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(FILE), "{error}");
        }
    }
}
