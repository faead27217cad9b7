//! Rollouts: one update for many stores, wave after wave.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    extract::{Body, Conditions, Known, Nothing, Query},
    fields::{Fields, Readable},
    page::{Page, PageQuery},
    problem::{Refusal, Refusals},
    stores::CreateHeaders,
};
use crate::{
    app::{self, App, RolloutAction, RolloutView, StartRollout},
    domain::rollout::{Member, RolloutEvent, WishedWatch},
};

/// A rollout to be begun.
#[derive(ToSchema)]
#[allow(
    dead_code,
    reason = "the schema; values are read into the use-case's input"
)]
pub(super) struct NewRollout {
    /// Label selector; empty selects all stores.
    #[schema(example = "env=prod")]
    selector: Option<String>,
    /// `refshop@2`; absent: each store keeps its own.
    #[schema(example = "refshop@2")]
    template: Option<String>,
    /// `null` goes back to the template's default.
    parameters: Option<BTreeMap<String, Option<String>>>,
    profiles: Option<BTreeMap<String, String>>,
    watch: Option<RolloutWatch>,
    /// Go on where there is no way back.
    allow_irreversible: Option<bool>,
    /// Stores in the first wave; 1 when absent.
    canary: Option<u32>,
    /// Stores in each wave after it: `10%` (when absent) or `25`.
    #[schema(example = "10%")]
    batch: Option<String>,
    /// So many stores of a wave may fail; one more halts the rollout. 0 when absent. Of the canaries none may.
    max_failures: Option<u32>,
    /// The same as a share of the wave, 1 to 100, rounded down; in place of `max_failures`.
    max_failures_percent: Option<u32>,
    /// Why, for the audit chain.
    reason: Option<String>,
    /// Answer which stores are reached in which wave, write nothing.
    dry_run: Option<bool>,
}

/// When a store's update is taken back; what is absent or 0 keeps what the store has.
#[derive(ToSchema)]
#[allow(
    dead_code,
    reason = "the schema; values are read into the use-case's input"
)]
pub(super) struct RolloutWatch {
    window_seconds: Option<u32>,
    failed_checks: Option<u32>,
    restarts: Option<u32>,
    error_permille: Option<u32>,
    error_factor: Option<u32>,
    min_requests: Option<u32>,
}

/// What to do with a rollout.
#[derive(ToSchema)]
#[allow(
    dead_code,
    reason = "the schema; values are read into the use-case's input"
)]
pub(super) struct RolloutActionRequest {
    /// For the audit chain.
    reason: Option<String>,
    /// Only for abort: stores that were updated go back to the revision they had.
    rollback: Option<bool>,
}

/// One update for many stores.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Rollout {
    pub id: String,
    /// `running`, `paused`, `halted`, `succeeded` or `aborted`; the last two are final.
    pub state: String,
    /// Stable code of a halt, such as `too_many_failures`.
    pub reason: Option<String>,
    pub message: Option<String>,
    /// The wave under way; the canary's is 0.
    pub wave: u32,
    pub selector: String,
    pub template: Option<String>,
    pub parameters: BTreeMap<String, Option<String>>,
    pub profiles: BTreeMap<String, String>,
    pub canary: u32,
    pub batch: String,
    /// Stores of each wave after the canaries' that may fail.
    pub max_failures: u32,
    /// The same as a share of the wave; 0: `max_failures` counts.
    pub max_failures_percent: u32,
    pub requested_by: String,
    pub requested_reason: Option<String>,
    #[schema(format = DateTime)]
    pub created_at: String,
    #[schema(format = DateTime)]
    pub ended_at: Option<String>,
    /// Wave by wave; those that take no part come last.
    pub stores: Vec<RolloutStore>,
}

/// A store of a rollout.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RolloutStore {
    pub store_id: String,
    pub store_name: String,
    pub wave: u32,
    /// `waiting`, `updating`, `done`, `failed`, `skipped` or `went_back`.
    pub state: String,
    /// Id of its update.
    pub operation: Option<String>,
    /// Stable code of why it failed, takes no part, or waits although its update was asked for, such as `no_capacity`.
    pub reason: Option<String>,
    pub message: Option<String>,
}

/// A page of rollouts, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RolloutList {
    pub rollouts: Vec<Rollout>,
    /// For `page_token`; `null` on the last page.
    pub next_page_token: Option<String>,
}

/// Read from a body.
pub(super) struct Act {
    reason: String,
    rollback: bool,
}

impl Readable for StartRollout {
    fn read(fields: &mut Fields) -> Self {
        Self {
            selector: fields.text("selector"),
            template: fields.text("template"),
            parameters: fields.removable_texts("parameters"),
            profiles: fields.text_map("profiles"),
            watch: fields.nested("watch"),
            allow_irreversible: fields.flag("allow_irreversible"),
            canary: fields.number_or("canary", 1),
            batch: fields.text("batch"),
            max_failures: fields.number("max_failures"),
            max_failures_percent: fields.number("max_failures_percent"),
            reason: fields.text("reason"),
            dry_run: fields.flag("dry_run"),
            idempotency_key: None,
        }
    }
}

impl Readable for WishedWatch {
    fn read(fields: &mut Fields) -> Self {
        Self {
            window_seconds: fields.number("window_seconds"),
            failed_checks: fields.number("failed_checks"),
            restarts: fields.number("restarts"),
            error_permille: fields.number("error_permille"),
            error_factor: fields.number("error_factor"),
            min_requests: fields.number("min_requests"),
        }
    }
}

impl Readable for Act {
    fn read(fields: &mut Fields) -> Self {
        Self {
            reason: fields.text("reason"),
            rollback: fields.flag("rollback"),
        }
    }
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

impl From<Member> for RolloutStore {
    fn from(member: Member) -> Self {
        Self {
            store_id: member.store.to_string(),
            store_name: member.name.to_string(),
            wave: member.wave,
            state: member.state.as_str().to_owned(),
            operation: member.operation,
            reason: some(member.reason),
            message: some(member.message),
        }
    }
}

impl From<RolloutView> for Rollout {
    fn from(view: RolloutView) -> Self {
        let RolloutView { rollout, members } = view;
        let wish = rollout.wish;
        Self {
            id: rollout.id,
            state: rollout.state.as_str().to_owned(),
            reason: some(rollout.reason),
            message: some(rollout.message),
            wave: rollout.wave,
            selector: wish.selector,
            template: some(wish.template),
            parameters: wish.parameters,
            profiles: wish.profiles,
            canary: wish.canary,
            batch: wish.batch.to_string(),
            max_failures: wish.max_failures,
            max_failures_percent: wish.max_failures_percent,
            requested_by: rollout.requested_by,
            requested_reason: some(rollout.requested_reason),
            created_at: rollout.created_at.to_string(),
            ended_at: rollout.ended_at.map(|at| at.to_string()),
            stores: members.into_iter().map(RolloutStore::from).collect(),
        }
    }
}

/// Begin a rollout
///
/// Canaries first, then batch after batch, each when all of the one before have served well for their watch window. It halts by itself.
#[utoipa::path(post, path = "/api/v1/rollouts", tag = "rollouts", operation_id = "start_rollout", params(CreateHeaders),
    request_body = NewRollout,
    responses((status = 202, description = "Accepted", body = Rollout, headers(("location" = String, description = "The rollout"))),
        (status = 200, description = "What it would reach, with `dry_run`", body = Rollout), Refusals))]
pub(super) async fn start_rollout(
    State(app): State<App>,
    Known(caller): Known,
    conditions: Conditions,
    Body(read): Body<StartRollout>,
) -> Result<Response, Refusal> {
    let mut input = read.checked()?;
    input.idempotency_key = conditions.idempotency_key;
    let preview = input.dry_run;
    let rollout = Rollout::from(app.start_rollout(&caller, input).await?);
    if preview {
        return Ok(Json(rollout).into_response());
    }
    let mut answer = (StatusCode::ACCEPTED, Json(&rollout)).into_response();
    if let Ok(place) = HeaderValue::from_str(&format!("/api/v1/rollouts/{}", rollout.id)) {
        answer.headers_mut().insert(header::LOCATION, place);
    }
    Ok(answer)
}

/// List rollouts, newest first
#[utoipa::path(get, path = "/api/v1/rollouts", tag = "rollouts", operation_id = "list_rollouts", params(PageQuery),
    responses((status = 200, description = "A page of rollouts", body = RolloutList), Refusals))]
pub(super) async fn list_rollouts(
    State(app): State<App>,
    Query(Page(page)): Query<Page>,
) -> Result<Json<RolloutList>, Refusal> {
    let app::Page { items, next } = app.list_rollouts(page).await?;
    Ok(Json(RolloutList {
        rollouts: items.into_iter().map(Rollout::from).collect(),
        next_page_token: next,
    }))
}

/// Get a rollout
#[utoipa::path(get, path = "/api/v1/rollouts/{id}", tag = "rollouts", operation_id = "get_rollout", params(("id" = String, Path)),
    responses((status = 200, description = "The rollout", body = Rollout), Refusals))]
pub(super) async fn get_rollout(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(Nothing): Query<Nothing>,
) -> Result<Json<Rollout>, Refusal> {
    Ok(Json(app.get_rollout(&id).await?.into()))
}

/// Pause a rollout
///
/// Stores that are being updated come to their end.
#[utoipa::path(post, path = "/api/v1/rollouts/{id}/pause", tag = "rollouts", operation_id = "pause_rollout", params(("id" = String, Path)),
    request_body = Option<RolloutActionRequest>, responses((status = 200, description = "The rollout", body = Rollout), Refusals))]
pub(super) async fn pause_rollout(
    State(app): State<App>,
    Known(caller): Known,
    Path(id): Path<String>,
    Body(read): Body<Act>,
) -> Result<Json<Rollout>, Refusal> {
    let action = action(id, RolloutEvent::Pause, read.checked()?);
    Ok(Json(app.control_rollout(&caller, action).await?.into()))
}

/// Resume a rollout
///
/// Also after a halt: what failed until then is forgiven.
#[utoipa::path(post, path = "/api/v1/rollouts/{id}/resume", tag = "rollouts", operation_id = "resume_rollout", params(("id" = String, Path)),
    request_body = Option<RolloutActionRequest>, responses((status = 200, description = "The rollout", body = Rollout), Refusals))]
pub(super) async fn resume_rollout(
    State(app): State<App>,
    Known(caller): Known,
    Path(id): Path<String>,
    Body(read): Body<Act>,
) -> Result<Json<Rollout>, Refusal> {
    let action = action(id, RolloutEvent::Resume, read.checked()?);
    Ok(Json(app.control_rollout(&caller, action).await?.into()))
}

/// Abort a rollout
///
/// No further store is updated. Those that were stay so, or go back with `rollback`.
#[utoipa::path(post, path = "/api/v1/rollouts/{id}/abort", tag = "rollouts", operation_id = "abort_rollout", params(("id" = String, Path)),
    request_body = Option<RolloutActionRequest>, responses((status = 200, description = "The rollout", body = Rollout), Refusals))]
pub(super) async fn abort_rollout(
    State(app): State<App>,
    Known(caller): Known,
    Path(id): Path<String>,
    Body(read): Body<Act>,
) -> Result<Json<Rollout>, Refusal> {
    let action = action(id, RolloutEvent::Abort, read.checked()?);
    Ok(Json(app.control_rollout(&caller, action).await?.into()))
}

fn action(rollout: String, event: RolloutEvent, act: Act) -> RolloutAction {
    RolloutAction {
        rollout,
        event,
        goes_back: act.rollback,
        reason: act.reason,
    }
}
