//! `GET /v1/tenants/ID/history?limit=N`: what the ledger knows of a tenant.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::api::VERSION;
use super::server::{Shared, crashed, failure};
use crate::controller::HistoryError;
use crate::ledger::PastEntry;

/// What is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct History {
    /// The version of the shape: [`VERSION`].
    pub version: u32,
    /// The tenant's id.
    pub tenant: String,
    /// Newest first.
    pub entries: Vec<PastEntry>,
}

/// Which part of a history is asked for.
#[derive(Deserialize)]
pub(super) struct HistoryQuery {
    #[serde(default = "HistoryQuery::default_limit")]
    limit: u32,
}

impl HistoryQuery {
    /// Some megabytes of JSON.
    const MOST: u32 = 10_000;

    fn default_limit() -> u32 {
        100
    }
}

/// Answers with a tenant's history.
pub(super) async fn history(
    State(shared): State<Shared>,
    Path(tenant): Path<String>,
    Query(query): Query<HistoryQuery>,
) -> Response {
    let read = spawn_blocking(move || {
        let entries = shared.controller.history(&tenant, query.limit.min(HistoryQuery::MOST))?;
        Ok::<_, HistoryError>(History { version: VERSION, tenant, entries })
    });
    match read.await {
        Ok(Ok(history)) => Json(history).into_response(),
        Ok(Err(error @ HistoryError::Unknown(_))) => {
            failure(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string())
        }
        Ok(Err(error)) => failure(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        Err(crash) => crashed(&crash),
    }
}
