//! Tells of offences: to the log, and through the controller to the ledger and the metrics.
//!
//! The data plane has acted already; nothing is decided here, and nothing waits for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::controller::Controller;
use crate::detect::Offence;

/// Short enough for an operator who watches the log, long enough to cost nothing.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Goes on until it is dropped.
pub(super) async fn follow(controller: Arc<Controller>) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let controller = Arc::clone(&controller);
        match spawn_blocking(move || controller.take_offences()).await {
            Ok(offences) => offences.iter().for_each(tell),
            Err(crash) => tracing::error!("recording offences crashed: {crash}"),
        }
    }
}

fn tell(offence: &Offence) {
    let Offence { tenant, kind, measure, until, .. } = offence;
    let (kind, source) = (kind.label(), offence.source.map(|source| source.to_string()));
    let by = source.as_deref().unwrap_or("all its sources");
    match until {
        Some(until) => {
            let measure = measure.label();
            tracing::warn!(tenant, kind, source, measure, %until, "{kind} by {by} of {tenant}: {measure} until {until:.0}");
        }
        None => tracing::warn!(tenant, kind, source, "{kind} by {by} of {tenant}: reported only"),
    }
}
