//! HTTP/1 for few, local clients that may be slow, hang or mean harm: a bounded number of connections,
//! one request each, a bounded time for all of it. What is over the bound waits in the listen queue.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Time for a client to send its request's head.
const HEAD: Duration = Duration::from_secs(5);
/// Time for answers under way when the server is told to stop.
const GRACE: Duration = Duration::from_secs(2);

/// What one server grants its clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections at a time.
    pub(crate) connections: usize,
    /// From accepting a connection to the last byte of its answer.
    pub(crate) lifetime: Duration,
}

/// Serves until `stop` is ready, then lets answers under way end within a short grace. `router` is asked
/// once per connection, so that it can look at the peer.
pub(crate) async fn serve<L: Listener>(
    mut listener: L,
    limits: Limits,
    router: impl Fn(&L::Io) -> Router,
    stop: impl Future<Output = ()>,
) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).keep_alive(false);
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await.0)
        };
        let (slot, io) = tokio::select! {
            () = &mut stop => break,
            Some(_ended) = connections.join_next() => continue,
            accepted = accepted => accepted,
        };
        let service = TowerToHyperService::new(router(&io));
        let connection = http.serve_connection(TokioIo::new(io), service);
        connections.spawn(async move {
            let _slot = slot;
            // Neither a client that went away nor one that ran out of time is worth a record.
            let _ = timeout(limits.lifetime, connection).await;
        });
    }
    drop(listener);
    let _ = timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
}
