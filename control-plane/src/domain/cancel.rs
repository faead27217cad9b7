//! What taking an operation back means, by its kind and how far it is. Pure.

use super::{
    operation::{Operation, OperationKind},
    progress::current_report,
    store::{Lifecycle, Store},
};

/// What is asked for instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instead {
    /// A store on its way up is stopped where it is; its volumes stay.
    Stop,
    /// A paused store on its way up is paused again.
    Pause,
    /// A deletion in its time of grace.
    Undelete,
    /// An update before its switch: back to the revision that serves.
    BackTo(u64),
    /// A change that waits for room and brings no revision: as if it had not been asked for.
    Withdraw,
    /// A task run: it is ended.
    EndTask,
}

/// Why an operation cannot be taken back. Each says what to do instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooLate {
    #[error("it has ended")]
    Ended,
    #[error("its data is being removed; there is no way back")]
    Deleting,
    /// The new revision serves already.
    #[error("traffic has moved to the new revision already")]
    Switched,
    /// A migration without a way back has begun.
    #[error("the database is being changed for good")]
    Migrating,
    /// Asking for the opposite is the way back.
    #[error("it cannot be taken back half way")]
    AskOpposite,
}

/// Decides. `operation` is one of the store's.
///
/// # Errors
/// When it is too late, or there is nothing to go back to.
pub fn cancel(store: &Store, operation: &Operation) -> Result<Instead, TooLate> {
    if operation.state.ended() {
        return Err(TooLate::Ended);
    }
    if waits(store, operation) {
        return Ok(if operation.kind.brings_revision() {
            Instead::BackTo(store.ordered().1.revision.number)
        } else {
            Instead::Withdraw
        });
    }
    match operation.kind {
        OperationKind::Create | OperationKind::Start => Ok(Instead::Stop),
        OperationKind::Wake => Ok(Instead::Pause),
        OperationKind::Delete => match store.lifecycle {
            Lifecycle::Grace { .. } => Ok(Instead::Undelete),
            _ => Err(TooLate::Deleting),
        },
        OperationKind::Update | OperationKind::Rollback | OperationKind::Rotate => update(store),
        OperationKind::Task => Ok(Instead::EndTask),
        OperationKind::Stop
        | OperationKind::Restart
        | OperationKind::Undelete
        | OperationKind::Scale
        | OperationKind::Maintenance
        | OperationKind::Pause
        | OperationKind::Hold
        | OperationKind::Release
        | OperationKind::Configure => Err(TooLate::AskOpposite),
    }
}

/// Whether nothing of it was sent, since its node has no room for it.
fn waits(store: &Store, operation: &Operation) -> bool {
    operation.kind.may_wait_for_room()
        && operation.generation == store.generation
        && store.room_awaited().is_some()
}

/// As the agent said last. While it says nothing of this update, nothing has moved.
fn update(store: &Store) -> Result<Instead, TooLate> {
    let Some(report) = store.report.as_ref() else {
        return Err(TooLate::AskOpposite);
    };
    let wanted = store.spec.revision.number;
    if report.serving_revision == 0 || report.serving_revision == wanted {
        return Err(TooLate::Switched);
    }
    let phase = current_report(store)
        .and_then(|report| report.update.as_ref())
        .filter(|update| update.to_revision == wanted)
        .map_or("preparing", |update| update.phase.as_str());
    match phase {
        "switched" | "draining" | "done" => Err(TooLate::Switched),
        "migrating" | "checking" | "halted" if report.maintenance && !store.spec.maintenance => {
            Err(TooLate::Migrating)
        }
        "halted" => Err(TooLate::Migrating),
        _ => Ok(Instead::BackTo(report.serving_revision)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        amend::withdraw,
        operation::OperationState,
        room::arrange,
        session::UpdateReport,
        store::Reservation,
        testing::{operation, report, store},
    };

    fn updating(phase: &str, maintenance: bool) -> Result<Instead, TooLate> {
        let mut store = store();
        store.spec.revision.number = 2;
        let mut said = report(&store, "running");
        said.serving_revision = 1;
        said.maintenance = maintenance;
        said.update = Some(UpdateReport {
            from_revision: 1,
            to_revision: 2,
            generation: store.generation.get(),
            phase: phase.to_owned(),
            slot: "b".to_owned(),
            began_unix_ms: 1,
            switched_unix_ms: 0,
            window_ends_unix_ms: 0,
            reason: String::new(),
            message: String::new(),
        });
        store.report = Some(said);
        let active = operation(&store, OperationKind::Update, OperationState::Running);
        cancel(&store, &active)
    }

    #[test]
    fn an_update_goes_back_until_it_has_switched_or_changed_the_database_for_good() {
        for phase in ["preparing", "migrating", "checking"] {
            assert_eq!(updating(phase, false), Ok(Instead::BackTo(1)), "{phase}");
        }
        assert_eq!(updating("migrating", true), Err(TooLate::Migrating));
        assert_eq!(updating("halted", true), Err(TooLate::Migrating));
        assert_eq!(updating("switched", false), Err(TooLate::Switched));
        assert_eq!(updating("draining", false), Err(TooLate::Switched));
    }

    #[test]
    fn before_the_agent_heard_of_it_nothing_has_moved() {
        let mut store = store();
        let mut said = report(&store, "running");
        said.generation = 1;
        said.serving_revision = 1;
        store.report = Some(said);
        store.spec.revision.number = 2;
        let active = operation(&store, OperationKind::Update, OperationState::Running);
        assert_eq!(cancel(&store, &active), Ok(Instead::BackTo(1)));
    }

    #[test]
    fn what_waits_for_room_is_taken_back_whatever_the_store_does_meanwhile() {
        let before = store();
        for kind in [OperationKind::Scale, OperationKind::Update] {
            let mut waiting = withdraw(&before, kind);
            waiting.spec.revision.number = 2;
            let more = Reservation {
                memory_bytes: before.reserved.memory_bytes + 1,
                ..before.reserved
            };
            arrange(&before, &mut waiting, more, true, |_| false);
            // It shows the maintenance page, and so no revision serves.
            let mut said = report(&before, "running");
            said.serving_revision = 0;
            waiting.report = Some(said);
            let active = operation(&waiting, kind, OperationState::Pending);
            let expected = match kind {
                OperationKind::Scale => Instead::Withdraw,
                _ => Instead::BackTo(1),
            };
            assert_eq!(cancel(&waiting, &active), Ok(expected), "{kind}");
            // With its room it has begun.
            let begun = waiting.granted();
            assert!(cancel(&begun, &active).is_err(), "{kind}");
            let older = operation(&before, kind, OperationState::Pending);
            assert!(cancel(&waiting, &older).is_err(), "another one: {kind}");
        }
    }

    #[test]
    fn what_has_ended_stays_and_what_is_on_its_way_up_is_stopped() {
        for state in OperationState::ALL
            .into_iter()
            .filter(|state| state.ended())
        {
            let ended = operation(&store(), OperationKind::Create, state);
            assert_eq!(cancel(&store(), &ended), Err(TooLate::Ended));
        }
        for kind in [OperationKind::Create, OperationKind::Start] {
            let active = operation(&store(), kind, OperationState::Pending);
            assert_eq!(cancel(&store(), &active), Ok(Instead::Stop));
        }
    }

    #[test]
    fn a_deletion_only_while_its_grace_lasts() {
        let mut store = store();
        let active = operation(&store, OperationKind::Delete, OperationState::Running);
        store.lifecycle = Lifecycle::Deleting;
        assert_eq!(cancel(&store, &active), Err(TooLate::Deleting));
        store.lifecycle = Lifecycle::Grace {
            back: shop_proto::RunState::Running,
            until: store.created_at,
        };
        assert_eq!(cancel(&store, &active), Ok(Instead::Undelete));
    }
}
