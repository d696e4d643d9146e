//! How many tenants a new configuration leaves out. A directory that is missing or half copied looks like the wish to
//! be rid of them, and cuts them off.

use std::sync::Arc;

use super::{Config, Tenant};

/// Tenants that are in force and not in a new configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removals {
    /// How many.
    pub removed: usize,
    /// How many are in force.
    pub of: usize,
    /// The first of them, by id.
    pub first: Vec<String>,
}

impl Removals {
    /// Named one by one.
    const SHOWN: usize = 5;

    /// What `next` leaves out of `current`, if that is all of it, or more than `next` itself allows at once.
    #[must_use]
    pub fn too_many(current: &Config, next: &Config) -> Option<Self> {
        let removals = Self::between(&current.tenants, &next.tenants);
        let limit = u64::from(next.gateway.removal_limit_percent);
        let is_over = (removals.removed as u64) * 100 > limit * (removals.of as u64);
        (removals.removed > 0 && (removals.removed == removals.of || is_over)).then_some(removals)
    }

    /// Both are sorted by id.
    fn between(current: &[Arc<Tenant>], next: &[Arc<Tenant>]) -> Self {
        let is_gone =
            |tenant: &&Arc<Tenant>| next.binary_search_by(|other| other.id.cmp(&tenant.id)).is_err();
        let mut gone = current.iter().filter(is_gone);
        let first: Vec<_> = gone.by_ref().take(Self::SHOWN).map(|tenant| tenant.id.clone()).collect();
        Self { removed: first.len() + gone.count(), of: current.len(), first }
    }
}

impl std::fmt::Display for Removals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { removed, of, first } = self;
        let more = if *removed > first.len() { ", ..." } else { "" };
        write!(f, "{removed} of {of} tenants would be gone ({}{more})", first.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::load;

    fn config(more: &str, tenants: std::ops::Range<u8>) -> Config {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("gateway.toml");
        let interface = |name, side| format!("[[interface]]\nname = \"{name}\"\nside = \"{side}\"\n");
        let tenants: String = tenants
            .map(|number| format!("[[tenant]]\nid = \"t{number}\"\nprefixes = [\"192.0.2.{number}/32\"]\n"))
            .collect();
        let interfaces = interface("eth1", "tenant") + &interface("eth0", "uplink");
        fs::write(&file, format!("[gateway]\nname = \"edge1\"\n{more}\n{interfaces}{tenants}")).unwrap();
        load(&file).unwrap().config
    }

    fn too_many(current: &Config, next: &Config) -> Option<String> {
        Removals::too_many(current, next).map(|removals| removals.to_string())
    }

    #[test]
    fn more_than_half_is_too_many_unless_configured_otherwise() {
        let current = config("", 0..10);
        assert_eq!(too_many(&current, &config("", 5..10)), None);
        assert_eq!(
            too_many(&current, &config("", 6..10)).as_deref(),
            Some("6 of 10 tenants would be gone (t0, t1, t2, t3, t4, ...)")
        );
        assert_eq!(too_many(&current, &config("removal_limit_percent = 90", 9..10)), None);
        assert!(too_many(&current, &config("removal_limit_percent = 0", 1..10)).is_some());
    }

    #[test]
    fn all_are_always_too_many() {
        let current = config("", 0..2);
        let none = config("removal_limit_percent = 100", 0..0);
        assert_eq!(too_many(&current, &none).as_deref(), Some("2 of 2 tenants would be gone (t0, t1)"));
        // Where there was none, none is gone.
        assert_eq!(too_many(&none, &current), None);
        assert_eq!(too_many(&none, &none), None);
    }
}
