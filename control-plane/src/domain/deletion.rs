//! Deleting a store: at once or after a time of grace, taking it back, and giving up on a node that does not come back. Pure.

use jiff::Timestamp;

use super::{
    change::{Decision, Refusal, changed},
    node::Link,
    operation::{Operation, OperationKind},
    store::{IllegalTransition, Lifecycle, LifecycleEvent, Store, UNPROVEN},
};

/// When a store's data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    Now,
    /// The operator named the time of grace.
    At(Timestamp),
    /// Nobody named one: a deletion that waits already goes on waiting.
    Default(Timestamp),
}

/// Why a store cannot be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotForgotten {
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// Its node is there and takes it down itself.
    #[error("the store's node is connected")]
    NodeConnected,
}

/// Decides about a deletion. `latest` is the store's newest operation.
///
/// # Errors
/// When the store's state does not allow it.
pub fn delete(store: &Store, latest: Option<&Operation>, due: Due) -> Result<Decision, Refusal> {
    let event = match due {
        Due::Now => LifecycleEvent::Delete,
        Due::At(until) | Due::Default(until) => LifecycleEvent::DeleteLater { until },
    };
    let lifecycle = store.lifecycle.next(event)?;
    let under_way = latest.is_some_and(|operation| {
        !operation.state.ended() && operation.kind == OperationKind::Delete
    });
    let waits_on = matches!(
        (store.lifecycle, due),
        (Lifecycle::Grace { .. }, Due::Default(_))
    );
    if under_way && (waits_on || lifecycle == store.lifecycle) {
        return Ok(Decision::Ongoing);
    }
    Ok(Decision::Change(Box::new(changed(
        store,
        lifecycle,
        OperationKind::Delete,
    ))))
}

/// The store once its time of grace is over; `None` while it is not.
///
/// A control plane that is behind, from a backup, ends no time of grace: the deletion may have been taken back since, and then only an
/// operator's word may remove data.
#[must_use]
pub fn grace_over(store: &Store, now: Timestamp) -> Option<Store> {
    let Lifecycle::Grace { until, .. } = store.lifecycle else {
        return None;
    };
    let lifecycle = store.lifecycle.next(LifecycleEvent::Delete).ok()?;
    (until <= now && !store.is_behind()).then(|| changed(store, lifecycle, OperationKind::Delete))
}

/// The store when its operator gives up on its node. `node` is the node's session, `None` when the node was removed.
///
/// # Errors
/// When it is not being deleted, or its node is there to do it.
pub fn forget(store: &Store, node: Option<Link>) -> Result<Store, NotForgotten> {
    let lifecycle = store.lifecycle.next(LifecycleEvent::Forgotten)?;
    if matches!(node, Some(Link::Up { .. })) && store.on_node.state != UNPROVEN {
        return Err(NotForgotten::NodeConnected);
    }
    let mut next = store.clone();
    next.lifecycle = lifecycle;
    Ok(next)
}

#[cfg(test)]
mod tests {
    use shop_proto::RunState;

    use super::*;
    use crate::domain::{
        operation::OperationState,
        testing::{at, operation, stopped, store},
    };

    fn change(store: &Store, due: Due) -> Store {
        match delete(store, None, due) {
            Ok(Decision::Change(next)) => *next,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn with_grace_it_is_stopped_and_remembers_what_it_was() {
        for (before, back) in [
            (store(), RunState::Running),
            (stopped(store()), RunState::Stopped),
        ] {
            let next = change(&before, Due::Default(at(60)));
            let until = at(60);
            assert_eq!(next.lifecycle, Lifecycle::Grace { back, until });
            assert_eq!(next.spec.run_state, RunState::Stopped);
            assert!(next.generation > before.generation);
        }
    }

    #[test]
    fn asking_again_does_not_put_it_off_but_naming_a_time_does() {
        let waiting = change(&store(), Due::Default(at(60)));
        let active = operation(&waiting, OperationKind::Delete, OperationState::Pending);
        let again = |due| delete(&waiting, Some(&active), due);
        assert_eq!(again(Due::Default(at(90))), Ok(Decision::Ongoing));
        assert!(matches!(again(Due::At(at(90))), Ok(Decision::Change(_))));
        assert!(
            matches!(again(Due::Now), Ok(Decision::Change(next)) if next.lifecycle == Lifecycle::Deleting)
        );
    }

    #[test]
    fn the_time_comes_once_and_not_before() {
        let waiting = change(&store(), Due::At(at(60)));
        assert_eq!(grace_over(&waiting, at(59)), None);
        let next = grace_over(&waiting, at(60)).unwrap();
        assert_eq!(next.lifecycle, Lifecycle::Deleting);
        assert!(next.generation > waiting.generation);
        assert_eq!(grace_over(&next, at(61)), None);
    }

    #[test]
    fn a_control_plane_that_is_behind_ends_no_time_of_grace() {
        let mut waiting = change(&store(), Due::At(at(60)));
        waiting.on_node.generation = waiting.generation.get() + 1;
        assert_eq!(grace_over(&waiting, at(90)), None);
        // An operator says so: above what the node holds.
        let next = change(&waiting, Due::Now);
        assert_eq!(next.lifecycle, Lifecycle::Deleting);
        assert_eq!(next.generation.get(), waiting.generation.get() + 2);
    }

    #[test]
    fn only_what_is_being_deleted_on_a_node_that_is_away_is_forgotten() {
        let down = Some(Link::Down { since: at(0) });
        assert_eq!(
            forget(&store(), down),
            Err(NotForgotten::Illegal(IllegalTransition::Live))
        );
        let deleting = change(&store(), Due::Now);
        let up = Some(Link::Up { since: at(0) });
        assert_eq!(forget(&deleting, up), Err(NotForgotten::NodeConnected));
        for away in [down, None, Some(Link::Never)] {
            assert_eq!(
                forget(&deleting, away).unwrap().lifecycle,
                Lifecycle::Deleted
            );
        }
    }

    #[test]
    fn what_no_node_ever_heard_of_needs_no_grace() {
        let mut unplaced = store();
        unplaced.placement = None;
        let next = change(&unplaced, Due::Default(at(60)));
        assert_eq!(next.lifecycle, Lifecycle::Deleted);
    }
}
