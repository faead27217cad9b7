//! Runs of tasks, as agents tell them.

use shop_proto::wire::{WireError, agent::v1 as api};

use super::shared::{SHORT, sentence, text};
use crate::{domain::task::TaskState, fleet::TaskReport};

/// How a run stands before its end.
pub(super) fn status(status: api::TaskStatus) -> Result<TaskReport, WireError> {
    let api::TaskStatus {
        operation_id,
        task,
        state,
        at_unix_ms,
        scheduled,
    } = status;
    let state = match state.as_str() {
        "queued" => TaskState::Queued,
        "running" => TaskState::Running,
        _ => return Err(WireError::at("task_status.state", "is queued or running")),
    };
    Ok(TaskReport {
        id: id(operation_id, "task_status.operation_id")?,
        task: text(task, SHORT, "task_status.task")?,
        scheduled,
        state,
        exit_code: None,
        message: String::new(),
        started_unix_ms: if state == TaskState::Running {
            at_unix_ms
        } else {
            0
        },
        ended_unix_ms: 0,
    })
}

/// How a run ended.
pub(super) fn result(result: api::TaskResult) -> Result<TaskReport, WireError> {
    let api::TaskResult {
        operation_id,
        task,
        outcome,
        exit_code,
        // Read by asking the agent, sealed.
        output: _,
        has_exit_code,
        started_unix_ms,
        ended_unix_ms,
        scheduled,
        message,
    } = result;
    let state = TaskState::parse(&outcome)
        .filter(|state| state.ended())
        .ok_or_else(|| WireError::at("task_result.outcome", "is no end of a run"))?;
    Ok(TaskReport {
        id: id(operation_id, "task_result.operation_id")?,
        task: text(task, SHORT, "task_result.task")?,
        scheduled,
        state,
        exit_code: has_exit_code.then_some(exit_code),
        message: sentence(&message),
        started_unix_ms,
        ended_unix_ms,
    })
}

/// A run without a name could not be told from another.
fn id(id: String, field: &'static str) -> Result<String, WireError> {
    let id = text(id, SHORT, field)?;
    if id.is_empty() {
        return Err(WireError::at(field, "is required"));
    }
    Ok(id)
}
