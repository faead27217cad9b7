//! What a change takes of its store's node while it is under way: web and php-fpm of the old revision run beside those of the new one.

use jiff::Timestamp;
use shop_plan::{StorePlan, Transition};
use shop_proto::{RunState, Spec};

use super::{
    amend::Worked,
    preview::{self, Refused},
};
use crate::{
    app::{App, AppError},
    db::Tx,
    domain::{
        operation::OperationKind,
        room::arrange,
        store::{Lifecycle, Reservation, Store},
    },
    policy::placement::Candidate,
};

/// Stores that wait of which it is asked since when.
const LOOKED_AT: u32 = 500;

/// Where a change begins: a revision that may serve, rendered, and what leads from it to what is wanted.
struct Origin {
    plan: StorePlan,
    transition: Transition,
}

/// What a change needs of the node.
pub(super) struct Demand {
    kind: OperationKind,
    origins: Vec<Origin>,
    peak: Reservation,
    node: Option<Here>,
}

/// The store's node.
struct Here {
    name: String,
    /// With what is reserved there.
    now: Candidate,
    /// With nothing.
    empty: Candidate,
}

impl App {
    /// What the change takes at most, and what its node has.
    pub(super) async fn demand(
        &self,
        tx: &mut Tx,
        store: &Store,
        kind: OperationKind,
        worked: &Worked,
    ) -> Result<Demand, AppError> {
        let mut origins = Vec::new();
        if kind.brings_revision() {
            for revision in preview::origins(tx, store).await? {
                // What this release cannot render is left out.
                let Ok((_, plan)) = self.planned(store, &revision) else {
                    continue;
                };
                let transition = shop_plan::transition(&plan, &worked.plan);
                origins.push(Origin { plan, transition });
            }
        }
        let running = store.lifecycle == Lifecycle::Live(RunState::Running);
        let mut peak = worked.target.reserved;
        let moves = |origin: &&Origin| {
            running && (origin.transition.slots || kind == OperationKind::Rotate)
        };
        for origin in origins.iter().filter(moves) {
            let old = (&origin.plan, store.ordered().1);
            peak = peak.max(side_by_side(old, (&worked.plan, &worked.target.spec)));
        }
        let mut node = None;
        if let Some(placement) = &store.placement
            && kind.may_wait_for_room()
            && let Some(found) = tx.node(&placement.node).await?
        {
            let loads = tx.node_loads().await?;
            let reserved = loads
                .iter()
                .find(|load| load.node == found.id)
                .map(|load| load.reserved)
                .unwrap_or_default();
            let overcommit = self.context().settings.cpu_overcommit;
            let at = self.context().clock.now();
            let mut now = Candidate::of(&found, reserved, 0, overcommit, at);
            for holder in tx.stores_holding_room().await? {
                now.expects(&holder);
            }
            now.kept = kept_for_another(tx, store, &now, at).await?;
            node = Some(Here {
                now,
                empty: Candidate::of(&found, Reservation::default(), 0, overcommit, at),
                name: found.name,
            });
        }
        Ok(Demand {
            kind,
            origins,
            peak,
            node,
        })
    }
}

impl Demand {
    /// What leads from each revision that may serve now to the one that is wanted; none for changes that bring no revision.
    pub(super) fn transitions(&self) -> impl Iterator<Item = &Transition> {
        self.origins.iter().map(|origin| &origin.transition)
    }

    /// A change that its node could not carry if it were alone there.
    pub(super) fn refused(&self, store: &Store) -> Option<Refused> {
        let here = self.node.as_ref()?;
        let more = self.more(store)?;
        (!here.empty.fits(self.peak)).then(|| Refused {
            code: "no_capacity",
            message: format!(
                "node {} has {} MiB of memory and {} thousandths of a core to reserve in all, and while old and new run side by side this needs \
                 {} MiB and {}: {} MiB and {} more than the store has; ask for less",
                here.name,
                here.empty.free_memory >> 20,
                here.empty.free_cpu,
                self.peak.memory_bytes >> 20,
                self.peak.cpu_millis,
                more.memory_bytes >> 20,
                more.cpu_millis
            ),
        })
    }

    /// Worth knowing before it is asked for.
    pub(super) fn warning(&self, store: &Store) -> Option<String> {
        let here = self.node.as_ref()?;
        let more = self.more(store)?;
        if here.now.kept {
            return Some(format!(
                "it would wait: another store has waited for room on node {} for long, and goes first",
                here.name
            ));
        }
        (!here.now.fits(more)).then(|| {
            format!(
                "it would wait for room: node {} has {} MiB of memory and {} thousandths of a core left to reserve, and meanwhile this takes {} MiB \
                 and {} more",
                here.name,
                here.now.free_memory >> 20,
                here.now.free_cpu,
                more.memory_bytes >> 20,
                more.cpu_millis
            )
        })
    }

    /// Reserves what the change takes, or has it wait.
    pub(super) fn arrange(&self, store: &Store, next: &mut Store) {
        let patient = self.node.is_some();
        arrange(store, next, self.peak, patient, |more| {
            self.node.as_ref().is_none_or(|here| here.now.fits(more))
        });
    }

    /// What it takes beside what is reserved for the store; `None`: nothing, or the store has no room to add to.
    fn more(&self, store: &Store) -> Option<Reservation> {
        let none = Reservation::default();
        let more = self.peak.beyond(store.reserved);
        (self.kind.may_wait_for_room() && store.reserved != none && more != none).then_some(more)
    }
}

/// Whether a change of another store has waited for room on a node for so long that nothing overtakes it there.
async fn kept_for_another(
    tx: &mut Tx,
    store: &Store,
    here: &Candidate,
    now: Timestamp,
) -> Result<bool, AppError> {
    for other in tx.stores_awaiting_room(LOOKED_AT).await? {
        let node = other.placement.as_ref().map(|it| &it.node);
        let Some(wanted) = other.room_awaited().filter(|_| node == Some(&here.node)) else {
            continue;
        };
        if other.id == store.id {
            continue;
        }
        let latest = tx.latest_operation(&other.id).await?;
        if latest.is_some_and(|operation| here.keeps_room(wanted, operation.created_at, now)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What runs of two revisions when both slots stand. Of the services that are in neither slot there is one.
fn side_by_side(old: (&StorePlan, &Spec), new: (&StorePlan, &Spec)) -> Reservation {
    let beside = |one: (&StorePlan, &Spec), other: (&StorePlan, &Spec)| {
        reservation(one.0, one.1).and(slotted(other.0, other.1, 0))
    };
    beside(old, new).max(beside(new, old))
}

/// What a store reserves with as many replicas as it should have.
pub(super) fn reservation(plan: &StorePlan, spec: &Spec) -> Reservation {
    let (memory_bytes, cpu_millis) = plan.reservation();
    let one_of_each = Reservation {
        memory_bytes,
        cpu_millis,
    };
    one_of_each.and(slotted(plan, spec, 1))
}

/// What the replicas of web and php-fpm in one slot take, but for the first `but` of each.
fn slotted(plan: &StorePlan, spec: &Spec, but: u8) -> Reservation {
    plan.services
        .iter()
        .filter(|service| service.kind.slotted())
        .fold(Reservation::default(), |sum, service| {
            let replicas = spec.replicas(&service.name).saturating_sub(but);
            sum.and(Reservation {
                memory_bytes: u64::from(replicas) * service.container.memory_bytes,
                cpu_millis: u32::from(replicas) * service.container.cpu_millis,
            })
        })
}
