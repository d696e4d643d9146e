//! Suspensions in force (policy rule E1), by tenant and scope.
//!
//! They are kept in a file of the state directory, written before they take effect, so that they survive
//! a restart and a reboot. A tenant that leaves the configuration keeps its suspension for when it comes
//! back.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use gateway_ebpf::restriction::Restriction;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::dataplane::Restrictions;
use crate::suspension::{Scope, Suspension};

const FILE: &str = "suspensions.json";

/// Version of the file's shape. In version 1, which is still read, a tenant had one suspension.
const VERSION: u32 = 2;

/// All suspensions, by tenant.
#[derive(Clone, Debug, Default)]
pub struct Suspensions {
    file: PathBuf,
    /// One of each scope, the narrowest first.
    by_tenant: BTreeMap<String, Vec<Suspension>>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    suspensions: BTreeMap<String, OfTenant>,
}

/// A tenant's suspensions, as each version of the file has them.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum OfTenant {
    Several(Vec<Suspension>),
    One(Suspension),
}

impl From<OfTenant> for Vec<Suspension> {
    fn from(written: OfTenant) -> Self {
        match written {
            OfTenant::Several(suspensions) => suspensions,
            OfTenant::One(suspension) => vec![suspension],
        }
    }
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
        if written.version == 0 || written.version > VERSION {
            let cause = format!("version {}, this controller knows 1 to {VERSION}", written.version);
            return Err(failed(&cause, "It was written by a newer release; run that one"));
        }
        let by_tenant = written.suspensions.into_iter().map(|(tenant, written)| (tenant, written.into()));
        Ok(Self { file, by_tenant: by_tenant.collect() })
    }

    /// The suspensions of a tenant, the narrowest first.
    #[must_use]
    pub fn of(&self, tenant: &str) -> &[Suspension] {
        self.by_tenant.get(tenant).map_or(&[], Vec::as_slice)
    }

    /// What they forbid a tenant.
    #[must_use]
    pub fn restriction(&self, tenant: &str) -> Restriction {
        restriction(self.of(tenant))
    }

    /// The same with one more, in the place of any that the tenant had of this scope.
    pub(super) fn with(&self, tenant: &str, suspension: Suspension) -> Self {
        let mut changed = self.without(tenant, |scope| scope == suspension.scope);
        let suspensions = changed.by_tenant.entry(tenant.to_owned()).or_default();
        suspensions.push(suspension);
        suspensions.sort_by_key(|suspension| suspension.scope);
        changed
    }

    /// The same without those of a tenant's that have such a scope.
    pub(super) fn without(&self, tenant: &str, ends: impl Fn(Scope) -> bool) -> Self {
        let mut changed = self.clone();
        if let Some(suspensions) = changed.by_tenant.get_mut(tenant) {
            suspensions.retain(|suspension| !ends(suspension.scope));
            if suspensions.is_empty() {
                changed.by_tenant.remove(tenant);
            }
        }
        changed
    }

    /// Suspensions whose time is over at `now`, each with its tenant.
    pub(super) fn over_at(&self, now: Timestamp) -> Vec<(String, Suspension)> {
        let over = self.all().filter(|(_, suspension)| suspension.until.is_some_and(|until| until <= now));
        over.map(|(tenant, suspension)| (tenant.to_owned(), suspension.clone())).collect()
    }

    fn all(&self) -> impl Iterator<Item = (&str, &Suspension)> {
        self.by_tenant
            .iter()
            .flat_map(|(tenant, of)| of.iter().map(|suspension| (tenant.as_str(), suspension)))
    }

    /// When the next one ends by itself.
    pub(super) fn next_end(&self) -> Option<Timestamp> {
        self.all().filter_map(|(_, suspension)| suspension.until).min()
    }

    /// As the data plane takes them.
    pub(super) fn restrictions(&self) -> Restrictions {
        self.by_tenant.iter().map(|(tenant, of)| (tenant.clone(), restriction(of))).collect()
    }

    /// Writes them where [`Self::load`] finds them: whole or not at all, and on the disk before it returns.
    pub(super) fn save(&self) -> Result<(), SuspensionsError> {
        let written =
            self.by_tenant.iter().map(|(tenant, of)| (tenant.clone(), OfTenant::Several(of.clone())));
        let written = Written { version: VERSION, suspensions: written.collect() };
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

fn restriction(suspensions: &[Suspension]) -> Restriction {
    let each = suspensions.iter().map(|suspension| Restriction::from(suspension.scope));
    each.fold(Restriction::NONE, Restriction::with)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let outbound = Suspension { scope: Scope::Outbound, ..suspension(Some(3_000)) };
        let some = some.with("acme", outbound.clone());
        some.save().unwrap();
        let loaded = Suspensions::load(&state_dir).unwrap();
        assert_eq!(loaded.by_tenant, some.by_tenant);
        let both = Restriction::NO_MAIL.with(Restriction::NO_OUTBOUND);
        assert_eq!(
            loaded.restrictions(),
            Restrictions::from([("acme".into(), both), ("beta".into(), Restriction::NO_MAIL)])
        );
        assert_eq!(loaded.next_end(), Some(Timestamp::from_second(2_000).unwrap()));
        assert_eq!(loaded.over_at(Timestamp::from_second(1_999).unwrap()), []);
        let over = loaded.over_at(Timestamp::from_second(2_000).unwrap());
        assert_eq!(over, [("acme".to_owned(), suspension(Some(2_000)))]);
        assert_eq!(loaded.without("acme", |scope| scope == Scope::Mail).of("acme"), [outbound]);
        assert_eq!(loaded.without("acme", |_| true).of("acme"), []);
    }

    #[test]
    fn one_of_a_scope_takes_the_place_of_the_one_before() {
        let first = Suspensions::default().with("acme", suspension(None));
        let second = first.with("acme", suspension(Some(2_000)));
        assert_eq!(second.of("acme"), [suspension(Some(2_000))]);
    }

    #[test]
    fn suspensions_from_before_they_named_an_operator_or_added_up_still_hold() {
        let dir = tempfile::tempdir().unwrap();
        let acme = r#"{"scope":"mail","reason":"bulk mail","since":"1970-01-01T00:16:40Z","until":null}"#;
        let text = format!(r#"{{"version":1,"suspensions":{{"acme":{acme}}}}}"#);
        fs::write(dir.path().join(FILE), text).unwrap();
        let expected = Suspension { by: None, ..suspension(None) };
        assert_eq!(Suspensions::load(dir.path()).unwrap().of("acme"), [expected]);
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
