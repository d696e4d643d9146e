//! What was decided at run time and is in force beside the files.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use gateway_ebpf::restriction::Restriction;
use ipnetwork::IpNetwork;
use jiff::Timestamp;

use super::found::found;
use super::restraint::Restraint;
use crate::config::Direction;
use crate::domain::MeasureInForce;
use crate::domain::Scope;
use crate::suspension::Suspension;

/// Decisions in force, by tenant. Those about tenants that are not configured wait for their return.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    by_tenant: BTreeMap<String, Overlay>,
}

/// What one tenant's policy has beside its configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Overlay {
    /// One of each scope, the narrowest first.
    pub(super) suspensions: Vec<Suspension>,
    /// Measures that lower its caps, by what a repeated offence prolongs.
    pub(super) lowered_caps: Vec<MeasureInForce>,
    pub(super) grants: Vec<Grant>,
    /// By the ids of their cases.
    pub(super) restraints: Vec<Restraint>,
}

/// An exemption from the closed port 25 that was approved at run time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The ledger's name for it.
    pub id: String,
    /// Which way connections may be opened.
    pub direction: Direction,
    /// Hosts that mail may be exchanged with; empty: any.
    pub peers: Vec<IpNetwork>,
    /// The ticket with the justification.
    pub ticket: String,
    /// Who approved it.
    pub approved_by: String,
    /// The first instant at which it no longer holds.
    pub expires: Timestamp,
}

impl Overlay {
    fn is_empty(&self) -> bool {
        self.suspensions.is_empty()
            && self.lowered_caps.is_empty()
            && self.grants.is_empty()
            && self.restraints.is_empty()
    }

    pub(super) fn suspend(&mut self, suspension: Suspension) {
        self.suspensions.retain(|held| held.scope != suspension.scope);
        self.suspensions.push(suspension);
        self.suspensions.sort_by_key(|held| held.scope);
    }

    /// What its suspensions and its cases forbid together.
    pub(super) fn restriction(&self) -> Restriction {
        let scopes = self.suspensions.iter().map(|suspension| Restriction::from(suspension.scope));
        let cases = self.restraints.iter().map(Restraint::restriction);
        scopes.chain(cases).fold(Restriction::NONE, Restriction::with)
    }

    /// When something in it ends by itself next.
    pub(super) fn next_end(&self) -> Option<Timestamp> {
        let suspended = self.suspensions.iter().filter_map(|suspension| suspension.until);
        let lowered = self.lowered_caps.iter().map(|measure| measure.until);
        let granted = self.grants.iter().map(|grant| grant.expires);
        suspended.chain(lowered).chain(granted).min()
    }

    /// What of it holds at `now`.
    pub(super) fn at(&self, now: Timestamp) -> Self {
        let mut held = self.clone();
        held.suspensions.retain(|suspension| suspension.until.is_none_or(|until| now < until));
        held.lowered_caps.retain(|measure| now < measure.until);
        held.grants.retain(|grant| now < grant.expires);
        held
    }
}

impl Overrides {
    /// These suspensions, each with its tenant, and those of the measures that lower a cap.
    #[must_use]
    pub fn of(
        suspensions: impl IntoIterator<Item = (String, Suspension)>,
        measures: &[MeasureInForce],
    ) -> Self {
        let mut overrides = Self::default();
        suspensions.into_iter().for_each(|(tenant, suspension)| overrides.suspend(&tenant, suspension));
        let lowered = measures.iter().filter(|measure| measure.lowered_cap.is_some());
        lowered.for_each(|measure| overrides.lower_cap(measure.clone()));
        overrides
    }

    /// Suspends a tenant, in the place of any suspension of the same scope.
    pub fn suspend(&mut self, tenant: &str, suspension: Suspension) {
        self.change(tenant, |overlay| overlay.suspend(suspension));
    }

    /// Ends a tenant's suspensions of some scopes.
    pub fn restore(&mut self, tenant: &str, ends: impl Fn(Scope) -> bool) {
        self.change(tenant, |overlay| overlay.suspensions.retain(|held| !ends(held.scope)));
    }

    /// Lowers a tenant's caps; a measure of the same identity is replaced.
    pub fn lower_cap(&mut self, measure: MeasureInForce) {
        let tenant = measure.tenant.clone();
        self.change(&tenant, |overlay| {
            overlay.lowered_caps.retain(|held| held.identity() != measure.identity());
            overlay.lowered_caps.push(measure);
            overlay.lowered_caps.sort_by_key(MeasureInForce::identity);
        });
    }

    /// Decides of these tenants as `others` do.
    pub fn keep(&mut self, tenants: &BTreeSet<String>, others: &Self) {
        for tenant in tenants {
            match others.by_tenant.get(tenant) {
                Some(overlay) => drop(self.by_tenant.insert(tenant.clone(), overlay.clone())),
                None => drop(self.by_tenant.remove(tenant)),
            }
        }
    }

    /// Whether the same tenants are suspended in the same way.
    #[must_use]
    pub fn suspends_like(&self, others: &Self) -> bool {
        let suspended = |overrides: &Self| -> Vec<_> {
            let all = overrides.by_tenant.iter().filter(|(_, overlay)| !overlay.suspensions.is_empty());
            all.map(|(tenant, overlay)| (tenant.clone(), overlay.suspensions.clone())).collect()
        };
        suspended(self) == suspended(others)
    }

    /// Tenants about which something else is decided in `other`, by ascending id.
    #[must_use]
    pub fn differing<'o>(&'o self, other: &'o Self) -> Vec<&'o str> {
        let ours =
            self.by_tenant.iter().filter(|(tenant, overlay)| other.by_tenant.get(*tenant) != Some(overlay));
        let theirs = other.by_tenant.keys().filter(|tenant| !self.by_tenant.contains_key(*tenant));
        let mut tenants: Vec<_> = ours.map(|(tenant, _)| tenant).chain(theirs).map(String::as_str).collect();
        tenants.sort_unstable();
        tenants
    }

    /// What tenants are forbidden, those aside that are forbidden nothing.
    pub fn restrictions(&self) -> impl Iterator<Item = (String, Restriction)> {
        let forbidden = self.by_tenant.iter().map(|(tenant, overlay)| (tenant, overlay.restriction()));
        let forbidden = forbidden.filter(|(_, restriction)| *restriction != Restriction::NONE);
        forbidden.map(|(tenant, restriction)| (tenant.clone(), restriction))
    }

    /// Restricts a tenant as its open cases say.
    pub fn restrain(&mut self, tenant: &str, restraints: Vec<Restraint>) {
        self.change(tenant, |overlay| overlay.restraints = restraints);
    }

    /// What of these restrictions was not decided, as suspensions, each with its tenant.
    #[must_use]
    pub fn found_in(&self, held: &HashMap<String, Restriction>, at: Timestamp) -> Vec<(String, Suspension)> {
        let decided =
            |tenant: &str| self.by_tenant.get(tenant).map_or(Restriction::NONE, Overlay::restriction);
        found(held, decided, at)
    }

    /// When the next suspension ends by itself, also of a tenant that is not configured.
    #[must_use]
    pub fn next_suspension_end(&self) -> Option<Timestamp> {
        let suspensions = self.by_tenant.values().flat_map(|overlay| &overlay.suspensions);
        suspensions.filter_map(|suspension| suspension.until).min()
    }

    /// Takes out the suspensions whose time is over at `now`; returns them, each with its tenant.
    pub fn take_suspensions_over_at(&mut self, now: Timestamp) -> Vec<(String, Suspension)> {
        if self.next_suspension_end().is_none_or(|end| now < end) {
            return Vec::new();
        }
        let is_over = |suspension: &mut Suspension| suspension.until.is_some_and(|until| until <= now);
        let mut over = Vec::new();
        self.by_tenant.retain(|tenant, overlay| {
            let ended = overlay.suspensions.extract_if(.., is_over);
            over.extend(ended.map(|suspension| (tenant.clone(), suspension)));
            !overlay.is_empty()
        });
        over
    }

    /// Ends measures that lower caps.
    pub fn raise_caps(&mut self, tenant: &str, ends: impl Fn(&MeasureInForce) -> bool) {
        self.change(tenant, |overlay| overlay.lowered_caps.retain(|held| !ends(held)));
    }

    /// Opens port 25 to a tenant, in the place of a grant with the same id.
    pub fn grant(&mut self, tenant: &str, grant: Grant) {
        self.change(tenant, |overlay| {
            overlay.grants.retain(|held| held.id != grant.id);
            overlay.grants.push(grant);
        });
    }

    /// Takes a grant back.
    pub fn revoke(&mut self, tenant: &str, id: &str) {
        self.change(tenant, |overlay| overlay.grants.retain(|held| held.id != id));
    }

    /// A tenant's suspensions, the narrowest scope first.
    #[must_use]
    pub fn suspensions(&self, tenant: &str) -> &[Suspension] {
        self.by_tenant.get(tenant).map_or(&[], |overlay| &overlay.suspensions)
    }

    /// Measures that lower a tenant's caps.
    #[must_use]
    pub fn lowered_caps(&self, tenant: &str) -> &[MeasureInForce] {
        self.by_tenant.get(tenant).map_or(&[], |overlay| &overlay.lowered_caps)
    }

    /// Forgets lowered caps that no longer hold at `now`.
    pub fn raise_caps_over_at(&mut self, now: Timestamp) {
        self.by_tenant.retain(|_, overlay| {
            overlay.lowered_caps.retain(|held| now < held.until);
            !overlay.is_empty()
        });
    }

    /// Tenants with anything decided about them, by ascending id.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Overlay)> {
        self.by_tenant.iter().map(|(tenant, overlay)| (tenant.as_str(), overlay))
    }

    fn change(&mut self, tenant: &str, change: impl FnOnce(&mut Overlay)) {
        let overlay = self.by_tenant.entry(tenant.to_owned()).or_default();
        change(overlay);
        if overlay.is_empty() {
            self.by_tenant.remove(tenant);
        }
    }
}
