//! What follows from what is known of a store: its status, and how far its operation is. Pure.

mod steps;

use jiff::{SignedDuration, Timestamp};
use shop_proto::RunState;

use super::{
    operation::{Deadline, Operation, OperationKind, OperationState},
    refusal::Refusal,
    session::{ReplicaReport, StoreReport},
    store::{Lifecycle, Store, StoreStatus, UNPROVEN},
    update,
};
use steps::{mark, steps};

pub(super) use steps::Milestone;

/// What a decision needs besides the store and its operation.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    pub now: Timestamp,
    /// False when the store's node has been away for longer than is normal.
    pub node_reachable: bool,
    /// From placement to serving.
    pub provision_deadline: SignedDuration,
}

/// Status, typed reason, sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub status: StoreStatus,
    pub reason: String,
    pub message: String,
}

/// Reason of a deletion that waits for its time; shopctl waits no longer then.
const IN_GRACE: &str = "in_grace";

impl Condition {
    pub(super) fn new(status: StoreStatus, reason: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    fn fine(status: StoreStatus) -> Self {
        Self::new(status, "", "")
    }
}

/// The report, if it is about what the store should be now. An older one changes nothing.
pub(super) fn current_report(store: &Store) -> Option<&StoreReport> {
    store.report.as_ref().filter(|report| {
        report.generation == store.generation.get()
            && report.spec_digest == store.spec.digest().to_string()
    })
}

/// A store's status. `operation` is its newest one, ended or not.
#[must_use]
pub fn condition(store: &Store, operation: Option<&Operation>, facts: &Facts) -> Condition {
    let run_state = match store.lifecycle {
        Lifecycle::Deleted => return Condition::fine(StoreStatus::Deleted),
        Lifecycle::Deleting => return deleting(store, facts),
        Lifecycle::Grace { until, .. } => return in_grace(store, until, facts),
        Lifecycle::Live(run_state) => run_state,
    };
    if store.placement.is_none() {
        return match (run_state, operation) {
            (RunState::Stopped, _) => Condition::fine(StoreStatus::Stopped),
            (RunState::Paused, _) => Condition::fine(StoreStatus::Paused),
            (RunState::Running, Some(operation)) => Condition::new(
                StoreStatus::Pending,
                &operation.reason,
                operation.message.clone(),
            ),
            (RunState::Running, None) => Condition::fine(StoreStatus::Pending),
        };
    }
    if !facts.node_reachable {
        return unreachable(StoreStatus::Unreachable);
    }
    if store.waits_for_room() {
        let (reason, message) = operation
            .map(|operation| (operation.reason.as_str(), operation.message.clone()))
            .unwrap_or_default();
        return Condition::new(StoreStatus::Pending, reason, message);
    }
    if store.is_behind() {
        return behind(store, run_state);
    }
    let failed = operation.filter(|operation| {
        operation.state == OperationState::Failed && operation.generation == store.generation
    });
    let seen = match current_report(store) {
        Some(report) => update::overlay(store, reported(report, run_state, store.spec.restart_seq)),
        None => unchanged(store, run_state, operation).unwrap_or_else(|| awaited(store, run_state)),
    };
    match (failed, seen.status) {
        // Given up, and still not serving: that is what an operator has to know first.
        (Some(failed), StoreStatus::Pending | StoreStatus::Provisioning) => {
            Condition::new(StoreStatus::Failed, &failed.reason, failed.message.clone())
        }
        // It has served already, so customers are missing something.
        (None, StoreStatus::Provisioning)
            if operation.is_some_and(|operation| {
                operation.state == OperationState::Succeeded
                    && operation.kind.ends_serving()
                    && operation.generation == store.generation
            }) =>
        {
            Condition {
                status: StoreStatus::Degraded,
                ..seen
            }
        }
        _ => seen,
    }
}

fn unreachable(status: StoreStatus) -> Condition {
    Condition::new(
        status,
        "node_unreachable",
        "the store's node has no session with the control plane; what runs of the store goes on. Look at the node agent and its network",
    )
}

/// Node or agent hold something newer than we know: a control plane from a backup. The store goes on as its agent says; nothing is ordered.
fn behind(store: &Store, wanted: RunState) -> Condition {
    let status = match &store.report {
        Some(report) => reported(report, wanted, 0).status,
        None => awaited(store, wanted).status,
    };
    Condition::new(
        status,
        "needs_review",
        format!(
            "its node or agent holds generation {}, newer than {} here: this control plane is behind, perhaps from a backup. \
             Look whether the store is as it should be; `shopctl store restart {}` takes it over",
            store.newest_held(),
            store.generation,
            store.name
        ),
    )
}

fn deleting(store: &Store, facts: &Facts) -> Condition {
    if store.placement.is_some() && !facts.node_reachable {
        return unreachable(StoreStatus::Deleting);
    }
    let reason = match store.on_node.state.as_str() {
        "blocked" | "refused" | UNPROVEN => store.on_node.state.as_str(),
        _ => "",
    };
    Condition::new(StoreStatus::Deleting, reason, store.on_node.message.clone())
}

/// Stopped, or about to be, and kept until its time.
fn in_grace(store: &Store, until: Timestamp, facts: &Facts) -> Condition {
    if store.is_behind() {
        let name = &store.name;
        return Condition::new(
            StoreStatus::Deleting,
            "needs_review",
            format!(
                "it was to be deleted after {until}, but its node or agent holds generation {}, newer than {} here: this control plane is behind, \
                 perhaps from a backup, and deletes nothing by itself. Look at the store, then take the deletion back with \
                 `shopctl store undelete {name}`, or carry it out with `shopctl store delete {name} --now`",
                store.newest_held(),
                store.generation
            ),
        );
    }
    let stopped = current_report(store).is_some_and(|report| report.state == "stopped");
    let (reason, state) = match (stopped, facts.node_reachable) {
        (true, _) => (IN_GRACE, "it is stopped"),
        (false, true) => ("stopping", "it is being stopped"),
        (false, false) => (
            "node_unreachable",
            "its node has no session with the control plane, and it is stopped on return",
        ),
    };
    Condition::new(
        StoreStatus::Deleting,
        reason,
        format!(
            "{state}, and deleted with all its data after {until}; until then `shopctl store undelete {}` takes it back",
            store.name
        ),
    )
}

/// What an agent says about what the store should be now.
fn reported(report: &StoreReport, wanted: RunState, restart_seq: u64) -> Condition {
    let status = match (report.state.as_str(), wanted) {
        ("running", RunState::Running) if report.restart_seq < restart_seq => {
            StoreStatus::Provisioning
        }
        ("running", RunState::Running) => StoreStatus::Running,
        ("degraded", RunState::Running) => StoreStatus::Degraded,
        ("stopped", RunState::Stopped) => StoreStatus::Stopped,
        ("stopped", RunState::Paused) => StoreStatus::Paused,
        ("failed", _) => StoreStatus::Failed,
        ("waiting", RunState::Running) if report.reason == "awaiting_secrets" => {
            StoreStatus::AwaitingSecrets
        }
        (_, RunState::Running) => StoreStatus::Provisioning,
        (_, RunState::Stopped | RunState::Paused) => StoreStatus::Stopping,
    };
    Condition::new(status, &report.reason, report.message.clone())
}

/// A change that leaves a store serving, and about which nothing is said yet: the store is as it was.
fn unchanged(store: &Store, wanted: RunState, operation: Option<&Operation>) -> Option<Condition> {
    let before = store.report.as_ref()?;
    if !operation.is_some_and(|operation| operation.kind.keeps_serving()) {
        return None;
    }
    let awaited = awaited(store, wanted);
    let seen = reported(before, wanted, store.spec.restart_seq);
    let waits = operation.filter(|_| store.room_awaited().is_some());
    let (reason, message) = match (seen.reason.as_str(), awaited.reason.as_str(), waits) {
        ("", "", Some(waits)) => (waits.reason.as_str(), waits.message.clone()),
        ("", "", None) => (
            "applying",
            "its agent has not taken the last change yet".to_owned(),
        ),
        ("", refused, _) => (refused, awaited.message.clone()),
        (known, ..) => (known, seen.message.clone()),
    };
    Some(Condition::new(seen.status, reason, message))
}

/// Nothing is said yet about what the store should be now.
fn awaited(store: &Store, wanted: RunState) -> Condition {
    let status = match wanted {
        RunState::Running => StoreStatus::Provisioning,
        RunState::Stopped | RunState::Paused => StoreStatus::Stopping,
    };
    let (agent, node) = (&store.on_agent, &store.on_node);
    if let Some(refusal) = agent.refusal(store.generation) {
        let message = match refusal {
            Refusal::Lasting => {
                "the shop agent refuses this generation; look at the store's events"
            }
            Refusal::Passing => {
                "the shop agent cannot take this generation now, and is asked again by itself; its node's disk may be full"
            }
        };
        return Condition::new(status, &agent.refused_code, message);
    }
    match (node.refusal(), node.state.as_str()) {
        (Some(Refusal::Passing), _) => {
            let message = format!("{}; its node is asked again by itself", node.message);
            Condition::new(status, &node.code, message)
        }
        (Some(Refusal::Lasting), _) | (None, "error") => {
            Condition::new(status, &node.code, node.message.clone())
        }
        (None, _) => Condition::fine(status),
    }
}

/// How far an operation that has not ended is. The same operation back when nothing changed.
#[must_use]
pub fn progress(store: &Store, operation: &Operation, facts: &Facts) -> Operation {
    let mut next = operation.clone();
    if operation.state.ended() {
        return next;
    }
    let condition = condition(store, Some(operation), facts);
    let waits_for_room = store.waits_for_room()
        || store.room_awaited().is_some()
        || (store.placement.is_none()
            && (operation.kind.ends_serving() || operation.kind.keeps_serving()));
    let setback = operation
        .kind
        .keeps_serving()
        .then(|| update::setback(store, operation.generation))
        .flatten();
    let done = finished(store, operation.kind, condition.status);
    next.deadline = deadline(store, operation, condition.status, facts);
    let overdue = matches!(next.deadline, Deadline::Until(until) if until <= facts.now);
    if waits_for_room {
        // Its reason is the placer's to say.
        next.state = OperationState::Pending;
    } else {
        next.state = OperationState::Running;
        next.started_at = operation.started_at.or(Some(facts.now));
        next.reason.clone_from(&condition.reason);
        next.message.clone_from(&condition.message);
    }
    if matches!(store.lifecycle, Lifecycle::Grace { .. }) {
        next.state = OperationState::Pending;
    }
    if done {
        next.state = OperationState::Succeeded;
        next.reason.clear();
        next.message.clear();
    } else if let Some(setback) = setback {
        next.state = OperationState::Failed;
        setback.reason().clone_into(&mut next.reason);
        next.message = setback.sentence(store);
    } else if overdue {
        next.state = OperationState::Failed;
        "deadline_exceeded".clone_into(&mut next.reason);
        let waited = allowance(store, operation.kind, facts);
        next.message = failure_sentence(store, operation.kind, &condition, waited);
    }
    if next.state.ended() {
        next.ended_at = Some(facts.now);
        next.deadline = Deadline::None;
    }
    next.steps = steps(store, operation, next.state, facts.now);
    next
}

fn finished(store: &Store, kind: OperationKind, status: StoreStatus) -> bool {
    match kind {
        OperationKind::Create
        | OperationKind::Start
        | OperationKind::Restart
        | OperationKind::Wake => status == StoreStatus::Running,
        OperationKind::Stop => status == StoreStatus::Stopped,
        OperationKind::Pause => status == StoreStatus::Paused,
        OperationKind::Update
        | OperationKind::Rollback
        | OperationKind::Rotate
        | OperationKind::Scale
        | OperationKind::Maintenance
        | OperationKind::Hold
        | OperationKind::Release
        | OperationKind::Configure => update::in_place(store, kind, status),
        // Follows its run, not its store.
        OperationKind::Task => false,
        OperationKind::Delete => store.lifecycle == Lifecycle::Deleted,
        // Back to what it was.
        OperationKind::Undelete => match store.lifecycle {
            Lifecycle::Live(RunState::Running) => status == StoreStatus::Running,
            Lifecycle::Live(_) => current_report(store).is_some(),
            _ => false,
        },
    }
}

fn deadline(store: &Store, operation: &Operation, status: StoreStatus, facts: &Facts) -> Deadline {
    let Some(placement) = store
        .placement
        .as_ref()
        .filter(|_| operation.kind.ends_serving() || operation.kind.keeps_serving())
    else {
        return Deadline::None;
    };
    // An update goes on while nobody hears of it.
    let waits = status == StoreStatus::AwaitingSecrets
        || (status == StoreStatus::Unreachable && operation.kind.keeps_serving())
        || store.waits_for_room()
        || store.room_awaited().is_some();
    match operation.deadline {
        // Its time begins when it is sent.
        Deadline::None if waits => Deadline::Paused {
            left_ms: i64::try_from(allowance(store, operation.kind, facts).as_millis())
                .unwrap_or(i64::MAX),
        },
        Deadline::None => {
            let start = placement.at.max(operation.created_at);
            Deadline::Until(
                start
                    .saturating_add(allowance(store, operation.kind, facts))
                    .unwrap_or(Timestamp::MAX),
            )
        }
        Deadline::Until(until) if waits => Deadline::Paused {
            left_ms: (until.as_millisecond() - facts.now.as_millisecond()).max(0),
        },
        Deadline::Paused { left_ms } if !waits => Deadline::Until(
            facts
                .now
                .saturating_add(SignedDuration::from_millis(left_ms))
                .unwrap_or(Timestamp::MAX),
        ),
        same => same,
    }
}

/// How long an operation may take: an update is watched for a while after it serves.
fn allowance(store: &Store, kind: OperationKind, facts: &Facts) -> SignedDuration {
    let watched = if kind.keeps_serving() {
        store.spec.watch.unwrap_or_default().window_seconds
    } else {
        0
    };
    facts
        .provision_deadline
        .saturating_add(SignedDuration::from_secs(i64::from(watched)))
}

/// Which service kept the store from serving, and how.
fn failure_sentence(
    store: &Store,
    kind: OperationKind,
    condition: &Condition,
    waited: SignedDuration,
) -> String {
    let culprit = current_report(store)
        .and_then(|report| worst(&report.replicas))
        .map(|replica| {
            let mut text = format!("service {} is {}", replica.key.service, replica.phase);
            if !replica.reason.is_empty() {
                text.push_str(&format!(" ({})", replica.reason));
            }
            if let Some(code) = replica.exit_code {
                text.push_str(&format!(", exit code {code}"));
            }
            if replica.oom_killed {
                text.push_str(", out of memory");
            }
            text
        });
    let why = match culprit {
        Some(culprit) => culprit,
        None if !condition.message.is_empty() => condition.message.clone(),
        None if !store.on_agent.enrolled => {
            "the store's agent never came up on its node".to_owned()
        }
        None => "its agent did not say why".to_owned(),
    };
    if kind.keeps_serving() {
        return format!(
            "{kind} was not in place within {} s: {why}. What runs of the store goes on; look at `shopctl store explain {}`",
            waited.as_secs(),
            store.name
        );
    }
    format!(
        "the store did not serve within {} s: {why}. Look at `shopctl store events {}`; then start it again or delete it",
        waited.as_secs(),
        store.name
    )
}

/// The replica most likely to be the cause: one that crashes before one that only waits.
fn worst(replicas: &[ReplicaReport]) -> Option<&ReplicaReport> {
    let weight = |replica: &ReplicaReport| match replica.phase.as_str() {
        "crash_looping" => 4,
        "exited" => 3,
        "unready" => 2,
        "starting" | "created" => 1,
        _ => 0,
    };
    replicas
        .iter()
        .filter(|replica| weight(replica) > 0)
        .max_by_key(|replica| {
            (
                weight(replica),
                replica.exit_code.is_some_and(|code| code != 0),
            )
        })
}

/// An operation that a newer one took the place of.
#[must_use]
pub fn cancelled(operation: &Operation, by: OperationKind, now: Timestamp) -> Operation {
    let mut next = operation.clone();
    next.state = OperationState::Cancelled;
    "superseded".clone_into(&mut next.reason);
    next.message = format!("a newer request took its place: {by}");
    next.ended_at = Some(now);
    next.deadline = Deadline::None;
    let mut steps = std::mem::take(&mut next.steps);
    mark(&mut steps, operation, OperationState::Cancelled, now);
    next.steps = steps;
    next
}

#[cfg(test)]
mod tests;
