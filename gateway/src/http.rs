//! HTTP/1 for few, local clients that may be slow, hang or mean harm: a bounded number of connections,
//! one request each, a bounded time for all of it.
//!
//! A connection costs nobody else anything until its request has arrived whole; of those that are still to send
//! theirs, the oldest is closed when there are too many. Requests have places by their kind, so that one kind never
//! waits for another.

use std::convert::Infallible;
use std::future::Future;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use axum::serve::Listener;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

/// Time for a client to send its request's head, and as much for the body.
const ARRIVAL: Duration = Duration::from_secs(5);
/// Time for answers under way when the server is told to stop.
const GRACE: Duration = Duration::from_secs(2);
/// Longest body of a request: a reason and a few words.
const BODY_MAX_BYTES: usize = 64 * 1024;

/// What one server grants its clients.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Connections at a time.
    pub(crate) connections: usize,
    /// Requests of each kind that are served at a time, to the last byte of their answers.
    pub(crate) requests: &'static [usize],
    /// Index of a request's kind.
    pub(crate) kind: fn(&Parts) -> usize,
    /// From accepting a connection to the last byte of its answer.
    pub(crate) lifetime: Duration,
    /// What a request is answered that does not arrive whole.
    pub(crate) refusal: fn(StatusCode) -> Response,
}

/// A connection, to be closed for a newer one as long as its request has not arrived.
struct Connection {
    has_request: Arc<AtomicBool>,
    task: AbortHandle,
}

/// Serves until `stop` is ready, then lets answers under way end within a short grace. `router` is asked
/// once per connection, so that it can look at the peer.
pub(crate) async fn serve<L: Listener>(
    mut listener: L,
    limits: Limits,
    router: impl Fn(&L::Io) -> Router,
    stop: impl Future<Output = ()>,
) {
    let places: Places = limits.requests.iter().map(|&places| Arc::new(Semaphore::new(places))).collect();
    let mut tasks = JoinSet::new();
    let mut connections: Vec<Connection> = Vec::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(ARRIVAL).keep_alive(false);
    let mut stop = std::pin::pin!(stop);
    loop {
        // If as many requests are served as there may be connections, others wait in the listen queue.
        let has_room =
            connections.len() < limits.connections || close_oldest_without_request(&mut connections);
        let (io, _) = tokio::select! {
            () = &mut stop => break,
            Some(_ended) = tasks.join_next() => {
                connections.retain(|connection| !connection.task.is_finished());
                continue;
            }
            accepted = listener.accept(), if has_room => accepted,
        };
        let has_request = Arc::new(AtomicBool::new(false));
        let answer = Answer {
            router: router(&io),
            limits,
            places: Arc::clone(&places),
            has_request: Arc::clone(&has_request),
            place: Arc::default(),
        };
        let place = Arc::clone(&answer.place);
        let connection =
            http.serve_connection(TokioIo::new(io), service_fn(move |request| answer.clone().to(request)));
        let task = tasks.spawn(async move {
            // Neither a client that went away nor one that ran out of time is worth a record.
            let _ = timeout(limits.lifetime, connection).await;
            // Until the answer's last byte is sent.
            drop(place);
        });
        connections.push(Connection { has_request, task });
    }
    drop(listener);
    let _ = timeout(GRACE, async { while tasks.join_next().await.is_some() {} }).await;
}

/// Says whether there was one.
fn close_oldest_without_request(connections: &mut Vec<Connection>) -> bool {
    let oldest = connections.iter().position(|connection| !connection.has_request.load(Relaxed));
    oldest.map(|index| connections.remove(index).task.abort()).is_some()
}

/// Places for requests, by kind.
type Places = Arc<[Arc<Semaphore>]>;

/// What answers the one request of a connection.
#[derive(Clone)]
struct Answer {
    router: Router,
    limits: Limits,
    places: Places,
    has_request: Arc<AtomicBool>,
    /// The place that the request has, as long as the connection lasts.
    place: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
}

impl Answer {
    async fn to(self, request: Request<Incoming>) -> Result<Response, Infallible> {
        let (head, body) = request.into_parts();
        let body = match timeout(ARRIVAL, Limited::new(body, BODY_MAX_BYTES).collect()).await {
            Ok(Ok(body)) => Body::from(body.to_bytes()),
            Ok(Err(_)) => return Ok((self.limits.refusal)(StatusCode::PAYLOAD_TOO_LARGE)),
            Err(_) => return Ok((self.limits.refusal)(StatusCode::REQUEST_TIMEOUT)),
        };
        self.has_request.store(true, Relaxed);
        // It is never closed.
        let granted = Arc::clone(&self.places[(self.limits.kind)(&head)]).acquire_owned().await.ok();
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = granted;
        TowerToHyperService::new(self.router).call(Request::from_parts(head, body)).await
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::response::IntoResponse;
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::oneshot;

    use super::*;

    /// Two kinds: acts by POST, of which one is served at a time, and looks by GET.
    const LIMITS: Limits = Limits {
        connections: 8,
        requests: &[1, 1],
        kind: |head| usize::from(head.method == "POST"),
        // Nothing here ends because time is up.
        lifetime: Duration::from_secs(3_600),
        refusal: IntoResponse::into_response,
    };

    async fn start() -> (SocketAddr, oneshot::Sender<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/", get(async || "seen").post(async || "done"))
            .route("/endless", post(std::future::pending::<&str>));
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(serve(listener, LIMITS, move |_| router.clone(), async {
            let _ = stopped.await;
        }));
        (address, stop)
    }

    async fn send(address: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = send(address, request).await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn half_requests_take_nothing_from_whole_ones() {
        let (address, _stop) = start().await;
        let mut halves = Vec::new();
        for _ in 0..200 {
            halves.push(send(address, "GET / HT").await);
            halves.push(send(address, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf").await);
        }
        assert!(ask(address, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.ends_with("seen"));
        assert!(ask(address, "POST / HTTP/1.1\r\nhost: x\r\n\r\n").await.ends_with("done"));
    }

    #[tokio::test]
    async fn one_kind_does_not_wait_for_another() {
        let (address, _stop) = start().await;
        let _endless = send(address, "POST /endless HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(ask(address, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.ends_with("seen"));
    }

    #[tokio::test]
    async fn bodies_are_bounded() {
        let (address, _stop) = start().await;
        let body = "x".repeat(BODY_MAX_BYTES + 1);
        let request = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        assert!(ask(address, &request).await.starts_with("HTTP/1.1 413 "));
    }
}
