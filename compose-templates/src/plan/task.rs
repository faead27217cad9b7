//! Tasks of a plan: one-shot containers, what may be said to them, and when they run by themselves.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};
use shop_proto::ServiceName;

use super::ContainerPlan;
use crate::{CronExpression, ParameterKind, TimeZoneName, ValueError, When};

/// A one-shot container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskPlan {
    /// Unique among services and tasks.
    pub name: ServiceName,
    /// The container. Its secrets volume is its own: `secrets-<source>`.
    pub container: ContainerPlan,
    /// Compose service it was taken from; tasks of one source share a secrets volume and a uid.
    pub source: ServiceName,
    /// Run exactly once in the store's life, before the services that wait for it.
    pub once: bool,
    /// Killed afterwards.
    pub timeout: Duration,
    /// Services that must be ready first.
    pub after: Vec<ServiceName>,
    /// What may be said to it, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<ArgumentPlan>,
    /// Whether only one such task runs at a time in a store.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub exclusive: bool,
    /// Whether it may be run again after a crash half-way.
    #[serde(default, skip_serializing_if = "is_no")]
    pub idempotent: bool,
}

/// An argument of a task: one word after its command, never seen by a shell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArgumentPlan {
    /// For people; unique in the task.
    pub name: String,
    /// What a value must be.
    pub kind: ParameterKind,
    /// Said when nothing is given. Those with a default come last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// One sentence for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// An argument that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("argument {}: {message}", index + 1)]
pub struct ArgumentProblem {
    /// Place among the arguments, from 0.
    pub index: usize,
    /// Stable code.
    pub code: ArgumentCode,
    /// A sentence for a person; never repeats the value.
    pub message: String,
}

/// What is wrong with an argument; the text form is part of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgumentCode {
    /// It has no default and was not given.
    Missing,
    /// The task takes fewer.
    TooMany,
    /// Not of the argument's type.
    Type,
    /// Outside what the argument allows.
    Range,
}

/// A task on a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "CronForm", into = "CronForm")]
pub struct CronPlan {
    /// Task to run, without arguments.
    pub task: ServiceName,
    /// When.
    pub when: When,
}

/// [`CronPlan`] as it is written: intervals as they always were.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CronForm {
    task: ServiceName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    every: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schedule: Option<CronExpression>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time_zone: Option<TimeZoneName>,
}

/// A schedule that is neither an interval nor an expression with its time zone.
#[derive(Debug, thiserror::Error)]
#[error("a schedule is `every`, or `schedule` with `time_zone`")]
struct NoSchedule;

const fn yes() -> bool {
    true
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_yes(value: &bool) -> bool {
    *value
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_no(value: &bool) -> bool {
    !*value
}

impl TaskPlan {
    /// Whether arguments fit. Control plane, node and shop agent all ask this before they act.
    ///
    /// # Errors
    /// Everything that does not fit, at once.
    pub fn check(&self, given: &[String]) -> Result<(), Vec<ArgumentProblem>> {
        let problem = |index, code, message: String| ArgumentProblem {
            index,
            code,
            message,
        };
        let mut problems = Vec::new();
        for (index, argument) in self.arguments.iter().enumerate() {
            let wrong = match (given.get(index), &argument.default) {
                (Some(value), _) => argument.problem(value),
                (None, Some(_)) => None,
                (None, None) => Some((ArgumentCode::Missing, "is needed".to_owned())),
            };
            if let Some((code, message)) = wrong {
                problems.push(problem(index, code, format!("{} {message}", argument.name)));
            }
        }
        let known = self.arguments.len();
        if given.len() > known {
            let message = match known {
                0 => "this task takes no arguments".to_owned(),
                1 => "this task takes one argument".to_owned(),
                _ => format!("this task takes {known} arguments"),
            };
            problems.push(problem(known, ArgumentCode::TooMany, message));
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    /// The words of a run: the task's command, then its arguments, each one word.
    ///
    /// # Errors
    /// As [`TaskPlan::check`].
    pub fn command_line(&self, given: &[String]) -> Result<Vec<String>, Vec<ArgumentProblem>> {
        self.check(given)?;
        let said = self
            .arguments
            .iter()
            .enumerate()
            .filter_map(|(index, argument)| given.get(index).or(argument.default.as_ref()));
        let command = self.container.command.iter().flatten();
        Ok(command.chain(said).cloned().collect())
    }

    /// Whether no two arguments have the same name.
    pub(crate) fn arguments_are_distinct(&self) -> bool {
        let names: BTreeSet<&String> = self
            .arguments
            .iter()
            .map(|argument| &argument.name)
            .collect();
        names.len() == self.arguments.len()
    }
}

impl ArgumentPlan {
    /// What is wrong with a value.
    pub(crate) fn problem(&self, value: &str) -> Option<(ArgumentCode, String)> {
        // A program would take it for an option of its own. A negative number is none.
        if value.starts_with('-') && !matches!(self.kind, ParameterKind::Int { .. }) {
            return Some((
                ArgumentCode::Type,
                "must not start with a hyphen".to_owned(),
            ));
        }
        let error = self.kind.check(value).err()?;
        let code = match error {
            ValueError::Type(_) => ArgumentCode::Type,
            ValueError::Range(_) => ArgumentCode::Range,
        };
        Some((code, error.to_string()))
    }
}

impl ArgumentCode {
    /// The stable code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "argument_missing",
            Self::TooMany => "argument_unknown",
            Self::Type => "argument_type",
            Self::Range => "argument_range",
        }
    }
}

impl From<CronPlan> for CronForm {
    fn from(cron: CronPlan) -> Self {
        let (every, schedule, time_zone) = match cron.when {
            When::Every(every) => (Some(every), None, None),
            When::Cron {
                expression,
                time_zone,
            } => (None, Some(expression), Some(time_zone)),
        };
        Self {
            task: cron.task,
            every,
            schedule,
            time_zone,
        }
    }
}

impl TryFrom<CronForm> for CronPlan {
    type Error = NoSchedule;

    fn try_from(form: CronForm) -> Result<Self, Self::Error> {
        let when = match (form.every, form.schedule, form.time_zone) {
            (Some(every), None, None) => When::Every(every),
            (None, Some(expression), Some(time_zone)) => When::Cron {
                expression,
                time_zone,
            },
            _ => return Err(NoSchedule),
        };
        Ok(Self {
            task: form.task,
            when,
        })
    }
}

#[cfg(test)]
mod tests;
