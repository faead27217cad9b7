//! The steps of an operation: its milestones, with what the agent says of its own steps between them.

use jiff::Timestamp;

use super::current_report;
use crate::domain::{
    operation::{Operation, OperationKind, OperationState, Step, StepState},
    store::{Lifecycle, Store},
    update,
};

/// Step of a deletion that had a time of grace.
const GRACE_OVER: &str = "grace over";
/// Steps that an agent may add to an operation.
const MAX_AGENT_STEPS: usize = 40;
/// Steps behind the agent's: the one that ends the operation.
const LAST_STEPS: usize = 1;

/// A milestone: its name and whether it is behind us.
pub(in crate::domain) type Milestone = (&'static str, bool);

fn milestones(store: &Store, operation: &Operation, ended_well: bool) -> Vec<Milestone> {
    let generation = store.generation.get();
    let placed = store.placement.is_some();
    let at_agent = store.on_agent.generation >= generation;
    let prepared = store.on_node.generation >= generation && store.on_node.state == "prepared";
    match operation.kind {
        OperationKind::Create => vec![
            ("accepted", true),
            ("placed", placed),
            ("prepared", prepared),
            ("enrolled", store.on_agent.enrolled),
            ("serving", ended_well),
        ],
        OperationKind::Start
        | OperationKind::Restart
        | OperationKind::Wake
        | OperationKind::Undelete => vec![
            ("accepted", true),
            ("placed", placed && !store.waits_for_room()),
            ("delivered", at_agent),
            ("serving", ended_well),
        ],
        OperationKind::Stop => vec![
            ("accepted", true),
            ("delivered", at_agent),
            ("stopped", ended_well),
        ],
        OperationKind::Pause => vec![
            ("accepted", true),
            ("delivered", at_agent),
            ("paused", ended_well),
        ],
        OperationKind::Update
        | OperationKind::Rollback
        | OperationKind::Rotate
        | OperationKind::Scale
        | OperationKind::Maintenance
        | OperationKind::Hold
        | OperationKind::Release
        | OperationKind::Configure => update::milestones(store, operation, ended_well),
        OperationKind::Task => vec![("accepted", true), ("ended", ended_well)],
        OperationKind::Delete => {
            let state = store.on_node.state.as_str();
            let removing = state == "removing";
            let waits = matches!(store.lifecycle, Lifecycle::Grace { .. });
            let waited = operation.steps.iter().any(|step| step.name == GRACE_OVER);
            let mut milestones = vec![("accepted", true)];
            if waits || waited {
                milestones.push((GRACE_OVER, !waits));
            }
            milestones.extend([
                (
                    "tombstoned",
                    matches!(state, "tombstoned" | "stopping" | "blocked") || removing,
                ),
                ("stopped", removing),
                ("removed", ended_well),
            ]);
            milestones
        }
    }
}

/// The list people watch: our milestones with the agent's own steps before the last one. What is behind a done step is done.
pub(super) fn steps(
    store: &Store,
    operation: &Operation,
    state: OperationState,
    now: Timestamp,
) -> Vec<Step> {
    let milestones = milestones(store, operation, state == OperationState::Succeeded);
    let ours = |(name, done): &Milestone| Step {
        name: (*name).to_owned(),
        state: if *done {
            StepState::Done
        } else {
            StepState::Pending
        },
        message: String::new(),
        started_ms: None,
        ended_ms: None,
    };
    let (early, last) = milestones.split_at(before_the_agents(operation.kind, &milestones));
    let agent_steps = current_report(store)
        .filter(|_| operation.kind != OperationKind::Delete)
        .map(|report| report.steps.as_slice())
        .unwrap_or_default();
    let taken: Vec<&str> = milestones.iter().map(|(name, _)| *name).collect();
    let time = |ms: i64| (ms > 0).then_some(ms);
    let theirs = agent_steps
        .iter()
        .filter(|step| !taken.contains(&step.name.as_str()))
        .take(MAX_AGENT_STEPS)
        .map(|step| Step {
            name: step.name.clone(),
            state: match step.state.as_str() {
                "done" => StepState::Done,
                "failed" => StepState::Failed,
                "running" => StepState::Running,
                _ => StepState::Pending,
            },
            message: String::new(),
            started_ms: time(step.started_unix_ms),
            ended_ms: time(step.ended_unix_ms),
        });
    let mut steps: Vec<Step> = early
        .iter()
        .map(ours)
        .chain(theirs)
        .chain(last.iter().map(ours))
        .collect();
    mark(&mut steps, operation, state, now);
    steps
}

/// How many milestones come before what the agent says of its own work. The phases of an update are the agent's word already, and the last
/// thing an operator waits for: what it started long ago stands before them.
fn before_the_agents(kind: OperationKind, milestones: &[Milestone]) -> usize {
    let delivered = milestones.iter().position(|(name, _)| *name == "delivered");
    match delivered {
        Some(delivered) if kind.brings_revision() => delivered + 1,
        _ => milestones.len() - LAST_STEPS,
    }
}

/// Fills in what follows from the order of the steps, and when each began and ended.
pub(super) fn mark(
    steps: &mut [Step],
    operation: &Operation,
    state: OperationState,
    now: Timestamp,
) {
    let now = now.as_millisecond();
    let done_until = steps
        .iter()
        .rposition(|step| step.state == StepState::Done)
        .map_or(0, |index| index + 1);
    for (index, step) in steps.iter_mut().enumerate() {
        if index < done_until {
            step.state = StepState::Done;
        } else if index == done_until && step.state == StepState::Pending {
            step.state = StepState::Running;
        }
        if state == OperationState::Failed && step.state == StepState::Running {
            step.state = StepState::Failed;
        }
        if state == OperationState::Cancelled && step.state == StepState::Running {
            step.state = StepState::Pending;
        }
        let before = operation.steps.iter().find(|old| old.name == step.name);
        if step.state != StepState::Pending {
            step.started_ms = step
                .started_ms
                .or_else(|| before.and_then(|old| old.started_ms))
                .or(Some(now));
        }
        if matches!(step.state, StepState::Done | StepState::Failed) {
            step.ended_ms = step
                .ended_ms
                .or_else(|| before.and_then(|old| old.ended_ms))
                .or(Some(now));
        }
    }
}
