//! The policy of all tenants at one moment, composed of the files, what was decided at run time, and the time.
//!
//! It points to the configuration's tenants and holds an overlay only for those about which something was
//! decided, so that it costs next to nothing beside the configuration, however many tenants there are.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use gateway_ebpf::restriction::Restriction;
use jiff::Timestamp;

use super::found::found;
use super::overrides::{Overlay, Overrides};
use super::tenant::TenantPolicy;
use crate::config::{Allowance, Config};

/// What is in force for every tenant at one moment.
#[derive(Clone, Debug)]
pub struct Effective {
    config: Arc<Config>,
    at: Timestamp,
    ends: Ends,
    /// By index of the tenant; only where something was decided, and only what holds.
    overlays: BTreeMap<usize, Overlay>,
}

/// What of a configuration holds for a time.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    /// Mail exemptions that hold.
    exemptions: usize,
    /// When the next of them lapses.
    next_exemption: Option<Timestamp>,
    /// When the next allowance lapses.
    next_allowance: Option<Timestamp>,
}

/// Composes the policy in force at `now`.
#[must_use]
pub fn compose(config: &Arc<Config>, overrides: &Overrides, now: Timestamp) -> Effective {
    Effective::assemble(config, Ends::of(config, now), overrides, now)
}

impl Effective {
    /// The policy of a configuration at `now`, with nothing decided at run time.
    #[must_use]
    pub fn of(config: Config, now: Timestamp) -> Self {
        compose(&Arc::new(config), &Overrides::default(), now)
    }

    /// The same configuration under other decisions, or at another time. While nothing of the configuration
    /// lapses, this does not look at its tenants.
    #[must_use]
    pub fn with(&self, overrides: &Overrides, now: Timestamp) -> Self {
        let is_same = self.at <= now && self.ends.next().is_none_or(|end| now < end);
        let ends = if is_same { self.ends } else { Ends::of(&self.config, now) };
        Self::assemble(&self.config, ends, overrides, now)
    }

    /// The same, with what these restrictions forbid beside it.
    #[must_use]
    pub fn and_found(&self, held: &HashMap<String, Restriction>) -> Self {
        let mut effective = self.clone();
        let decided =
            |tenant: &str| self.tenant(tenant).map_or(Restriction::NONE, |policy| policy.restriction());
        for (tenant, suspension) in found(held, decided, self.at) {
            if let Some(index) = index_of(&self.config, &tenant) {
                effective.overlays.entry(index).or_default().suspend(suspension);
            }
        }
        effective
    }

    fn assemble(config: &Arc<Config>, ends: Ends, overrides: &Overrides, now: Timestamp) -> Self {
        let overlay =
            |(tenant, overlay): (&str, &Overlay)| Some((index_of(config, tenant)?, overlay.at(now)));
        let overlays = overrides.iter().filter_map(overlay).collect();
        Self { config: Arc::clone(config), at: now, ends, overlays }
    }

    /// What the files say. Caps, exemptions and allowances are to be read from the policy instead.
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// The moment that it holds for.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Every tenant, by ascending id.
    pub fn tenants(&self) -> impl ExactSizeIterator<Item = TenantPolicy<'_>> {
        (0..self.config.tenants.len()).map(|index| self.tenant_at(index))
    }

    /// A tenant by its id.
    #[must_use]
    pub fn tenant(&self, id: &str) -> Option<TenantPolicy<'_>> {
        index_of(&self.config, id).map(|index| self.tenant_at(index))
    }

    /// A tenant by its place among all.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn tenant_at(&self, index: usize) -> TenantPolicy<'_> {
        TenantPolicy::new(&self.config, &self.config.tenants[index], self.overlays.get(&index), self.at)
    }

    /// Tenants about which something was decided at run time, by ascending id.
    pub fn overridden(&self) -> impl Iterator<Item = TenantPolicy<'_>> {
        self.overlays.keys().map(|&index| self.tenant_at(index))
    }

    /// Allowances of `[[detect.allow]]` that hold.
    pub fn allowances(&self) -> impl Iterator<Item = &Allowance> {
        self.config.detection.allow.iter().filter(|allowance| allowance.holds_at(self.at))
    }

    /// How many mail exemptions hold.
    #[must_use]
    pub fn exemptions(&self) -> usize {
        self.ends.exemptions + self.overlays.values().map(|overlay| overlay.grants.len()).sum::<usize>()
    }

    /// When the next of them lapses.
    #[must_use]
    pub fn next_exemption_end(&self) -> Option<Timestamp> {
        let granted = self.overlays.values().flat_map(|overlay| &overlay.grants).map(|grant| grant.expires);
        self.ends.next_exemption.into_iter().chain(granted).min()
    }

    /// When the next thing in it ends by itself: an exemption, an allowance, a lowered cap or a suspension.
    #[must_use]
    pub fn next_end(&self) -> Option<Timestamp> {
        self.ends.next().into_iter().chain(self.overlays.values().filter_map(Overlay::next_end)).min()
    }

    /// What holds in it and no longer does at `now`; suspensions aside, whose end is a decision of its own.
    #[must_use]
    pub fn lapsed_at(&self, now: Timestamp) -> Vec<Lapsed> {
        let mut lapsed = Vec::new();
        if self.ends.next_exemption.is_some_and(|end| end <= now) {
            for tenant in &self.config.tenants {
                let held = tenant.smtp_exemptions.iter().filter(|exemption| exemption.holds_at(self.at));
                lapsed.extend(held.filter(|exemption| !exemption.holds_at(now)).map(|exemption| {
                    Lapsed::SmtpExemption { tenant: tenant.id.clone(), ticket: exemption.ticket.clone() }
                }));
            }
        }
        let allowances = self.allowances().filter(|allowance| !allowance.holds_at(now));
        lapsed.extend(allowances.map(|allowance| Lapsed::Allowance { ticket: allowance.ticket.clone() }));
        for (&index, overlay) in &self.overlays {
            let tenant = || self.config.tenants[index].id.clone();
            let grants = overlay.grants.iter().filter(|grant| grant.expires <= now);
            lapsed.extend(
                grants.map(|grant| Lapsed::SmtpExemption { tenant: tenant(), ticket: grant.ticket.clone() }),
            );
            let lowered = overlay.lowered_caps.iter().filter(|measure| measure.until <= now);
            lapsed.extend(lowered.map(|_| Lapsed::LoweredCap { tenant: tenant() }));
        }
        lapsed
    }
}

impl Ends {
    fn of(config: &Config, now: Timestamp) -> Self {
        // In one pass: most of its time goes into fetching each tenant from memory.
        let exemptions = config.tenants.iter().flat_map(|tenant| &tenant.smtp_exemptions);
        let held = exemptions.filter(|exemption| exemption.holds_at(now)).map(|exemption| exemption.expires);
        let (exemptions, next_exemption) = held.fold((0, None), |(count, next), expires| {
            (count + 1, Some(next.map_or(expires, |next: Timestamp| next.min(expires))))
        });
        let allowances = config.detection.allow.iter().filter(|allowance| allowance.holds_at(now));
        let next_allowance = allowances.map(|allowance| allowance.expires).min();
        Self { exemptions, next_exemption, next_allowance }
    }

    fn next(&self) -> Option<Timestamp> {
        self.next_exemption.into_iter().chain(self.next_allowance).min()
    }
}

fn index_of(config: &Config, id: &str) -> Option<usize> {
    config.tenants.binary_search_by(|tenant| tenant.id.as_str().cmp(id)).ok()
}

/// What held for a time that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lapsed {
    /// A tenant's mail exemption.
    SmtpExemption {
        /// Id of the tenant that held it.
        tenant: String,
        /// The ticket that justified it.
        ticket: String,
    },
    /// An allowance of `[[detect.allow]]`.
    Allowance {
        /// The ticket that justified it.
        ticket: String,
    },
    /// A measure that lowered a tenant's cap.
    LoweredCap {
        /// Id of the tenant.
        tenant: String,
    },
}

impl Lapsed {
    /// Id of the tenant that held it; none: an allowance, which is of no tenant.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        match self {
            Self::SmtpExemption { tenant, .. } | Self::LoweredCap { tenant } => Some(tenant),
            Self::Allowance { .. } => None,
        }
    }
}

impl fmt::Display for Lapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SmtpExemption { tenant, ticket } => write!(f, "mail exemption {ticket} of {tenant} lapsed"),
            Self::Allowance { ticket } => write!(f, "allowance {ticket} in [[detect.allow]] lapsed"),
            Self::LoweredCap { tenant } => write!(f, "the cap of {tenant} is as configured again"),
        }
    }
}
