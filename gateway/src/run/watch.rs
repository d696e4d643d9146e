//! Notices changes of the configuration's files.
//!
//! Watched are directories, because editors replace a file by renaming a new one over it, and a watch on
//! the file would stay with the old one. A burst of changes is one.
//!
//! Network file systems report nothing, nor does a link on the way that leads elsewhere now
//! (`current -> releases/7`): so the files are looked at now and then as well.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::config::{Sources, Stand};

/// How changes are waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Quiet time after a change before it counts: editors and configuration management write in steps.
    settle: Duration,
    /// The most that a change waits for quiet: some files are written all the time.
    at_most: Duration,
    /// Time between looks at the files.
    look: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let [settle, at_most] = [200, 2_000].map(Duration::from_millis);
        Self { settle, at_most, look: Duration::from_secs(30) }
    }
}

/// Watches the files of one configuration.
pub(super) struct FileWatch {
    watcher: RecommendedWatcher,
    sources: Shared,
    settled: mpsc::Receiver<()>,
}

type Shared = Arc<Mutex<Arc<Sources>>>;

impl FileWatch {
    /// Watches nothing yet.
    pub(super) fn new(pace: Pace) -> notify::Result<Self> {
        let sources = Shared::default();
        // One change that waits is as good as many.
        let (change, changes) = mpsc::channel(1);
        let filter = Arc::clone(&sources);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let sources = current(&filter);
            if event.map_or(true, |event| concerns(&sources, &event)) {
                let _ = change.try_send(());
            }
        })?;
        let (settle, settled) = mpsc::channel(1);
        tokio::spawn(settled_changes(pace, Arc::clone(&sources), changes, settle));
        Ok(Self { watcher, sources, settled })
    }

    /// Watches `sources` from now on. Returns whether directories are watched that were not before: what changed
    /// in them until now went unnoticed.
    pub(super) fn follow(&mut self, sources: &Sources) -> bool {
        let sources = Arc::new(sources.absolute());
        let watched = sources.directories();
        let before =
            std::mem::replace(&mut *self.sources.lock().unwrap_or_else(PoisonError::into_inner), sources)
                .directories();
        for directory in before.difference(&watched) {
            // It fails if the directory is gone, and the watch with it.
            let _ = self.watcher.unwatch(directory);
        }
        // Those watched before are watched anew: the name may belong to another directory now.
        for directory in &watched {
            if let Err(error) = self.watcher.watch(directory, RecursiveMode::NonRecursive) {
                tracing::warn!(
                    directory = %directory.display(), %error,
                    "changes in this directory are noticed later, or at `fairway reload`"
                );
            }
        }
        !watched.is_subset(&before)
    }

    /// Waits for a change; nothing is lost if the wait is given up.
    pub(super) async fn changed(&mut self) {
        if self.settled.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

fn current(sources: &Shared) -> Arc<Sources> {
    Arc::clone(&sources.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Reports changes once they are over, or last too long, and those that a look at the files finds.
async fn settled_changes(
    Pace { settle, at_most, look }: Pace,
    sources: Shared,
    mut changes: mpsc::Receiver<()>,
    settled: mpsc::Sender<()>,
) {
    let mut looks = interval(look);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen: Option<(Arc<Sources>, Stand)> = None;
    loop {
        let is_event = tokio::select! {
            change = changes.recv() => {
                if change.is_none() {
                    return;
                }
                true
            }
            _ = looks.tick() => false,
        };
        if is_event {
            let patience = Instant::now() + at_most;
            while let Ok(Some(())) = timeout_at(patience.min(Instant::now() + settle), changes.recv()).await {
            }
        }
        let sources = current(&sources);
        let looked = spawn_blocking(move || (Arc::clone(&sources), sources.look())).await.ok();
        // Of other files there is nothing to compare with: they were read a moment ago.
        let differs = match (&seen, &looked) {
            (Some((followed, before)), Some((sources, now))) => sources == followed && before != now,
            _ => false,
        };
        if is_event || differs {
            let _ = settled.try_send(());
        }
        seen = looked;
    }
}

fn concerns(sources: &Sources, event: &Event) -> bool {
    let touches = match event.kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        _ => true,
    };
    touches && (event.need_rescan() || event.paths.iter().any(|path| sources.hold(path)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use notify::event::{CreateKind, DataChange, Flag, ModifyKind};

    use super::*;
    use crate::config::load;

    fn sources_of(directory: &Path, pattern: &str) -> Sources {
        let main = format!(
            "[gateway]\nname = \"edge1\"\ntenants = [\"{pattern}\"]\n\
             [[interface]]\nname = \"eth1\"\nside = \"tenant\"\n[[interface]]\nname = \"eth0\"\nside = \"uplink\"\n"
        );
        fs::write(directory.join("gateway.toml"), main).unwrap();
        load(&directory.join("gateway.toml")).unwrap().config.sources
    }

    #[test]
    fn reading_is_no_change() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let sources = sources_of(directory.path(), "tenants.d/*.toml");
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let concerned = |kind, path: &Path| concerns(&sources, &Event::new(kind).add_path(path.into()));
        let main = at("gateway.toml");
        assert!(concerned(written, &main));
        assert!(concerned(EventKind::Create(CreateKind::File), &at("tenants.d/new.toml")));
        assert!(concerned(EventKind::Access(AccessKind::Close(AccessMode::Write)), &main));
        assert!(!concerned(written, &at(".gateway.toml.swp")));
        // What the reload itself does to the files it reads.
        assert!(!concerned(EventKind::Access(AccessKind::Open(AccessMode::Read)), &main));
        assert!(!concerned(EventKind::Access(AccessKind::Close(AccessMode::Read)), &main));
        assert!(concerns(&sources, &Event::new(EventKind::Other).set_flag(Flag::Rescan)));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_that_is_written_all_the_time_does_not_hold_changes_up() {
        let directory = tempfile::tempdir().unwrap();
        let sources = sources_of(directory.path(), "*.csv");
        // Without an end to the wait, the change would not be reported within the test.
        let mut watch =
            FileWatch::new(Pace { settle: Duration::from_secs(3_600), ..Pace::default() }).unwrap();
        watch.follow(&sources);
        let (busy, ended) = (directory.path().join("busy.csv"), Arc::new(AtomicBool::new(false)));
        let writing = Arc::clone(&ended);
        let writer = thread::spawn(move || {
            while !writing.load(Ordering::Relaxed) {
                fs::write(&busy, "id,prefixes\n").unwrap();
                thread::sleep(Duration::from_millis(20));
            }
        });
        watch.changed().await;
        ended.store(true, Ordering::Relaxed);
        writer.join().unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_link_that_leads_elsewhere_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for release in ["releases/6", "releases/7"] {
            fs::create_dir_all(at(release)).unwrap();
            fs::write(at(release).join("a.toml"), format!("# {release}")).unwrap();
        }
        symlink("releases/6", at("deployed")).unwrap();
        // No directory that is watched holds the link that changes.
        let main = at("main");
        fs::create_dir(&main).unwrap();
        let sources = sources_of(&main, "../deployed/*.toml");
        let mut watch = FileWatch::new(Pace { look: Duration::from_millis(50), ..Pace::default() }).unwrap();
        watch.follow(&sources);
        // A look at these files comes before one of the changes, however slow the machine is.
        let switching = async {
            for release in ["releases/7", "releases/6"].into_iter().cycle() {
                tokio::time::sleep(Duration::from_millis(200)).await;
                symlink(release, at("next")).unwrap();
                fs::rename(at("next"), at("deployed")).unwrap();
            }
        };
        tokio::select! {
            () = watch.changed() => {}
            () = switching => {}
        }
    }
}
