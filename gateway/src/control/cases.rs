//! `/v1/cases`: what the abuse desk works on.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::api::VERSION;
use super::server::{Shared, checked, crashed, end, failure};
use crate::clock;
use crate::config::BitRate;
use crate::controller::{CaseError, Controller};
use crate::domain::Principal;
use crate::enforcement::{Case, CaseId, Resolution};
use crate::store::CaseEntry;

/// `GET /v1/cases`: cases that are open.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OpenCases {
    /// [`VERSION`].
    pub version: u32,
    /// By their ids.
    pub cases: Vec<Case>,
}

/// `GET /v1/cases/ID`: one case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShownCase {
    /// [`VERSION`].
    pub version: u32,
    /// Its id.
    pub id: CaseId,
    /// How it stands; none: it is closed.
    pub open: Option<Case>,
    /// All that was recorded of it, the oldest first.
    pub entries: Vec<CaseEntry>,
}

/// `?tenant=ID`.
#[derive(Debug, Deserialize)]
pub(super) struct OfTenant {
    tenant: Option<String>,
}

/// `POST /v1/cases/ID/note`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NoteCase {
    /// What is written down.
    pub text: String,
}

/// `POST /v1/cases/ID/close`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CloseCase {
    /// Whether it was a mistake: then its strikes do not count.
    pub mistaken: bool,
    /// Why.
    pub reason: String,
}

/// `POST /v1/cases/ID/confirm` and `POST /v1/cases/ID/decline`: what an approver says of a restoration.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeCase {
    /// Why.
    pub reason: String,
}

/// `POST /v1/tenants/ID/slow`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slow {
    /// The cap, both ways.
    pub cap_bits_per_second: u64,
    /// Why.
    pub reason: String,
    /// How long; none: until somebody restores the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_seconds: Option<u64>,
}

pub(super) async fn slow(
    State(shared): State<Shared>,
    Path(tenant): Path<String>,
    Extension(by): Extension<Principal>,
    Json(request): Json<Slow>,
) -> Response {
    let reason = match checked(&request.reason) {
        Ok(reason) => reason,
        Err(refused) => return refused,
    };
    let Some(cap) = BitRate::from_bits_per_sec(request.cap_bits_per_second) else {
        return failure(StatusCode::UNPROCESSABLE_ENTITY, "that is no rate that a cap can have");
    };
    let until = match end(clock::wall(), request.for_seconds) {
        Ok(until) => until,
        Err(error) => return failure(StatusCode::UNPROCESSABLE_ENTITY, &error),
    };
    let done = spawn_blocking(move || {
        shared.controller.slow(&by, &tenant, cap, until, reason)?;
        Ok::<_, CaseError>(shared.controller.open_cases(Some(&tenant)))
    });
    match done.await {
        Ok(Ok(cases)) => Json(OpenCases { version: VERSION, cases }).into_response(),
        Ok(Err(error)) => failure(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string()),
        Err(crash) => crashed(&crash),
    }
}

pub(super) async fn list(State(shared): State<Shared>, Query(of): Query<OfTenant>) -> Response {
    let look = move || shared.controller.open_cases(of.tenant.as_deref());
    match spawn_blocking(look).await {
        Ok(cases) => Json(OpenCases { version: VERSION, cases }).into_response(),
        Err(crash) => crashed(&crash),
    }
}

pub(super) async fn show(State(shared): State<Shared>, Path(id): Path<CaseId>) -> Response {
    about(shared, id, |_| Ok(())).await
}

pub(super) async fn note(
    State(shared): State<Shared>,
    Path(id): Path<CaseId>,
    Extension(by): Extension<Principal>,
    Json(NoteCase { text }): Json<NoteCase>,
) -> Response {
    match checked(&text) {
        Ok(text) => about(shared, id, move |controller| controller.note_case(id, &by, text)).await,
        Err(refused) => refused,
    }
}

pub(super) async fn close(
    State(shared): State<Shared>,
    Path(id): Path<CaseId>,
    Extension(by): Extension<Principal>,
    Json(CloseCase { mistaken, reason }): Json<CloseCase>,
) -> Response {
    let resolution = if mistaken { Resolution::Mistaken } else { Resolution::Restored };
    match checked(&reason) {
        Ok(reason) => {
            about(shared, id, move |controller| controller.close_case(id, resolution, &by, reason)).await
        }
        Err(refused) => refused,
    }
}

pub(super) async fn confirm(
    State(shared): State<Shared>,
    Path(id): Path<CaseId>,
    Extension(by): Extension<Principal>,
    Json(JudgeCase { reason }): Json<JudgeCase>,
) -> Response {
    match checked(&reason) {
        Ok(reason) => about(shared, id, move |controller| controller.confirm_case(id, &by, reason)).await,
        Err(refused) => refused,
    }
}

pub(super) async fn decline(
    State(shared): State<Shared>,
    Path(id): Path<CaseId>,
    Extension(by): Extension<Principal>,
    Json(JudgeCase { reason }): Json<JudgeCase>,
) -> Response {
    match checked(&reason) {
        Ok(reason) => about(shared, id, move |controller| controller.decline_case(id, &by, reason)).await,
        Err(refused) => refused,
    }
}

/// Does something to a case, and answers with the case.
async fn about(
    shared: Shared,
    id: CaseId,
    act: impl FnOnce(&Controller) -> Result<(), CaseError> + Send + 'static,
) -> Response {
    let done = spawn_blocking(move || {
        act(&shared.controller)?;
        shared.controller.case(id)
    });
    match done.await {
        Ok(Ok((open, entries))) => Json(ShownCase { version: VERSION, id, open, entries }).into_response(),
        Ok(Err(error)) => failure(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string()),
        Err(crash) => crashed(&crash),
    }
}
