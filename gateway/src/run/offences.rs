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
use tokio::time::{MissedTickBehavior, interval};

use crate::controller::Controller;
use crate::detect::{BREAKER_EVERY, Breaker, KEEP_EVERY, Offence, RiseDetector, SAMPLE_EVERY, Turn};

/// Short enough for an operator who watches the log, long enough to cost nothing.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often the store, the controller and the kernel are compared.
const COMPARE_EVERY: Duration = Duration::from_secs(60);

/// Goes on until the sender of `stop` is dropped.
pub(super) async fn follow(controller: Arc<Controller>, mut stop: oneshot::Receiver<()>) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch = Watch::new(controller);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
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
    rises: RiseDetector,
    looked_for_rises: Every,
    /// Whether what an earlier controller had learned is in `rises`: it must not be replaced before.
    has_resumed: bool,
    kept_baselines: Every,
    breaker: Breaker,
    looked_for_outage: Every,
    compared: Every,
}

impl Watch {
    fn new(controller: Arc<Controller>) -> Self {
        Self {
            controller,
            rises: RiseDetector::default(),
            looked_for_rises: Every::new(SAMPLE_EVERY),
            has_resumed: false,
            kept_baselines: Every::new(KEEP_EVERY),
            breaker: Breaker::default(),
            looked_for_outage: Every::new(BREAKER_EVERY),
            compared: Every::new(COMPARE_EVERY),
        }
    }

    fn look(&mut self) {
        self.controller.take_offences().iter().for_each(tell);
        if self.kept_baselines.elapsed().is_some() {
            self.keep_baselines();
            self.resume_baselines();
        }
        if self.compared.elapsed().is_some()
            && let Err(error) = self.controller.compare()
        {
            tracing::warn!("{error}. What is in force cannot be compared with it");
        }
        if let Some(elapsed) = self.looked_for_outage.elapsed() {
            let turn = self.controller.look_for_outage(&mut self.breaker, elapsed);
            turn.into_iter().for_each(tell_turn);
        }
        if let Some(elapsed) = self.looked_for_rises.elapsed() {
            for offence in self.look_for_rises(elapsed) {
                tell(&self.controller.offended(offence));
            }
        }
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

/// Something that is to be done now and then.
struct Every {
    period: Duration,
    done_at: Option<Instant>,
}

impl Every {
    fn new(period: Duration) -> Self {
        Self { period, done_at: None }
    }

    /// If it is time to do it: how long ago it was done last (the first time, one period).
    fn elapsed(&mut self) -> Option<Duration> {
        let elapsed = self.done_at.map_or(self.period, |at| at.elapsed());
        (elapsed >= self.period).then(|| {
            self.done_at = Some(Instant::now());
            elapsed
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
