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

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use shop_plan::{StorePlan, TaskPlan};
use shop_proto::{Digest, ReplicaKey, RunState, ServiceName, Slot, Spec};
use tokio::time::Instant;

use crate::{
    engine::{ContainerState, Limits, Serve, TaskRun},
    ledger::{Accepted, DriftKind, DriftWhat, Drifts, Entries, Move, RunBy, RunOutcome},
};

mod rotation;
pub mod serve;
mod starts;
mod stops;
mod tasks;
#[cfg(test)]
mod tests;
pub mod update;
mod wanted;

pub use update::Watching;
pub use wanted::Wanted;

/// Everything a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The plan in force: it serves, and is repaired.
    pub plan: &'a StorePlan,
    /// Its digest.
    pub digest: Digest,
    /// The plan on its way in, while an update is open and may still be taken back.
    pub next: Option<(&'a StorePlan, Digest)>,
    /// The newest order.
    pub asked: Asked<'a>,
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
    /// What was seen since the update's phase began.
    pub watching: &'a Watching,
    /// Containers that buyers may still be sent to, and until when.
    pub lingering: &'a BTreeMap<ReplicaKey, Instant>,
    /// What is being worked on.
    pub busy: &'a BTreeSet<Target>,
    /// What must not be touched before a time.
    pub holds: &'a BTreeMap<Target, Instant>,
    /// Until when running tasks may hold up a stop.
    pub tasks_until: Instant,
    /// The clock on the wall: schedules and holds go by it.
    pub wall: Timestamp,
    /// What somebody changed by hand.
    pub drift: &'a Drifts,
}

/// What the control plane asked for last.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// As recorded.
    pub accepted: &'a Accepted,
    /// What it renders to.
    pub plan: &'a StorePlan,
    /// The plan's digest.
    pub digest: Digest,
    /// Whether the node has rendered the same.
    pub known: bool,
}

/// A container and what we know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// What it was made from.
    pub spec_hash: Digest,
    /// The limits it has now, if the engine says.
    pub limits: Option<Limits>,
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
    /// Cannot, and does not even say so: nobody answers in time.
    Frozen,
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
    /// What the ledger knows of runs.
    Runs,
    /// What the ledger knows of drift.
    Drift,
    /// The end of a task's run.
    StopTask(ServiceName),
    /// What logins are accepted.
    Logins,
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
    /// Give it the plan's limits while it runs.
    Limit(ReplicaKey),
    /// End it without asking: it is frozen, and another one serves.
    Kill(ReplicaKey),
    /// Run a task that the plan itself wants.
    RunTask(TaskRun),
    /// Run a task, or attach to its run, for an operator or the schedule.
    Run(TaskRun, RunBy),
    /// End a run before its time.
    StopTask(TaskRun),
    /// Note that a run is over that cannot go on.
    EndRun(String, RunOutcome, &'static str),
    /// Note from when on these tasks' schedules count.
    BeginSchedule(Vec<ServiceName>),
    /// Remember what somebody changed by hand.
    NoteDrift(Drifts),
    /// Say who serves.
    Serve(Serve),
    /// Everything has stopped for this restart.
    Restarted(u64),
    /// Record how far an update is.
    Record(Box<Move>),
    /// Make new values of the secrets that are rotated, and have them accepted beside the old ones.
    Admit,
    /// Have one value accepted again: the new one where it is in force, else the old one.
    Dismiss,
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
    /// All that something is to be done about, now or when it is tried again.
    pub to_do: BTreeSet<Target>,
}

impl Step {
    /// What it acts on.
    #[must_use]
    pub fn target(&self) -> Target {
        match self {
            Self::Deliver(consumer) => Target::Secrets(consumer.clone()),
            Self::Create(key)
            | Self::Start(key)
            | Self::Stop(key)
            | Self::Remove(key)
            | Self::Kill(key)
            | Self::Limit(key) => Target::Replica(key.clone()),
            Self::RunTask(run) | Self::Run(run, _) => Target::Task(run.task.clone()),
            Self::StopTask(run) => Target::StopTask(run.task.clone()),
            Self::EndRun(..) | Self::BeginSchedule(_) => Target::Runs,
            Self::NoteDrift(_) => Target::Drift,
            Self::Serve(_) => Target::Serve,
            Self::Restarted(_) | Self::Record(_) => Target::Ledger,
            Self::Admit | Self::Dismiss => Target::Logins,
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

impl Health {
    /// Whether it is known that it cannot serve.
    #[must_use]
    pub const fn bad(self) -> bool {
        matches!(self, Self::Unready | Self::Frozen)
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

    /// Whether a service can be used: at least one container of it is ready, for a slotted one in the slot in force.
    #[must_use]
    pub fn service_ready(&self, name: &ServiceName) -> bool {
        self.wanted().any(|wanted| {
            wanted.service.name == *name
                && [Slot::Fixed, self.slot()].contains(&wanted.key.slot)
                && self.replicas.get(&wanted.key).is_some_and(Replica::ready)
        })
    }

    /// Consumers of secrets of either plan, and the names of what each gets.
    #[must_use]
    pub fn consumers(&self) -> BTreeMap<ServiceName, BTreeSet<String>> {
        let next = self.next.map(|(plan, _)| plan);
        let mut consumers: BTreeMap<ServiceName, BTreeSet<String>> = BTreeMap::new();
        for plan in [Some(self.plan), next].into_iter().flatten() {
            for (consumer, container) in plan.secret_consumers() {
                let names = container.secrets.iter().cloned();
                consumers.entry(consumer).or_default().extend(names);
            }
        }
        consumers
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

    /// Whether what the once-tasks have made of the data is what the plan's code expects. In a store that has served, an update sees
    /// to that.
    #[must_use]
    pub fn data_fits(&self) -> bool {
        let held = self.entries.schema;
        self.entries.serving.is_some() || held.is_none_or(|it| it.schema >= self.plan.schema())
    }

    /// How long it is until then, by the clock on the wall.
    fn until(&self, unix_ms: i64) -> Duration {
        let ms = unix_ms.saturating_sub(self.wall.as_millisecond());
        Duration::from_millis(u64::try_from(ms).unwrap_or(0))
    }

    /// Whether an operator wants drift to be seen and left alone.
    #[must_use]
    pub fn held(&self) -> bool {
        self.spec
            .hold_until_unix_ms
            .is_some_and(|until| until > self.wall.as_millisecond())
    }

    /// Whether a step would undo, while the store is held, what somebody did by hand. What was killed or ended by itself is started
    /// again all the same: a hold must not keep a shop from serving that crashed.
    fn hands_off(&self, step: &Step) -> bool {
        use DriftKind::{Container, Limits};
        match step {
            Step::Limit(key) => self.drift.open(Limits, key).is_some() && self.held(),
            Step::Create(key) | Step::Start(key) | Step::Remove(key) => {
                let left = |what| what != DriftWhat::Killed;
                self.drift
                    .open(Container, key)
                    .is_some_and(|drift| left(drift.what))
                    && self.held()
            }
            _ => false,
        }
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
        Goal::Restart | Goal::Stop => stops::due(input, goal, now),
    };
    candidates.extend(tasks::cancelled(input));
    let drift = input.drift.unrepaired();
    if drift != input.entries.drift {
        candidates.push(Step::NoteDrift(drift));
    }
    let to_do = candidates.iter().map(Step::target).collect();
    // One step at a time acts on each thing: the first that was thought of.
    let mut taken = BTreeSet::new();
    candidates.retain(|step| {
        input.free(&step.target(), now) && !input.hands_off(step) && taken.insert(step.target())
    });
    Steps {
        goal,
        now: candidates,
        wake: wake(input, goal, now),
        to_do,
    }
}

fn running(input: &Input<'_>, now: Instant) -> Vec<Step> {
    let mut steps = Vec::new();
    // Admitting and dismissing change what is handed over.
    let settled = !input.busy.contains(&Target::Logins);
    for consumer in input.consumers().into_keys() {
        if settled && !input.delivered.contains(&consumer) {
            steps.push(Step::Deliver(consumer));
        }
    }
    for wanted in input.wanted() {
        steps.extend(make(input, wanted, now));
    }
    steps.extend(starts::due(input, now));
    steps.extend(unwanted(input, now));
    steps.extend(update::park(input, now));
    steps.extend(update::migration(input));
    steps.extend(tasks::due(input));
    steps.extend(serve::change(input));
    let moves = update::next(input, now);
    // A task that is about to be attached to may have read its secrets when it began.
    let attaches = steps.iter().map(Step::target).any(|target| {
        let task = matches!(target, Target::Task(_));
        task && input.free(&target, now)
    });
    steps.extend(rotation::due(input, moves.is_some() || attaches));
    steps.extend(moves);
    steps
}

/// Containers that should run and do not, and those with other limits than they should have.
#[must_use]
pub fn astray(input: &Input<'_>) -> BTreeSet<(DriftKind, ReplicaKey)> {
    if input.goal() != Goal::Run {
        return BTreeSet::new();
    }
    let mut astray = BTreeSet::new();
    for wanted in input.wanted() {
        let replica = input.replicas.get(&wanted.key);
        let limits = Limits::from(&wanted.service.container);
        if replica.is_some_and(|it| it.running() && it.limits.is_some_and(|now| now != limits)) {
            astray.insert((DriftKind::Limits, wanted.key.clone()));
        }
        if !replica.is_some_and(Replica::running) {
            astray.insert((DriftKind::Container, wanted.key));
        }
    }
    astray
}

/// The next step towards a container that is made from the right thing. Starting it is [`starts`]' business.
fn make(input: &Input<'_>, wanted: Wanted<'_>, now: Instant) -> Option<Step> {
    let Some(replica) = input.replicas.get(&wanted.key) else {
        return Some(Step::Create(wanted.key));
    };
    let fits = input.fits(replica, &wanted);
    let key = wanted.key.clone();
    match &replica.state {
        ContainerState::Going => Some(Step::Remove(key)),
        ContainerState::Running { .. } if fits && frozen(input, &wanted) => Some(Step::Kill(key)),
        ContainerState::Running { .. } if fits => {
            let limits = Limits::from(&wanted.service.container);
            replica
                .limits
                .is_some_and(|now| now != limits)
                .then_some(Step::Limit(key))
        }
        // Made from something else: the old one goes before a new one comes, and not while buyers are sent there.
        ContainerState::Running { .. } => {
            let used = key.slot != Slot::Fixed
                && key.slot != input.slot()
                && serve::slot_in_use(input, key.slot, now);
            (!used && !update::waits_for_web(input, &key)).then_some(Step::Stop(key))
        }
        ContainerState::Created | ContainerState::Exited(_) => (!fits).then_some(Step::Remove(key)),
    }
}

/// Whether a stateless container holds up requests that another one could answer: those who send them know no better.
fn frozen(input: &Input<'_>, wanted: &Wanted<'_>) -> bool {
    let Wanted { service, key, .. } = wanted;
    let silent = |key| {
        input
            .replicas
            .get(key)
            .is_some_and(|it| it.health == Health::Frozen)
    };
    let ready = |key| input.replicas.get(&key).is_some_and(Replica::ready);
    service.kind.slotted() && silent(key) && input.keys(service, key.slot).any(ready)
}

/// Containers that should not exist: those of a smaller scale, another slot, a service that is no more. Never one that serves.
fn unwanted(input: &Input<'_>, now: Instant) -> Vec<Step> {
    let wanted: BTreeSet<ReplicaKey> = input.wanted().map(|wanted| wanted.key).collect();
    let parks = update::parks(input);
    input
        .replicas
        .iter()
        .filter(|(key, _)| !wanted.contains(key) && !serve::serves(input, key))
        .filter(|(key, _)| !(parks && key.slot == input.slot()))
        .filter(|(key, _)| !serve::lingers(input, key, now) && !update::waits_for_web(input, key))
        .map(|(key, replica)| {
            if replica.running() {
                Step::Stop(key.clone())
            } else {
                Step::Remove(key.clone())
            }
        })
        .collect()
}

fn wake(input: &Input<'_>, goal: Goal, now: Instant) -> Option<Instant> {
    let holds = input.holds.values().copied();
    let scheduled = tasks::next(input, goal, now);
    let hold_ends = input
        .spec
        .hold_until_unix_ms
        .filter(|_| input.held())
        .map(|until| now + input.until(until));
    let lingering = input.lingering.values().copied();
    let tasks_end = (goal != Goal::Run && tasks::any_busy(input)).then_some(input.tasks_until);
    holds
        .chain(scheduled)
        .chain(lingering)
        .chain(update::wake(input))
        .chain(tasks_end)
        .chain(hold_ends)
        .filter(|at| *at > now)
        .min()
}

/// Whether a task's secrets, which lie in the volume of its source, are there.
fn task_has_secrets(input: &Input<'_>, task: &TaskPlan) -> bool {
    input.has_secrets(&task.source, &task.container.secrets)
}
