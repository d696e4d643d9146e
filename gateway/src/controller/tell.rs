//! What is decided, for whoever reads the log.

use super::core::Report;
use crate::detect::{Offence, Turn};
use crate::enforcement::{Act, CaseId};

pub(super) fn report(report: &Report) {
    match report {
        Report::Offence(found) => offence(found),
        Report::Turn(Turn::Freeze) => tracing::warn!(
            "answers to all tenants together vanish: an outage upstream. No measures are taken until they come again"
        ),
        Report::Turn(Turn::Thaw) => {
            tracing::info!("answers come again, or the outage is the new usual: measures are taken again");
        }
        Report::Lapsed(over) => tracing::info!("{over}"),
        Report::Restored(tenant, suspension) => {
            let scope = suspension.scope.label();
            tracing::info!(tenant, scope, "restored: the suspension's time is over");
        }
        Report::Case { case, tenant, act } => about(*case, tenant, act),
    }
}

fn offence(offence: &Offence) {
    let Offence { tenant, kind, measure, until, lowered_cap, .. } = offence;
    let (kind, source) = (kind.label(), offence.source.map(|source| source.to_string()));
    let by = source.as_deref().unwrap_or("all its sources");
    match until {
        Some(until) => {
            let cap = lowered_cap.map(|cap| format!(" {cap}")).unwrap_or_default();
            let measure = format!("{}{cap}", measure.label());
            tracing::warn!(tenant, kind, source, measure, %until, "{kind} by {by} of {tenant}: {measure} until {until:.0}");
        }
        None => tracing::warn!(tenant, kind, source, "{kind} by {by} of {tenant}: reported only"),
    }
}

/// What an operator would want to see of a case at once.
fn about(case: CaseId, tenant: &str, act: &Act) {
    match act {
        Act::Opened { class, .. } => {
            tracing::info!(tenant, %case, %class, "a case of class {class} is opened: {tenant}");
        }
        Act::Struck { strike, step, enforced: false, .. } => {
            tracing::info!(tenant, %case, strike, "strike {strike}: {step} (watched: nothing is restricted)");
        }
        Act::Struck { strike, step, .. } => {
            tracing::warn!(tenant, %case, strike, "strike {strike} of {tenant}: {step}");
        }
        Act::Asked { by, .. } => {
            let by = &by.name;
            tracing::info!(tenant, %case, by, "{by} asks to restore {tenant}: an approver has to confirm it");
        }
        Act::Declined { by, .. } => {
            let by = &by.name;
            tracing::info!(tenant, %case, by, "{by} declines to restore {tenant}");
        }
        Act::Closed { resolution, .. } => {
            let resolution = resolution.label();
            tracing::info!(tenant, %case, resolution, "the case is closed: {resolution}");
        }
        _ => {}
    }
}
