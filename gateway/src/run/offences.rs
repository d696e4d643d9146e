//! Tells of offences: to the log, and through the controller to the ledger and the metrics.
//!
//! What the data plane saw it has acted on already; nothing waits for this. What needs a view of all
//! tenants is judged here, from the counters: sudden rises, and outages that hold measures back. What was
//! learned for it is kept now and then, and at the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::controller::Controller;
use crate::detect::{Breaker, Look, Offence, RiseDetector, Second, Turn};

/// Goes on until the sender of `stop` is dropped.
pub(super) async fn follow(controller: Arc<Controller>, mut stop: oneshot::Receiver<()>) {
    let mut watch = Watch::new(controller);
    loop {
        tokio::select! {
            () = sleep(watch.next_look_in()) => {}
            _ = &mut stop => break,
        }
        let controller = Arc::clone(&watch.controller);
        let looked = spawn_blocking(move || {
            watch.look();
            watch
        });
        watch = looked.await.unwrap_or_else(|crash| {
            tracing::error!("watching for offences crashed, and begins anew: {crash}");
            Watch::new(controller)
        });
    }
    watch.keep_baselines();
}

/// What is remembered between looks.
struct Watch {
    controller: Arc<Controller>,
    /// What the second's clock counts from.
    started_at: Instant,
    second: Second,
    rises: RiseDetector,
    /// Whether what an earlier controller had learned is in `rises`: it must not be replaced before.
    has_resumed: bool,
    breaker: Breaker,
}

impl Watch {
    fn new(controller: Arc<Controller>) -> Self {
        Self {
            controller,
            started_at: Instant::now(),
            second: Second::default(),
            rises: RiseDetector::default(),
            has_resumed: false,
            breaker: Breaker::default(),
        }
    }

    fn next_look_in(&self) -> Duration {
        self.second.next_deadline().saturating_sub(self.started_at.elapsed())
    }

    fn look(&mut self) {
        for look in self.second.due(self.started_at.elapsed()) {
            match look {
                Look::Offences => self.controller.take_offences().iter().for_each(tell),
                Look::Baselines => {
                    self.keep_baselines();
                    self.resume_baselines();
                }
                Look::Comparison => {
                    if let Err(error) = self.controller.compare() {
                        tracing::warn!("{error}. What is in force cannot be compared with it");
                    }
                }
                Look::Outage(elapsed) => {
                    let turn = self.controller.look_for_outage(&mut self.breaker, elapsed);
                    turn.into_iter().for_each(tell_turn);
                }
                Look::Rises(elapsed) => {
                    let rises = self.look_for_rises(elapsed);
                    if !rises.is_empty() {
                        // The next controller must not report them again: an operator may have restored the tenant.
                        self.keep_baselines();
                    }
                    for offence in rises {
                        tell(&self.controller.offended(offence));
                    }
                }
            }
        }
        self.controller.decide_cases();
    }

    fn keep_baselines(&self) {
        if self.has_resumed {
            self.controller.keep_baselines(self.rises.learned());
        }
    }

    /// Once, as soon as what was kept can be read.
    fn resume_baselines(&mut self) {
        if self.has_resumed {
            return;
        }
        match self.controller.baselines() {
            Ok(learned) => {
                self.rises.resume(learned);
                self.has_resumed = true;
            }
            Err(error) => tracing::warn!(
                "{error}. Until it can be read, sudden rises are told only of tenants watched for a day since the start"
            ),
        }
    }

    fn look_for_rises(&mut self, elapsed: Duration) -> Vec<Offence> {
        self.controller.observe().map_or_else(Vec::new, |observation| {
            self.rises.sample(&observation.policy.effective, &observation.snapshot, elapsed, Timestamp::now())
        })
    }
}

fn tell_turn(turn: Turn) {
    match turn {
        Turn::Freeze => tracing::warn!(
            "answers to all tenants together vanish: an outage upstream. No measures are taken until they come again"
        ),
        Turn::Thaw => {
            tracing::info!("answers come again, or the outage is the new usual: measures are taken again")
        }
    }
}

fn tell(offence: &Offence) {
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
