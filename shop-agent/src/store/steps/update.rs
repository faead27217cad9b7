//! How an update goes on: from a plan in force to the one that was asked for. Every answer is a [`Move`] of the ledger, made before
//! anything is done about it; the rest of [`super`] then makes the world fit.
//!
//! The new containers come up beside those that serve, which are not touched. What changes stop-first (database, cache, search)
//! changes before the whole store is asked through the new slot; workers follow the traffic. The old slot is kept ready until the
//! window after the switch has passed: only then is the new plan in force, and the old containers go.

use std::time::Duration;

use shop_plan::{Change, Migration, ServiceKind, StorePlan, TaskPlan, transition};
use shop_proto::{Digest, ReplicaKey, RunState, Slot};
use tokio::time::Instant;

use super::{Asked, Input, Replica, Step, Target, Wanted, rotation, serve};
use crate::{
    engine::{Serve, TaskRun, Traffic},
    ledger::{Accepted, Counts, Marks, Move, Phase, Reason, Update, UpdateFailure},
};

/// Deep checks in a row before traffic moves: one may have been answered by luck.
const CHECKS: u32 = 2;
/// How long new containers may take until the whole store answers through them; a migration's own time not counted.
pub const PREPARE: Duration = Duration::from_secs(180);
/// Ends, or refusals to be made at all, of new containers before they serve. More patience finds nothing out.
const ENDS: u32 = 3;
/// Traffic before the switch that the traffic after it is held against.
const BEFORE_SECONDS: i64 = 300;

/// What has been seen since the present phase of an update began, in this life of the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watching {
    /// When the phase began; for the window after a switch, when traffic moved.
    pub since: Instant,
    /// Deep checks in a row that passed.
    pub passed: u32,
    /// Deep checks in a row that failed.
    pub failed: u32,
    /// Ends and refusals in the new slot.
    pub ends: u32,
    /// What was wrong last.
    pub complaint: Option<String>,
    /// What buyers were answered; none before the node was asked in this phase.
    pub traffic: Option<Traffic>,
}

impl Watching {
    /// Nothing seen yet.
    #[must_use]
    pub const fn since(since: Instant) -> Self {
        Self {
            since,
            passed: 0,
            failed: 0,
            ends: 0,
            complaint: None,
            traffic: None,
        }
    }
}

/// The move to make now, if one is due.
pub fn next(input: &Input<'_>, now: Instant) -> Option<Step> {
    decide(input, now).map(|it| Step::Record(Box::new(it)))
}

fn decide(input: &Input<'_>, now: Instant) -> Option<Move> {
    let asked = input.asked;
    let Some(serving) = &input.entries.serving else {
        let serves = matches!(input.serving, Serve::Slot { .. });
        // An order may come between the first answer to buyers and its record: its own migration comes first.
        return (serves && input.data_fits()).then(|| settle(asked.accepted, input.plan));
    };
    match input.entries.open_update() {
        Some(update) => revised(input, update, now).or_else(|| advance(input, update, now)),
        None => drained(input).or_else(|| begin(input, serving)),
    }
}

fn settle(accepted: &Accepted, plan: &StorePlan) -> Move {
    Move::Settle(Box::new(accepted.clone()), Marks::of(plan))
}

/// Towards an order that is not in force.
fn begin(input: &Input<'_>, serving: &Accepted) -> Option<Move> {
    let asked = input.asked;
    if asked.accepted == serving {
        return None;
    }
    if asked.digest == input.digest {
        return Some(settle(asked.accepted, input.plan));
    }
    let in_the_way = matches!(input.serving, Serve::Slot { slot, .. } if *slot != input.slot());
    if !asked.known || taken_back(input) || in_the_way || outgrown(input) {
        return None;
    }
    let halted = input.entries.update.as_ref();
    let halted = halted.is_some_and(|update| update.phase == Phase::Halted);
    let change = transition(input.plan, asked.plan);
    let quiet = |change: Change| matches!(change, Change::Same | Change::LimitsOnly);
    let rotates = rotation::on_the_way(input, input.plan);
    if rotates.is_empty() && !change.slots && change.services.iter().all(|it| quiet(it.change)) {
        return Some(settle(asked.accepted, asked.plan));
    }
    // What is being dismissed must not be handed out again; and one rotation follows the other.
    let waits = rotation::follows(input, &rotates) || input.busy.contains(&Target::Logins);
    if waits || (rotation::apart(input, &rotates) && !alone(input)) {
        return None;
    }
    let new = update(input, serving, input.plan, input.slot(), halted);
    Some(Move::Begin(Box::new(new), Marks::of(input.plan)))
}

/// Whether a migration has made, or is making, of the data what the order's code cannot run on: it was taken before that began.
fn outgrown(input: &Input<'_>) -> bool {
    let data = input.entries.data_to_come();
    data.is_some_and(|data| !data.carries(input.asked.plan))
}

/// Whether the order was tried and did not go through.
#[must_use]
pub fn taken_back(input: &Input<'_>) -> bool {
    let accepted = input.asked.accepted;
    let taken = input.entries.taken_back.as_ref();
    taken
        .is_some_and(|it| it.generation == accepted.generation && it.spec == accepted.spec.digest())
}

fn update(
    input: &Input<'_>,
    from: &Accepted,
    from_plan: &StorePlan,
    from_slot: Slot,
    page: bool,
) -> Update {
    let Asked { accepted, plan, .. } = input.asked;
    let change = transition(from_plan, plan);
    let rotates = rotation::on_the_way(input, from_plan);
    // A database that another version has opened may not open in this one again.
    let one_way =
        |it: &shop_plan::ServiceChange| it.kind == ServiceKind::Database && !it.reversible;
    Update {
        from: from.clone(),
        to: accepted.clone(),
        slot: if change.slots || !rotates.is_empty() {
            other(from_slot)
        } else {
            from_slot
        },
        phase: Phase::Preparing,
        closed: change.migration == Migration::Irreversible || change.services.iter().any(one_way),
        page,
        began_unix_ms: input.wall.as_millisecond(),
        switched_unix_ms: None,
        before: None,
        failure: None,
        rotates,
    }
}

const fn other(slot: Slot) -> Slot {
    match slot {
        Slot::B => Slot::A,
        Slot::A | Slot::Fixed => Slot::B,
    }
}

/// A newer order than the one the update is for.
fn revised(input: &Input<'_>, update: &Update, now: Instant) -> Option<Move> {
    let asked = input.asked;
    if asked.accepted.generation <= update.to.generation {
        return None;
    }
    let to = if update.past_return() {
        (input.plan, input.digest)
    } else {
        (input.next?.0, input.next?.1)
    };
    if asked.digest == to.1 {
        let anew = asked.accepted.spec.restart_seq != update.to.spec.restart_seq;
        let watched = if anew {
            Duration::ZERO
        } else {
            now.duration_since(input.watching.since)
        };
        let watched = i64::try_from(watched.as_millis()).unwrap_or(i64::MAX);
        return Some(Move::Retarget {
            to: Box::new(asked.accepted.clone()),
            watched_unix_ms: input.wall.as_millisecond().saturating_sub(watched),
        });
    }
    let runs = |task| input.entries.open_runs.contains_key(task);
    let migrates = update.phase == Phase::Migrating && update_task(to.0).is_some_and(runs);
    if !asked.known || (update.closed && migrates) || outgrown(input) {
        // What a migration makes of the data is known when it has ended.
        return None;
    }
    let marks = Marks::of(to.0);
    let switched = update.phase == Phase::Switched;
    let rotates = rotation::on_the_way(input, if switched { to.0 } else { input.plan });
    let apart = rotation::apart(input, &rotates);
    let waits = rotation::follows(input, &rotates) || (apart && !alone(input));
    let new = match update.phase {
        _ if update.past_return() && waits => return None,
        _ if update.past_return() => self::update(input, &update.to, to.0, update.slot, true),
        // In force at once, as below; but the old slot goes before another one comes in its place.
        Phase::Switched if apart => return Some(Move::Commit(marks)),
        Phase::Switched => self::update(input, &update.to, to.0, update.slot, update.page),
        _ if asked.digest == input.digest && !update.page => return Some(Move::Abandon),
        // Nor do the new containers stay; under the page they are waited for.
        _ if rotates != update.rotates => return (!update.page).then_some(Move::Abandon),
        _ => self::update(input, &update.from, input.plan, input.slot(), update.page),
    };
    Some(Move::Begin(Box::new(new), marks))
}

/// The update's own next phase.
fn advance(input: &Input<'_>, update: &Update, now: Instant) -> Option<Move> {
    if !update.past_return() && input.next.is_none() {
        return None;
    }
    match update.phase {
        Phase::Preparing => unready(input, now).or_else(|| prepared(input, update)),
        Phase::Migrating => unneeded(input, update),
        Phase::Checking => unready(input, now).or_else(|| checked(input, update)),
        Phase::Switched => judge(input, update).or_else(|| passed(input, now)),
        Phase::Draining | Phase::Done | Phase::RolledBack | Phase::Halted => None,
    }
}

/// New containers that do not come up.
fn unready(input: &Input<'_>, now: Instant) -> Option<Move> {
    let watching = input.watching;
    let late = now.duration_since(watching.since) >= PREPARE;
    (late || watching.ends >= ENDS).then(|| {
        let what = match (&watching.complaint, late) {
            (Some(complaint), _) => format!("the new containers did not come up: {complaint}"),
            (None, true) => format!(
                "the new containers were not ready within {} s",
                PREPARE.as_secs()
            ),
            (None, false) => "the new containers did not come up".to_owned(),
        };
        fail(input, Reason::UpdateNotReady, what)
    })
}

fn prepared(input: &Input<'_>, update: &Update) -> Option<Move> {
    let ready = input
        .wanted()
        .filter(|it| it.next)
        .all(|it| it.ready(input));
    let migrates = update.closed || needs_task(input);
    let next = if migrates {
        Phase::Migrating
    } else {
        Phase::Checking
    };
    (ready && rotation::admitted(input)).then_some(Move::Enter(next))
}

/// A migration that has nothing to run, once nobody is served any more by what it takes away.
fn unneeded(input: &Input<'_>, update: &Update) -> Option<Move> {
    let (next, _) = input.next?;
    let at_rest = !update.closed || parked(input);
    (!needs_task(input) && at_rest).then(|| Move::Migrated(Marks::of(next)))
}

fn checked(input: &Input<'_>, update: &Update) -> Option<Move> {
    let watching = input.watching;
    // What serves now may be broken: this may be its cure.
    let matters = |it: &Wanted<'_>| [update.slot, Slot::Fixed].contains(&it.key.slot);
    let ready = input.wanted().filter(matters).all(|it| it.ready(input));
    let counted = update.closed || watching.traffic.is_some();
    (ready && counted && watching.passed >= CHECKS).then(|| {
        let at_unix_ms = input.wall.as_millisecond();
        Move::Switch {
            at_unix_ms,
            before: watching
                .traffic
                .as_ref()
                .filter(|traffic| traffic.complete)
                .map(|traffic| {
                    let until = at_unix_ms / 1000;
                    counts(traffic, until - BEFORE_SECONDS, until)
                }),
        }
    })
}

/// Whether what serves now is bad enough to go back.
fn judge(input: &Input<'_>, update: &Update) -> Option<Move> {
    let (watch, watching) = (input.spec.watch.unwrap_or_default(), input.watching);
    let because = |what: String| {
        let complaint = watching.complaint.as_deref();
        match complaint {
            Some(complaint) => format!("{what}: {complaint}"),
            None => what,
        }
    };
    let what = if watching.failed >= watch.failed_checks {
        because(format!("{} deep checks in a row failed", watching.failed))
    } else if watching.ends >= watch.restarts {
        because(format!("the new containers ended {} times", watching.ends))
    } else {
        errors(input, update)?
    };
    Some(fail(input, Reason::UpdateBadMinute, what))
}

/// Answers of 500 and above since the switch: too many, and many more than before.
fn errors(input: &Input<'_>, update: &Update) -> Option<String> {
    let watch = input.spec.watch.unwrap_or_default();
    let switched = update.switched_unix_ms? / 1000;
    let traffic = input.watching.traffic.as_ref()?;
    let now = counts(traffic, switched + 1, i64::MAX);
    let before = update.before.unwrap_or_default();
    let enough = now.requests >= u64::from(watch.min_requests);
    let many = now.errors * 1000 >= u64::from(watch.error_permille) * now.requests;
    // Compared as products: nobody was there before, or no error, is no division by zero.
    let more = now.errors * before.requests
        >= u64::from(watch.error_factor) * before.errors * now.requests;
    (traffic.complete && enough && many && more).then(|| {
        format!(
            "{} of {} answers since the switch were errors, {} of {} before",
            now.errors, now.requests, before.errors, before.requests
        )
    })
}

/// The window is over and all is well.
fn passed(input: &Input<'_>, now: Instant) -> Option<Move> {
    let watching = input.watching;
    let window = window(input);
    let well = watching.passed > 0 && watching.failed == 0;
    let plan = input.next.map_or(input.plan, |(plan, _)| plan);
    (well && now.duration_since(watching.since) >= window).then(|| Move::Commit(Marks::of(plan)))
}

/// How long the old slot is kept.
#[must_use]
pub fn window(input: &Input<'_>) -> Duration {
    let watch = input.spec.watch.unwrap_or_default();
    Duration::from_secs(u64::from(watch.window_seconds))
}

/// What is left of the old plan is gone.
fn drained(input: &Input<'_>) -> Option<Move> {
    let update = input.entries.update.as_ref()?;
    let serves = matches!(input.serving, Serve::Slot { slot, .. } if *slot == input.slot())
        || input.spec.maintenance
        || input.spec.run_state != RunState::Running;
    // A secret has been rotated when its old value is of no use any more.
    let rotated = input.entries.rotating.is_none();
    (update.phase == Phase::Draining && serves && rotated && alone(input))
        .then_some(Move::Enter(Phase::Done))
}

/// Whether there is no container but those that should be.
pub fn alone(input: &Input<'_>) -> bool {
    let mut keys = input.replicas.keys();
    keys.all(|key| input.wanted().any(|it| it.key == *key))
}

fn fail(input: &Input<'_>, reason: Reason, message: String) -> Move {
    Move::Fail {
        failure: UpdateFailure { reason, message },
        at_unix_ms: input.wall.as_millisecond(),
    }
}

fn counts(traffic: &Traffic, from: i64, until: i64) -> Counts {
    let seconds = traffic.seconds.iter();
    seconds
        .filter(|second| (from..until).contains(&second.at))
        .fold(Counts::default(), |sum, second| Counts {
            requests: sum.requests + u64::from(second.requests),
            errors: sum.errors + u64::from(second.errors),
        })
}

fn update_task(plan: &StorePlan) -> Option<&shop_proto::ServiceName> {
    plan.update.as_ref().map(|update| &update.task)
}

fn needs_task(input: &Input<'_>) -> bool {
    input
        .next
        .is_some_and(|(next, _)| next.schema() > input.plan.schema())
}

/// The update task: run once to its end, and attached to after a crash.
pub fn migration(input: &Input<'_>) -> Option<Step> {
    if input.entries.serving.is_none() {
        return early_migration(input);
    }
    let update = input.entries.open_update()?;
    let (next, _) = input.next?;
    let task = next.task(update_task(next)?)?;
    let open = input.entries.open_runs.get(&task.name);
    let due = update.phase == Phase::Migrating
        && needs_task(input)
        && task.after.iter().all(|name| input.service_ready(name))
        && input.has_secrets(&task.source, &task.container.secrets)
        && (!update.closed || parked(input));
    // One that an abandoned update began is waited for.
    let run = match open {
        Some(open) if is_migration(open) => open.clone(),
        Some(_) => return None,
        None if due => update.run_id(),
        None => return None,
    };
    Some(run_of(task, run))
}

/// Before a store has served, another order simply takes the place of the one before: nothing stands beside it, and nothing goes back.
/// But once-tasks may have made the data for older code already.
fn early_migration(input: &Input<'_>) -> Option<Step> {
    let task = input.plan.task(update_task(input.plan)?)?;
    let kept = |kind: ServiceKind| !kind.slotted() && kind != ServiceKind::Worker;
    let mut keepers = input.plan.services.iter().filter(|it| kept(it.kind));
    let due = input.once_tasks_done()
        && !input.data_fits()
        && keepers.all(|it| input.service_ready(&it.name))
        && task.after.iter().all(|name| input.service_ready(name))
        && input.has_secrets(&task.source, &task.container.secrets);
    let run = match input.entries.open_runs.get(&task.name) {
        Some(open) if is_migration(open) => open.clone(),
        None if due => {
            let attempt = input.entries.attempts.get(&task.name).copied();
            let generation = input.asked.accepted.generation;
            format!("update-{generation}-{}", attempt.unwrap_or(0))
        }
        Some(_) | None => return None,
    };
    Some(run_of(task, run))
}

fn run_of(task: &TaskPlan, run: String) -> Step {
    Step::RunTask(TaskRun {
        task: task.name.clone(),
        run,
        arguments: Vec::new(),
        timeout: task.timeout,
    })
}

/// Whether an update task runs now.
pub fn migrates(input: &Input<'_>) -> bool {
    let mut runs = input.entries.open_runs.iter();
    runs.any(|(task, run)| is_migration(run) && input.busy.contains(&Target::Task(task.clone())))
}

/// When time alone decides.
pub fn wake(input: &Input<'_>) -> Option<Instant> {
    let after = match input.entries.open_update()?.phase {
        Phase::Preparing | Phase::Checking => PREPARE,
        Phase::Switched => window(input),
        _ => return None,
    };
    Some(input.watching.since + after)
}

/// Whether a run is one of an update.
#[must_use]
pub fn is_migration(run: &str) -> bool {
    run.starts_with("update-")
}

/// Whether the old slot is to rest while the database changes under it: it comes back only when that fails.
pub fn parks(input: &Input<'_>) -> bool {
    input
        .entries
        .open_update()
        .is_some_and(|update| update.closed && update.phase == Phase::Migrating)
}

/// Whether nobody works with the database any more but the update task.
fn parked(input: &Input<'_>) -> bool {
    *input.serving == Serve::Maintenance
        && !input.replicas.iter().any(|(key, replica)| {
            in_old_slot(input, key)
                && (replica.running() || input.busy.contains(&Target::Replica(key.clone())))
        })
}

fn in_old_slot(input: &Input<'_>, key: &ReplicaKey) -> bool {
    key.slot == input.slot()
}

/// Stops of the old slot, web before PHP, once buyers are sent to the page.
pub fn park(input: &Input<'_>, now: Instant) -> Vec<Step> {
    if !parks(input) || *input.serving != Serve::Maintenance {
        return Vec::new();
    }
    let old = input.replicas.iter().filter(|(key, replica)| {
        in_old_slot(input, key) && replica.running() && !serve::lingers(input, key, now)
    });
    old.filter(|(key, _)| !waits_for_web(input, key))
        .map(|(key, _)| Step::Stop(key.clone()))
        .collect()
}

/// Whether a web of its slot, that is to go as well, still runs and may send it requests.
pub fn waits_for_web(input: &Input<'_>, key: &ReplicaKey) -> bool {
    let edge = &input.plan.edge.service;
    key.slot != Slot::Fixed
        && key.service != *edge
        && input.replicas.iter().any(|(other, replica)| {
            other.service == *edge
                && other.slot == key.slot
                && !input
                    .wanted()
                    .any(|it| it.key == *other && input.fits(replica, &it))
                && (replica.running() || input.busy.contains(&Target::Replica(other.clone())))
        })
}

impl Wanted<'_> {
    /// Whether it is there, made from the right thing, and can serve. One that is acted on may be on its way down.
    #[must_use]
    pub fn ready(&self, input: &Input<'_>) -> bool {
        let busy = input.busy.contains(&Target::Replica(self.key.clone()));
        let ready = |replica: &Replica| replica.ready() && input.fits(replica, self);
        !busy && input.replicas.get(&self.key).is_some_and(ready)
    }
}

impl<'a> Input<'a> {
    /// Whether a container was made from what it should be made from. Limits are changed without a new one.
    #[must_use]
    pub fn fits(&self, replica: &Replica, wanted: &Wanted<'_>) -> bool {
        let made_from = replica.spec_hash;
        if made_from == wanted.service.spec_hash {
            return true;
        }
        let in_force = self.plan.service(&wanted.service.name);
        let shape = match in_force.filter(|service| service.spec_hash == made_from) {
            Some(service) => Some(self.plan.shape_hash(service)),
            None => self.entries.shapes.get(&made_from).copied(),
        };
        shape.is_some_and(|shape| shape == wanted.plan.shape_hash(wanted.service))
    }

    /// The plan that a container belongs to, now or until just now.
    #[must_use]
    pub fn plan_of(&self, key: &ReplicaKey) -> (&'a StorePlan, Digest) {
        let force = (self.plan, self.digest);
        let Some(next) = self.next else { return force };
        let wanted = self.wanted().find(|it| it.key == *key);
        match wanted {
            Some(wanted) if wanted.next => next,
            Some(_) => force,
            None if key.slot != Slot::Fixed && key.slot != self.slot() => next,
            None if self.plan.service(&key.service).is_none() => next,
            None => force,
        }
    }

    /// The plan that a step is carried out under.
    #[must_use]
    pub fn under(&self, step: &Step) -> Digest {
        match (step, self.next) {
            (
                Step::Create(key)
                | Step::Start(key)
                | Step::Stop(key)
                | Step::Remove(key)
                | Step::Kill(key)
                | Step::Limit(key),
                _,
            ) => self.plan_of(key).1,
            (Step::Serve(Serve::Slot { slot, .. }), Some(next)) if *slot != self.slot() => next.1,
            (Step::RunTask(run), Some(next)) if is_migration(&run.run) => next.1,
            _ => self.digest,
        }
    }

    /// Whether scheduled tasks wait: the code under them changes.
    #[must_use]
    pub fn switching(&self) -> bool {
        let update = self.entries.open_update();
        update.is_some_and(|update| matches!(update.phase, Phase::Migrating | Phase::Checking))
    }

    /// Whether the update has come to where this fixed service is the new plan's.
    pub(super) fn fixed_moved(&self, kind: ServiceKind) -> bool {
        let phase = self.entries.open_update().map(|update| update.phase);
        match kind {
            // Jobs are made by those who serve.
            ServiceKind::Worker => phase == Some(Phase::Switched),
            _ => matches!(phase, Some(Phase::Checking | Phase::Switched)),
        }
    }
}
