//! A policy in force: a configuration, and when its exemptions and allowances lapse.

use std::sync::Arc;

use jiff::Timestamp;

use crate::config::{Config, Diagnostics, Loaded, SmtpExemption};

/// The configuration that is enforced now.
#[derive(Debug)]
pub struct Policy {
    /// What is enforced; exemptions and allowances that lapsed are no longer in it.
    pub config: Config,
    /// What the configuration was warned about when it was read.
    pub warnings: Diagnostics,
    /// When it was read from its files.
    pub loaded_at: Timestamp,
    /// Mail exemptions that hold.
    pub exemptions: usize,
    /// When the next of them lapses.
    pub next_expiry: Option<Timestamp>,
    /// When the next exemption or allowance lapses.
    pub next_lapse: Option<Timestamp>,
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
}

impl std::fmt::Display for Lapsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SmtpExemption { tenant, ticket } => write!(f, "mail exemption {ticket} of {tenant} lapsed"),
            Self::Allowance { ticket } => write!(f, "allowance {ticket} in [[detect.allow]] lapsed"),
        }
    }
}

impl Policy {
    pub(super) fn new(loaded: Loaded, loaded_at: Timestamp) -> Self {
        Self::assemble(loaded.config, loaded.warnings, loaded_at)
    }

    fn assemble(config: Config, warnings: Diagnostics, loaded_at: Timestamp) -> Self {
        // In one pass: most of its time goes into fetching each tenant from memory.
        let exemptions = config.tenants.iter().flat_map(|tenant| &tenant.smtp_exemptions);
        let (exemptions, next_expiry) = exemptions.fold((0, None), |(count, next), exemption| {
            let next = next.map_or(exemption.expires, |next: Timestamp| next.min(exemption.expires));
            (count + 1, Some(next))
        });
        let allowed_until = config.detection.allow.iter().map(|allowance| allowance.expires).min();
        let next_lapse = next_expiry.into_iter().chain(allowed_until).min();
        Self { config, warnings, loaded_at, exemptions, next_expiry, next_lapse }
    }

    /// This policy without what no longer holds at `now`, and what that was.
    pub(super) fn at(&self, now: Timestamp) -> (Self, Vec<Lapsed>) {
        let mut config = self.config.clone();
        let mut lapsed = Vec::new();
        let is_over = |exemption: &SmtpExemption| exemption.expires <= now;
        for tenant in config.tenants.iter_mut().filter(|tenant| tenant.smtp_exemptions.iter().any(is_over)) {
            let tenant = Arc::make_mut(tenant);
            for over in tenant.smtp_exemptions.extract_if(.., |exemption| is_over(exemption)) {
                lapsed.push(Lapsed::SmtpExemption { tenant: tenant.id.clone(), ticket: over.ticket });
            }
        }
        for over in config.detection.allow.extract_if(.., |allowance| allowance.expires <= now) {
            lapsed.push(Lapsed::Allowance { ticket: over.ticket });
        }
        (Self::assemble(config, self.warnings.clone(), self.loaded_at), lapsed)
    }
}
