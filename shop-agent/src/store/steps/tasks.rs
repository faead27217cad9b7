//! Which tasks to run: those that must run once, those whose end was not seen, and those on a schedule. Never two runs of one task.

use shop_plan::{CronPlan, TaskPlan, When};
use tokio::time::Instant;

use super::{Goal, Input, Step, Target, task_has_secrets};
use crate::engine::{Serve, TaskRun};

/// Tasks to run now.
pub fn due(input: &Input<'_>, now: Instant) -> Vec<Step> {
    input
        .plan
        .tasks
        .iter()
        .filter(|task| can_run(input, task))
        .filter_map(|task| run_id(input, task, now).map(|run| Step::RunTask(self::run(task, run))))
        .collect()
}

/// Whether any task runs.
#[must_use]
pub fn any_busy(input: &Input<'_>) -> bool {
    input
        .busy
        .iter()
        .any(|target| matches!(target, Target::Task(_)))
}

/// When the next scheduled task is due.
#[must_use]
pub fn next(input: &Input<'_>, goal: Goal) -> Option<Instant> {
    (goal == Goal::Run && serving(input))
        .then(|| {
            input
                .plan
                .cron
                .iter()
                .filter_map(|cron| at(input, cron))
                .min()
        })
        .flatten()
}

fn can_run(input: &Input<'_>, task: &TaskPlan) -> bool {
    task_has_secrets(input, task) && task.after.iter().all(|name| input.service_ready(name))
}

/// The run that is due, if one is. A run whose end was not seen is attached to, not begun again.
fn run_id(input: &Input<'_>, task: &TaskPlan, now: Instant) -> Option<String> {
    if let Some(open) = input.entries.open_runs.get(&task.name) {
        return Some(open.clone());
    }
    if task.once && !input.entries.tasks_done.contains(&task.name) {
        let attempt = input.entries.attempts.get(&task.name).copied().unwrap_or(0);
        return Some(format!("once-{attempt}"));
    }
    let cron = input.plan.cron.iter().find(|cron| cron.task == task.name)?;
    let due = serving(input) && at(input, cron).is_some_and(|at| at <= now);
    due.then(|| format!("cron-{}", input.run_seed))
}

/// Scheduled tasks run only in a shop that serves.
fn serving(input: &Input<'_>) -> bool {
    matches!(input.serving, Serve::Slot { .. })
}

fn at(input: &Input<'_>, cron: &CronPlan) -> Option<Instant> {
    match &cron.when {
        When::Every(every) => Some(*input.schedule.get(&cron.task)? + *every),
        // Told by the clock on the wall, which this schedule does not hold.
        When::Cron { .. } => None,
    }
}

fn run(task: &TaskPlan, run: String) -> TaskRun {
    TaskRun {
        task: task.name.clone(),
        run,
        arguments: Vec::new(),
        timeout: task.timeout,
    }
}
