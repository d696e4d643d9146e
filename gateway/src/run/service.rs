//! The loop of the running service: what makes it change its policy.

use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use super::interfaces::Interfaces;
use super::signals::Signal;
use super::watch::{FileWatch, Pace};
use super::{SharedLoader, keep, load, memory, systemd};
use crate::config::{Loaded, Removals};
use crate::control::ReloadRequest;
use crate::control::api::Failure;
use crate::controller::{Controller, ReloadError, Reloaded};
use crate::metrics::Endpoint;

pub(super) struct Service {
    controller: Arc<Controller>,
    loader: SharedLoader,
    metrics: Option<Endpoint>,
    interfaces: Interfaces,
    /// None if the system has no watches left; reloads by command and signal work without.
    watch: Option<FileWatch>,
    /// Files may have changed before they were watched.
    unwatched_changes: bool,
    file: PathBuf,
}

impl Service {
    pub(super) fn new(controller: Arc<Controller>, loader: SharedLoader, metrics: Option<Endpoint>) -> Self {
        let file = controller.policy().config.file.clone();
        let watch = FileWatch::new(Pace::default())
            .inspect_err(|error| tracing::warn!(%error, "changed files go unnoticed until `fairway reload`"))
            .ok();
        let interfaces = Interfaces::watch(Arc::clone(&controller));
        Self { controller, loader, metrics, interfaces, watch, unwatched_changes: false, file }
    }

    /// Serves until a [`Signal::Stop`]. Files are read beside the loop: however long that takes, everything else goes
    /// on, and a stop does not wait for it.
    pub(super) async fn run(
        mut self,
        mut signals: mpsc::Receiver<Signal>,
        mut requests: mpsc::Receiver<ReloadRequest>,
    ) {
        self.ready();
        self.follow();
        let mut reading: Option<Reading> = None;
        // A signal during a reload asks for one more.
        let mut is_asked_again = false;
        loop {
            let is_idle = reading.is_none();
            tokio::select! {
                signal = signals.recv() => match signal {
                    Some(Signal::Reload) if is_idle => reading = Some(self.read(Cause::Signal)),
                    Some(Signal::Reload) => is_asked_again = true,
                    Some(Signal::Stop) | None => return,
                },
                Some(request) = requests.recv(), if is_idle => reading = Some(self.read(Cause::Command(request))),
                () = changed(&mut self.watch, self.unwatched_changes), if is_idle => {
                    reading = Some(self.read(Cause::ChangedFiles));
                }
                (cause, loaded) = done(&mut reading) => {
                    self.put_into_force(cause, loaded).await;
                    if std::mem::take(&mut is_asked_again) {
                        reading = Some(self.read(Cause::Signal));
                    }
                }
                () = self.interfaces.changed() => {
                    self.interfaces.follow().await;
                    continue;
                }
            }
            self.interfaces.look_again();
        }
    }

    /// Begins to read the files.
    fn read(&mut self, cause: Cause) -> Reading {
        if !matches!(cause, Cause::ChangedFiles) {
            systemd::reloading();
        }
        self.unwatched_changes = false;
        let (loader, file) = (Arc::clone(&self.loader), self.file.clone());
        let loaded = tokio::spawn(async move {
            match load(&loader, file).await {
                Ok(loaded) => loaded.map_err(|diagnostics| ReloadError::Config { diagnostics }),
                Err(crash) => Err(ReloadError::Crashed(crash.to_string())),
            }
        });
        Reading { cause, loaded }
    }

    /// Puts what was read into force, or keeps what is. What was noticed as a change is none if the files read the
    /// same as what is in force.
    async fn put_into_force(&mut self, cause: Cause, loaded: Result<Loaded, ReloadError>) {
        let (name, accept_removals) = match &cause {
            Cause::Signal => ("signal", false),
            Cause::Command(request) => ("command", request.accept_removals),
            Cause::ChangedFiles => ("changed files", false),
        };
        let outcome = match loaded {
            Ok(loaded) if matches!(cause, Cause::ChangedFiles) && self.is_in_force(&loaded) => {
                tracing::debug!("the files hold what is in force");
                self.controller.confirm();
                spawn_blocking(memory::give_back);
                return self.follow();
            }
            Ok(loaded) => {
                if matches!(cause, Cause::ChangedFiles) {
                    systemd::reloading();
                }
                self.replace(loaded, accept_removals).await
            }
            Err(error) => Err(error),
        };
        let outcome = self.record(name, outcome);
        if let Cause::Command(request) = cause {
            // The client may have gone; what it asked for is done all the same.
            let _ = request.reply.send(outcome);
        }
        self.ready();
        self.follow();
        spawn_blocking(memory::give_back);
    }

    fn is_in_force(&self, loaded: &Loaded) -> bool {
        let policy = self.controller.policy();
        loaded.config.digest == policy.config.digest && policy.config.kept_since.is_none()
    }

    async fn replace(&mut self, loaded: Loaded, accept_removals: bool) -> Result<Reloaded, ReloadError> {
        self.controller.admit(&loaded.config)?;
        let current = self.controller.policy();
        match Removals::too_many(&current.config, &loaded.config) {
            Some(removals) if !accept_removals => return Err(ReloadError::Removals(removals)),
            _ => {}
        }
        let files = loaded.files.clone();
        let listen = loaded.config.metrics.as_ref().map(|metrics| metrics.listen);
        let moved = listen != self.metrics.as_ref().map(Endpoint::listen);
        let bound = match listen {
            Some(listen) if moved => {
                let bound = TcpListener::bind(listen).await;
                Some((bound.map_err(|source| ReloadError::Metrics { listen, source })?, listen))
            }
            _ => None,
        };
        let controller = Arc::clone(&self.controller);
        let replaced = spawn_blocking(move || controller.replace(loaded)).await;
        let reloaded = replaced.map_err(|crash| ReloadError::Crashed(crash.to_string()))??;
        if moved {
            let serve = |(bound, listen)| Endpoint::serve(bound, listen, Arc::clone(&self.controller));
            self.metrics = bound.map(serve);
        }
        keep(files, &self.controller.policy()).await;
        Ok(reloaded)
    }

    fn record(&self, cause: &str, outcome: Result<Reloaded, ReloadError>) -> Result<Reloaded, Failure> {
        match outcome {
            Ok(reloaded) => {
                let Reloaded { digest, applied, warnings } = &reloaded;
                let (tenants, prefixes, took) = (applied.tenants, applied.prefixes, applied.took);
                tracing::info!(cause, %digest, tenants, prefixes, ?took, "reloaded");
                if !applied.missing_interfaces.is_empty() {
                    let missing = applied.missing_interfaces.join(", ");
                    tracing::warn!("not there, and policed as soon as they are: {missing}");
                }
                if warnings.warnings() > 0 {
                    tracing::warn!("the configuration has warnings\n{}", warnings.render(false).trim_end());
                }
                Ok(reloaded)
            }
            Err(error) => {
                self.controller.refused(&error);
                tracing::error!(cause, "reload refused, the policy before it stays in force\n{error}");
                Err(Failure::from(&error))
            }
        }
    }

    fn follow(&mut self) {
        let policy = self.controller.policy();
        self.unwatched_changes =
            self.watch.as_mut().is_some_and(|watch| watch.follow(&policy.config.sources));
    }

    fn ready(&self) {
        let policy = self.controller.policy();
        let (tenants, interfaces) = (policy.config.tenants.len(), policy.config.interfaces.len());
        systemd::ready(&format!("policing {tenants} tenants on {interfaces} interfaces"));
    }
}

/// Why the files are read.
enum Cause {
    Signal,
    Command(ReloadRequest),
    ChangedFiles,
}

/// Files that are being read.
struct Reading {
    cause: Cause,
    loaded: JoinHandle<Result<Loaded, ReloadError>>,
}

/// What the files hold, once they are read; nothing is lost if the wait is given up.
async fn done(reading: &mut Option<Reading>) -> (Cause, Result<Loaded, ReloadError>) {
    let Some(current) = reading else { return pending().await };
    let loaded = (&mut current.loaded).await;
    let loaded = loaded.unwrap_or_else(|crash| Err(ReloadError::Crashed(crash.to_string())));
    match reading.take() {
        Some(Reading { cause, .. }) => (cause, loaded),
        None => pending().await,
    }
}

/// Waits for a change of the files; not at all if one may have gone unnoticed.
async fn changed(watch: &mut Option<FileWatch>, already: bool) {
    match watch {
        _ if already => {}
        Some(watch) => watch.changed().await,
        None => pending().await,
    }
}
