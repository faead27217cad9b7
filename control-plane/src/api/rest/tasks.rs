//! Tasks of stores: what is offered, what was run, and running one.

use axum::{
    Json,
    extract::{Path, State},
    response::Response,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    extract::{Body, Conditions, Known, Nothing, Query},
    fields::{Fields, Readable},
    model::Operation,
    problem::{Refusal, Refusals},
    stores::{ActionRequest, ChangeHeaders, Why, accepted},
};
use crate::{
    app::{self, App, CancelTask, TasksView},
    domain,
};

/// A task to be run.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the schema; values are read into `Wish`")]
pub(super) struct RunTask {
    #[schema(example = "reindex")]
    task: String,
    /// In the order in which the template declares them; each one word of its command line.
    arguments: Option<Vec<String>>,
    /// Why, for the audit chain.
    reason: Option<String>,
}

/// Read from a body.
pub(super) struct Wish {
    task: String,
    arguments: Vec<String>,
    reason: String,
}

impl Readable for Wish {
    fn read(fields: &mut Fields) -> Self {
        Self {
            task: fields.required_text("task"),
            arguments: fields.texts("arguments"),
            reason: fields.text("reason"),
        }
    }
}

/// What a store offers, and what was run.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TaskList {
    /// What the store's template offers.
    pub tasks: Vec<TaskOffer>,
    /// The newest runs, newest first.
    pub runs: Vec<TaskRun>,
}

/// A task that an operator can run.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TaskOffer {
    pub name: String,
    pub arguments: Vec<TaskArgument>,
    /// When it runs by itself, such as `every 300 s` or `30 2 * * * Europe/Berlin`.
    pub schedules: Vec<String>,
    pub timeout_seconds: u64,
}

/// An argument of a task.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TaskArgument {
    pub name: String,
    pub r#type: String,
    /// What is said when nothing is given; one without must be given.
    pub default: Option<String>,
    pub choices: Vec<String>,
}

/// One run.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TaskRun {
    /// That of the operation; of a scheduled run, the agent's own.
    pub id: String,
    pub task: String,
    pub arguments: Vec<String>,
    /// `pending`, `queued`, `running`, `done`, `failed`, `timed_out`, `refused` or `cancelled`.
    pub state: String,
    pub exit_code: Option<i32>,
    pub message: String,
    /// Empty for a scheduled run.
    pub requested_by: String,
    pub scheduled: bool,
    #[schema(format = DateTime)]
    pub created_at: String,
    #[schema(format = DateTime)]
    pub started_at: Option<String>,
    #[schema(format = DateTime)]
    pub ended_at: Option<String>,
}

impl From<TasksView> for TaskList {
    fn from(view: TasksView) -> Self {
        Self {
            tasks: view.tasks.into_iter().map(Into::into).collect(),
            runs: view.runs.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<app::TaskOffer> for TaskOffer {
    fn from(offer: app::TaskOffer) -> Self {
        let argument = |argument: shop_plan::ArgumentPlan| TaskArgument {
            name: argument.name,
            r#type: argument.kind.name().to_owned(),
            choices: argument.kind.choices().to_vec(),
            default: argument.default,
        };
        Self {
            name: offer.name,
            arguments: offer.arguments.into_iter().map(argument).collect(),
            schedules: offer.schedules,
            timeout_seconds: offer.timeout.as_secs(),
        }
    }
}

impl From<domain::task::TaskRun> for TaskRun {
    fn from(run: domain::task::TaskRun) -> Self {
        Self {
            id: run.id,
            task: run.task,
            arguments: run.arguments,
            state: run.state.as_str().to_owned(),
            exit_code: run.exit_code,
            message: run.message,
            requested_by: run.requested_by,
            scheduled: run.scheduled,
            created_at: run.created_at.to_string(),
            started_at: run.started_at.map(|at| at.to_string()),
            ended_at: run.ended_at.map(|at| at.to_string()),
        }
    }
}

/// List a store's tasks and runs
#[utoipa::path(get, path = "/api/v1/stores/{store}/tasks", tag = "stores", operation_id = "list_tasks",
    params(("store" = String, Path, description = "Name or id")),
    responses((status = 200, description = "What is offered, and what was run", body = TaskList), Refusals))]
pub(super) async fn list_tasks(
    State(app): State<App>,
    Path(store): Path<String>,
    Query(Nothing): Query<Nothing>,
) -> Result<Json<TaskList>, Refusal> {
    Ok(Json(app.list_tasks(&store).await?.into()))
}

/// Run a task of a store
///
/// Once, beside whatever else is asked of the store. The output is read from the store's agent with a signed request.
#[utoipa::path(post, path = "/api/v1/stores/{store}/tasks", tag = "stores", operation_id = "run_task",
    params(("store" = String, Path, description = "Name or id"), ChangeHeaders), request_body = RunTask,
    responses((status = 202, description = "Accepted", body = Operation, headers(("location" = String, description = "The operation"))), Refusals))]
pub(super) async fn run_task(
    State(app): State<App>,
    Known(caller): Known,
    Path(store): Path<String>,
    conditions: Conditions,
    Body(read): Body<Wish>,
) -> Result<Response, Refusal> {
    let Wish {
        task,
        arguments,
        reason,
    } = read.checked()?;
    let input = app::RunTask {
        store,
        task,
        arguments,
        reason,
        idempotency_key: conditions.idempotency_key,
    };
    Ok(accepted(app.run_task(&caller, input).await?))
}

/// Cancel a run of a task
///
/// One that waits ends at once, one that runs is asked to stop and killed after ten seconds.
#[utoipa::path(post, path = "/api/v1/tasks/{run}/cancel", tag = "stores", operation_id = "cancel_task",
    params(("run" = String, Path, description = "Id of the run, which is that of its operation")), request_body = Option<ActionRequest>,
    responses((status = 202, description = "Accepted", body = Operation, headers(("location" = String, description = "The operation"))), Refusals))]
pub(super) async fn cancel_task(
    State(app): State<App>,
    Known(caller): Known,
    Path(run): Path<String>,
    Body(read): Body<Why>,
) -> Result<Response, Refusal> {
    let Why(reason) = read.checked()?;
    let input = CancelTask {
        operation: run,
        reason,
    };
    Ok(accepted(app.cancel_task(&caller, input).await?))
}
