//! One-shot containers: made from the plan, run to their end, attached to when the same run is asked for again.
//! They are kept for a while after their end, for their output.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use shop_plan::names::{self, label};
use shop_proto::{
    ServiceName,
    wire::broker::v1::{StartTaskRequest, StartTaskResponse},
};
use tonic::Status;

use super::{replies, service::Named};
use crate::node::{
    context::{Node, Store, now_unix_ms},
    docker::{ContainerSpec, ContainerState, EngineError, Observed, Scope, Urgency},
    replicas::{self, ReplicaError},
};

/// Exit code of a task that was killed, as a shell would say it.
const KILLED: i32 = 137;
/// A task that reached its timeout has had its time.
const KILL_GRACE: Duration = Duration::from_secs(1);
/// A task that an operator ends may finish what it is at.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// Ended runs of a store that are kept for their output, the one that begins included.
const KEPT: usize = 20;
/// Of those, runs of one scheduled task.
const KEPT_SCHEDULED: usize = 3;
/// How long: seven days, in milliseconds.
const KEPT_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// The name of a run's container.
pub(super) fn container(
    node: &Node,
    store: &Store,
    task: &str,
    run: &str,
) -> Result<String, Status> {
    let task: ServiceName = task
        .parse()
        .map_err(|error| replies::invalid(format!("task: {error}")))?;
    Ok(names::task(&node.id, &store.id, &task, checked(run)?))
}

fn checked(run: &str) -> Result<&str, Status> {
    let good = (1..=40).contains(&run.len())
        && run
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    good.then_some(run)
        .ok_or_else(|| replies::invalid("run_id is 1 to 40 characters a-z, 0-9 and hyphen"))
}

/// Runs the task, or attaches to the run there is; returns when it has ended.
pub(super) async fn run(
    node: &Arc<Node>,
    store: &Store,
    named: &Named,
    request: &StartTaskRequest,
) -> Result<StartTaskResponse, Status> {
    let run = checked(&request.run_id)?;
    let name: ServiceName = request
        .task
        .parse()
        .map_err(|error| replies::invalid(format!("task: {error}")))?;
    let plan = &named.rendered.plan;
    let place = node.place(&named.record);
    let spec = place
        .task(plan, &name, run, &request.arguments)
        .map_err(|error| replies::of_replica(&ReplicaError::Render(error)))?;
    let task = plan.task(&name).ok_or_else(replies::unknown_plan)?;
    let started = begin(node, store, &spec).await?;
    let ContainerState::Running { started_unix_ms } = started else {
        return Ok(exited(&started, task.timeout));
    };
    // Attaching again gives no more time.
    let elapsed = u64::try_from(now_unix_ms() - started_unix_ms).unwrap_or(0);
    let left = task.timeout.saturating_sub(Duration::from_millis(elapsed));
    if node.engine.wait(&spec.name, left).await.is_err() {
        tracing::warn!(store = %store.id, task = %name, "a task reached its timeout");
        node.engine
            .stop(&spec.name, KILL_GRACE)
            .await
            .map_err(|error| replies::of_engine(&error))?;
    }
    Ok(exited(&state(node, &spec.name).await?, task.timeout))
}

/// Makes and starts the run's container, unless that was done before.
async fn begin(
    node: &Arc<Node>,
    store: &Store,
    spec: &ContainerSpec,
) -> Result<ContainerState, Status> {
    // One at a time, until it has started: whatever else was made and has not is nobody's then.
    let gate = store.gate("tasks");
    let turn = gate.acquire().await;
    let _turn = turn.map_err(|_| replies::of_replica(&ReplicaError::Closed))?;
    let found = inspect(node, &spec.name).await?;
    if let Some(state @ (ContainerState::Running { .. } | ContainerState::Exited { .. })) =
        found.as_ref().map(|it| it.state.clone())
    {
        return Ok(state);
    }
    if found.is_none() {
        forget(node, store).await?;
        replicas::create(node, store, spec.clone())
            .await
            .map_err(|error| replies::of_replica(&error))?;
    }
    replicas::start(node, store, spec, Urgency::First)
        .await
        .map_err(|error| replies::of_replica(&error))?;
    state(node, &spec.name).await
}

/// Ends a run before its time. One that has ended or never began is left as it is.
pub(super) async fn stop(node: &Node, store: &Store, task: &str, run: &str) -> Result<(), Status> {
    let name = container(node, store, task, run)?;
    node.engine
        .stop(&name, STOP_GRACE)
        .await
        .map_err(|error| replies::of_engine(&error))?;
    Ok(())
}

async fn inspect(node: &Node, name: &str) -> Result<Option<Observed>, Status> {
    node.engine
        .inspect(name)
        .await
        .map_err(|error| replies::of_engine(&error))
}

async fn state(node: &Node, name: &str) -> Result<ContainerState, Status> {
    let found = inspect(node, name).await?;
    found.map(|it| it.state).ok_or_else(|| {
        replies::of_engine(&EngineError::Refused {
            operation: "find a task's container",
            status: 404,
            text: String::new(),
        })
    })
}

/// Runs that have ended are kept for their logs, until there are too many or they are too old.
async fn forget(node: &Node, store: &Store) -> Result<(), Status> {
    let containers = node
        .engine
        .list(Scope::Kind(&node.id, &store.id, "task"))
        .await
        .map_err(|error| replies::of_engine(&error))?;
    for name in to_forget(&containers, now_unix_ms()) {
        replicas::remove(node, store, &name, false)
            .await
            .map_err(|error| replies::of_replica(&error))?;
    }
    Ok(())
}

/// What is to go before another run begins: runs that have ended, and containers that were made and never started. Two runs of one task
/// share an address, so the engine starts only one; who asks for many would leave as many that wait.
fn to_forget(containers: &[Observed], now: i64) -> Vec<String> {
    let ended = containers.iter().filter_map(Kept::of).collect();
    let never_started = |it: &&Observed| it.state == ContainerState::Created;
    let left = containers.iter().filter(never_started);
    left.map(|it| it.name.clone())
        .chain(too_many(ended, now))
        .collect()
}

/// A run that has ended and whose output is still there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    name: String,
    task: String,
    scheduled: bool,
    ended_unix_ms: i64,
}

impl Kept {
    fn of(observed: &Observed) -> Option<Self> {
        let ContainerState::Exited {
            finished_unix_ms, ..
        } = observed.state
        else {
            return None;
        };
        let run = observed.label(label::RUN)?;
        Some(Self {
            name: observed.name.clone(),
            task: observed.label(label::TASK)?.to_owned(),
            scheduled: run.starts_with("cron-"),
            ended_unix_ms: finished_unix_ms,
        })
    }
}

/// Those to remove before another run begins. Scheduled ones come often: they must not push out what an operator asked for.
fn too_many(mut ended: Vec<Kept>, now: i64) -> Vec<String> {
    ended.sort_by_key(|run| std::cmp::Reverse(run.ended_unix_ms));
    let mut kept = 0;
    let mut of_task: BTreeMap<String, usize> = BTreeMap::new();
    let mut gone = Vec::new();
    for run in ended {
        let of_schedule = if run.scheduled {
            of_task.entry(run.task).or_default()
        } else {
            &mut 0
        };
        *of_schedule += 1;
        let old = now.saturating_sub(run.ended_unix_ms) > KEPT_MS;
        if old || kept >= KEPT - 1 || *of_schedule > KEPT_SCHEDULED {
            gone.push(run.name);
        } else {
            kept += 1;
        }
    }
    gone
}

fn exited(state: &ContainerState, timeout: Duration) -> StartTaskResponse {
    match state {
        ContainerState::Exited {
            code,
            oom_killed,
            started_unix_ms,
            finished_unix_ms,
        } => {
            let took = u64::try_from(finished_unix_ms - started_unix_ms).unwrap_or(0);
            StartTaskResponse {
                state: "exited".to_owned(),
                exit_code: *code,
                oom_killed: *oom_killed,
                // Who is asked again after its end knows it no other way.
                timed_out: *code != 0 && Duration::from_millis(took) >= timeout,
            }
        }
        ContainerState::Running { .. } | ContainerState::Created => StartTaskResponse {
            state: "running".to_owned(),
            ..StartTaskResponse::default()
        },
        ContainerState::Removing | ContainerState::Dead => StartTaskResponse {
            state: "exited".to_owned(),
            exit_code: KILLED,
            ..StartTaskResponse::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, scheduled: bool, ended_unix_ms: i64) -> Kept {
        Kept {
            name: name.to_owned(),
            task: "cron".to_owned(),
            scheduled,
            ended_unix_ms,
        }
    }

    #[test]
    fn the_newest_runs_are_kept_and_scheduled_ones_push_out_no_others() {
        let mut ended: Vec<Kept> = (0..50)
            .map(|at| run(&format!("cron-{at}"), true, 1000 + at))
            .collect();
        ended.extend((0..5).map(|at| run(&format!("op-{at}"), false, at)));
        let gone = too_many(ended, 2000);
        assert_eq!(gone.len(), 50 - KEPT_SCHEDULED);
        assert!(gone.iter().all(|name| name.starts_with("cron-")));
        assert!(!gone.contains(&"cron-49".to_owned()));
    }

    #[test]
    fn there_is_room_for_one_more_and_what_is_old_goes() {
        let ended: Vec<Kept> = (0..40)
            .map(|at| run(&format!("op-{at}"), false, at))
            .collect();
        assert_eq!(too_many(ended.clone(), 50).len(), 40 - (KEPT - 1));
        assert_eq!(too_many(ended, KEPT_MS + 1000).len(), 40);
    }

    #[test]
    fn what_was_made_and_never_started_goes_and_what_runs_stays() {
        let task = |name: &str, state| Observed {
            id: String::new(),
            name: name.to_owned(),
            labels: [(label::RUN, "op"), (label::TASK, "report")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            limits: Default::default(),
            stop_signal: String::new(),
            stop_grace: None,
            state,
            networks: Vec::new(),
        };
        let ended = ContainerState::Exited {
            code: 0,
            oom_killed: false,
            started_unix_ms: 1,
            finished_unix_ms: 2,
        };
        let mut there = vec![
            task("runs", ContainerState::Running { started_unix_ms: 1 }),
            task("ended", ended),
        ];
        there.extend((0..100).map(|at| task(&format!("waits-{at}"), ContainerState::Created)));
        let gone = to_forget(&there, 3);
        assert_eq!(gone.len(), 100);
        assert!(gone.iter().all(|name| name.starts_with("waits-")));
    }

    #[test]
    fn who_asks_after_the_end_hears_of_the_timeout() {
        let ended = |code, finished_unix_ms| ContainerState::Exited {
            code,
            oom_killed: false,
            started_unix_ms: 1000,
            finished_unix_ms,
        };
        let timeout = Duration::from_secs(5);
        assert!(exited(&ended(137, 6001), timeout).timed_out);
        assert!(!exited(&ended(1, 5999), timeout).timed_out);
        assert!(!exited(&ended(0, 6001), timeout).timed_out);
    }
}
