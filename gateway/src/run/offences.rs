//! Tells of offences: to the log, and through the controller to the ledger and the metrics.
//!
//! What the data plane saw it has acted on already; nothing waits for this. What needs a view of all
//! tenants is judged here, from the counters, once a minute.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::controller::Controller;
use crate::detect::{Offence, RiseDetector, SAMPLE_EVERY};

/// Short enough for an operator who watches the log, long enough to cost nothing.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Goes on until it is dropped.
pub(super) async fn follow(controller: Arc<Controller>) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rises = Rises::default();
    loop {
        ticks.tick().await;
        let controller = Arc::clone(&controller);
        let looked = spawn_blocking(move || {
            let offences = controller.take_offences();
            offences.into_iter().chain(rises.take(&controller)).for_each(|offence| tell(&offence));
            rises
        });
        rises = looked.await.unwrap_or_else(|crash| {
            tracing::error!("recording offences crashed: {crash}");
            Rises::default()
        });
    }
}

/// Sudden rises of use.
#[derive(Default)]
struct Rises {
    detector: RiseDetector,
    looked_at: Option<Instant>,
}

impl Rises {
    /// Counts and records those of the last minute, once it is over; returns them.
    fn take(&mut self, controller: &Controller) -> Vec<Offence> {
        let elapsed = self.looked_at.map(|at| at.elapsed());
        if elapsed.is_some_and(|elapsed| elapsed < SAMPLE_EVERY) {
            return Vec::new();
        }
        let Some(observation) = controller.observe() else { return Vec::new() };
        self.looked_at = Some(Instant::now());
        let (config, elapsed) = (&observation.policy.config, elapsed.unwrap_or(SAMPLE_EVERY));
        let offences = self.detector.sample(config, &observation.snapshot, elapsed, Timestamp::now());
        offences.iter().for_each(|offence| controller.offended(offence.clone()));
        offences
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
