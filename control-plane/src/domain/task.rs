//! Runs of tasks: what an operator asked for or the schedule began, as the store's agent tells it. What has ended stays.

use jiff::Timestamp;
use shop_proto::StoreId;

use super::{
    operation::{Operation, OperationState, Step, StepState},
    session::TaskReport,
};

/// One run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRun {
    pub store: StoreId,
    /// The operation's, or the agent's own for a scheduled run.
    pub id: String,
    pub task: String,
    pub arguments: Vec<String>,
    /// The schedule wanted it.
    pub scheduled: bool,
    /// Empty for a scheduled run.
    pub requested_by: String,
    pub state: TaskState,
    /// An operator wants it to end.
    pub cancel: bool,
    pub exit_code: Option<i32>,
    /// One sentence, or empty.
    pub message: String,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
}

/// Where a run stands. Only forward: see [`TaskState::next`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaskState {
    /// The agent has not said that it knows of it.
    Pending,
    /// Waits for its turn.
    Queued,
    Running,
    Done,
    Failed,
    TimedOut,
    Refused,
    Cancelled,
}

impl TaskState {
    /// All.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Queued,
        Self::Running,
        Self::Done,
        Self::Failed,
        Self::TimedOut,
        Self::Refused,
        Self::Cancelled,
    ];

    /// As written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
        }
    }

    /// From the written form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Nothing more happens to it.
    #[must_use]
    pub const fn ended(self) -> bool {
        !matches!(self, Self::Pending | Self::Queued | Self::Running)
    }

    /// What is said late of an earlier state changes nothing, and an end is never changed.
    #[must_use]
    pub fn next(self, said: Self) -> Self {
        if self.ended() || said < self {
            self
        } else {
            said
        }
    }
}

impl TaskRun {
    /// As the agent tells it. `now` bounds times that a wrong clock told.
    #[must_use]
    pub fn told(&self, report: &TaskReport, now: Timestamp) -> Self {
        let mut run = self.clone();
        if run.state.ended() {
            return run;
        }
        let at = |unix_ms: i64| {
            let told = Timestamp::from_millisecond(unix_ms).ok();
            told.filter(|_| unix_ms > 0).map(|at| at.min(now))
        };
        run.state = run.state.next(report.state);
        run.started_at = at(report.started_unix_ms).or(run.started_at);
        if run.state.ended() {
            run.ended_at = at(report.ended_unix_ms).or(Some(now));
            run.exit_code = report.exit_code;
            run.message.clone_from(&report.message);
        }
        run
    }

    /// Ended here, because nobody can carry it out any more.
    #[must_use]
    pub fn given_up(&self, why: &str, now: Timestamp) -> Self {
        Self {
            state: self.state.next(TaskState::Cancelled),
            message: why.to_owned(),
            ended_at: Some(now),
            ..self.clone()
        }
    }

    /// The operation of this run, as the run stands.
    #[must_use]
    pub fn operation(&self, before: &Operation) -> Operation {
        let mut operation = before.clone();
        let (state, reason) = match self.state {
            TaskState::Pending => (OperationState::Pending, "waiting_for_agent"),
            TaskState::Queued => (OperationState::Pending, "queued"),
            TaskState::Running => (OperationState::Running, ""),
            TaskState::Done => (OperationState::Succeeded, ""),
            TaskState::Failed => (OperationState::Failed, "task_failed"),
            TaskState::TimedOut => (OperationState::Failed, "task_timed_out"),
            TaskState::Refused => (OperationState::Failed, "task_refused"),
            TaskState::Cancelled => (OperationState::Cancelled, "cancelled"),
        };
        let Ok(state) = operation.state.next(state) else {
            return operation;
        };
        operation.state = state;
        reason.clone_into(&mut operation.reason);
        operation.message = self.sentence();
        operation.started_at = self.started_at;
        operation.ended_at = self.ended_at;
        operation.steps = self.steps();
        operation
    }

    fn sentence(&self) -> String {
        let task = &self.task;
        match (self.state, self.exit_code) {
            (TaskState::Pending, _) => format!("waiting for the store's agent to take {task}"),
            (TaskState::Queued, _) => format!("{task} waits for its turn"),
            (TaskState::Running, _) if self.cancel => format!("{task} is being ended"),
            (TaskState::Running, _) => format!("{task} runs"),
            (TaskState::Done, _) => format!("{task} ended well"),
            (_, Some(code)) if self.message.is_empty() => {
                format!("{task} ended with exit code {code}")
            }
            (_, Some(code)) => format!("{task} ended with exit code {code}: {}", self.message),
            (TaskState::Cancelled, None) if self.message.is_empty() => {
                format!("{task} was cancelled before it began")
            }
            (_, None) => format!("{task}: {}", self.message),
        }
    }

    fn steps(&self) -> Vec<Step> {
        let ms = |at: Option<Timestamp>| at.map(Timestamp::as_millisecond);
        let begun = self.started_at.is_some();
        let ran = match self.state {
            TaskState::Done => StepState::Done,
            state if state.ended() => StepState::Failed,
            TaskState::Running => StepState::Running,
            _ => StepState::Pending,
        };
        let step = |name: String, state, started_ms, ended_ms| Step {
            name,
            state,
            message: String::new(),
            started_ms,
            ended_ms,
        };
        let queued = if begun {
            StepState::Done
        } else {
            StepState::Running
        };
        let since = Some(self.created_at);
        vec![
            step("queue".to_owned(), queued, ms(since), ms(self.started_at)),
            step(
                format!("task:{}", self.task),
                ran,
                ms(self.started_at),
                ms(self.ended_at),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> TaskRun {
        TaskRun {
            store: "k3v9q2m8x1aa".parse().unwrap(),
            id: "op-1".to_owned(),
            task: "reindex".to_owned(),
            arguments: Vec::new(),
            scheduled: false,
            requested_by: "token:a".to_owned(),
            state: TaskState::Pending,
            cancel: false,
            exit_code: None,
            message: String::new(),
            created_at: Timestamp::UNIX_EPOCH,
            started_at: None,
            ended_at: None,
        }
    }

    fn said(state: TaskState) -> TaskReport {
        TaskReport {
            id: "op-1".to_owned(),
            task: "reindex".to_owned(),
            scheduled: false,
            state,
            exit_code: state.ended().then_some(3),
            message: String::new(),
            started_unix_ms: 1000,
            ended_unix_ms: if state.ended() { 2000 } else { 0 },
        }
    }

    #[test]
    fn a_run_goes_forward_only() {
        for from in TaskState::ALL {
            for to in TaskState::ALL {
                let next = from.next(to);
                assert!(next >= from, "{from:?} {to:?}");
                assert!(!from.ended() || next == from, "{from:?} {to:?}");
            }
        }
    }

    #[test]
    fn what_is_said_twice_or_late_changes_nothing() {
        let now = Timestamp::from_second(10).unwrap();
        let ended = run().told(&said(TaskState::Failed), now);
        assert_eq!(ended.exit_code, Some(3));
        assert_eq!(ended.told(&said(TaskState::Running), now), ended);
        assert_eq!(ended.told(&said(TaskState::Done), now), ended);
    }

    #[test]
    fn a_clock_that_is_ahead_puts_nothing_into_the_future() {
        let now = Timestamp::from_millisecond(1500).unwrap();
        let ended = run().told(&said(TaskState::Done), now);
        assert_eq!(ended.ended_at, Some(now));
    }
}
