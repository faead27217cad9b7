//! Operations, and watching: by long poll for one operation, by server-sent events for stores.

use std::{convert::Infallible, time::Duration};

use axum::{
    Json,
    extract::{Path, State},
    response::{
        IntoResponse as _, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::StreamExt as _;
use http::HeaderMap;
use utoipa::IntoParams;

use super::{
    extract::{Listening, Query},
    fields::{Fields, Readable},
    model::{Operation, OperationList, StoreChange},
    page::{Page, PageQuery},
    problem::{ProblemDocument, Refusal, Refusals},
};
use crate::{
    api::{failure::Failure, watch},
    app::{App, ListOperations, Problem},
};

/// The longest long poll.
const MAX_WAIT_SECONDS: u64 = 60;
/// Often enough that nothing in between takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Which operations.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "the schema; values are read into `Which`")]
pub(super) struct OperationQuery {
    /// Name or id of a store.
    store: Option<String>,
    /// `pending`, `running`, `succeeded`, `failed` or `cancelled`.
    state: Option<String>,
}

/// How long to wait.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "the schema; values are read into `Patience`")]
pub(super) struct WaitQuery {
    /// Answer when it has ended, at latest after so many seconds, such as `30s`; at most `60s`.
    #[param(example = "30s")]
    wait: Option<String>,
}

/// Where to begin watching.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "the schema; values are read into `From`")]
pub(super) struct WatchQuery {
    /// Go on after this `change_seq`; 0 or absent: all stores as they are first. `Last-Event-ID` means the same.
    after: Option<u64>,
    /// Only this store, by name or id.
    store: Option<String>,
}

/// Read from a query.
pub(super) struct Which {
    store: String,
    state: String,
}

/// Read from a query.
pub(super) struct Patience(Option<Duration>);

/// Read from a query.
pub(super) struct Start {
    after: u64,
    store: Option<String>,
}

impl Readable for Which {
    fn read(fields: &mut Fields) -> Self {
        Self {
            store: fields.text("store"),
            state: fields.text("state"),
        }
    }
}

impl Readable for Patience {
    fn read(fields: &mut Fields) -> Self {
        let text = fields.text("wait");
        if text.is_empty() {
            return Self(None);
        }
        let seconds = text.strip_suffix('s').unwrap_or(&text).parse().ok();
        let Some(seconds) = seconds.filter(|seconds| *seconds <= MAX_WAIT_SECONDS) else {
            fields.problem(
                "wait",
                "out_of_range",
                "write it in seconds, such as 30s; at most 60s",
            );
            return Self(None);
        };
        Self(Some(Duration::from_secs(seconds)))
    }
}

impl Readable for Start {
    fn read(fields: &mut Fields) -> Self {
        let store = fields.text("store");
        Self {
            after: fields.number("after"),
            store: (!store.is_empty()).then_some(store),
        }
    }
}

/// List operations, newest first
#[utoipa::path(get, path = "/api/v1/operations", tag = "operations", operation_id = "list_operations", params(OperationQuery, PageQuery),
    responses((status = 200, description = "A page of operations", body = OperationList), Refusals))]
pub(super) async fn list_operations(
    State(app): State<App>,
    Query(query): Query<(Which, Page)>,
) -> Result<Json<OperationList>, Refusal> {
    let (which, Page(page)) = query;
    let input = ListOperations {
        page,
        store: which.store,
        state: which.state,
    };
    Ok(Json(app.list_operations(input).await?.into()))
}

/// Get an operation
///
/// With `wait`, when it has ended or the time is up.
#[utoipa::path(get, path = "/api/v1/operations/{id}", tag = "operations", operation_id = "get_operation", params(("id" = String, Path), WaitQuery),
    responses((status = 200, description = "The operation", body = Operation), Refusals))]
pub(super) async fn get_operation(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(Patience(wait)): Query<Patience>,
) -> Result<Json<Operation>, Refusal> {
    let view = match wait {
        Some(patience) => watch::settled(&app, &id, patience).await?,
        None => app.get_operation(&id).await?,
    };
    Ok(Json(view.into()))
}

/// Watch stores
///
/// Server-sent events: `change` carries a StoreChange and its `change_seq` as id; `problem` a ProblemDocument, after which the stream ends.
#[utoipa::path(get, path = "/api/v1/watch", tag = "stores", operation_id = "watch_stores", params(WatchQuery),
    responses((status = 200, description = "A stream of events", content_type = "text/event-stream", body = String), Refusals))]
pub(super) async fn watch_stores(
    State(app): State<App>,
    Listening(standing): Listening,
    headers: HeaderMap,
    Query(start): Query<Start>,
) -> Result<Response, Refusal> {
    let after = match headers.get("last-event-id") {
        None => start.after,
        Some(id) => id
            .to_str()
            .ok()
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| {
                vec![Problem::at(
                    "",
                    "bad_header",
                    "Last-Event-ID is a change_seq",
                )]
            })?,
    };
    let changes = watch::stores(app, standing, after, start.store);
    let events = changes.map(|change| Ok::<_, Infallible>(event(change)));
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response())
}

fn event(change: Result<crate::app::StoreChange, crate::app::AppError>) -> Event {
    let made = match change {
        Ok(change) => {
            let seq = change.change_seq.to_string();
            Event::default()
                .event("change")
                .id(seq)
                .json_data(StoreChange::from(change))
        }
        Err(error) => Event::default()
            .event("problem")
            .json_data(ProblemDocument::from(Failure::from(error))),
    };
    // Plain data with text keys always serialises.
    made.unwrap_or_default()
}
