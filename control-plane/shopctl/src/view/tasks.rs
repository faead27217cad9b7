//! Tasks of stores and their runs.

use serde::Serialize;
use shop_proto::wire::admin::v1 as api;

use super::some;

/// What a store offers, and what was run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Tasks {
    pub tasks: Vec<TaskOffer>,
    pub runs: Vec<TaskRun>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct TaskOffer {
    pub name: String,
    pub arguments: Vec<TaskArgument>,
    pub schedules: Vec<String>,
    pub timeout_seconds: u64,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct TaskArgument {
    pub name: String,
    pub r#type: String,
    pub default: Option<String>,
    pub choices: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct TaskRun {
    pub id: String,
    pub task: String,
    pub arguments: Vec<String>,
    pub state: String,
    pub exit_code: Option<i32>,
    pub message: String,
    pub requested_by: String,
    pub scheduled: bool,
    pub created_at: String,
    pub started_at: Option<String>,
    pub ended_at: Option<String>,
}

impl From<api::ListTasksResponse> for Tasks {
    fn from(answer: api::ListTasksResponse) -> Self {
        Self {
            tasks: answer.tasks.into_iter().map(Into::into).collect(),
            runs: answer.runs.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<api::TaskOffer> for TaskOffer {
    fn from(offer: api::TaskOffer) -> Self {
        let argument = |argument: api::TaskArgument| TaskArgument {
            name: argument.name,
            r#type: argument.r#type,
            default: (!argument.required).then_some(argument.default),
            choices: argument.choices,
        };
        Self {
            name: offer.name,
            arguments: offer.arguments.into_iter().map(argument).collect(),
            schedules: offer.schedules,
            timeout_seconds: offer.timeout_seconds,
        }
    }
}

impl From<api::TaskRun> for TaskRun {
    fn from(run: api::TaskRun) -> Self {
        Self {
            id: run.id,
            task: run.task,
            arguments: run.arguments,
            state: run.state,
            exit_code: run.has_exit_code.then_some(run.exit_code),
            message: run.message,
            requested_by: run.requested_by,
            scheduled: run.scheduled,
            created_at: run.created_at,
            started_at: some(run.started_at),
            ended_at: some(run.ended_at),
        }
    }
}
