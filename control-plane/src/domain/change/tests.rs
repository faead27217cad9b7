//! Every request in every situation that has its own answer.

use shop_proto::RunState;

use super::*;
use crate::domain::{
    operation::OperationState,
    testing::{operation, stopped, store},
};

fn with_status(mut store: Store, status: StoreStatus) -> Store {
    store.status = status;
    store
}

fn change(store: &Store, latest: Option<&Operation>, kind: OperationKind) -> Store {
    match decide(store, latest, kind) {
        Ok(Decision::Change(next)) => *next,
        other => panic!("{kind}: {other:?}"),
    }
}

#[test]
fn asking_again_changes_nothing() {
    let running = with_status(store(), StoreStatus::Running);
    assert_eq!(
        decide(&running, None, OperationKind::Start),
        Ok(Decision::Unchanged)
    );
    let resting = with_status(stopped(store()), StoreStatus::Stopped);
    assert_eq!(
        decide(&resting, None, OperationKind::Stop),
        Ok(Decision::Unchanged)
    );
    for (base, kind) in [
        (store(), OperationKind::Start),
        (stopped(store()), OperationKind::Stop),
        (store(), OperationKind::Restart),
    ] {
        let under_way = operation(&base, kind, OperationState::Running);
        assert_eq!(
            decide(&base, Some(&under_way), kind),
            Ok(Decision::Ongoing),
            "{kind}"
        );
    }
}

#[test]
fn a_failed_store_is_started_again_by_a_newer_generation() {
    let failed = with_status(store(), StoreStatus::Failed);
    let create = operation(&failed, OperationKind::Create, OperationState::Failed);
    let next = change(&failed, Some(&create), OperationKind::Start);
    assert!(next.generation > failed.generation);
    assert_eq!(next.spec.restart_seq, failed.spec.restart_seq);
}

#[test]
fn stop_and_delete_win_over_what_goes_on() {
    for kind in [
        OperationKind::Create,
        OperationKind::Start,
        OperationKind::Restart,
    ] {
        let active = operation(&store(), kind, OperationState::Running);
        let halted = change(&store(), Some(&active), OperationKind::Stop);
        assert_eq!(halted.spec.run_state, RunState::Stopped);
        let gone = change(&store(), Some(&active), OperationKind::Delete);
        assert_eq!(gone.lifecycle, Lifecycle::Deleting);
    }
}

#[test]
fn restarts_count_and_have_their_place() {
    let next = change(&store(), None, OperationKind::Restart);
    assert_eq!(next.spec.restart_seq, 1);
    let setting_up = operation(&store(), OperationKind::Create, OperationState::Running);
    assert_eq!(
        decide(&store(), Some(&setting_up), OperationKind::Restart),
        Err(Refusal::StillStarting)
    );
    assert_eq!(
        decide(&stopped(store()), None, OperationKind::Restart),
        Err(Refusal::Illegal(IllegalTransition::Stopped))
    );
}

#[test]
fn what_is_on_a_node_is_taken_down_and_what_is_not_is_gone() {
    assert_eq!(
        change(&store(), None, OperationKind::Delete).lifecycle,
        Lifecycle::Deleting
    );
    let mut unplaced = store();
    unplaced.placement = None;
    assert_eq!(
        change(&unplaced, None, OperationKind::Delete).lifecycle,
        Lifecycle::Deleted
    );
}

#[test]
fn a_new_generation_is_above_what_anybody_holds_and_owes_nothing_to_the_old_one() {
    let mut behind = store();
    behind.on_node.generation = 9;
    behind.on_node.state = "prepared".to_owned();
    behind.on_agent.generation = 7;
    behind.on_agent.refused_generation = 2;
    let next = change(&behind, None, OperationKind::Stop);
    assert_eq!(next.generation.get(), 10);
    assert_eq!(
        (next.on_node.generation, next.on_node.state.as_str()),
        (9, "")
    );
    assert_eq!(
        (next.on_agent.generation, next.on_agent.refused_generation),
        (7, 0)
    );
}
