//! A policy in force: a configuration, and when its exemptions lapse.

use std::sync::Arc;

use jiff::Timestamp;

use crate::config::{Config, Diagnostics, Loaded, SmtpExemption};

/// The configuration that is enforced now.
#[derive(Debug)]
pub struct Policy {
    /// What is enforced; exemptions that lapsed are no longer in it.
    pub config: Config,
    /// What the configuration was warned about when it was read.
    pub warnings: Diagnostics,
    /// When it was read from its files.
    pub loaded_at: Timestamp,
    /// Exemptions that hold.
    pub exemptions: usize,
    /// When the next of them lapses.
    pub next_lapse: Option<Timestamp>,
}

/// An exemption whose time is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lapsed {
    /// Id of the tenant that held it.
    pub tenant: String,
    /// The ticket that justified it.
    pub ticket: String,
}

impl Policy {
    pub(super) fn new(loaded: Loaded, loaded_at: Timestamp) -> Self {
        Self::assemble(loaded.config, loaded.warnings, loaded_at)
    }

    fn assemble(config: Config, warnings: Diagnostics, loaded_at: Timestamp) -> Self {
        let expiries = || config.tenants.iter().flat_map(|tenant| &tenant.smtp_exemptions).map(|e| e.expires);
        let (exemptions, next_lapse) = (expiries().count(), expiries().min());
        Self { config, warnings, loaded_at, exemptions, next_lapse }
    }

    /// This policy without the exemptions that no longer hold at `now`, and which those were.
    pub(super) fn at(&self, now: Timestamp) -> (Self, Vec<Lapsed>) {
        let mut config = self.config.clone();
        let mut lapsed = Vec::new();
        let is_over = |exemption: &SmtpExemption| exemption.expires <= now;
        for tenant in config.tenants.iter_mut().filter(|tenant| tenant.smtp_exemptions.iter().any(is_over)) {
            let tenant = Arc::make_mut(tenant);
            for over in tenant.smtp_exemptions.extract_if(.., |exemption| is_over(exemption)) {
                lapsed.push(Lapsed { tenant: tenant.id.clone(), ticket: over.ticket });
            }
        }
        (Self::assemble(config, self.warnings.clone(), self.loaded_at), lapsed)
    }
}
