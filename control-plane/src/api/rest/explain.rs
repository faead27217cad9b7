//! Why a store is as it is.

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    extract::{Nothing, Query},
    problem::{Refusal, Refusals},
};
use crate::{app::App, domain::explain};

/// A chain: each cause lies behind the one before it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Explanation {
    pub store: String,
    pub status: String,
    /// One sentence.
    pub summary: String,
    /// Nothing is to be done.
    pub well: bool,
    pub causes: Vec<Cause>,
    /// What to type next, most useful first.
    pub next: Vec<NextCommand>,
}

/// One link of the chain.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Cause {
    /// Stable, such as `out_of_memory`.
    pub code: String,
    pub what: String,
    /// What shows it: a figure, a time, a name.
    pub evidence: Vec<String>,
}

/// A command and what it is for.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NextCommand {
    pub command: String,
    pub why: String,
}

impl From<explain::Explanation> for Explanation {
    fn from(explanation: explain::Explanation) -> Self {
        let causes = explanation.causes.into_iter().map(|cause| Cause {
            code: cause.code.to_owned(),
            what: cause.what,
            evidence: cause.evidence,
        });
        let next = explanation.next.into_iter().map(|next| NextCommand {
            command: next.command,
            why: next.why,
        });
        Self {
            store: explanation.store.to_string(),
            status: explanation.status.to_string(),
            summary: explanation.summary,
            well: explanation.well,
            causes: causes.collect(),
            next: next.collect(),
        }
    }
}

/// Explain a store
///
/// Why it is not running, or not what was asked: causes, what shows them, and what to type next.
#[utoipa::path(get, path = "/api/v1/stores/{store}/explain", tag = "stores", operation_id = "explain_store",
    params(("store" = String, Path, description = "Name or id")),
    responses((status = 200, description = "The explanation", body = Explanation), Refusals))]
pub(super) async fn explain_store(
    State(app): State<App>,
    Path(store): Path<String>,
    Query(Nothing): Query<Nothing>,
) -> Result<Json<Explanation>, Refusal> {
    Ok(Json(app.explain_store(&store).await?.into()))
}
