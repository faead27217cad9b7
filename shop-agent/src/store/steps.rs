//! Decides what to do next: pure, level-triggered, one pass. The same input gives the same steps; a state that is right gives none.
//!
//! Which may start when:
//! - Everything is *created* at once: that needs neither secrets nor dependencies.
//! - *Fixed* services (database, cache, search, workers) start when their secrets are delivered, what they depend on is ready and the
//!   once-tasks they wait for are done.
//! - *Slotted* services (web, php-fpm) get traffic only through `Serve`, so they start as soon as their secrets are delivered; it is
//!   `Serve` that waits for their dependencies, the once-tasks and the deep check.
//!
//! In which order starts are asked for: see [`starts`].
//!
//! Stopping is the reverse: nobody serves, then the services nobody running depends on, and so on; slotted ones before fixed ones.

use std::collections::{BTreeMap, BTreeSet};

use shop_plan::{ServicePlan, StorePlan, TaskPlan};
use shop_proto::{Digest, ReplicaKey, RunState, ServiceName, Slot, Spec};
use tokio::time::Instant;

use crate::{
    engine::{ContainerState, Serve, TaskRun},
    ledger::Entries,
};

pub mod serve;
mod starts;
mod tasks;
#[cfg(test)]
mod tests;

/// Everything a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// What the store consists of.
    pub plan: &'a StorePlan,
    /// How it should run.
    pub spec: &'a Spec,
    /// What is on disk.
    pub entries: &'a Entries,
    /// Containers there are.
    pub replicas: &'a BTreeMap<ReplicaKey, Replica>,
    /// Consumers whose secrets are delivered.
    pub delivered: &'a BTreeSet<ServiceName>,
    /// Who serves.
    pub serving: &'a Serve,
    /// The whole store has answered through its edge service since it was last started.
    pub deep: bool,
    /// What is being worked on.
    pub busy: &'a BTreeSet<Target>,
    /// What must not be touched before a time.
    pub holds: &'a BTreeMap<Target, Instant>,
    /// When each scheduled task started last, or the schedule began.
    pub schedule: &'a BTreeMap<ServiceName, Instant>,
    /// Until when running tasks may hold up a stop.
    pub tasks_until: Instant,
    /// Names a scheduled run.
    pub run_seed: u64,
}

/// A container and what we know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// What it was made from.
    pub spec_hash: Digest,
    /// What the engine says.
    pub state: ContainerState,
    /// What its probe says.
    pub health: Health,
}

/// What a probe says of a running container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Not asked since it started.
    Unknown,
    /// Can serve.
    Ready,
    /// Cannot.
    Unready,
}

/// What a step acts on: at most one step at a time acts on each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A consumer's secrets.
    Secrets(ServiceName),
    /// A container.
    Replica(ReplicaKey),
    /// A task.
    Task(ServiceName),
    /// The answer for the store's host names.
    Serve,
    /// The ledger.
    Ledger,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Hand a consumer its secrets.
    Deliver(ServiceName),
    /// Make a container.
    Create(ReplicaKey),
    /// Start it.
    Start(ReplicaKey),
    /// Stop it.
    Stop(ReplicaKey),
    /// Remove it, stopped.
    Remove(ReplicaKey),
    /// Run a task.
    RunTask(TaskRun),
    /// Say who serves.
    Serve(Serve),
    /// Everything has stopped for this restart.
    Restarted(u64),
}

/// What the store is heading for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Serve.
    Run,
    /// Stop everything, then serve again.
    Restart,
    /// Stop everything.
    Stop,
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steps {
    /// What it heads for.
    pub goal: Goal,
    /// What to do now, all of it at once.
    pub now: Vec<Step>,
    /// When to decide again, if nothing happens before.
    pub wake: Option<Instant>,
}

impl Step {
    /// What it acts on.
    #[must_use]
    pub fn target(&self) -> Target {
        match self {
            Self::Deliver(consumer) => Target::Secrets(consumer.clone()),
            Self::Create(key) | Self::Start(key) | Self::Stop(key) | Self::Remove(key) => {
                Target::Replica(key.clone())
            }
            Self::RunTask(run) => Target::Task(run.task.clone()),
            Self::Serve(_) => Target::Serve,
            Self::Restarted(_) => Target::Ledger,
        }
    }
}

impl Replica {
    /// Whether its process runs.
    #[must_use]
    pub const fn running(&self) -> bool {
        matches!(self.state, ContainerState::Running { .. })
    }

    /// Whether it runs and can serve.
    #[must_use]
    pub const fn ready(&self) -> bool {
        self.running() && matches!(self.health, Health::Ready)
    }
}

impl Input<'_> {
    /// What the store heads for.
    #[must_use]
    pub fn goal(&self) -> Goal {
        match self.spec.run_state {
            RunState::Stopped | RunState::Paused => Goal::Stop,
            RunState::Running if self.spec.restart_seq > self.entries.restart_seq => Goal::Restart,
            RunState::Running => Goal::Run,
        }
    }

    /// The slot in use.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.entries.slot.unwrap_or(Slot::A)
    }

    /// Containers that should exist of a service.
    pub fn wanted_of<'p>(
        &self,
        service: &'p ServicePlan,
    ) -> impl Iterator<Item = ReplicaKey> + use<'p> {
        let (slot, replicas) = if service.kind.slotted() {
            (self.slot(), self.spec.replicas(&service.name))
        } else {
            (Slot::Fixed, 1)
        };
        (0..replicas).map(move |replica| ReplicaKey {
            service: service.name.clone(),
            slot,
            replica,
        })
    }

    /// All containers that should exist, in start order.
    pub fn wanted(&self) -> impl Iterator<Item = (&ServicePlan, ReplicaKey)> {
        self.plan
            .services
            .iter()
            .flat_map(|service| self.wanted_of(service).map(move |key| (service, key)))
    }

    /// Whether at least one wanted container of a service is ready.
    #[must_use]
    pub fn service_ready(&self, name: &ServiceName) -> bool {
        self.plan.service(name).is_some_and(|service| {
            self.wanted_of(service)
                .any(|key| self.replicas.get(&key).is_some_and(Replica::ready))
        })
    }

    /// Whether a consumer's secrets are there; true when it has none.
    #[must_use]
    pub fn has_secrets(&self, consumer: &ServiceName, secrets: &[String]) -> bool {
        secrets.is_empty() || self.delivered.contains(consumer)
    }

    /// Whether all tasks that must run once have.
    #[must_use]
    pub fn once_tasks_done(&self) -> bool {
        self.plan
            .tasks
            .iter()
            .filter(|task| task.once)
            .all(|task| self.entries.tasks_done.contains(&task.name))
    }

    fn free(&self, target: &Target, now: Instant) -> bool {
        !self.busy.contains(target) && self.holds.get(target).is_none_or(|until| *until <= now)
    }
}

/// Decides.
#[must_use]
pub fn steps(input: &Input<'_>, now: Instant) -> Steps {
    let goal = input.goal();
    let mut candidates = match goal {
        Goal::Run => running(input, now),
        Goal::Restart | Goal::Stop => stopping(input, goal, now),
    };
    candidates.retain(|step| input.free(&step.target(), now));
    Steps {
        goal,
        now: candidates,
        wake: wake(input, goal, now),
    }
}

fn running(input: &Input<'_>, now: Instant) -> Vec<Step> {
    let mut steps = Vec::new();
    for (consumer, container) in input.plan.secret_consumers() {
        if !input.has_secrets(&consumer, &container.secrets) {
            steps.push(Step::Deliver(consumer));
        }
    }
    for (service, key) in input.wanted() {
        steps.extend(make(input, service, key));
    }
    steps.extend(starts::due(input, now));
    steps.extend(unwanted(input));
    steps.extend(tasks::due(input, now));
    steps.extend(serve::change(input));
    steps
}

/// The next step towards a container that is made from the right thing. Starting it is [`starts`]' business.
fn make(input: &Input<'_>, service: &ServicePlan, key: ReplicaKey) -> Option<Step> {
    let Some(replica) = input.replicas.get(&key) else {
        return Some(Step::Create(key));
    };
    let outdated = replica.spec_hash != service.spec_hash;
    match &replica.state {
        ContainerState::Going => Some(Step::Remove(key)),
        // Made from something else: the old one goes before a new one comes.
        ContainerState::Running { .. } => outdated.then_some(Step::Stop(key)),
        ContainerState::Created | ContainerState::Exited(_) => {
            outdated.then_some(Step::Remove(key))
        }
    }
}

/// Containers that should not exist: those of a smaller scale, another slot, a service that is no more. Never one that serves.
fn unwanted(input: &Input<'_>) -> Vec<Step> {
    let wanted: BTreeSet<ReplicaKey> = input.wanted().map(|(_, key)| key).collect();
    input
        .replicas
        .iter()
        .filter(|(key, _)| !wanted.contains(key) && !serve::serves(input, key))
        .map(|(key, replica)| {
            if replica.running() {
                Step::Stop(key.clone())
            } else {
                Step::Remove(key.clone())
            }
        })
        .collect()
}

fn stopping(input: &Input<'_>, goal: Goal, now: Instant) -> Vec<Step> {
    let silence = Step::Serve(Serve::None);
    if *input.serving != Serve::None
        && (input.free(&Target::Serve, now) || input.busy.contains(&Target::Serve))
    {
        // Buyers first. When it fails the stop goes on.
        return vec![silence];
    }
    if now < input.tasks_until && tasks::any_busy(input) {
        return Vec::new();
    }
    let mut steps: Vec<Step> = input
        .replicas
        .iter()
        .filter(|(key, replica)| replica.running() && !needed(input, key))
        .map(|(key, _)| Step::Stop(key.clone()))
        .collect();
    if *input.serving != Serve::None {
        steps.push(silence);
    }
    let at_rest = steps.is_empty() && input.busy.is_empty();
    if goal == Goal::Restart && at_rest {
        steps.push(Step::Restarted(input.spec.restart_seq));
    }
    steps
}

/// Whether something that runs, or is just being started or stopped, still depends on it.
fn needed(input: &Input<'_>, key: &ReplicaKey) -> bool {
    let Some(service) = input.plan.service(&key.service) else {
        return false;
    };
    input
        .replicas
        .iter()
        .filter(|(other, replica)| {
            other.service != key.service
                && (replica.running() || input.busy.contains(&Target::Replica((*other).clone())))
        })
        .filter_map(|(other, _)| input.plan.service(&other.service))
        .any(|other| {
            other.depends_on.contains(&service.name)
                || (other.kind.slotted() && !service.kind.slotted())
        })
}

fn wake(input: &Input<'_>, goal: Goal, now: Instant) -> Option<Instant> {
    let holds = input.holds.values().copied();
    let scheduled = tasks::next(input, goal);
    let tasks_end = (goal != Goal::Run && tasks::any_busy(input)).then_some(input.tasks_until);
    holds
        .chain(scheduled)
        .chain(tasks_end)
        .filter(|at| *at > now)
        .min()
}

/// Whether a task's secrets, which lie in the volume of its source, are there.
fn task_has_secrets(input: &Input<'_>, task: &TaskPlan) -> bool {
    input.has_secrets(&task.source, &task.container.secrets)
}
