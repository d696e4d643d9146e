//! Keeps policing on interfaces that come and go.
//!
//! On any change of an interface, and once a minute whatever the kernel says, the data plane is asked to
//! attach where it should be and is not. What happened to the configured interfaces is logged, and so
//! is whatever the doctor finds wrong with them that was not wrong before.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

use crate::controller::Controller;
use crate::dataplane::Followed;
use crate::doctor::{self, Finding, Severity};
use crate::link::{Change, Link, LinkWatch, Links, changes, name_of};

/// Nothing that the kernel forgot to tell goes unnoticed for longer.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(60);
/// Interfaces that flap do not keep the service busy.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(100);
/// Time before an interface that could not be attached to is tried again; doubled each time, up to
/// [`LOOK_AT_LEAST_EVERY`]. There is no last time: its traffic goes unpoliced.
const FIRST_RETRY: Duration = Duration::from_secs(1);

pub(super) struct Interfaces {
    controller: Arc<Controller>,
    watch: LinkWatch,
    /// None if the process may not ask the kernel: then interfaces are followed, but nothing is told.
    links: Option<Links>,
    /// Configured interfaces as they were at the last look; absent: never looked for.
    seen: HashMap<String, Option<Link>>,
    /// Findings that were logged and hold still; none: nothing was examined yet.
    told: Option<BTreeSet<Finding>>,
    has_changed: bool,
    looked_at: Instant,
    retry: Option<Duration>,
}

impl Interfaces {
    /// Begins to watch.
    pub(super) fn watch(controller: Arc<Controller>) -> Self {
        let links = Links::open()
            .inspect_err(|error| tracing::warn!(%error, "changes of interfaces are followed, but not logged"))
            .ok();
        Self {
            controller,
            watch: LinkWatch::start(),
            links,
            seen: HashMap::new(),
            told: None,
            has_changed: false,
            looked_at: Instant::now(),
            retry: None,
        }
    }

    /// Waits until it is time for another look; nothing is lost if the wait is given up.
    pub(super) async fn changed(&mut self) {
        let deadline = self.looked_at + self.retry.unwrap_or(LOOK_AT_LEAST_EVERY);
        if !self.has_changed {
            tokio::select! {
                () = self.watch.changed() => self.has_changed = true,
                () = sleep_until(deadline) => return,
            }
        }
        sleep_until(self.looked_at + LOOK_AT_MOST_EVERY).await;
    }

    /// The configuration may name other interfaces now.
    pub(super) fn look_again(&mut self) {
        self.has_changed = true;
    }

    /// Attaches where need be, and logs what happened.
    pub(super) async fn follow(&mut self) {
        self.has_changed = false;
        let controller = Arc::clone(&self.controller);
        // Policing first, the log afterwards.
        let followed = spawn_blocking(move || controller.follow_interfaces()).await;
        let followed = followed.unwrap_or_else(|crash| {
            tracing::error!("following the interfaces crashed: {crash}");
            Vec::new()
        });
        self.looked_at = Instant::now();
        self.tell_changes().await;
        let failed = followed.iter().any(|followed| followed.outcome.is_err());
        self.retry = next_retry(self.retry, failed);
        followed.iter().for_each(|followed| tell_followed(followed, self.retry));
        self.tell_findings().await;
    }

    async fn tell_changes(&mut self) {
        let Some(links) = &self.links else { return };
        let policy = self.controller.policy();
        let mut seen = HashMap::new();
        for interface in &policy.config.interfaces {
            let now = match links.find(&interface.name).await {
                Ok(now) => now,
                Err(error) => {
                    tracing::warn!("{error}");
                    continue;
                }
            };
            if let Some(before) = self.seen.get(&interface.name) {
                for change in changes(before.as_ref(), now.as_ref()) {
                    tell_change(&interface.name, &change, before.as_ref());
                }
            }
            seen.insert(interface.name.clone(), now);
        }
        self.seen = seen;
    }

    /// Logs findings that are new.
    async fn tell_findings(&mut self) {
        let Some(links) = &self.links else { return };
        let policy = self.controller.policy();
        let is_wrong = |finding: &Finding| finding.severity > Severity::Ok;
        if self.told.is_none() {
            doctor::examine_machine(&policy.config)
                .await
                .iter()
                .filter(|f| is_wrong(f))
                .for_each(tell_finding);
        }
        let told = self.told.take().unwrap_or_default();
        let wrong: BTreeSet<_> =
            doctor::examine_interfaces(&policy.config, links).await.into_iter().filter(is_wrong).collect();
        wrong.difference(&told).for_each(tell_finding);
        self.told = Some(wrong);
    }
}

fn next_retry(last: Option<Duration>, failed: bool) -> Option<Duration> {
    let next = last.map_or(FIRST_RETRY, |last| (last * 2).min(LOOK_AT_LEAST_EVERY));
    failed.then_some(next)
}

fn tell_change(interface: &str, change: &Change, before: Option<&Link>) {
    let Change::Vanished = change else {
        return tracing::info!(interface, "{interface} {change}");
    };
    let renamed = before.and_then(|before| name_of(before.ifindex));
    match renamed {
        Some(name) => tracing::warn!(
            interface,
            "{interface} was renamed to {name}; it stays policed. Correct the configuration, or rename it back"
        ),
        None => tracing::warn!(interface, "{interface} {change}"),
    }
}

fn tell_followed(followed: &Followed, retry: Option<Duration>) {
    let interface = &followed.interface;
    match &followed.outcome {
        Ok(()) => tracing::info!(interface, "{interface} is policed again"),
        Err(error) => {
            tracing::error!(interface, retry_in = ?retry, "{interface} IS NOT POLICED: {error}");
        }
    }
}

fn tell_finding(finding: &Finding) {
    let Finding { severity, check, interface, found, why, mend } = finding;
    let subject = interface.as_deref().map_or_else(|| (*check).to_owned(), |name| format!("{name} {check}"));
    let [why, mend] = [why, mend].map(|text| text.as_deref().unwrap_or_default());
    tracing::warn!(
        check,
        interface = interface.as_deref(),
        severity = severity.label(),
        "{subject}: {found} ({why}). To mend it: {mend}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_slow_down_to_once_a_minute_and_never_end() {
        let mut retry = None;
        let mut delays = Vec::new();
        for _ in 0..9 {
            retry = next_retry(retry, true);
            delays.push(retry.unwrap().as_secs());
        }
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(next_retry(retry, false), None);
        assert_eq!(next_retry(None, true), Some(FIRST_RETRY));
    }
}
