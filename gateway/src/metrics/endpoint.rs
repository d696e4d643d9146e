//! The HTTP endpoint that Prometheus scrapes.

use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use http_body_util::channel::{Channel, Sender};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::ranking::{Ranking, Shown};
use crate::controller::{Controller, Observation};
use crate::http::{Limits, serve};

/// A pair of Prometheus servers and an operator's browser at the same time. The lifetime is over
/// Prometheus's default scrape timeout of ten seconds.
const LIMITS: Limits = Limits {
    connections: 64,
    requests: &[8],
    kind: |_| 0,
    lifetime: Duration::from_secs(30),
    refusal: IntoResponse::into_response,
};
/// Series are handed to the connection in pieces of this many bytes, of which four may wait.
const PIECE: usize = 64 * 1024;
const PIECES_WAITING: usize = 4;

/// The endpoint being served; dropping it closes the listener.
pub struct Endpoint {
    listen: SocketAddr,
    _stop: oneshot::Sender<()>,
}

struct Shared {
    controller: Arc<Controller>,
    ranking: Mutex<Ranking>,
}

impl Endpoint {
    /// Serves the controller's metrics on `listener` until dropped.
    pub fn serve(listener: TcpListener, listen: SocketAddr, controller: Arc<Controller>) -> Self {
        let shared = Arc::new(Shared { controller, ranking: Mutex::default() });
        let router = Router::new().route("/", get(index)).route("/metrics", get(metrics)).with_state(shared);
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            // An error means that the sender was dropped, which is the signal.
            let _ = stopped.await;
        };
        tokio::spawn(serve(listener, LIMITS, move |_| router.clone(), stopped));
        Self { listen, _stop: stop }
    }

    /// Where it listens, as configured.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }
}

async fn index() -> Html<&'static str> {
    Html("<!doctype html><title>Fairway</title><h1>Fairway</h1><p><a href=\"/metrics\">Metrics</a>")
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let (sender, body) = Channel::<Bytes, io::Error>::new(PIECES_WAITING);
    let (begun, beginning) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        let read = shared.read();
        // The client may be gone already; then the first write finds out.
        let _ = begun.send(read.is_some());
        if let Some((observation, shown)) = read {
            stream(&observation, &shown, sender);
        }
    });
    match beginning.await {
        Ok(true) => ([(header::CONTENT_TYPE, super::CONTENT_TYPE)], Body::new(body)).into_response(),
        Ok(false) => (StatusCode::SERVICE_UNAVAILABLE, "the gateway is stopping\n").into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "reading the counters crashed\n").into_response(),
    }
}

impl Shared {
    /// None once the controller has stopped.
    fn read(&self) -> Option<(Observation, Shown)> {
        // Held while the counters are read, so that rankings follow each other as their counters do.
        let mut ranking = self.ranking.lock().unwrap_or_else(PoisonError::into_inner);
        let observation = self.controller.observe()?;
        let top = observation.policy.config.metrics.as_ref().and_then(|metrics| metrics.top_tenants);
        let shown = ranking.choose(&observation.snapshot.tenants, top);
        Some((observation, shown))
    }
}

/// Blocks until the scraper has read everything or its connection has ended.
fn stream(observation: &Observation, shown: &Shown, sender: Sender<Bytes, io::Error>) {
    let mut out = BufWriter::with_capacity(PIECE, Pieces { sender, runtime: Handle::current() });
    if let Err(error) = super::write(&mut out, observation, shown).and_then(|()| out.flush()) {
        tracing::debug!(%error, "a scrape ended early");
        // The end of the body must not look like a whole answer.
        out.into_parts().0.sender.abort(error);
    }
}

/// Hands what is written to the connection, waiting while it is slow.
struct Pieces {
    sender: Sender<Bytes, io::Error>,
    runtime: Handle,
}

impl Write for Pieces {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let sent = self.runtime.block_on(self.sender.send_data(Bytes::copy_from_slice(piece)));
        sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
