//! Stores: what each route reads from a request, and which use-case answers it.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use http::{StatusCode, header};
use utoipa::{IntoParams, ToSchema};

use super::{
    extract::{Body, Conditions, Known, Nothing, Query},
    fields::{Fields, Read, Readable},
    location,
    model::{EventList, Operation, Store, StoreList},
    page::{Page, PageQuery},
    problem::{Refusal, Refusals},
};
use crate::app::{
    self, App, DeleteStore, ListEvents, ListStores, OperationView, ResourcesInput, StoreAction,
};

/// A store to be made.
#[derive(ToSchema)]
#[allow(
    dead_code,
    reason = "the schema; values are read into the use-case's input"
)]
pub(super) struct CreateStore {
    /// 2 to 40 characters a-z, 0-9 and single hyphens, a letter first; unique in its project.
    #[schema(example = "demo")]
    name: String,
    display_name: Option<String>,
    /// `refshop` or `refshop@1`.
    #[schema(example = "refshop")]
    template: String,
    parameters: Option<BTreeMap<String, String>>,
    profiles: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
    /// `production` (default), `staging`, `preview` or `development`.
    environment: Option<String>,
    /// Extra host names. One under the base domain is always given.
    hosts: Option<Vec<String>>,
    /// By service.
    resources: Option<BTreeMap<String, ResourceLimits>>,
    /// `standard` (default).
    isolation: Option<String>,
    project: Option<String>,
    /// Why, for the audit chain.
    reason: Option<String>,
    /// Id of a node; the scheduler chooses when absent.
    node: Option<String>,
    /// By service, in place of the template's; the node's allow-list must hold them.
    images: Option<BTreeMap<String, String>>,
}

/// Limits of one service; 0 keeps the template's.
#[derive(ToSchema)]
#[allow(
    dead_code,
    reason = "the schema; values are read into the use-case's input"
)]
pub(super) struct ResourceLimits {
    memory_bytes: Option<u64>,
    cpu_millis: Option<u32>,
}

/// Why something is asked for.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the schema; values are read into `Why`")]
pub(super) struct ActionRequest {
    /// For the audit chain.
    reason: Option<String>,
}

/// Which stores.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "the schema; values are read into `Which`")]
pub(super) struct StoreQuery {
    /// Label selector: `key=value,key!=value`.
    selector: Option<String>,
    /// Only stores with this status.
    status: Option<String>,
    /// `name` or `created`; a leading `-` reverses.
    sort: Option<String>,
}

/// Why and when a store is deleted.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(
    dead_code,
    reason = "the schema; values are read into `Why` and `When`"
)]
pub(super) struct DeleteQuery {
    /// For the audit chain.
    reason: Option<String>,
    /// Without a time of grace: there is no way back.
    now: Option<bool>,
    /// How long the deletion can be taken back, such as `1h`; the configured time when absent.
    #[param(example = "1h")]
    grace: Option<String>,
}

/// Headers of changes.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "the schema; values are read by `Conditions`")]
pub(super) struct ChangeHeaders {
    /// The same key with the same request gets the first answer again; with another request, 409.
    #[param(rename = "Idempotency-Key")]
    idempotency_key: Option<String>,
    /// The store's `ETag` as it was seen; 412 when it has changed since.
    #[param(rename = "If-Match")]
    if_match: Option<String>,
}

/// Headers of creations.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "the schema; values are read by `Conditions`")]
pub(super) struct CreateHeaders {
    /// The same key with the same request gets the first answer again; with another request, 409.
    #[param(rename = "Idempotency-Key")]
    idempotency_key: Option<String>,
}

/// Read from a body or a query.
pub(super) struct Why(pub(super) String);

/// Read from a query.
pub(super) struct Which {
    selector: String,
    status: String,
    sort: String,
}

impl Readable for app::CreateStore {
    fn read(fields: &mut Fields) -> Self {
        Self {
            name: fields.required_text("name"),
            display_name: fields.text("display_name"),
            template: fields.required_text("template"),
            parameters: fields.text_map("parameters"),
            profiles: fields.text_map("profiles"),
            labels: fields.text_map("labels"),
            environment: fields.text("environment"),
            hosts: fields.texts("hosts"),
            resources: fields.object_map("resources"),
            isolation: fields.text("isolation"),
            project: fields.text("project"),
            reason: fields.text("reason"),
            idempotency_key: None,
            node: fields.text("node"),
            scale: BTreeMap::new(),
            images: fields.text_map("images"),
        }
    }
}

impl Readable for ResourcesInput {
    fn read(fields: &mut Fields) -> Self {
        Self {
            memory_bytes: fields.number("memory_bytes"),
            cpu_millis: fields.number("cpu_millis"),
        }
    }
}

impl Readable for Why {
    fn read(fields: &mut Fields) -> Self {
        Self(fields.text("reason"))
    }
}

/// Read from a query.
pub(super) struct When {
    now: bool,
    grace: String,
}

impl Readable for When {
    fn read(fields: &mut Fields) -> Self {
        Self {
            now: fields.flag("now"),
            grace: fields.text("grace"),
        }
    }
}

impl Readable for Which {
    fn read(fields: &mut Fields) -> Self {
        Self {
            selector: fields.text("selector"),
            status: fields.text("status"),
            sort: fields.text("sort"),
        }
    }
}

/// List stores
#[utoipa::path(get, path = "/api/v1/stores", tag = "stores", operation_id = "list_stores", params(StoreQuery, PageQuery),
    responses((status = 200, description = "A page of stores", body = StoreList), Refusals))]
pub(super) async fn list_stores(
    State(app): State<App>,
    Query(query): Query<(Which, Page)>,
) -> Result<Json<StoreList>, Refusal> {
    let (which, Page(page)) = query;
    let input = ListStores {
        page,
        selector: which.selector,
        status: which.status,
        sort: which.sort,
    };
    Ok(Json(app.list_stores(input).await?.into()))
}

/// Create a store
///
/// Answers when it is recorded; the operation says how far it is.
#[utoipa::path(post, path = "/api/v1/stores", tag = "stores", operation_id = "create_store", params(CreateHeaders), request_body = CreateStore,
    responses((status = 202, description = "Accepted", body = Operation, headers(("location" = String, description = "The operation"))), Refusals))]
pub(super) async fn create_store(
    State(app): State<App>,
    Known(caller): Known,
    conditions: Conditions,
    Body(read): Body<app::CreateStore>,
) -> Result<Response, Refusal> {
    let mut input = whole(&app, read).await?;
    input.idempotency_key = conditions.idempotency_key;
    Ok(accepted(app.create_store(&caller, input).await?))
}

/// Get a store
#[utoipa::path(get, path = "/api/v1/stores/{store}", tag = "stores", operation_id = "get_store", params(("store" = String, Path, description = "Name or id")),
    responses((status = 200, description = "The store", body = Store, headers(("etag" = String, description = "Its generation, for If-Match"))), Refusals))]
pub(super) async fn get_store(
    State(app): State<App>,
    Path(store): Path<String>,
    Query(Nothing): Query<Nothing>,
) -> Result<Response, Refusal> {
    let store = Store::from(app.get_store(&store).await?);
    let etag = format!("\"{}\"", store.generation);
    Ok(([(header::ETAG, etag)], Json(store)).into_response())
}

/// Delete a store
///
/// It is stopped at once. Its database, files and secrets go when the time of grace is over; until then it can be undeleted.
#[utoipa::path(delete, path = "/api/v1/stores/{store}", tag = "stores", operation_id = "delete_store",
    params(("store" = String, Path, description = "Name or id"), DeleteQuery, ChangeHeaders),
    responses((status = 202, description = "Accepted", body = Operation, headers(("location" = String, description = "The operation"))), Refusals))]
pub(super) async fn delete_store(
    State(app): State<App>,
    Known(caller): Known,
    Path(store): Path<String>,
    conditions: Conditions,
    Query((why, when)): Query<(Why, When)>,
) -> Result<Response, Refusal> {
    let When { now, grace } = when;
    let action = action(store, why, conditions);
    let input = DeleteStore { action, now, grace };
    Ok(accepted(app.delete_store(&caller, input).await?))
}

/// Start a store
#[utoipa::path(post, path = "/api/v1/stores/{store}/start", tag = "stores", operation_id = "start_store",
    params(("store" = String, Path, description = "Name or id"), ChangeHeaders), request_body = Option<ActionRequest>,
    responses((status = 202, description = "Accepted", body = Operation, headers(("location" = String, description = "The operation"))), Refusals))]
pub(super) async fn start_store(
    State(app): State<App>,
    Known(caller): Known,
    Path(store): Path<String>,
    conditions: Conditions,
    Body(read): Body<Why>,
) -> Result<Response, Refusal> {
    let input = action(store, read.checked()?, conditions);
    Ok(accepted(app.start_store(&caller, input).await?))
}

/// Stop a store
///
/// Its data stays.
#[utoipa::path(post, path = "/api/v1/stores/{store}/stop", tag = "stores", operation_id = "stop_store",
    params(("store" = String, Path, description = "Name or id"), ChangeHeaders), request_body = Option<ActionRequest>,
    responses((status = 202, description = "Accepted", body = Operation, headers(("location" = String, description = "The operation"))), Refusals))]
pub(super) async fn stop_store(
    State(app): State<App>,
    Known(caller): Known,
    Path(store): Path<String>,
    conditions: Conditions,
    Body(read): Body<Why>,
) -> Result<Response, Refusal> {
    let input = action(store, read.checked()?, conditions);
    Ok(accepted(app.stop_store(&caller, input).await?))
}

/// Restart a store
#[utoipa::path(post, path = "/api/v1/stores/{store}/restart", tag = "stores", operation_id = "restart_store",
    params(("store" = String, Path, description = "Name or id"), ChangeHeaders), request_body = Option<ActionRequest>,
    responses((status = 202, description = "Accepted", body = Operation, headers(("location" = String, description = "The operation"))), Refusals))]
pub(super) async fn restart_store(
    State(app): State<App>,
    Known(caller): Known,
    Path(store): Path<String>,
    conditions: Conditions,
    Body(read): Body<Why>,
) -> Result<Response, Refusal> {
    let input = action(store, read.checked()?, conditions);
    Ok(accepted(app.restart_store(&caller, input).await?))
}

/// List what happened to a store, newest first
#[utoipa::path(get, path = "/api/v1/stores/{store}/events", tag = "stores", operation_id = "list_events",
    params(("store" = String, Path, description = "Name or id"), PageQuery),
    responses((status = 200, description = "A page of events", body = EventList), Refusals))]
pub(super) async fn list_events(
    State(app): State<App>,
    Path(store): Path<String>,
    Query(Page(page)): Query<Page>,
) -> Result<Json<EventList>, Refusal> {
    Ok(Json(
        app.list_events(ListEvents { page, store }).await?.into(),
    ))
}

/// What was read, or everything wrong with it: with its shape, and with the meaning of the fields whose shape is right.
async fn whole(app: &App, read: Read<app::CreateStore>) -> Result<app::CreateStore, Refusal> {
    let Read {
        value,
        mut problems,
    } = read;
    if problems.is_empty() {
        return Ok(value);
    }
    let meaning = app.check_store(&value).await?;
    let shapeless: Vec<String> = problems.iter().map(|p| p.pointer.clone()).collect();
    problems.extend(
        meaning
            .into_iter()
            .filter(|problem| !shapeless.contains(&problem.pointer)),
    );
    Err(problems.into())
}

pub(super) fn action(store: String, Why(reason): Why, conditions: Conditions) -> StoreAction {
    StoreAction {
        store,
        reason,
        idempotency_key: conditions.idempotency_key,
        if_generation: conditions.if_generation,
    }
}

pub(super) fn accepted(view: OperationView) -> Response {
    let operation = Operation::from(view);
    (
        StatusCode::ACCEPTED,
        location(&operation.id),
        Json(operation),
    )
        .into_response()
}
