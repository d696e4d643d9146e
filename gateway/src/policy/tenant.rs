//! The policy of one tenant, each field with its cause.

use std::sync::Arc;

use gateway_ebpf::Direction;
use gateway_ebpf::restriction::Restriction;
use ipnetwork::IpNetwork;
use jiff::Timestamp;

use super::overrides::{Grant, Overlay};
use super::restraint::Restraint;
use crate::config::{self, BitRate, Config, Place, Tenant};
use crate::domain::MeasureInForce;
use crate::suspension::Suspension;

/// What one tenant may do.
#[derive(Clone, Copy, Debug)]
pub struct TenantPolicy<'p> {
    config: &'p Config,
    tenant: &'p Arc<Tenant>,
    overlay: Option<&'p Overlay>,
    at: Timestamp,
}

/// A value in force, and what made it so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field<'p, T> {
    /// What is in force.
    pub value: T,
    /// Why.
    pub cause: Cause<'p>,
}

/// What makes a field what it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cause<'p> {
    /// A key of the configuration.
    Config {
        /// Dotted: `tenant.cap.up`, `fair_use.ceiling`.
        key: &'static str,
        /// Where it is written; none: it is left out, and this is the default.
        place: Option<&'p Place>,
    },
    /// A measure that the gateway took by itself.
    Measure(&'p MeasureInForce),
    /// A grant of run time.
    Grant(&'p Grant),
    /// An open case.
    Case(&'p Restraint),
}

/// An exemption from the closed port 25, whether a file or a grant gives it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemption<'p> {
    /// Which way connections may be opened.
    pub direction: config::Direction,
    /// Hosts that mail may be exchanged with; empty: any.
    pub peers: &'p [IpNetwork],
    /// The ticket with the justification.
    pub ticket: &'p str,
    /// Who approved it.
    pub approved_by: Option<&'p str>,
    /// The first instant at which it no longer holds.
    pub expires: Timestamp,
    /// What gives it.
    pub cause: Cause<'p>,
}

impl<'p> TenantPolicy<'p> {
    pub(super) fn new(
        config: &'p Config,
        tenant: &'p Arc<Tenant>,
        overlay: Option<&'p Overlay>,
        at: Timestamp,
    ) -> Self {
        Self { config, tenant, overlay, at }
    }

    /// The configuration that it is a part of.
    pub(super) fn config(&self) -> &'p Config {
        self.config
    }

    /// What the files say of the tenant. Caps and exemptions are to be read from the policy instead.
    #[must_use]
    pub fn configured(&self) -> &'p Arc<Tenant> {
        self.tenant
    }

    /// The cap as configured.
    pub(super) fn configured_cap(&self, direction: Direction) -> ConfiguredCap<'p> {
        let (value, own, key) = match direction {
            Direction::Up => (self.tenant.cap_up, "cap.up", "tenant.cap.up"),
            Direction::Down => (self.tenant.cap_down, "cap.down", "tenant.cap.down"),
        };
        // One rate for both directions has a place of its own.
        let is_one = self.tenant.written.place("cap").is_some();
        let (own, key) = if is_one { ("cap", "tenant.cap") } else { (own, key) };
        let (key, place) = self.own_or(own, key, "fair_use.ceiling");
        ConfiguredCap { value, key, place }
    }

    /// The cap in force: the lowest of what is configured and what measures lower it to.
    #[must_use]
    pub fn cap(&self, direction: Direction) -> Field<'p, BitRate> {
        let ConfiguredCap { value, key, place } = self.configured_cap(direction);
        let configured = Field { value, cause: Cause::Config { key, place } };
        let lowered = self.lowered_caps().iter().filter_map(|measure| {
            let value = measure.lowered_cap?.rates()[direction.index()]?;
            Some(Field { value, cause: Cause::Measure(measure) })
        });
        let limited = self
            .restraints()
            .iter()
            .filter_map(|restraint| Some(Field { value: restraint.cap?, cause: Cause::Case(restraint) }));
        // Never above what is configured: that may have become less since.
        lowered
            .chain(limited)
            .fold(configured, |lowest, lowered| if lowered.value < lowest.value { lowered } else { lowest })
    }

    /// Exemptions from the closed port 25 that hold.
    pub fn exemptions(&self) -> impl Iterator<Item = Exemption<'p>> + use<'p> {
        let at = self.at;
        let written = self.tenant.smtp_exemptions.iter().filter(move |exemption| exemption.holds_at(at));
        let written = written.map(|exemption| Exemption {
            direction: exemption.direction,
            peers: &exemption.peers,
            ticket: &exemption.ticket,
            approved_by: exemption.approved_by.as_deref(),
            expires: exemption.expires,
            cause: Cause::Config { key: "tenant.smtp_exemption", place: Some(&exemption.place) },
        });
        let grants = self.overlay.into_iter().flat_map(|overlay| &overlay.grants);
        let granted = grants.map(|grant| Exemption {
            direction: grant.direction,
            peers: &grant.peers,
            ticket: &grant.ticket,
            approved_by: Some(&grant.approved_by),
            expires: grant.expires,
            cause: Cause::Grant(grant),
        });
        written.chain(granted)
    }

    /// How it is suspended, the narrowest scope first.
    #[must_use]
    pub fn suspensions(&self) -> &'p [Suspension] {
        self.overlay.map_or(&[], |overlay| &overlay.suspensions)
    }

    /// What its open cases restrict, by their ids.
    #[must_use]
    pub fn restraints(&self) -> &'p [Restraint] {
        self.overlay.map_or(&[], |overlay| &overlay.restraints)
    }

    /// What its suspensions and its cases forbid it together.
    #[must_use]
    pub fn restriction(&self) -> Restriction {
        self.overlay.map_or(Restriction::NONE, Overlay::restriction)
    }

    /// Measures that lower its caps.
    #[must_use]
    pub fn lowered_caps(&self) -> &'p [MeasureInForce] {
        self.overlay.map_or(&[], |overlay| &overlay.lowered_caps)
    }

    /// The tenant's own key if it is written, else the main file's.
    pub(super) fn own_or(
        &self,
        own: &str,
        key: &'static str,
        general: &'static str,
    ) -> (&'static str, Option<&'p Place>) {
        match self.tenant.written.place(own) {
            Some(place) => (key, Some(place)),
            None => (general, self.config.written.place(general)),
        }
    }
}

/// A cap that the files give, and where.
pub(super) struct ConfiguredCap<'p> {
    pub(super) value: BitRate,
    pub(super) key: &'static str,
    pub(super) place: Option<&'p Place>,
}

impl Exemption<'_> {
    /// Whether the files give it.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        matches!(self.cause, Cause::Config { .. })
    }
}
