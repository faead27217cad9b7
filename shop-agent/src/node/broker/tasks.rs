//! One-shot containers: made from the plan, run to their end, attached to when the same run is asked for again.

use std::{sync::Arc, time::Duration};

use shop_plan::{
    TaskPlan,
    names::{self, label},
};
use shop_proto::{
    ServiceName,
    wire::broker::v1::{StartTaskRequest, StartTaskResponse},
};
use tonic::Status;

use super::{replies, service::Named};
use crate::node::{
    context::{Node, Store, now_unix_ms},
    docker::{ContainerState, EngineError, Observed, Scope, Urgency},
    replicas::{self, ReplicaError},
};

/// Exit code of a task that was killed, as a shell would say it.
const KILLED: i32 = 137;
/// A task that reached its timeout has had its time.
const KILL_GRACE: Duration = Duration::from_secs(1);

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
    // Plans declare no task arguments yet; what is not declared is not passed on.
    if !request.arguments.is_empty() {
        return Err(replies::invalid("this task takes no arguments"));
    }
    let plan = &named.rendered.plan;
    let place = node.place(&named.record);
    let spec = place
        .task(plan, &name, run)
        .map_err(|error| replies::of_replica(&ReplicaError::Render(error)))?;
    let task = plan.task(&name).ok_or_else(replies::unknown_plan)?;
    let found = inspect(node, &spec.name).await?;
    if found.is_none() {
        remove_ended(node, store, task).await?;
        replicas::create(node, store, spec.clone())
            .await
            .map_err(|error| replies::of_replica(&error))?;
    }
    let started = match found.map(|it| it.state) {
        Some(state @ (ContainerState::Running { .. } | ContainerState::Exited { .. })) => state,
        _ => {
            replicas::start(node, store, &spec, Urgency::First)
                .await
                .map_err(|error| replies::of_replica(&error))?;
            state(node, &spec.name).await?
        }
    };
    let ContainerState::Running { started_unix_ms } = started else {
        return Ok(exited(&started));
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
    Ok(exited(&state(node, &spec.name).await?))
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

/// Earlier runs were kept for their logs; a new one takes their place (and their address).
async fn remove_ended(node: &Node, store: &Store, task: &TaskPlan) -> Result<(), Status> {
    let containers = node
        .engine
        .list(Scope::Store(&node.id, &store.id))
        .await
        .map_err(|error| replies::of_engine(&error))?;
    for old in containers.iter().filter(|it| {
        it.label(label::KIND) == Some("task")
            && it.label(label::TASK) == Some(task.name.as_str())
            && !it.running()
    }) {
        replicas::remove(node, store, &old.name, false)
            .await
            .map_err(|error| replies::of_replica(&error))?;
    }
    Ok(())
}

fn exited(state: &ContainerState) -> StartTaskResponse {
    match state {
        ContainerState::Exited {
            code, oom_killed, ..
        } => StartTaskResponse {
            state: "exited".to_owned(),
            exit_code: *code,
            oom_killed: *oom_killed,
        },
        ContainerState::Running { .. } | ContainerState::Created => StartTaskResponse {
            state: "running".to_owned(),
            ..StartTaskResponse::default()
        },
        ContainerState::Removing | ContainerState::Dead => StartTaskResponse {
            state: "exited".to_owned(),
            exit_code: KILLED,
            oom_killed: false,
        },
    }
}
