//! What the control plane and people are told about the store: derived from what is, never from what was meant. Pure.

use std::collections::{BTreeMap, BTreeSet};

use shop_plan::StorePlan;
use shop_proto::{Digest, Generation, ReplicaKey, ServiceName, Slot};

use super::{
    order::Order,
    probe::NotReady,
    sealed::SealedTo,
    steps::{Goal, Health, Input, Replica, Target, Wanted, serve},
    supervise::STEADY,
    world::{Problem, World},
};
use crate::{
    engine::{ContainerState, Exit, Serve},
    ledger::Drifts,
};

pub mod changes;

pub use changes::Changes;

/// The store in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// For an order, or for the node to know the plan.
    Waiting,
    /// On the way to serving.
    Starting,
    /// Serves, and all is well.
    Running,
    /// Serves, but something is wrong.
    Degraded,
    /// On the way to rest.
    Stopping,
    /// At rest.
    Stopped,
    /// Something is lost that nobody here can bring back.
    Failed,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaReport {
    /// Which.
    pub key: ReplicaKey,
    /// Stable word, see the contract.
    pub phase: &'static str,
    /// Since when, in Unix milliseconds.
    pub since_unix_ms: i64,
    /// Stable code, or empty.
    pub reason: &'static str,
    /// How it ended last, when that matters.
    pub exit: Option<Exit>,
    /// How often it was started again.
    pub restarts: u32,
    /// What it said last before it failed.
    pub last_words: Option<SealedTo>,
}

/// One line of a progress display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepReport {
    /// `secrets`, `create`, `start:<service>`, `task:<task>` or `serve`.
    pub name: String,
    /// Where it stands.
    pub state: StepState,
    /// Unix milliseconds; 0 before it began.
    pub started_unix_ms: i64,
    /// Unix milliseconds; 0 before it ended.
    pub ended_unix_ms: i64,
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepState {
    /// Not begun.
    Pending,
    /// Being worked on.
    Running,
    /// Done.
    Done,
    /// Did not work; it is tried again.
    Failed,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Of the order it is about; none before the first.
    pub order: Option<(Generation, Digest)>,
    /// The plan, once rendered.
    pub plan: Option<Digest>,
    /// In one word.
    pub state: State,
    /// Stable code, empty when all is well.
    pub reason: &'static str,
    /// One sentence for a person.
    pub message: String,
    /// Containers that should exist.
    pub replicas: Vec<ReplicaReport>,
    /// Progress.
    pub steps: Vec<StepReport>,
    /// Slot that serves.
    pub serving: Option<Slot>,
    /// Last restart carried out.
    pub restart_seq: u64,
    /// What is in force, on its way in, and taken back.
    pub changes: Changes,
    /// What somebody changed by hand, repaired or not.
    pub drift: Drifts,
    /// Volumes that existed and are gone.
    pub lost_volumes: BTreeSet<ServiceName>,
}

/// What the probes complain about.
#[derive(Debug, Default)]
pub struct Complaints {
    /// Of containers.
    pub replicas: BTreeMap<ReplicaKey, NotReady>,
    /// Of the deep check.
    pub deep: Option<NotReady>,
}

/// When each step began and ended, and since when each container is as it is.
#[derive(Debug, Default)]
pub struct Progress {
    steps: BTreeMap<String, (i64, i64)>,
    phases: BTreeMap<ReplicaKey, (&'static str, i64)>,
}

impl Report {
    /// Before the first order, or while the plan cannot be used.
    #[must_use]
    pub fn waiting(
        order: Option<(Generation, Digest)>,
        reason: &'static str,
        message: &str,
    ) -> Self {
        Self {
            order,
            plan: None,
            state: State::Waiting,
            reason,
            message: message.to_owned(),
            replicas: Vec::new(),
            steps: Vec::new(),
            serving: None,
            restart_seq: 0,
            changes: Changes::default(),
            drift: Drifts::default(),
            lost_volumes: BTreeSet::new(),
        }
    }
}

impl Progress {
    /// Steps begin anew with every new goal.
    pub fn begin_anew(&mut self) {
        self.steps.clear();
    }

    fn since(&mut self, mut replica: ReplicaReport, now_unix_ms: i64) -> ReplicaReport {
        let (phase, since) = self
            .phases
            .entry(replica.key.clone())
            .or_insert((replica.phase, now_unix_ms));
        if *phase != replica.phase {
            (*phase, *since) = (replica.phase, now_unix_ms);
        }
        replica.since_unix_ms = *since;
        replica
    }

    fn stamp(&mut self, name: String, state: StepState, now_unix_ms: i64) -> StepReport {
        let (started, ended) = self.steps.entry(name.clone()).or_default();
        match state {
            StepState::Pending => (*started, *ended) = (0, 0),
            StepState::Running | StepState::Failed => {
                if *started == 0 {
                    *started = now_unix_ms;
                }
                *ended = 0;
            }
            StepState::Done => {
                if *started == 0 {
                    *started = now_unix_ms;
                }
                if *ended == 0 {
                    *ended = now_unix_ms;
                }
            }
        }
        StepReport {
            name,
            state,
            started_unix_ms: *started,
            ended_unix_ms: *ended,
        }
    }
}

/// Describes a store with an order.
#[must_use]
pub fn describe(
    order: &Order,
    input: &Input<'_>,
    world: &World,
    complaints: &Complaints,
    progress: &mut Progress,
    now_unix_ms: i64,
) -> Report {
    let goal = input.goal();
    let tasks = input
        .plan
        .tasks
        .iter()
        .filter_map(|plan| task(world, &plan.name));
    let replicas: Vec<ReplicaReport> = input
        .wanted()
        .map(|it| replica(input, world, it.key, goal))
        .chain(tasks)
        .map(|replica| progress.since(replica, now_unix_ms))
        .collect();
    let (reason, message) = trouble(input, world, complaints, goal);
    Report {
        order: Some((order.accepted.generation, order.spec)),
        plan: Some(order.rendered.digest),
        state: state(input, world, complaints, goal),
        reason,
        message,
        replicas,
        steps: in_order(
            progress_of(input, world, goal)
                .into_iter()
                .map(|(name, state)| progress.stamp(name, state, now_unix_ms))
                .collect(),
        ),
        serving: match input.serving {
            Serve::Slot { slot, .. } => Some(*slot),
            Serve::None | Serve::Maintenance | Serve::Paused => None,
        },
        drift: input.drift.clone(),
        restart_seq: input.entries.restart_seq,
        changes: changes::describe(input),
        lost_volumes: world.lost_volumes.clone(),
    }
}

/// Much is done at once: what is done comes first, in the order it was done, then what is being done, then the rest.
fn in_order(mut steps: Vec<StepReport>) -> Vec<StepReport> {
    steps.sort_by_key(|step| match step.state {
        StepState::Done => (0, step.ended_unix_ms),
        StepState::Running | StepState::Failed => (1, 0),
        StepState::Pending => (2, 0),
    });
    steps
}

fn state(input: &Input<'_>, world: &World, complaints: &Complaints, goal: Goal) -> State {
    let active = input.replicas.values().any(Replica::running)
        || *input.serving != serve::at_rest(input.spec.run_state);
    match goal {
        Goal::Stop if active || !input.busy.is_empty() => State::Stopping,
        Goal::Stop => State::Stopped,
        Goal::Restart => State::Stopping,
        Goal::Run if !world.lost_volumes.is_empty() => State::Failed,
        Goal::Run if serve::page(input) && !input.spec.maintenance => State::Degraded,
        Goal::Run => match input.serving {
            Serve::Slot { .. } | Serve::Maintenance => {
                let well = input.wanted().filter(|it| !it.next).all(|it| {
                    input
                        .replicas
                        .get(&it.key)
                        .is_some_and(|replica| replica.running() && !replica.health.bad())
                });
                // What is coming or leaving is told by the update.
                let in_force =
                    |key: &ReplicaKey| input.wanted().any(|it| !it.next && it.key == *key);
                let looping = world.records.iter().any(|(target, record)| {
                    let matters = match target {
                        Target::Replica(key) => in_force(key),
                        other => world.problems.contains_key(other),
                    };
                    record.looping() && matters
                });
                if well && !looping && complaints.deep.is_none() {
                    State::Running
                } else {
                    State::Degraded
                }
            }
            Serve::None | Serve::Paused => State::Starting,
        },
    }
}

fn replica(input: &Input<'_>, world: &World, key: ReplicaKey, goal: Goal) -> ReplicaReport {
    let target = Target::Replica(key.clone());
    let record = world.records.get(&target);
    let looping = record.is_some_and(super::supervise::Record::looping) && goal == Goal::Run;
    let problem = world.problems.get(&target);
    let found = input.replicas.get(&key);
    let phase = match found.map(|replica| (&replica.state, replica.health)) {
        _ if looping => "crash_looping",
        None | Some((ContainerState::Going, _)) => "absent",
        Some((ContainerState::Running { .. }, _)) if goal != Goal::Run => "stopping",
        Some((ContainerState::Created, _)) => "created",
        Some((ContainerState::Exited(_), _)) => "exited",
        Some((ContainerState::Running { .. }, Health::Ready)) => "ready",
        Some((ContainerState::Running { .. }, _)) if world.ready_since.contains_key(&key) => {
            "unready"
        }
        Some((ContainerState::Running { .. }, _)) => "starting",
    };
    ReplicaReport {
        reason: problem.map_or("", |problem| problem.reason),
        exit: problem.and_then(|problem| problem.exit.clone()),
        since_unix_ms: 0,
        restarts: record.map_or(0, super::supervise::Record::restarts),
        last_words: problem.and(world.last_words.get(&target).cloned()),
        phase,
        key,
    }
}

fn lost(world: &World) -> String {
    let names: Vec<&str> = world.lost_volumes.iter().map(ServiceName::as_str).collect();
    format!(
        "the data of {} is gone from the node; nothing that uses it is started, and no empty one takes its place",
        names.join(", ")
    )
}

/// A task that failed is told like a container; one that did not is a step only.
fn task(world: &World, name: &ServiceName) -> Option<ReplicaReport> {
    let target = Target::Task(name.clone());
    let problem = world.problems.get(&target)?;
    Some(ReplicaReport {
        key: ReplicaKey {
            service: name.clone(),
            slot: Slot::Fixed,
            replica: 0,
        },
        phase: "exited",
        reason: problem.reason,
        exit: problem.exit.clone(),
        since_unix_ms: 0,
        restarts: world
            .records
            .get(&target)
            .map_or(0, super::supervise::Record::restarts),
        last_words: world.last_words.get(&target).cloned(),
    })
}

/// The first thing that is wrong, in start order: what comes later is often its consequence.
fn trouble(
    input: &Input<'_>,
    world: &World,
    complaints: &Complaints,
    goal: Goal,
) -> (&'static str, String) {
    let tell = |problem: &Problem| (problem.reason, problem.message.clone());
    if !world.lost_volumes.is_empty() {
        return ("volume_lost", lost(world));
    }
    if goal == Goal::Run
        && let Some(told) = changes::trouble(input)
    {
        return told;
    }
    let secrets = input.plan.secret_consumers();
    let first = secrets
        .keys()
        .find_map(|consumer| world.problems.get(&Target::Secrets(consumer.clone())))
        .map(tell);
    if let Some(found) = first {
        return found;
    }
    // What is on its way in is told by the update.
    for Wanted { key, .. } in input.wanted().filter(|it| !it.next) {
        let target = Target::Replica(key.clone());
        let looping = world
            .records
            .get(&target)
            .is_some_and(super::supervise::Record::looping);
        match world.problems.get(&target) {
            Some(problem) if looping && goal == Goal::Run => {
                return (
                    "crash_looping",
                    format!("{}, again and again", problem.message),
                );
            }
            Some(problem) => return tell(problem),
            None if looping && goal == Goal::Run => {
                return (
                    "crash_looping",
                    format!(
                        "{} ended again and again; all is well once it has been ready for {} s",
                        key.service,
                        STEADY.as_secs()
                    ),
                );
            }
            None => {}
        }
    }
    for task in &input.plan.tasks {
        if let Some(problem) = world.problems.get(&Target::Task(task.name.clone())) {
            return tell(problem);
        }
    }
    let own = [
        Target::Serve,
        Target::Ledger,
        Target::Runs,
        Target::Drift,
        Target::Logins,
    ];
    if let Some(problem) = own.iter().find_map(|target| world.problems.get(target)) {
        return tell(problem);
    }
    if goal == Goal::Run {
        let in_force = |key: &ReplicaKey| input.wanted().any(|it| !it.next && it.key == *key);
        if let Some((key, complaint)) = complaints.replicas.iter().find(|it| in_force(it.0)) {
            return (
                "probe_failed",
                format!("{} is not ready: {complaint}", key.service),
            );
        }
        if let Some(complaint) = &complaints.deep {
            return (
                "probe_failed",
                format!("the shop's own health page: {complaint}"),
            );
        }
    }
    ("", String::new())
}

fn progress_of(input: &Input<'_>, world: &World, goal: Goal) -> Vec<(String, StepState)> {
    let judge = |done: bool, failed: bool, running: bool| match (done, failed, running) {
        (true, ..) => StepState::Done,
        (_, true, _) => StepState::Failed,
        (.., true) => StepState::Running,
        _ => StepState::Pending,
    };
    let plan: &StorePlan = input.plan;
    if goal != Goal::Run {
        return stop_progress(input);
    }
    let problem = |target: &Target| world.problems.contains_key(target);
    let consumers: Vec<ServiceName> = plan.secret_consumers().into_keys().collect();
    let mut steps = vec![
        (
            "secrets".to_owned(),
            judge(
                consumers
                    .iter()
                    .all(|consumer| input.delivered.contains(consumer)),
                consumers
                    .iter()
                    .any(|consumer| problem(&Target::Secrets(consumer.clone()))),
                true,
            ),
        ),
        (
            "create".to_owned(),
            judge(
                input
                    .wanted()
                    .all(|it| input.replicas.contains_key(&it.key)),
                input.wanted().any(|it| {
                    !input.replicas.contains_key(&it.key) && problem(&Target::Replica(it.key))
                }),
                true,
            ),
        ),
    ];
    for service in &plan.services {
        let keys: Vec<ReplicaKey> = input.wanted_of(service).collect();
        let any = |check: &dyn Fn(&ReplicaKey) -> bool| keys.iter().any(check);
        let running = any(&|key| {
            input.replicas.get(key).is_some_and(Replica::running)
                || input.busy.contains(&Target::Replica(key.clone()))
        });
        let failed = any(&|key| problem(&Target::Replica(key.clone())));
        let done = keys
            .iter()
            .all(|key| input.replicas.get(key).is_some_and(Replica::ready));
        steps.push((
            format!("start:{}", service.name),
            judge(done, failed, running),
        ));
    }
    for task in plan.tasks.iter().filter(|task| task.once) {
        let target = Target::Task(task.name.clone());
        let done = input.entries.tasks_done.contains(&task.name);
        steps.push((
            format!("task:{}", task.name),
            judge(done, problem(&target), input.busy.contains(&target)),
        ));
    }
    let serves = matches!(input.serving, Serve::Slot { .. });
    steps.push((
        "serve".to_owned(),
        judge(serves, problem(&Target::Serve), serve::deep_due(input)),
    ));
    steps
}

fn stop_progress(input: &Input<'_>) -> Vec<(String, StepState)> {
    let silent = *input.serving == serve::at_rest(input.spec.run_state);
    let mut steps = vec![(
        "unserve".to_owned(),
        if silent {
            StepState::Done
        } else {
            StepState::Running
        },
    )];
    for service in input.plan.services.iter().rev() {
        let running = input
            .replicas
            .iter()
            .any(|(key, replica)| key.service == service.name && replica.running());
        let busy = input.replicas.keys().any(|key| {
            key.service == service.name && input.busy.contains(&Target::Replica(key.clone()))
        });
        let state = match (running, busy) {
            (_, true) => StepState::Running,
            (true, false) => StepState::Pending,
            (false, false) => StepState::Done,
        };
        steps.push((format!("stop:{}", service.name), state));
    }
    steps
}
