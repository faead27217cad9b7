//! Changes of a store that goes on serving: another revision, scale, maintenance, a hold. Decided before anything is written. Pure.

use shop_proto::Spec;

use super::{
    change::{Decision, changed},
    operation::{Operation, OperationKind},
    progress::current_report,
    room::Room,
    store::{IllegalTransition, Reservation, Store},
};

/// What a store is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub spec: Spec,
    pub template_version: String,
    pub admin_path: String,
    /// In the end; meanwhile it may be more.
    pub reserved: Reservation,
}

/// Why a store cannot be changed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmendRefusal {
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// An update or a start is under way, and this is no reason to end it.
    #[error("another operation is under way")]
    Busy,
}

impl Target {
    /// The store as it is wanted already, to begin with.
    #[must_use]
    pub fn of(store: &Store) -> Self {
        Self {
            spec: store.spec.clone(),
            template_version: store.template_version.clone(),
            admin_path: store.admin_path.clone(),
            reserved: match store.room {
                Some(Room::Held { after }) => after,
                _ => store.reserved,
            },
        }
    }
}

/// Decides. `latest` is the store's newest operation.
///
/// # Errors
/// When the store is to go, or an update or a start would be interrupted for something that can wait.
pub fn amend(
    store: &Store,
    latest: Option<&Operation>,
    kind: OperationKind,
    target: Target,
) -> Result<Decision, AmendRefusal> {
    store.lifecycle.live()?;
    let active = latest.filter(|operation| !operation.state.ended());
    let busy = active
        .is_some_and(|operation| operation.kind.brings_revision() || operation.kind.ends_serving());
    if busy && can_wait(kind) {
        return Err(AmendRefusal::Busy);
    }
    // A revision that ended in a dead end may be tried again.
    let again = kind.brings_revision() && halted(store);
    if target.spec == store.spec && !again {
        return Ok(if active.is_some_and(|operation| operation.kind == kind) {
            Decision::Ongoing
        } else {
            Decision::Unchanged
        });
    }
    let mut next = changed(store, store.lifecycle, kind);
    let Target {
        spec,
        template_version,
        admin_path,
        reserved,
    } = target;
    next.spec = spec;
    next.template_version = template_version;
    next.admin_path = admin_path;
    // What is paused has nothing reserved, whatever it would need.
    if store.reserved != Reservation::default() {
        next.reserved = reserved;
    }
    Ok(Decision::Change(Box::new(next)))
}

/// The next generation of a store whose wanted revision was taken back: what served before is wanted again.
#[must_use]
pub fn take_back(store: &Store, target: Target) -> Store {
    let mut next = changed(store, store.lifecycle, OperationKind::Rollback);
    // The slot that was tried is gone, or going.
    next.room = None;
    next.spec = target.spec;
    next.template_version = target.template_version;
    next.admin_path = target.admin_path;
    if store.reserved != Reservation::default() {
        next.reserved = target.reserved;
    }
    next
}

/// The next generation of a store whose last change waits for room: without it. Nothing of it was sent.
#[must_use]
pub fn withdraw(store: &Store, kind: OperationKind) -> Store {
    changed(store, store.lifecycle, kind)
}

/// The maintenance page never waits: it is what an operator reaches for when an update goes wrong.
const fn can_wait(kind: OperationKind) -> bool {
    matches!(
        kind,
        OperationKind::Scale
            | OperationKind::Rotate
            | OperationKind::Hold
            | OperationKind::Release
            | OperationKind::Configure
    )
}

fn halted(store: &Store) -> bool {
    current_report(store)
        .and_then(|report| report.update.as_ref())
        .is_some_and(|update| update.phase == "halted")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        operation::OperationState,
        store::Lifecycle,
        testing::{at, operation, store},
    };

    fn next_revision() -> Target {
        let mut target = Target::of(&store());
        target.spec.revision.number = 2;
        target
    }

    #[test]
    fn another_revision_is_a_new_generation_and_the_same_one_nothing() {
        let decided = amend(&store(), None, OperationKind::Update, next_revision());
        let Ok(Decision::Change(next)) = decided else {
            panic!("{decided:?}");
        };
        assert_eq!(next.spec.revision.number, 2);
        assert_eq!(next.generation, store().generation.next());
        let same = amend(&store(), None, OperationKind::Update, Target::of(&store()));
        assert_eq!(same, Ok(Decision::Unchanged));
    }

    #[test]
    fn an_update_is_interrupted_by_an_update_and_by_maintenance_only() {
        let busy = operation(&store(), OperationKind::Update, OperationState::Running);
        for kind in [
            OperationKind::Scale,
            OperationKind::Hold,
            OperationKind::Configure,
        ] {
            let decided = amend(&store(), Some(&busy), kind, next_revision());
            assert_eq!(decided, Err(AmendRefusal::Busy), "{kind}");
        }
        for kind in [
            OperationKind::Update,
            OperationKind::Rollback,
            OperationKind::Maintenance,
        ] {
            let decided = amend(&store(), Some(&busy), kind, next_revision());
            assert!(matches!(decided, Ok(Decision::Change(_))), "{kind}");
        }
    }

    #[test]
    fn what_is_to_go_does_not_change() {
        let mut going = store();
        going.lifecycle = Lifecycle::Grace {
            back: shop_proto::RunState::Running,
            until: at(9),
        };
        let decided = amend(&going, None, OperationKind::Update, next_revision());
        assert_eq!(
            decided,
            Err(AmendRefusal::Illegal(IllegalTransition::Grace))
        );
    }
}
