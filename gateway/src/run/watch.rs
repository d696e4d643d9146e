//! Notices changes of the configuration's files.
//!
//! Watched are directories, because editors replace a file by renaming a new one over it, and a watch on
//! the file would stay with the old one. A burst of changes is one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf, absolute};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Quiet time after a change before it counts: editors and configuration management write in steps.
const SETTLE: Duration = Duration::from_millis(200);

/// Watches the files of one configuration.
pub(super) struct FileWatch {
    watcher: RecommendedWatcher,
    sources: Arc<Mutex<Sources>>,
    settled: mpsc::Receiver<()>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Sources {
    files: BTreeSet<PathBuf>,
    /// Directories of which every file counts.
    directories: BTreeSet<PathBuf>,
}

impl FileWatch {
    /// Watches nothing yet.
    pub(super) fn new() -> notify::Result<Self> {
        let sources = Arc::new(Mutex::new(Sources::default()));
        // One change that waits is as good as many.
        let (change, changes) = mpsc::channel(1);
        let filter = Arc::clone(&sources);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let sources = filter.lock().unwrap_or_else(PoisonError::into_inner);
            if event.map_or(true, |event| sources.concerned_by(&event)) {
                let _ = change.try_send(());
            }
        })?;
        let (settle, settled) = mpsc::channel(1);
        tokio::spawn(settled_changes(changes, settle));
        Ok(Self { watcher, sources, settled })
    }

    /// Watches `sources` (files, and directories whose every file counts) from now on. Returns whether
    /// directories are watched that were not before: what changed in them until now went unnoticed.
    pub(super) fn follow(&mut self, sources: &[PathBuf]) -> bool {
        let sources = Sources::of(sources);
        let watched = sources.watched();
        let before =
            std::mem::replace(&mut *self.sources.lock().unwrap_or_else(PoisonError::into_inner), sources);
        let before = before.watched();
        for directory in before.difference(&watched) {
            // It fails if the directory is gone, and the watch with it.
            let _ = self.watcher.unwatch(directory);
        }
        // Those watched before are watched anew: the name may belong to another directory now.
        for directory in &watched {
            if let Err(error) = self.watcher.watch(directory, RecursiveMode::NonRecursive) {
                tracing::warn!(
                    directory = %directory.display(), %error,
                    "changes in this directory go unnoticed until `fairway reload`"
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

async fn settled_changes(mut changes: mpsc::Receiver<()>, settled: mpsc::Sender<()>) {
    while changes.recv().await.is_some() {
        while let Ok(Some(())) = timeout(SETTLE, changes.recv()).await {}
        let _ = settled.try_send(());
    }
}

impl Sources {
    fn of(sources: &[PathBuf]) -> Self {
        // A path that cannot be made absolute is empty or the working directory is gone.
        let paths = sources.iter().filter_map(|path| absolute(path).ok());
        let (directories, files) = paths.partition(|path| path.is_dir());
        Self { files, directories }
    }

    fn watched(&self) -> BTreeSet<PathBuf> {
        let parents = self.files.iter().filter_map(|file| file.parent().map(Path::to_owned));
        parents.chain(self.directories.iter().cloned()).collect()
    }

    fn concerned_by(&self, event: &Event) -> bool {
        let touches = match event.kind {
            EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
            _ => true,
        };
        touches && (event.need_rescan() || event.paths.iter().any(|path| self.holds(path)))
    }

    fn holds(&self, path: &Path) -> bool {
        self.files.contains(path)
            || self.directories.contains(path)
            || path.parent().is_some_and(|parent| self.directories.contains(parent))
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, DataChange, Flag, ModifyKind};

    use super::*;

    #[test]
    fn only_the_configurations_own_files_count() {
        let directory = tempfile::tempdir().unwrap();
        let tenants = directory.path().join("tenants.d");
        std::fs::create_dir(&tenants).unwrap();
        let main = directory.path().join("gateway.toml");
        let sources = Sources::of(&[main.clone(), tenants.clone()]);
        assert_eq!(sources.watched(), BTreeSet::from([directory.path().to_owned(), tenants.clone()]));

        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let concerned = |kind, path: &Path| sources.concerned_by(&Event::new(kind).add_path(path.into()));
        assert!(concerned(written, &main));
        assert!(concerned(EventKind::Create(CreateKind::File), &tenants.join("new.toml")));
        assert!(concerned(EventKind::Access(AccessKind::Close(AccessMode::Write)), &main));
        assert!(!concerned(written, &directory.path().join(".gateway.toml.swp")));
        // What the reload itself does to the files it reads.
        assert!(!concerned(EventKind::Access(AccessKind::Open(AccessMode::Read)), &main));
        assert!(!concerned(EventKind::Access(AccessKind::Close(AccessMode::Read)), &main));
        assert!(sources.concerned_by(&Event::new(EventKind::Other).set_flag(Flag::Rescan)));
    }

    #[test]
    fn relative_paths_have_a_directory_too() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(Sources::of(&["gateway.toml".into()]).watched(), BTreeSet::from([here]));
    }
}
