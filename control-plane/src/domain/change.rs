//! What an operator's request does to a store, decided before anything is written. Pure.

use shop_proto::RunState;

use super::{
    operation::{Operation, OperationKind},
    store::{
        AgentProgress, IllegalTransition, Lifecycle, LifecycleEvent, NodeProgress, Reservation,
        Store, StoreStatus,
    },
};

/// What to do about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Somebody asked for the same and it is under way: that operation is the answer.
    Ongoing,
    /// It is so already: recorded, and nothing is changed.
    Unchanged,
    /// A new generation.
    Change(Box<Store>),
}

/// Why a request cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// A restart has nothing to restart yet.
    #[error("the store is still being set up")]
    StillStarting,
}

/// Decides. `latest` is the store's newest operation.
///
/// # Errors
/// When the store's state does not allow it.
pub fn decide(
    store: &Store,
    latest: Option<&Operation>,
    kind: OperationKind,
) -> Result<Decision, Refusal> {
    let event = match kind {
        OperationKind::Create | OperationKind::Start | OperationKind::Wake => LifecycleEvent::Start,
        OperationKind::Pause => LifecycleEvent::Pause,
        OperationKind::Stop => LifecycleEvent::Stop,
        OperationKind::Restart => LifecycleEvent::Restart,
        OperationKind::Delete => LifecycleEvent::Delete,
        OperationKind::Undelete => LifecycleEvent::Undelete,
        // These change no lifecycle; `amend` decides them.
        OperationKind::Update
        | OperationKind::Rollback
        | OperationKind::Rotate
        | OperationKind::Scale
        | OperationKind::Maintenance
        | OperationKind::Hold
        | OperationKind::Release
        | OperationKind::Configure
        | OperationKind::Task => {
            store.lifecycle.live()?;
            return Ok(Decision::Unchanged);
        }
    };
    let lifecycle = store.lifecycle.next(event)?;
    let active = latest.filter(|operation| !operation.state.ended());
    let same_wish = lifecycle == store.lifecycle;
    match kind {
        OperationKind::Create | OperationKind::Start | OperationKind::Wake if same_wish => {
            if active.is_some_and(|operation| operation.kind.ends_serving()) {
                return Ok(Decision::Ongoing);
            }
            if store.status == StoreStatus::Running {
                return Ok(Decision::Unchanged);
            }
        }
        OperationKind::Stop if same_wish => {
            if active.is_some_and(|operation| operation.kind == OperationKind::Stop) {
                return Ok(Decision::Ongoing);
            }
            if store.status == StoreStatus::Stopped {
                return Ok(Decision::Unchanged);
            }
        }
        OperationKind::Pause if same_wish => {
            if active.is_some_and(|operation| operation.kind == OperationKind::Pause) {
                return Ok(Decision::Ongoing);
            }
            if store.status == StoreStatus::Paused {
                return Ok(Decision::Unchanged);
            }
        }
        OperationKind::Restart => match active.map(|operation| operation.kind) {
            Some(OperationKind::Restart) => return Ok(Decision::Ongoing),
            Some(OperationKind::Create | OperationKind::Start) => {
                return Err(Refusal::StillStarting);
            }
            _ => {}
        },
        OperationKind::Delete if same_wish => return Ok(Decision::Ongoing),
        _ => {}
    }
    Ok(Decision::Change(Box::new(changed(store, lifecycle, kind))))
}

/// The store's next generation. What was acknowledged of the one before says nothing about it.
///
/// It is newer than anything node or agent hold: after a restore from a backup they may hold more than we know, and an operator's word
/// takes the store over.
pub(super) fn changed(store: &Store, lifecycle: Lifecycle, kind: OperationKind) -> Store {
    // A change that waits for room gives way to this one.
    let mut next = store.withdrawn();
    next.generation = store.newest_held().next();
    next.lifecycle = lifecycle;
    if let Some(run_state) = lifecycle.wanted() {
        next.spec.run_state = run_state;
    }
    if kind == OperationKind::Restart {
        next.spec.restart_seq += 1;
    }
    // What was paused has given its room away and asks for it anew.
    if store.lifecycle == Lifecycle::Live(RunState::Paused) && lifecycle != store.lifecycle {
        next.reserved = Reservation::default();
    }
    next.on_node = NodeProgress {
        generation: store.on_node.generation,
        ..NodeProgress::default()
    };
    next.on_agent = AgentProgress {
        refused_generation: 0,
        refused_code: String::new(),
        ..store.on_agent.clone()
    };
    // No node ever heard of it: there is nothing to take down.
    let going = matches!(lifecycle, Lifecycle::Deleting | Lifecycle::Grace { .. });
    if going && store.placement.is_none() {
        next.lifecycle = Lifecycle::Deleted;
    }
    if lifecycle == Lifecycle::Live(RunState::Stopped) && store.placement.is_none() {
        next.report = None;
    }
    next
}

#[cfg(test)]
mod tests;
