//! Messages about tasks.

use shop_plan::ArgumentPlan;
use shop_proto::wire::admin::v1 as api;

use crate::{
    app::{CancelTask, RunTask, TaskOffer, TasksView},
    domain::task::TaskRun,
};

pub(super) fn run(request: api::RunTaskRequest) -> RunTask {
    let api::RunTaskRequest {
        store,
        task,
        arguments,
        reason,
        idempotency_key,
    } = request;
    RunTask {
        store,
        task,
        arguments,
        reason,
        idempotency_key: (!idempotency_key.is_empty()).then_some(idempotency_key),
    }
}

pub(super) fn cancel(request: api::CancelTaskRequest) -> CancelTask {
    let api::CancelTaskRequest { run, reason } = request;
    CancelTask {
        operation: run,
        reason,
    }
}

pub(super) fn list(view: TasksView) -> api::ListTasksResponse {
    api::ListTasksResponse {
        tasks: view.tasks.into_iter().map(offer).collect(),
        runs: view.runs.into_iter().map(task_run).collect(),
    }
}

fn offer(offer: TaskOffer) -> api::TaskOffer {
    api::TaskOffer {
        name: offer.name,
        arguments: offer.arguments.into_iter().map(argument).collect(),
        schedules: offer.schedules,
        timeout_seconds: offer.timeout.as_secs(),
    }
}

fn argument(argument: ArgumentPlan) -> api::TaskArgument {
    api::TaskArgument {
        name: argument.name,
        r#type: argument.kind.name().to_owned(),
        required: argument.default.is_none(),
        default: argument.default.unwrap_or_default(),
        choices: argument.kind.choices().to_vec(),
    }
}

fn task_run(run: TaskRun) -> api::TaskRun {
    let time = |at: Option<jiff::Timestamp>| at.map_or_else(String::new, |at| at.to_string());
    api::TaskRun {
        id: run.id,
        task: run.task,
        arguments: run.arguments,
        state: run.state.as_str().to_owned(),
        has_exit_code: run.exit_code.is_some(),
        exit_code: run.exit_code.unwrap_or(0),
        message: run.message,
        requested_by: run.requested_by,
        scheduled: run.scheduled,
        created_at: run.created_at.to_string(),
        started_at: time(run.started_at),
        ended_at: time(run.ended_at),
    }
}
