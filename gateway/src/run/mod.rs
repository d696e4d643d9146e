//! The life of the service: start, reload, stop.
//!
//! Start: read the configuration, take the control socket and the metrics port, attach, serve, tell
//! systemd. Whatever can fail for reasons of the system fails before the first interface is touched.
//!
//! Reload: on SIGHUP, `fairway reload` or a changed file, one after the other; nothing but a whole,
//! correct configuration that the data plane took changes anything. Exemptions lapse on time by
//! themselves.
//!
//! What is decided is one thread's; what the programs report is read before the ring that they write to is full, and
//! offences are logged, counted and recorded within a second or so.
//!
//! Interfaces that vanish and return are policed again as soon as they are there.
//!
//! Stop: on SIGTERM or SIGINT stop serving, leave the data plane as `gateway.on_stop` says, give up
//! the socket last, so that the next controller does not begin before this one has ended.

mod actor;
mod beginning;
mod interfaces;
mod memory;
mod service;
mod signals;
mod systemd;
mod watch;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

pub use signals::{Signal, signals};

use crate::clock;
use crate::config::{Diagnostics, KeptFiles, Loaded, Loader};
use crate::control::{self, ControlSocket, SocketError};
use crate::controller::{Policy, listen_remedy};
use crate::dataplane::{DataplaneError, Foreign, Plane};
use crate::metrics::Endpoint;
use crate::policy::Effective;
use crate::store::Store;
use beginning::Beginning;
use service::Service;

/// Why the service did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration cannot be read or holds mistakes.
    #[error("{}", .0.render(false).trim_end())]
    Config(Diagnostics),
    /// The control socket cannot be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The metrics endpoint cannot listen.
    #[error("cannot serve metrics on {listen}: {source}. {}", listen_remedy(source))]
    Metrics {
        /// `metrics.listen`.
        listen: SocketAddr,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The data plane could not be started or stopped.
    #[error(transparent)]
    Dataplane(#[from] DataplaneError),
    /// A part of the controller panicked.
    #[error("the controller crashed ({0}); this is a defect in Fairway, please report it with the log")]
    Crashed(#[from] tokio::task::JoinError),
}

/// Runs the gateway that `file` describes until a [`Signal::Stop`]. `start` brings up the data plane.
pub async fn run(
    file: &Path,
    start: impl FnOnce(&Effective, Foreign) -> Result<Box<dyn Plane>, DataplaneError> + Send + 'static,
    signals: mpsc::Receiver<Signal>,
) -> Result<(), RunError> {
    let loader = SharedLoader::default();
    let Beginning { loaded, refused } = beginning::begin(&loader, file).await?;
    let files = loaded.files.clone();
    let warnings = loaded.warnings_at(Timestamp::now());
    if warnings.warnings() > 0 {
        tracing::warn!("the configuration has warnings\n{}", warnings.render(false).trim_end());
    }
    let gateway = loaded.config.gateway.clone();
    let (socket, listener, access) =
        ControlSocket::claim(&gateway.control_socket, gateway.control_group.as_deref())?;
    let metrics = match loaded.config.metrics.as_ref().map(|metrics| metrics.listen) {
        None => None,
        Some(listen) => {
            let bound = TcpListener::bind(listen).await;
            Some((bound.map_err(|source| RunError::Metrics { listen, source })?, listen))
        }
    };
    let started = spawn_blocking(move || {
        let store = Store::open(&gateway.state_dir, loaded.config.evidence);
        if let Some(earlier) = store.last_seen(&clock::now()) {
            clock::resume(earlier);
        }
        actor::start(loaded, store, start)
    });
    let (controller, actor) = started.await??;
    let policy = controller.policy();
    match refused {
        Some(refused) => controller.refused(&refused),
        None => keep(files, &policy).await,
    }
    tracing::info!(
        gateway = policy.config.gateway.name,
        digest = %policy.config.digest,
        tenants = policy.config.tenants.len(),
        interfaces = policy.config.interfaces.len(),
        "policing"
    );

    let metrics = metrics.map(|(bound, listen)| Endpoint::serve(bound, listen, Arc::clone(&controller)));
    let (requests, reload_requests) = mpsc::channel(1);
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async {
        // The sender is dropped when the service's loop ends.
        let _ = stopped.await;
    };
    let server = control::serve((listener, access), Arc::clone(&controller), requests, stopped);
    let server = tokio::spawn(server);

    Service::new(Arc::clone(&controller), loader, metrics).run(signals, reload_requests).await;

    systemd::stopping();
    tracing::info!(on_stop = ?controller.policy().config.gateway.on_stop, "stopping");
    drop(stop);
    let served = server.await;
    let stopped = spawn_blocking(move || {
        let stopped = controller.stop();
        // Gives up the store before the next controller opens it. A crash there has been told.
        drop(controller);
        drop(actor.join());
        stopped
    });
    stopped.await??;
    drop(socket);
    served?;
    tracing::info!("stopped");
    Ok(())
}

/// What was read before is of use to the next reading.
type SharedLoader = Arc<Mutex<Loader>>;

/// Reads a configuration without blocking the runtime.
async fn load(
    loader: &SharedLoader,
    file: PathBuf,
) -> Result<Result<Loaded, Diagnostics>, tokio::task::JoinError> {
    let loader = Arc::clone(loader);
    spawn_blocking(move || locked(&loader).load(&file)).await
}

/// After a panic it may lack files, which are then read again; it never has wrong ones.
fn locked(loader: &SharedLoader) -> MutexGuard<'_, Loader> {
    loader.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps a copy of the files that are in force, for a start without them.
async fn keep(files: KeptFiles, policy: &Policy) {
    let state_dir = policy.config.gateway.state_dir.clone();
    let at = policy.loaded_at;
    let path = KeptFiles::path(&state_dir);
    let kept = spawn_blocking(move || files.keep(&state_dir, at)).await;
    if let Err(error) = kept.map_err(std::io::Error::from).flatten() {
        tracing::error!(
            %error,
            "cannot keep a copy of the configuration in {}: a start whose files are broken would take an older one, or \
             fail",
            path.display()
        );
    }
}
