//! Runs of tasks that an operator asked for or that were due. What was begun is attached to, never begun again;
//! how it ended is kept until the control plane has it. Pure: time is passed in.
//!
//! Ids of operators' runs are operation ids (UUID version 7), which sort by the time they were made. When runs are forgotten, the newest
//! forgotten id is remembered: an order to run that one or an older one again, such as of a restored control plane, is refused.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use shop_proto::ServiceName;

/// Ended runs that are remembered.
const REMEMBERED: usize = 64;
/// Runs of a store that may wait or run at once.
pub const WAITING: usize = 16;
/// Longest id of a run that the broker takes.
const LONGEST_ID: usize = 40;

/// Who wanted a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunBy {
    /// An operator; the id is that of the operation.
    Operator,
    /// The schedule.
    Schedule,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    /// Exit code 0.
    Done,
    /// Another exit code, or its task is no more.
    Failed,
    /// Killed when its time was up.
    TimedOut,
    /// Never begun.
    Refused,
    /// Ended because an operator asked for it.
    Cancelled,
}

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Stage {
    /// Waits for its turn.
    Queued,
    /// Was begun; whether its container is there yet, the node knows.
    Running {
        /// Unix milliseconds.
        since_unix_ms: i64,
    },
    /// Is over.
    Ended(Ending),
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ending {
    /// How.
    pub outcome: RunOutcome,
    /// Exit code, when its process had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// A sentence for a person, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When it was begun, in Unix milliseconds; 0 when it never was.
    #[serde(default)]
    pub since_unix_ms: i64,
    /// When it ended, in Unix milliseconds.
    pub at_unix_ms: i64,
    /// The control plane has it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recorded: bool,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The same id is the same run, everywhere.
    pub id: String,
    /// Task of the plan.
    pub task: ServiceName,
    /// Checked against the plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// Who wanted it.
    pub by: RunBy,
    /// Where it stands.
    pub stage: Stage,
    /// When it was asked for or begun, in Unix milliseconds.
    pub asked_unix_ms: i64,
    /// An operator wants it to end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancelled: bool,
}

/// All runs that matter, oldest first, and the schedule's memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runs {
    list: VecDeque<Run>,
    /// The newest forgotten id of an operator's run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    forgotten: Option<String>,
    /// When each scheduled task was begun last, or its schedule, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    last: BTreeMap<ServiceName, i64>,
}

/// What asking for a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is new, and waits.
    Queued,
    /// It is known: nothing has changed.
    Known,
    /// It is refused, and that is remembered.
    Refused,
    /// It may have been run already, long ago.
    Forgotten,
}

impl Run {
    /// An operator's, not begun.
    #[must_use]
    pub const fn asked(id: String, task: ServiceName, arguments: Vec<String>, now: i64) -> Self {
        Self {
            id,
            task,
            arguments,
            by: RunBy::Operator,
            stage: Stage::Queued,
            asked_unix_ms: now,
            cancelled: false,
        }
    }

    /// Whether it is over.
    #[must_use]
    pub const fn ended(&self) -> bool {
        matches!(self.stage, Stage::Ended(_))
    }

    /// Whether the control plane need not hear of it again.
    #[must_use]
    pub const fn recorded(&self) -> bool {
        matches!(self.stage, Stage::Ended(Ending { recorded: true, .. }))
    }

    fn end(&mut self, outcome: RunOutcome, exit_code: Option<i32>, message: String, now: i64) {
        let since_unix_ms = match self.stage {
            Stage::Running { since_unix_ms } => since_unix_ms,
            Stage::Queued => 0,
            Stage::Ended(_) => return,
        };
        self.stage = Stage::Ended(Ending {
            outcome,
            exit_code,
            message,
            since_unix_ms,
            at_unix_ms: now.max(since_unix_ms),
            recorded: false,
        });
    }
}

impl Runs {
    /// Whether there is nothing to remember.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && self.forgotten.is_none() && self.last.is_empty()
    }

    /// All, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Run> {
        self.list.iter()
    }

    /// One.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Run> {
        self.list.iter().find(|run| run.id == id)
    }

    /// When a scheduled task was begun last, or its schedule, in Unix milliseconds.
    #[must_use]
    pub fn last(&self, task: &ServiceName) -> Option<i64> {
        self.last.get(task).copied()
    }

    /// Takes an operator's wish. `problem` says why it cannot be granted.
    pub fn ask(&mut self, run: Run, problem: Option<String>) -> Taken {
        if self.find(&run.id).is_some() {
            return Taken::Known;
        }
        if run.id.len() > LONGEST_ID || self.forgotten.as_ref().is_some_and(|id| run.id <= *id) {
            return Taken::Forgotten;
        }
        let waiting = self.list.iter().filter(|run| !run.ended()).count();
        let problem = problem.or_else(|| {
            (waiting >= WAITING)
                .then(|| format!("{waiting} tasks of this store wait or run already"))
        });
        let now = run.asked_unix_ms;
        let mut run = run;
        let taken = match problem {
            None => Taken::Queued,
            Some(problem) => {
                run.end(RunOutcome::Refused, None, problem, now);
                Taken::Refused
            }
        };
        self.push(run);
        taken
    }

    /// Notes that a run begins. A scheduled one is new; its schedule goes on from `now`.
    pub fn begin(&mut self, id: &str, task: &ServiceName, by: RunBy, now: i64) {
        if by == RunBy::Schedule && self.find(id).is_none() {
            self.last.insert(task.clone(), now);
            self.push(Run {
                id: id.to_owned(),
                task: task.clone(),
                arguments: Vec::new(),
                by,
                stage: Stage::Queued,
                asked_unix_ms: now,
                cancelled: false,
            });
        }
        if let Some(run) = self.find_mut(id)
            && run.stage == Stage::Queued
        {
            run.stage = Stage::Running { since_unix_ms: now };
        }
    }

    /// Notes how a run ended. An end is never changed.
    pub fn end(
        &mut self,
        id: &str,
        outcome: RunOutcome,
        exit_code: Option<i32>,
        message: String,
        now: i64,
    ) {
        if let Some(run) = self.find_mut(id) {
            // Whoever cancels a run that ends well by itself at that moment is told the truth.
            let outcome = match outcome {
                RunOutcome::Failed | RunOutcome::TimedOut if run.cancelled => RunOutcome::Cancelled,
                outcome => outcome,
            };
            run.end(outcome, exit_code, message, now);
        }
    }

    /// Notes that an operator wants a run to end: one that waits ends now, one that runs is to be stopped.
    /// One that never came is noted as cancelled, so that it cannot come later.
    pub fn cancel(&mut self, id: &str, task: &ServiceName, now: i64) {
        if self.find(id).is_none() {
            self.ask(
                Run::asked(id.to_owned(), task.clone(), Vec::new(), now),
                None,
            );
        }
        if let Some(run) = self.find_mut(id) {
            run.cancelled |= !run.ended();
            if run.stage == Stage::Queued {
                run.end(RunOutcome::Cancelled, None, String::new(), now);
            }
        }
    }

    /// Notes that the control plane knows how a run ended.
    pub fn recorded(&mut self, id: &str) {
        if let Some(run) = self.find_mut(id)
            && let Stage::Ended(ending) = &mut run.stage
        {
            ending.recorded = true;
        }
    }

    /// Lets schedules begin: their first run is due one interval from `now`.
    pub fn begin_schedule(&mut self, tasks: Vec<ServiceName>, now: i64) {
        for task in tasks {
            self.last.insert(task, now);
        }
    }

    fn find_mut(&mut self, id: &str) -> Option<&mut Run> {
        self.list.iter_mut().find(|run| run.id == id)
    }

    fn push(&mut self, run: Run) {
        self.list.push_back(run);
        while self.list.iter().filter(|run| run.ended()).count() > REMEMBERED {
            // What the control plane has goes first.
            let oldest = self
                .list
                .iter()
                .position(Run::recorded)
                .or_else(|| self.list.iter().position(Run::ended));
            let Some(run) = oldest.and_then(|at| self.list.remove(at)) else {
                return;
            };
            if run.by == RunBy::Operator && self.forgotten.as_ref().is_none_or(|id| *id < run.id) {
                self.forgotten = Some(run.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(id: &str) -> Run {
        Run::asked(id.to_owned(), "reindex".parse().unwrap(), Vec::new(), 5)
    }

    fn ending(runs: &Runs, id: &str) -> Ending {
        match &runs.find(id).unwrap().stage {
            Stage::Ended(ending) => ending.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_same_wish_twice_is_one_run_and_its_end_does_not_change() {
        let mut runs = Runs::default();
        let task = "reindex".parse().unwrap();
        assert_eq!(runs.ask(run("op-1"), None), Taken::Queued);
        assert_eq!(runs.ask(run("op-1"), None), Taken::Known);
        runs.begin("op-1", &task, RunBy::Operator, 7);
        runs.begin("op-1", &task, RunBy::Operator, 9);
        runs.end("op-1", RunOutcome::Failed, Some(3), String::new(), 11);
        runs.end("op-1", RunOutcome::Done, Some(0), String::new(), 12);
        assert_eq!(runs.ask(run("op-1"), None), Taken::Known);
        let ending = ending(&runs, "op-1");
        assert_eq!(
            (ending.outcome, ending.exit_code, ending.since_unix_ms),
            (RunOutcome::Failed, Some(3), 7)
        );
        assert_eq!(runs.iter().count(), 1);
    }

    #[test]
    fn what_was_forgotten_is_not_run_again() {
        let mut runs = Runs::default();
        for number in 0..200 {
            let id = format!("op-{number:03}");
            runs.ask(run(&id), None);
            runs.end(&id, RunOutcome::Done, Some(0), String::new(), 6);
            runs.recorded(&id);
        }
        assert!(runs.find("op-003").is_none());
        assert_eq!(runs.ask(run("op-003"), None), Taken::Forgotten);
        assert_eq!(runs.ask(run("op-199"), None), Taken::Known);
        assert!(runs.iter().count() <= REMEMBERED + 1);
    }

    #[test]
    fn a_waiting_run_is_cancelled_at_once_and_a_running_one_when_it_ends() {
        let mut runs = Runs::default();
        let task = "reindex".parse().unwrap();
        runs.ask(run("op-1"), None);
        runs.ask(run("op-2"), None);
        runs.begin("op-1", &task, RunBy::Operator, 7);
        runs.cancel("op-1", &task, 8);
        runs.cancel("op-2", &task, 8);
        runs.cancel("op-3", &task, 8);
        assert_eq!(ending(&runs, "op-3").outcome, RunOutcome::Cancelled);
        assert_eq!(runs.ask(run("op-3"), None), Taken::Known);
        assert!(runs.find("op-1").unwrap().cancelled);
        assert_eq!(ending(&runs, "op-2").outcome, RunOutcome::Cancelled);
        runs.end("op-1", RunOutcome::Failed, Some(143), String::new(), 9);
        assert_eq!(ending(&runs, "op-1").outcome, RunOutcome::Cancelled);
        assert_eq!(ending(&runs, "op-1").exit_code, Some(143));
    }

    #[test]
    fn wishes_are_bounded() {
        let mut runs = Runs::default();
        for number in 0..WAITING {
            assert_eq!(runs.ask(run(&format!("op-{number}a")), None), Taken::Queued);
        }
        assert_eq!(runs.ask(run("op-z"), None), Taken::Refused);
    }

    #[test]
    fn a_scheduled_run_and_its_time_are_one_change() {
        let mut runs = Runs::default();
        let task: ServiceName = "cron".parse().unwrap();
        runs.begin_schedule(vec![task.clone()], 1);
        runs.begin("cron-5-cron", &task, RunBy::Schedule, 6);
        assert_eq!(runs.last(&task), Some(6));
        assert_eq!(
            runs.find("cron-5-cron").unwrap().stage,
            Stage::Running { since_unix_ms: 6 }
        );
    }
}
