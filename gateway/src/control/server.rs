//! The server of the control socket.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use jiff::{SignedDuration, Timestamp};
use nix::unistd::{Gid, Uid};
use serde::Serialize;
use tokio::net::unix::UCred;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::api::{
    Acknowledge, Acknowledged, Failure, ReloadDone, Restore, Restored, RunningConfig, Status, Suspend,
    Suspended, Tenants, VERSION,
};
use super::cases;
use super::explain::Explanation;
use super::history::history;
use super::peer::{Access, name_of};
use crate::clock;
use crate::controller::{Controller, Ended, Release, Released, ReloadError, Reloaded, SuspendError};
use crate::detect::source_of;
use crate::domain::{Principal, Way};
use crate::http::{self, Limits};
use crate::store::StoreError;
use crate::suspension::Suspension;
use crate::text;

/// A reload of a configuration of 100,000 tenants is a matter of seconds, and may wait for another.
const LIMITS: Limits = Limits {
    connections: 64,
    requests: &[LOOKS, ACTS, RELOADS, LISTS],
    kind: |head| match (&head.method, head.uri.path()) {
        (&Method::POST, "/v1/reload") => 2,
        (&Method::POST, _) => 1,
        (_, "/v1/tenants" | "/v1/config") => 3,
        _ => 0,
    },
    lifetime: Duration::from_secs(60),
    refusal: |status| failure(status, status.canonical_reason().unwrap_or("refused")),
};
/// Requests of a kind at a time: whoever wants to see much, or reloads, keeps nobody from suspending a tenant.
const LOOKS: usize = 16;
const ACTS: usize = 16;
const RELOADS: usize = 4;
/// Megabytes of memory each, with many tenants.
const LISTS: usize = 4;

/// Longest text that axum says of a request that it refuses.
const REFUSAL_MAX_BYTES: usize = 64 * 1024;

/// Asks the service for a reload, and gets its outcome.
#[derive(Debug)]
pub struct ReloadRequest {
    /// Whether it may remove however many tenants.
    pub accept_removals: bool,
    /// Where the outcome goes.
    pub reply: oneshot::Sender<Result<Reloaded, Failure>>,
}

#[derive(Clone)]
pub(super) struct Shared {
    pub(super) controller: Arc<Controller>,
    reloads: mpsc::Sender<ReloadRequest>,
}

/// Serves on a control socket until `stop` is ready.
pub async fn serve(
    (listener, access): (UnixListener, Access),
    controller: Arc<Controller>,
    reloads: mpsc::Sender<ReloadRequest>,
    stop: impl Future<Output = ()>,
) {
    let router = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/tenants", get(tenants))
        .route("/v1/explain/{address}", get(explain))
        .route("/v1/config", get(config))
        .route("/v1/reload", post(reload))
        .route("/v1/tenants/{id}/suspend", post(suspend))
        .route("/v1/tenants/{id}/restore", post(restore))
        .route("/v1/tenants/{id}/slow", post(cases::slow))
        .route("/v1/tenants/{id}/history", get(history))
        .route("/v1/cases", get(cases::list))
        .route("/v1/cases/{id}", get(cases::show))
        .route("/v1/cases/{id}/note", post(cases::note))
        .route("/v1/cases/{id}/close", post(cases::close))
        .route("/v1/cases/{id}/confirm", post(cases::confirm))
        .route("/v1/cases/{id}/decline", post(cases::decline))
        .route("/v1/ledger/acknowledge", post(acknowledge))
        .fallback(async || {
            failure(StatusCode::NOT_FOUND, "this release of Fairway does not know the request")
        })
        .method_not_allowed_fallback(async || {
            failure(StatusCode::METHOD_NOT_ALLOWED, "this request is made by another method")
        })
        .layer(map_response(as_failure))
        .with_state(Shared { controller: Arc::clone(&controller), reloads });
    let admitted_only = move |stream: &UnixStream| {
        let peer = stream.peer_cred().ok();
        let controller = Arc::clone(&controller);
        let admit = move |request, next| admit(access, peer, Arc::clone(&controller), request, next);
        router.clone().layer(from_fn(admit))
    };
    http::serve(listener, LIMITS, admitted_only, stop).await;
}

/// Makes a [`Failure`] of what axum itself refuses: a body that is not the JSON that is asked for, or too long, a
/// path or a query that cannot be read.
async fn as_failure(response: Response) -> Response {
    let status = response.status();
    let is_json = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if !(status.is_client_error() || status.is_server_error()) || is_json {
        return response;
    }
    let told = axum::body::to_bytes(response.into_body(), REFUSAL_MAX_BYTES).await.unwrap_or_default();
    let told = String::from_utf8_lossy(&told);
    let canonical = status.canonical_reason().unwrap_or("refused");
    failure(status, if told.is_empty() { canonical } else { &told })
}

/// Lets requests of peers through that the socket is for, and says who asks: the one door by which operators come in.
async fn admit(
    access: Access,
    peer: Option<UCred>,
    controller: Arc<Controller>,
    mut request: Request,
    next: Next,
) -> Response {
    let admitted = spawn_blocking(move || {
        let (uid, gid) = peer.map(|peer| (Uid::from_raw(peer.uid()), Gid::from_raw(peer.gid())))?;
        access.admits(uid, gid).then(|| {
            let name = name_of(uid);
            let role = controller.policy().config.enforcement.role_of(&name);
            Principal { name, way: Way::Socket, role }
        })
    });
    if let Ok(Some(by)) = admitted.await {
        request.extensions_mut().insert(by);
        return next.run(request).await;
    }
    tracing::warn!(
        uid = peer.map(|peer| peer.uid()),
        path = request.uri().path(),
        "refused a control request"
    );
    let group = access.group;
    failure(
        StatusCode::FORBIDDEN,
        &format!(
            "the control socket is for its owner and the members of group {group}. Run as root or as a member"
        ),
    )
}

async fn status(State(shared): State<Shared>) -> Response {
    answer(move || shared.controller.overview().as_ref().map(Status::from)).await
}

async fn tenants(State(shared): State<Shared>) -> Response {
    answer(move || shared.controller.observe().as_ref().map(Tenants::from)).await
}

async fn explain(State(shared): State<Shared>, Path(address): Path<String>) -> Response {
    let Ok(address) = address.parse::<IpAddr>() else {
        return failure(StatusCode::UNPROCESSABLE_ENTITY, &format!("{address:?} is not an IP address"));
    };
    // An IPv4 address in the form of IPv6 never is a packet's.
    let address = address.to_canonical();
    match spawn_blocking(move || shared.controller.explain(address)).await {
        Ok(Some(explained)) => Json(Explanation::from(&explained)).into_response(),
        Ok(None) => failure(StatusCode::SERVICE_UNAVAILABLE, &ReloadError::Stopping.to_string()),
        Err(crash) => crashed(&crash),
    }
}

async fn config(State(shared): State<Shared>) -> Response {
    let read = spawn_blocking(move || RunningConfig::from(&*shared.controller.policy()));
    match read.await {
        Ok(config) => Json(config).into_response(),
        Err(crash) => crashed(&crash),
    }
}

/// How a reload is asked for.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ReloadQuery {
    #[serde(default)]
    accept_removals: bool,
}

async fn reload(State(shared): State<Shared>, Query(query): Query<ReloadQuery>) -> Response {
    let (reply, outcome) = oneshot::channel();
    // If the service ended, so did the channels, and the error below says so.
    let _ = shared.reloads.send(ReloadRequest { accept_removals: query.accept_removals, reply }).await;
    match outcome.await {
        Ok(Ok(reloaded)) => Json(ReloadDone::from(reloaded)).into_response(),
        Ok(Err(refused)) => (StatusCode::UNPROCESSABLE_ENTITY, Json(refused)).into_response(),
        Err(_) => failure(StatusCode::SERVICE_UNAVAILABLE, &ReloadError::Stopping.to_string()),
    }
}

async fn suspend(
    State(shared): State<Shared>,
    Path(tenant): Path<String>,
    Extension(by): Extension<Principal>,
    Json(request): Json<Suspend>,
) -> Response {
    let reason = match checked(&request.reason) {
        Ok(reason) => reason,
        Err(refused) => return refused,
    };
    let since = clock::wall();
    let until = match end(since, request.for_seconds) {
        Ok(until) => until,
        Err(error) => return failure(StatusCode::UNPROCESSABLE_ENTITY, &error),
    };
    let scope = request.scope;
    let suspension = Suspension { scope, reason, by: Some(by.name.clone()), since, until };
    change_tenant(shared, tenant, move |controller, tenant| {
        let suspensions = controller.suspend(&by, tenant, suspension.clone())?;
        let (scope, reason) = (suspension.scope.label(), &suspension.reason);
        tracing::info!(tenant, by = by.name, scope, reason, until = ?suspension.until, "suspended");
        Ok(Suspended { version: VERSION, tenant: tenant.to_owned(), suspension, suspensions })
    })
    .await
}

/// When something ends that lasts so long; none: it does not end by itself.
pub(super) fn end(since: Timestamp, for_seconds: Option<u64>) -> Result<Option<Timestamp>, String> {
    let Some(seconds) = for_seconds else { return Ok(None) };
    if seconds == 0 {
        return Err("for no time at all: leave `for_seconds` out for one without an end".to_owned());
    }
    let length = SignedDuration::try_from(Duration::from_secs(seconds));
    let end = length.and_then(|length| since.checked_add(length));
    end.map(Some).map_err(|error| format!("that is too long a time: {error}"))
}

async fn restore(
    State(shared): State<Shared>,
    Path(tenant): Path<String>,
    Extension(by): Extension<Principal>,
    Json(request): Json<Restore>,
) -> Response {
    let Restore { reason, scope, source } = request;
    let reason = match checked(&reason) {
        Ok(reason) => reason,
        Err(refused) => return refused,
    };
    let of = match (scope, source) {
        (None, None) => Released::All,
        (Some(scope), None) => Released::Scope(scope),
        (None, Some(source)) => Released::Source(source_of(source)),
        (Some(_), Some(_)) => {
            let error = "a scope is the tenant's as a whole: name a scope or a source, not both";
            return failure(StatusCode::UNPROCESSABLE_ENTITY, error);
        }
    };
    change_tenant(shared, tenant, move |controller, tenant| {
        let release = Release { of, by: by.clone(), reason: reason.clone() };
        let Ended { suspensions, lifted, closed, asked } = controller.restore(tenant, release)?;
        let scopes: Vec<_> = suspensions.iter().map(|suspension| suspension.scope.label()).collect();
        tracing::info!(tenant, by = by.name, reason, ?scopes, lifted = lifted.len(), "restored");
        let (suspension, tenant) = (suspensions.last().cloned(), tenant.to_owned());
        Ok(Restored { version: VERSION, tenant, suspension, suspensions, lifted, closed, asked })
    })
    .await
}

async fn acknowledge(
    State(shared): State<Shared>,
    Extension(by): Extension<Principal>,
    Json(Acknowledge { reason }): Json<Acknowledge>,
) -> Response {
    let reason = match checked(&reason) {
        Ok(reason) => reason,
        Err(refused) => return refused,
    };
    let done = spawn_blocking(move || {
        let losses = shared.controller.acknowledge(&by, reason.clone())?;
        tracing::info!(by = by.name, reason, losses = losses.len(), "losses of the ledger are acknowledged");
        Ok::<_, StoreError>(Acknowledged { version: VERSION, losses })
    });
    match done.await {
        Ok(Ok(done)) => Json(done).into_response(),
        Ok(Err(error)) => failure(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string()),
        Err(crash) => crashed(&crash),
    }
}

/// A reason as it may be recorded.
#[expect(clippy::result_large_err, reason = "the response is sent as it is, once")]
pub(super) fn checked(reason: &str) -> Result<String, Response> {
    text::reason(reason).map_err(|error| failure(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string()))
}

/// Takes something from a tenant, or gives it back.
async fn change_tenant<T: Serialize + Send + 'static>(
    shared: Shared,
    tenant: String,
    change: impl FnOnce(&Controller, &str) -> Result<T, SuspendError> + Send + 'static,
) -> Response {
    let changed = spawn_blocking(move || change(&shared.controller, &tenant));
    match changed.await {
        Ok(Ok(done)) => Json(done).into_response(),
        Ok(Err(error @ SuspendError::Stopping)) => {
            failure(StatusCode::SERVICE_UNAVAILABLE, &error.to_string())
        }
        Ok(Err(error @ SuspendError::NotEnforced(_))) => {
            tracing::error!("{error}");
            failure(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())
        }
        Ok(Err(error)) => failure(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string()),
        Err(crash) => crashed(&crash),
    }
}

/// Answers with what `look` finds; nothing is found once the controller has stopped.
async fn answer<T: Serialize + Send + 'static>(
    look: impl FnOnce() -> Option<T> + Send + 'static,
) -> Response {
    match spawn_blocking(look).await {
        Ok(Some(found)) => Json(found).into_response(),
        Ok(None) => failure(StatusCode::SERVICE_UNAVAILABLE, &ReloadError::Stopping.to_string()),
        Err(crash) => crashed(&crash),
    }
}

pub(super) fn crashed(crash: &tokio::task::JoinError) -> Response {
    failure(
        StatusCode::INTERNAL_SERVER_ERROR,
        &format!("the request crashed ({crash}); this is a defect in Fairway, please report it with the log"),
    )
}

pub(super) fn failure(code: StatusCode, error: &str) -> Response {
    (code, Json(Failure { version: VERSION, error: error.into(), diagnostics: None })).into_response()
}
