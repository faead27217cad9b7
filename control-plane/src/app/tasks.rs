//! Input and answers about tasks.

use std::time::Duration;

use shop_plan::ArgumentPlan;

use crate::domain::task::TaskRun;

/// `POST /stores/{store}/tasks`.
#[derive(Debug, Clone, Default)]
pub struct RunTask {
    /// Name or id.
    pub store: String,
    pub task: String,
    /// In the order in which the template declares them.
    pub arguments: Vec<String>,
    pub reason: String,
    pub idempotency_key: Option<String>,
}

/// `POST /tasks/{run}/cancel`.
#[derive(Debug, Clone, Default)]
pub struct CancelTask {
    /// Id of the run, which is that of its operation.
    pub operation: String,
    pub reason: String,
}

/// What a store offers, and what was run.
#[derive(Debug, Clone)]
pub struct TasksView {
    pub tasks: Vec<TaskOffer>,
    /// Newest first.
    pub runs: Vec<TaskRun>,
}

/// A task that an operator can run.
#[derive(Debug, Clone)]
pub struct TaskOffer {
    pub name: String,
    pub arguments: Vec<ArgumentPlan>,
    /// When it runs by itself, as a person would write it.
    pub schedules: Vec<String>,
    pub timeout: Duration,
}
