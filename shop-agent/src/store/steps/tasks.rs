//! Which tasks to run: those that must run once, those whose end was not seen, those an operator asked for, and those on a schedule.
//! Never two runs of one task at a time: they share its address.
//!
//! A schedule goes by the clock on the wall, from when its task was begun last, which the ledger knows. So a time that was missed,
//! because the shop was stopped, switching or the agent away, is made up for once; and a clock that is set back repeats nothing.
//!
//! An expression names minutes. In which second of such a minute a run begins is the shop's own: hundreds of shops of one template on one
//! host would otherwise all begin their nightly work at once, and every buyer would wait.

use jiff::{SignedDuration, Timestamp};
use shop_plan::{CronPlan, TaskPlan, When};
use shop_proto::{Digest, ServiceName, StoreId};
use tokio::time::Instant;

use super::{Goal, Input, Step, Target, task_has_secrets, update};
use crate::{
    engine::{Serve, TaskRun},
    ledger::{Run, RunBy, RunOutcome, Stage},
};

/// A last time further ahead than this was written by a clock that was wrong: the schedule begins anew.
const AHEAD_MS: i64 = 24 * 60 * 60 * 1000;

/// Tasks to run now.
pub fn due(input: &Input<'_>) -> Vec<Step> {
    let mut steps: Vec<Step> = input
        .plan
        .tasks
        .iter()
        .filter(|task| can_run(input, task))
        .filter_map(|task| next_run(input, task))
        .collect();
    steps.extend(begin_schedules(input));
    steps.extend(lost(input));
    steps
}

/// Runs that somebody cancelled and that have not ended.
pub fn cancelled(input: &Input<'_>) -> Vec<Step> {
    input
        .entries
        .runs
        .iter()
        .filter(|run| run.cancelled && matches!(run.stage, Stage::Running { .. }))
        .filter_map(|run| {
            let task = input.plan.task(&run.task)?;
            Some(Step::StopTask(of_run(task, run)))
        })
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
pub fn next(input: &Input<'_>, goal: Goal, now: Instant) -> Option<Instant> {
    if goal != Goal::Run || !scheduling(input) {
        return None;
    }
    let due = input.plan.cron.iter().filter_map(|cron| at(input, cron));
    let due = due.min()?.as_millisecond();
    Some(now + input.until(due))
}

/// Whether runs of operators and of the schedule wait: another revision is taking over, or the shop is on its way down.
#[must_use]
pub fn paused(input: &Input<'_>) -> bool {
    input.goal() != Goal::Run || input.switching()
}

fn can_run(input: &Input<'_>, task: &TaskPlan) -> bool {
    task_has_secrets(input, task) && task.after.iter().all(|name| input.service_ready(name))
}

/// The run that is due, if one is. A run whose end was not seen is attached to, not begun again.
fn next_run(input: &Input<'_>, task: &TaskPlan) -> Option<Step> {
    if let Some(open) = input.entries.open_runs.get(&task.name) {
        if update::is_migration(open) {
            return None;
        }
        return Some(Step::RunTask(wanted(task, open.clone())));
    }
    if task.once && !input.entries.tasks_done.contains(&task.name) {
        let attempt = input.entries.attempts.get(&task.name).copied().unwrap_or(0);
        return Some(Step::RunTask(wanted(task, format!("once-{attempt}"))));
    }
    let asked = |stage: fn(&Stage) -> bool| {
        let mut runs = input.entries.runs.iter();
        runs.find(|run| run.task == task.name && stage(&run.stage))
            .map(|run| Step::Run(of_run(task, run), run.by))
    };
    if let Some(open) = asked(|stage| matches!(stage, Stage::Running { .. })) {
        return Some(open);
    }
    if paused(input) {
        return None;
    }
    asked(|stage| *stage == Stage::Queued).or_else(|| scheduled(input, task))
}

fn scheduled(input: &Input<'_>, task: &TaskPlan) -> Option<Step> {
    if !scheduling(input) {
        return None;
    }
    let mut times = input.plan.cron.iter().filter(|cron| cron.task == task.name);
    let due = times
        .find_map(|cron| at(input, cron).filter(|at| *at <= input.wall))?
        .as_second();
    let run = wanted(task, format!("cron-{due}-{}", task.name));
    Some(Step::Run(run, RunBy::Schedule))
}

/// Scheduled tasks run only in a shop that serves.
fn scheduling(input: &Input<'_>) -> bool {
    matches!(input.serving, Serve::Slot { .. }) && !paused(input) && !input.spec.maintenance
}

/// When it is due; none before its schedule has begun.
fn at(input: &Input<'_>, cron: &CronPlan) -> Option<Timestamp> {
    let last = last(input, &cron.task)?;
    let due = cron.when.next(Timestamp::from_millisecond(last).ok()?);
    let own = match cron.when {
        When::Every(_) => 0,
        When::Cron { .. } => second(&input.plan.store, &cron.task),
    };
    due.checked_add(SignedDuration::from_secs(own)).ok()
}

/// The second of a minute in which a store's task begins.
pub(super) fn second(store: &StoreId, task: &ServiceName) -> i64 {
    let [first, second, ..] = *Digest::of(format!("{store} {task}").as_bytes()).as_bytes();
    i64::from(u16::from_be_bytes([first, second]) % 60)
}

/// When it was begun last, unless a wrong clock said so.
fn last(input: &Input<'_>, task: &ServiceName) -> Option<i64> {
    let latest = input.wall.as_millisecond().saturating_add(AHEAD_MS);
    input.entries.runs.last(task).filter(|last| *last <= latest)
}

/// Schedules that have no beginning yet.
fn begin_schedules(input: &Input<'_>) -> Option<Step> {
    let fresh: Vec<ServiceName> = input
        .plan
        .cron
        .iter()
        .filter(|cron| scheduling(input) && last(input, &cron.task).is_none())
        .map(|cron| cron.task.clone())
        .collect();
    (!fresh.is_empty()).then_some(Step::BeginSchedule(fresh))
}

/// A run whose task the plan has no more: it cannot be attached to.
fn lost(input: &Input<'_>) -> Option<Step> {
    let mut runs = input.entries.runs.iter();
    runs.find(|run| !run.ended() && input.plan.task(&run.task).is_none())
        .map(|run| {
            let why = "the store's template has no such task any more";
            Step::EndRun(run.id.clone(), RunOutcome::Failed, why)
        })
}

fn wanted(task: &TaskPlan, run: String) -> TaskRun {
    TaskRun {
        task: task.name.clone(),
        run,
        arguments: Vec::new(),
        timeout: task.timeout,
    }
}

fn of_run(task: &TaskPlan, run: &Run) -> TaskRun {
    TaskRun {
        arguments: run.arguments.clone(),
        ..wanted(task, run.id.clone())
    }
}
