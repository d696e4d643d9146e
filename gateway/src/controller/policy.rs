//! A policy in force: a configuration, when its exemptions and allowances lapse, and whose caps are lowered.

use std::sync::Arc;

use jiff::Timestamp;

use crate::config::{Config, Diagnostics, Loaded, SmtpExemption};
use crate::detect::MeasureInForce;

/// The configuration that is enforced now.
#[derive(Debug)]
pub struct Policy {
    /// What is enforced: as configured, but for the caps that measures lower.
    pub config: Arc<Config>,
    /// As configured; exemptions and allowances that lapsed are no longer in it.
    pub configured: Arc<Config>,
    /// Measures that lower a tenant's cap.
    pub lowered_caps: Vec<MeasureInForce>,
    /// What the configuration was warned about when it was read.
    pub warnings: Diagnostics,
    /// When it was read from its files.
    pub loaded_at: Timestamp,
    /// Mail exemptions that hold.
    pub exemptions: usize,
    /// When the next of them lapses.
    pub next_expiry: Option<Timestamp>,
    /// When the next exemption or allowance lapses, or the next cap is no longer lowered.
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
    /// A measure that lowered a tenant's cap.
    LoweredCap {
        /// Id of the tenant.
        tenant: String,
    },
}

impl std::fmt::Display for Lapsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SmtpExemption { tenant, ticket } => write!(f, "mail exemption {ticket} of {tenant} lapsed"),
            Self::Allowance { ticket } => write!(f, "allowance {ticket} in [[detect.allow]] lapsed"),
            Self::LoweredCap { tenant } => write!(f, "the cap of {tenant} is as configured again"),
        }
    }
}

impl Policy {
    /// What holds of a configuration at `loaded_at`; what had expired before is left out.
    pub(super) fn new(loaded: Loaded, loaded_at: Timestamp, lowered_caps: Vec<MeasureInForce>) -> Self {
        let warnings = loaded.warnings_at(loaded_at);
        let mut config = loaded.config;
        drop(take_lapsed(&mut config, loaded_at));
        Self::assemble(Arc::new(config), lowered_caps, warnings, loaded_at)
    }

    fn assemble(
        configured: Arc<Config>,
        lowered_caps: Vec<MeasureInForce>,
        warnings: Diagnostics,
        loaded_at: Timestamp,
    ) -> Self {
        // In one pass: most of its time goes into fetching each tenant from memory.
        let exemptions = configured.tenants.iter().flat_map(|tenant| &tenant.smtp_exemptions);
        let (exemptions, next_expiry) = exemptions.fold((0, None), |(count, next), exemption| {
            let next = next.map_or(exemption.expires, |next: Timestamp| next.min(exemption.expires));
            (count + 1, Some(next))
        });
        let allowed_until = configured.detection.allow.iter().map(|allowance| allowance.expires);
        let lowered_until = lowered_caps.iter().map(|measure| measure.until);
        let next_lapse = next_expiry.into_iter().chain(allowed_until).chain(lowered_until).min();
        let config = lower_caps(&configured, &lowered_caps);
        Self { config, configured, lowered_caps, warnings, loaded_at, exemptions, next_expiry, next_lapse }
    }

    /// This policy without what no longer holds at `now`, and what that was.
    pub(super) fn at(&self, now: Timestamp) -> (Self, Vec<Lapsed>) {
        let mut configured = Arc::clone(&self.configured);
        let mut lapsed = take_lapsed(Arc::make_mut(&mut configured), now);
        let mut lowered_caps = self.lowered_caps.clone();
        for over in lowered_caps.extract_if(.., |measure| measure.until <= now) {
            lapsed.push(Lapsed::LoweredCap { tenant: over.tenant });
        }
        (Self::assemble(configured, lowered_caps, self.warnings.clone(), self.loaded_at), lapsed)
    }

    /// This policy with these caps lowered, and no others.
    pub(super) fn with_lowered_caps(&self, lowered_caps: Vec<MeasureInForce>) -> Self {
        Self::assemble(Arc::clone(&self.configured), lowered_caps, self.warnings.clone(), self.loaded_at)
    }

    /// The measure that lowers a tenant's cap, if one does.
    #[must_use]
    pub fn lowered_cap(&self, tenant: &str) -> Option<&MeasureInForce> {
        self.lowered_caps.iter().find(|measure| measure.tenant == tenant)
    }
}

/// Takes exemptions and allowances that have expired at `now` out of a configuration; returns them.
fn take_lapsed(config: &mut Config, now: Timestamp) -> Vec<Lapsed> {
    let mut lapsed = Vec::new();
    let is_over = |exemption: &SmtpExemption| !exemption.holds_at(now);
    for tenant in config.tenants.iter_mut().filter(|tenant| tenant.smtp_exemptions.iter().any(is_over)) {
        let tenant = Arc::make_mut(tenant);
        for over in tenant.smtp_exemptions.extract_if(.., |exemption| is_over(exemption)) {
            lapsed.push(Lapsed::SmtpExemption { tenant: tenant.id.clone(), ticket: over.ticket });
        }
    }
    for over in config.detection.allow.extract_if(.., |allowance| !allowance.holds_at(now)) {
        lapsed.push(Lapsed::Allowance { ticket: over.ticket });
    }
    lapsed
}

/// Never above what is configured: that may have become less since.
fn lower_caps(configured: &Arc<Config>, measures: &[MeasureInForce]) -> Arc<Config> {
    let mut config = Arc::clone(configured);
    for measure in measures {
        let Ok(index) = config.tenants.binary_search_by(|tenant| tenant.id.cmp(&measure.tenant)) else {
            continue;
        };
        let [up, down] = measure.lowered_cap.unwrap_or_default().rates();
        let tenant = Arc::make_mut(&mut Arc::make_mut(&mut config).tenants[index]);
        tenant.cap_up = up.map_or(tenant.cap_up, |rate| tenant.cap_up.min(rate));
        tenant.cap_down = down.map_or(tenant.cap_down, |rate| tenant.cap_down.min(rate));
    }
    config
}
