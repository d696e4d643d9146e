//! Keeps policing on interfaces that come and go.
//!
//! On any change of an interface, and every second whatever the kernel says, the data plane is asked to
//! attach where it should be and is not: the kernel tells nobody when a link is detached or its pin removed.
//! What happened to the configured interfaces is logged, and so is whatever the doctor finds wrong with them that was
//! not wrong before.

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
/// How long a program that was taken off may go unnoticed. Where all is well, asking takes some system calls.
const CHECK_EVERY: Duration = Duration::from_secs(1);
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
    /// When the data plane was asked last.
    checked_at: Instant,
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
            checked_at: Instant::now(),
            retry: None,
        }
    }

    /// Waits until it is time for another look; nothing is lost if the wait is given up.
    pub(super) async fn changed(&mut self) {
        let deadline = self.next_look().min(self.checked_at + CHECK_EVERY);
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

    /// When to look at everything, if nothing changes before.
    fn next_look(&self) -> Instant {
        self.looked_at + self.retry.unwrap_or(LOOK_AT_LEAST_EVERY)
    }

    /// Attaches where need be, and logs what happened.
    pub(super) async fn follow(&mut self) {
        let is_check = !self.has_changed && Instant::now() < self.next_look();
        self.has_changed = false;
        let since = self.checked_at;
        let controller = Arc::clone(&self.controller);
        // Policing first, the log afterwards.
        let followed = spawn_blocking(move || controller.follow_interfaces()).await;
        let followed = followed.unwrap_or_else(|crash| {
            tracing::error!("following the interfaces crashed: {crash}");
            Vec::new()
        });
        self.checked_at = Instant::now();
        // What failed before is told at its own pace.
        let is_news = |followed: &Followed| followed.outcome.is_ok() || self.retry.is_none();
        if is_check && !followed.iter().any(is_news) {
            return;
        }
        self.looked_at = self.checked_at;
        let before = self.indexes();
        self.tell_changes().await;
        let stayed = self.indexes();
        let was_taken_off =
            |name: &String| before.get(name).is_some_and(|index| stayed.get(name) == Some(index));
        let failed = followed.iter().any(|followed| followed.outcome.is_err());
        self.retry = next_retry(self.retry, failed);
        for followed in &followed {
            let taken_off = was_taken_off(&followed.interface).then(|| since.elapsed());
            tell_followed(followed, self.retry, taken_off);
        }
        self.tell_findings().await;
    }

    /// The kernel's indexes of the configured interfaces, as they were seen last.
    fn indexes(&self) -> HashMap<String, u32> {
        let seen = self.seen.iter();
        seen.filter_map(|(name, link)| Some((name.clone(), link.as_ref()?.ifindex))).collect()
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

/// `taken_off`: it was there all the time, and policed when it was looked at last, so long ago.
fn tell_followed(followed: &Followed, retry: Option<Duration>, taken_off: Option<Duration>) {
    let interface = &followed.interface;
    match (&followed.outcome, taken_off) {
        (Ok(()), Some(ago)) if retry.is_none() => tracing::error!(
            interface,
            "{interface} WAS NOT POLICED for up to {ago:.1?}: its program was taken off, by something else than Fairway. \
             It is policed again"
        ),
        (Ok(()), _) => tracing::info!(interface, "{interface} is policed again"),
        (Err(error), _) => {
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
