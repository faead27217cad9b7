//! Tasks of a store on real Docker: typed arguments, output as it is written, exit codes, cancel, the schedule, and what is left of them.

use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;
use shop_tests::docker;
use shop_tests::fleet::{Fleet, PATIENCE, Store};
use shop_tests::wait::wait_for;

#[derive(Debug, Deserialize)]
struct Tasks {
    tasks: Vec<Offer>,
    runs: Vec<Run>,
}

#[derive(Debug, Deserialize)]
struct Offer {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Run {
    id: String,
    task: String,
    state: String,
    exit_code: Option<i32>,
    scheduled: bool,
}

#[derive(Debug, Deserialize)]
struct Operation {
    id: String,
    kind: String,
}

fn tasks(store: &Store) -> anyhow::Result<Tasks> {
    store.fleet.json(&["store", "task", "list", &store.name])
}

fn run_of(store: &Store, id: &str) -> anyhow::Result<Run> {
    let mut runs = tasks(store)?.runs.into_iter();
    runs.find(|run| run.id == id)
        .with_context(|| format!("no run {id}"))
}

#[test]
fn a_task_with_arguments_is_run_once_and_shows_what_it_wrote() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let store = fleet.create_running("tasked", &[])?;
    let offered: Vec<String> = tasks(&store)?.tasks.into_iter().map(|it| it.name).collect();
    assert!(offered.contains(&"stock".to_owned()), "{offered:?}");
    assert!(!offered.contains(&"install".to_owned()), "{offered:?}");

    let run = ["store", "task", "run", "tasked"];
    let with = |rest: &[&'static str]| [&run[..], rest].concat();
    let wrong = fleet.ctl(&with(&["stock", "teapot-linde", "many"]))?;
    assert_ne!(wrong.code, Some(0), "{wrong:?}");
    let none = fleet.ctl(&with(&["no-such-task"]))?;
    assert_ne!(none.code, Some(0), "{none:?}");

    let followed = fleet
        .ctl(&with(&["stock", "teapot-linde", "7", "--follow"]))?
        .ok()?;
    assert!(!followed.trim().is_empty());
    let newest = tasks(&store)?.runs.into_iter().find(|run| !run.scheduled);
    let newest = newest.context("the run is listed")?;
    assert_eq!(
        (newest.task.as_str(), newest.state.as_str()),
        ("stock", "done")
    );
    assert_eq!(newest.exit_code, Some(0));
    let kept = fleet
        .ctl(&["store", "task", "logs", "tasked", &newest.id])?
        .ok()?;
    assert!(followed.contains(kept.trim()), "{followed} {kept}");

    // A product that is not there: the exit code is the task's, shopctl's says that it did not end well.
    let failed = fleet.ctl(&with(&["stock", "no-such-product", "7", "--wait"]))?;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    store.delete()
}

#[test]
fn a_cancelled_run_leaves_nothing_running() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let store = fleet.create_running("untasked", &[])?;
    let id = store.id()?;
    // The same task twice: the second one waits for the first, or runs after it.
    let run = ["store", "task", "run", "untasked", "reindex"];
    let first: Operation = fleet.json(&run)?;
    let second: Operation = fleet.json(&run)?;
    assert_eq!(
        (first.kind.as_str(), second.kind.as_str()),
        ("task", "task")
    );
    fleet.ctl(&["store", "task", "cancel", &second.id])?.ok()?;
    let ended = |run: &Run| !matches!(run.state.as_str(), "pending" | "queued" | "running");
    for operation in [&first, &second] {
        let what = format!("run {} has ended", operation.id);
        wait_for(&what, PATIENCE, || run_of(&store, &operation.id), ended)?;
    }
    let running = docker::of_store(&id)?
        .into_iter()
        .filter(|it| it.running && it.name.contains("-task-reindex-"))
        .count();
    assert_eq!(running, 0);
    store.delete()
}

#[test]
fn the_schedule_runs_by_itself_across_a_restart_of_the_agent() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let store = fleet.create_running("clockwork", &[])?;
    let id = store.id()?;
    let scheduled = || -> anyhow::Result<Vec<String>> {
        let runs = tasks(&store)?.runs.into_iter();
        Ok(runs
            .filter(|run| run.scheduled && run.task == "cron" && run.state == "done")
            .map(|run| run.id)
            .collect())
    };
    let minutes = Duration::from_secs(150);
    wait_for("the first scheduled run", minutes, scheduled, |it| {
        !it.is_empty()
    })?;
    let agent = docker::of_store(&id)?
        .into_iter()
        .find(|it| it.name.ends_with("-agent"))
        .context("no agent")?;
    docker::kill(&agent.name)?;
    let two = wait_for("the second one", minutes, scheduled, |it| it.len() >= 2)?;
    let mut once = two.clone();
    once.dedup();
    assert_eq!(two, once);
    store.delete()
}
