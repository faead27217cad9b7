//! What reports of an update mean, phase by phase.

use jiff::SignedDuration;

use super::*;
use crate::domain::{
    operation::OperationState,
    progress::{Facts, condition, progress},
    session::HeldBackReport,
    testing::{at, operation, report, store},
};

fn facts(second: i64) -> Facts {
    Facts {
        now: at(second),
        node_reachable: true,
        provision_deadline: SignedDuration::from_secs(600),
    }
}

/// Revision 2 is wanted by generation 2, and 1 serves.
fn updating(phase: &str) -> Store {
    let mut store = store();
    store.spec.revision.number = 2;
    store.on_agent.generation = 2;
    let mut report = report(&store, "running");
    report.serving_revision = 1;
    report.update = Some(UpdateReport {
        from_revision: 1,
        to_revision: 2,
        generation: 2,
        phase: phase.to_owned(),
        slot: "b".to_owned(),
        began_unix_ms: 1,
        switched_unix_ms: 0,
        window_ends_unix_ms: 0,
        reason: String::new(),
        message: String::new(),
    });
    store.report = Some(report);
    store
}

fn step(operation: &Operation, name: &str) -> Option<StepState> {
    let found = operation.steps.iter().find(|step| step.name == name)?;
    Some(found.state)
}

#[test]
fn steps_follow_the_phases() {
    let mut seen = operation(&store(), OperationKind::Update, OperationState::Pending);
    seen = progress(&updating("preparing"), &seen, &facts(1));
    assert_eq!(step(&seen, "prepare"), Some(StepState::Running));
    assert_eq!(step(&seen, "migrate"), None, "nobody spoke of a migration");
    seen = progress(&updating("migrating"), &seen, &facts(2));
    assert_eq!(step(&seen, "prepare"), Some(StepState::Done));
    assert_eq!(step(&seen, "migrate"), Some(StepState::Running));
    seen = progress(&updating("checking"), &seen, &facts(3));
    assert_eq!(step(&seen, "migrate"), Some(StepState::Done));
    let mut switched = updating("switched");
    if let Some(report) = &mut switched.report {
        report.serving_revision = 2;
    }
    seen = progress(&switched, &seen, &facts(4));
    assert_eq!(step(&seen, "switch"), Some(StepState::Done));
    assert_eq!(step(&seen, "watch"), Some(StepState::Running));
    assert_eq!(
        seen.state,
        OperationState::Running,
        "it serves, and is watched"
    );
    let mut done = switched;
    if let Some(update) = done.report.as_mut().and_then(|it| it.update.as_mut()) {
        update.phase = "done".to_owned();
    }
    seen = progress(&done, &seen, &facts(5));
    assert_eq!(seen.state, OperationState::Succeeded);
    assert!(seen.steps.iter().all(|step| step.state == StepState::Done));
}

#[test]
fn what_the_agent_did_before_is_no_progress_of_the_update() {
    let begun = operation(&store(), OperationKind::Update, OperationState::Pending);
    let mut busy = updating("preparing");
    if let Some(report) = &mut busy.report {
        report.steps = vec![crate::domain::session::StepReport {
            name: "start db".to_owned(),
            state: "done".to_owned(),
            started_unix_ms: 1,
            ended_unix_ms: 2,
        }];
    }
    let seen = progress(&busy, &begun, &facts(1));
    assert_eq!(step(&seen, "prepare"), Some(StepState::Running));
}

#[test]
fn a_store_that_updates_is_running() {
    let seen = condition(&updating("checking"), None, &facts(1));
    assert_eq!(
        (seen.status, seen.reason.as_str()),
        (StoreStatus::Running, "updating")
    );
    // Before the agent has taken it, too.
    let mut sent = updating("checking");
    sent.generation = sent.generation.next();
    let asked = operation(&sent, OperationKind::Update, OperationState::Running);
    assert_eq!(
        condition(&sent, Some(&asked), &facts(1)).status,
        StoreStatus::Running
    );
}

fn held(generation: u64) -> Store {
    let mut store = updating("rolled_back");
    if let Some(report) = &mut store.report {
        report.update = None;
        report.held_back = Some(HeldBackReport {
            generation,
            revision: 2,
            reason: "update_not_ready".to_owned(),
            message: "php-fpm exits with code 1".to_owned(),
            at_unix_ms: 1,
        });
    }
    store
}

#[test]
fn what_was_taken_back_fails_and_says_why() {
    let begun = operation(&store(), OperationKind::Update, OperationState::Running);
    let seen = progress(&held(2), &begun, &facts(1));
    assert_eq!(
        (seen.state, seen.reason.as_str()),
        (OperationState::Failed, "update_not_ready")
    );
    assert!(
        seen.message.contains("exits with code 1"),
        "{}",
        seen.message
    );
    assert!(seen.message.contains("store explain"), "{}", seen.message);
}

#[test]
fn an_older_try_says_nothing_about_this_one() {
    assert_eq!(setback(&held(1), Generation::new(2).unwrap()), None);
    assert!(setback(&held(2), Generation::new(2).unwrap()).is_some());
    let mut serves = held(2);
    if let Some(report) = &mut serves.report {
        report.serving_revision = 2;
    }
    assert_eq!(setback(&serves, Generation::new(2).unwrap()), None);
}

#[test]
fn halted_is_neither_forward_nor_back() {
    let begun = operation(&store(), OperationKind::Update, OperationState::Running);
    let mut halted = updating("halted");
    let report = halted.report.as_mut().unwrap();
    // As the agent tells it: the page serves, and the try is noted.
    report.serving_revision = 0;
    report.held_back = Some(HeldBackReport {
        generation: 2,
        revision: 2,
        reason: "update_bad_minute".to_owned(),
        message: String::new(),
        at_unix_ms: 1,
    });
    assert!(matches!(
        setback(&halted, Generation::FIRST),
        Some(Setback::Halted { .. })
    ));
    let seen = progress(&halted, &begun, &facts(1));
    assert_eq!(
        (seen.state, seen.reason.as_str()),
        (OperationState::Failed, "halted")
    );
    let seen = condition(&updating("halted"), Some(&seen), &facts(1));
    assert_eq!(
        (seen.status, seen.reason.as_str()),
        (StoreStatus::Degraded, "halted")
    );
}

#[test]
fn a_refused_update_fails_at_once() {
    let begun = operation(&store(), OperationKind::Update, OperationState::Running);
    let mut refused = updating("done");
    refused.report = None;
    refused.on_agent.refused_generation = 2;
    refused.on_agent.refused_code = "schema_too_new".to_owned();
    let seen = progress(&refused, &begun, &facts(1));
    assert_eq!(
        (seen.state, seen.reason.as_str()),
        (OperationState::Failed, "schema_too_new")
    );
}

#[test]
fn what_passes_by_itself_fails_no_update() {
    let begun = operation(&store(), OperationKind::Update, OperationState::Running);
    let mut full = updating("done");
    full.report = None;
    full.on_agent.refused_generation = 2;
    full.on_agent.refused_code = "ledger_failed".to_owned();
    let seen = progress(&full, &begun, &facts(1));
    assert_eq!(
        (seen.state, seen.reason.as_str()),
        (OperationState::Running, "ledger_failed")
    );
    full.on_agent.refused_generation = 0;
    full.on_node.state = "refused".to_owned();
    full.on_node.code = "node_disk".to_owned();
    let seen = progress(&full, &begun, &facts(1));
    assert_eq!(
        (seen.state, seen.reason.as_str()),
        (OperationState::Running, "node_disk")
    );
    assert_eq!(setback(&full, Generation::FIRST), None);
    full.on_node.code = "template_untrusted".to_owned();
    assert!(setback(&full, Generation::FIRST).is_some());
}

#[test]
fn maintenance_is_in_place_when_the_edge_shows_it() {
    let mut store = updating("done");
    store.spec.maintenance = true;
    let mut report = report(&store, "running");
    store.report = Some(report.clone());
    assert!(!in_place(
        &store,
        OperationKind::Maintenance,
        StoreStatus::Running
    ));
    report.maintenance = true;
    store.report = Some(report);
    assert!(in_place(
        &store,
        OperationKind::Maintenance,
        StoreStatus::Running
    ));
    assert_eq!(condition(&store, None, &facts(1)).reason, "maintenance");
}
