//! Suspensions in force (policy rule E1), by tenant and scope.
//!
//! The store has them on the disk before they take effect. A tenant that leaves the configuration keeps its
//! suspension for when it comes back.

use std::collections::BTreeMap;

use gateway_ebpf::restriction::Restriction;
use jiff::Timestamp;

use crate::dataplane::Restrictions;
use crate::suspension::{Scope, Suspension};

/// All suspensions, by tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suspensions {
    /// One of each scope, the narrowest first.
    by_tenant: BTreeMap<String, Vec<Suspension>>,
}

impl Suspensions {
    /// Of these, each with its tenant.
    pub(super) fn of_all(suspensions: impl IntoIterator<Item = (String, Suspension)>) -> Self {
        suspensions
            .into_iter()
            .fold(Self::default(), |all, (tenant, suspension)| all.and(&tenant, suspension))
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
        self.clone().and(tenant, suspension)
    }

    fn and(mut self, tenant: &str, suspension: Suspension) -> Self {
        let suspensions = self.by_tenant.entry(tenant.to_owned()).or_default();
        suspensions.retain(|had| had.scope != suspension.scope);
        suspensions.push(suspension);
        suspensions.sort_by_key(|suspension| suspension.scope);
        self
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

    /// The same without these.
    pub(super) fn without_all(&self, ended: &[(String, Suspension)]) -> Self {
        ended
            .iter()
            .fold(self.clone(), |kept, (tenant, ended)| kept.without(tenant, |scope| scope == ended.scope))
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
    fn they_add_up_and_end_one_by_one() {
        let outbound = Suspension { scope: Scope::Outbound, ..suspension(Some(3_000)) };
        let all = Suspensions::of_all([
            ("acme".to_owned(), outbound.clone()),
            ("acme".to_owned(), suspension(Some(2_000))),
            ("beta".to_owned(), suspension(None)),
        ]);
        let both = Restriction::NO_MAIL.with(Restriction::NO_OUTBOUND);
        assert_eq!(
            all.restrictions(),
            Restrictions::from([("acme".into(), both), ("beta".into(), Restriction::NO_MAIL)])
        );
        assert_eq!(all.next_end(), Some(Timestamp::from_second(2_000).unwrap()));
        assert_eq!(all.over_at(Timestamp::from_second(1_999).unwrap()), []);
        let over = all.over_at(Timestamp::from_second(2_000).unwrap());
        assert_eq!(over, [("acme".to_owned(), suspension(Some(2_000)))]);
        assert_eq!(all.without("acme", |scope| scope == Scope::Mail).of("acme"), [outbound]);
        assert_eq!(all.without("acme", |_| true).of("acme"), []);
    }

    #[test]
    fn one_of_a_scope_takes_the_place_of_the_one_before() {
        let first = Suspensions::default().with("acme", suspension(None));
        let second = first.with("acme", suspension(Some(2_000)));
        assert_eq!(second.of("acme"), [suspension(Some(2_000))]);
    }
}
