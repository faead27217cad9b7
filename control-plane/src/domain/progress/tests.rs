//! What is said of a store, and how far its operation is.

use super::*;
use crate::domain::operation::StepState;
use crate::domain::testing::{at, operation, report, stopped, store};

fn facts(second: i64) -> Facts {
    Facts {
        now: at(second),
        node_reachable: true,
        provision_deadline: SignedDuration::from_secs(600),
    }
}

fn reporting(mut store: Store, state: &str) -> Store {
    store.report = Some(report(&store, state));
    store
}

fn status(store: &Store) -> StoreStatus {
    condition(store, None, &facts(1)).status
}

#[test]
fn the_agents_word_for_the_present_generation() {
    for (state, running, halted) in [
        ("waiting", StoreStatus::Provisioning, StoreStatus::Stopping),
        ("starting", StoreStatus::Provisioning, StoreStatus::Stopping),
        ("running", StoreStatus::Running, StoreStatus::Stopping),
        ("degraded", StoreStatus::Degraded, StoreStatus::Stopping),
        ("stopping", StoreStatus::Provisioning, StoreStatus::Stopping),
        ("stopped", StoreStatus::Provisioning, StoreStatus::Stopped),
        ("failed", StoreStatus::Failed, StoreStatus::Failed),
        (
            "a word of a later release",
            StoreStatus::Provisioning,
            StoreStatus::Stopping,
        ),
    ] {
        assert_eq!(status(&reporting(store(), state)), running, "{state}");
        assert_eq!(
            status(&reporting(stopped(store()), state)),
            halted,
            "{state}"
        );
    }
}

#[test]
fn a_report_of_another_generation_or_content_says_nothing() {
    let mut older = reporting(store(), "running");
    if let Some(report) = &mut older.report {
        report.generation = 1;
    }
    assert_eq!(status(&older), StoreStatus::Provisioning);
    let mut other = reporting(store(), "running");
    other.spec.restart_seq = 5;
    assert_eq!(status(&other), StoreStatus::Provisioning);
}

#[test]
fn placement_and_reachability_come_first() {
    let mut unplaced = store();
    unplaced.placement = None;
    assert_eq!(status(&unplaced), StoreStatus::Pending);
    assert_eq!(status(&stopped(unplaced)), StoreStatus::Stopped);
    let away = Facts {
        node_reachable: false,
        ..facts(1)
    };
    let cut_off = condition(&reporting(store(), "running"), None, &away);
    assert_eq!(
        (cut_off.status, cut_off.reason.as_str()),
        (StoreStatus::Unreachable, "node_unreachable")
    );
    let mut deleting = store();
    deleting.lifecycle = Lifecycle::Deleting;
    assert_eq!(
        condition(&deleting, None, &away).status,
        StoreStatus::Deleting
    );
}

#[test]
fn refusals_and_errors_are_the_reason() {
    let mut refusing = store();
    refusing.on_agent.refused_generation = 2;
    refusing.on_agent.refused_code = "plan_mismatch".to_owned();
    assert_eq!(
        condition(&refusing, None, &facts(1)).reason,
        "plan_mismatch"
    );
    let mut missing = store();
    missing.on_node.state = "error".to_owned();
    missing.on_node.code = "image_missing".to_owned();
    assert_eq!(condition(&missing, None, &facts(1)).reason, "image_missing");
    let mut full = store();
    full.on_node.state = "refused".to_owned();
    full.on_node.code = "node_disk".to_owned();
    full.on_node.message = "no space left".to_owned();
    let seen = condition(&full, None, &facts(1));
    assert_eq!(seen.reason, "node_disk");
    assert!(
        seen.message.contains("no space left") && seen.message.contains("asked again"),
        "{seen:?}"
    );
}

#[test]
fn what_served_once_is_degraded_when_it_starts_again() {
    let again = reporting(store(), "starting");
    let done = operation(&again, OperationKind::Create, OperationState::Succeeded);
    assert_eq!(
        condition(&again, Some(&done), &facts(1)).status,
        StoreStatus::Degraded
    );
}

#[test]
fn the_deadline_counts_from_placement() {
    let mut late = store();
    late.placement = Some(crate::domain::store::Placement {
        node: "n00001".parse().unwrap(),
        at: at(5000),
    });
    let create = operation(&late, OperationKind::Create, OperationState::Pending);
    let next = progress(&late, &create, &facts(5001));
    assert_eq!(next.deadline, Deadline::Until(at(5600)));
    assert_eq!(next.state, OperationState::Running);
    assert_eq!(
        progress(&late, &next, &facts(5599)).state,
        OperationState::Running
    );
    let failed = progress(&late, &next, &facts(5600));
    assert_eq!(failed.state, OperationState::Failed);
    assert!(
        failed
            .steps
            .iter()
            .any(|step| step.state == StepState::Failed),
        "{:?}",
        failed.steps
    );
    let served = progress(&reporting(late, "running"), &next, &facts(5600));
    assert_eq!(
        served.state,
        OperationState::Succeeded,
        "what serves has not failed"
    );
}

#[test]
fn a_stop_has_no_deadline() {
    let halted = stopped(store());
    let stop = operation(&halted, OperationKind::Stop, OperationState::Running);
    let next = progress(&halted, &stop, &facts(1_000_000));
    assert_eq!(
        (next.state, next.deadline),
        (OperationState::Running, Deadline::None)
    );
}

#[test]
fn progress_is_idempotent_and_keeps_what_has_ended() {
    let serving = reporting(store(), "running");
    let create = operation(&serving, OperationKind::Create, OperationState::Pending);
    let once = progress(&serving, &create, &facts(7));
    assert_eq!(progress(&serving, &once, &facts(9)), once);
    let starting = reporting(store(), "starting");
    let first = progress(&starting, &create, &facts(1));
    assert_eq!(
        progress(&starting, &first, &facts(2)),
        first,
        "time alone changes nothing"
    );
    assert_eq!(
        cancelled(&first, OperationKind::Stop, at(3)).state,
        OperationState::Cancelled
    );
}

#[test]
fn steps_run_in_order_and_keep_their_times() {
    let mut known = store();
    let create = operation(&known, OperationKind::Create, OperationState::Pending);
    let first = progress(&known, &create, &facts(1));
    let names: Vec<(&str, &str)> = first
        .steps
        .iter()
        .map(|step| (step.name.as_str(), step.state.as_str()))
        .collect();
    assert_eq!(
        names,
        [
            ("accepted", "done"),
            ("placed", "done"),
            ("prepared", "running"),
            ("enrolled", "pending"),
            ("serving", "pending")
        ]
    );
    // The agent was faster than the node's word about itself: what is behind is done.
    known.on_agent.enrolled = true;
    let second = progress(&known, &first, &facts(4));
    assert!(
        second.steps[..4]
            .iter()
            .all(|step| step.state == StepState::Done)
    );
    assert_eq!(
        second.steps[1], first.steps[1],
        "a done step keeps its times"
    );
    assert_eq!(second.steps[2].started_ms, first.steps[2].started_ms);
}
