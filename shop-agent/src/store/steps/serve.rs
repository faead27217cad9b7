//! Who should answer for the store's host names.
//!
//! The first answer waits for everything: services ready, once-tasks done, deep check passed. Later ones only follow the replicas of the
//! edge service: a replica that ended or is known unready is left out while another one is there. The last one is never taken away:
//! its address is fixed, it is restarted at once, and the edge retries.
//!
//! While an update has two slots that may serve, the new one is preferred, and the old one stands in for it while it is down.

use std::collections::BTreeSet;

use shop_plan::StorePlan;
use shop_proto::{ReplicaKey, RunState, Slot};
use tokio::time::Instant;

use super::{Health, Input, Replica, Step, Target};
use crate::{
    engine::Serve,
    ledger::{Phase, Update},
};

/// The step to what should be said, if it is not said already.
pub fn change(input: &Input<'_>) -> Option<Step> {
    let wanted = wanted(input)?;
    (wanted != *input.serving).then_some(Step::Serve(wanted))
}

/// What is said while the store is meant to rest.
#[must_use]
pub const fn at_rest(state: RunState) -> Serve {
    match state {
        RunState::Paused => Serve::Paused,
        RunState::Stopped | RunState::Running => Serve::None,
    }
}

/// Whether buyers see the page whatever runs.
#[must_use]
pub fn page(input: &Input<'_>) -> bool {
    let update = input.entries.update.as_ref();
    input.spec.maintenance || update.is_some_and(shows_page)
}

const fn shows_page(update: &Update) -> bool {
    match update.phase {
        Phase::Preparing => update.page,
        Phase::Migrating | Phase::Checking => update.page || update.closed,
        Phase::Switched => update.closed,
        Phase::Halted => true,
        Phase::Draining | Phase::Done | Phase::RolledBack => false,
    }
}

/// Whether the deep check is worth asking: everything it goes through is ready.
#[must_use]
pub fn deep_due(input: &Input<'_>) -> bool {
    input.once_tasks_done()
        && input.data_fits()
        && input
            .plan
            .services
            .iter()
            .all(|service| input.service_ready(&service.name))
}

/// Whether a container answers for the store now.
pub fn serves(input: &Input<'_>, key: &ReplicaKey) -> bool {
    match input.serving {
        Serve::Slot { slot, replicas } => {
            key.service == input.plan.edge.service
                && key.slot == *slot
                && replicas.contains(&key.replica)
        }
        Serve::None | Serve::Maintenance | Serve::Paused => false,
    }
}

/// Whether buyers may still be sent there: the edge asks anew four times a second.
pub fn lingers(input: &Input<'_>, key: &ReplicaKey, now: Instant) -> bool {
    input.lingering.get(key).is_some_and(|until| *until > now)
}

/// Whether buyers are, or may still be, sent to a slot: what is behind its web serves as well.
pub fn slot_in_use(input: &Input<'_>, slot: Slot, now: Instant) -> bool {
    matches!(input.serving, Serve::Slot { slot: serving, .. } if *serving == slot)
        || input
            .lingering
            .iter()
            .any(|(key, until)| key.slot == slot && *until > now)
}

/// The plan and slot that an update prefers to serve from, once it has come so far.
#[must_use]
pub fn new_slot<'a>(input: &Input<'a>) -> Option<(&'a StorePlan, Slot)> {
    let update = input.entries.open_update()?;
    let (next, _) = input.next?;
    (update.phase == Phase::Switched && update.slot != input.slot()).then_some((next, update.slot))
}

fn wanted(input: &Input<'_>) -> Option<Serve> {
    if page(input) {
        return Some(Serve::Maintenance);
    }
    let force = (input.plan, input.slot());
    match (new_slot(input), input.serving) {
        (Some(new), Serve::Slot { slot, replicas }) if *slot == new.1 => {
            if fair(input, new) || !good(input, force) {
                follow(input, new, replicas)
            } else {
                ready(input, force)
            }
        }
        (Some(new), serving) if good(input, new) => {
            let serves = matches!(serving, Serve::Slot { .. });
            // After a pause or a page the first answer waits for the deep check, whichever slot gives it.
            (serves || input.watching.passed > 0).then(|| ready(input, new))?
        }
        (_, Serve::Slot { slot, replicas }) if *slot == force.1 => follow(input, force, replicas),
        (_, Serve::Slot { .. }) => good(input, force).then(|| ready(input, force))?,
        (_, Serve::None | Serve::Maintenance | Serve::Paused) => first(input),
    }
}

type Place<'a> = (&'a StorePlan, Slot);

/// Whether every service of a slot has somebody who can serve.
fn good(input: &Input<'_>, place: Place<'_>) -> bool {
    each(input, place, |key, replica| {
        stays_ready(input, key, replica)
    })
}

/// Whether no service of a slot is known to have nobody.
fn fair(input: &Input<'_>, place: Place<'_>) -> bool {
    each(input, place, |_, replica| {
        replica.running() && !replica.health.bad()
    })
}

/// One that is acted on may be on its way down.
fn stays_ready(input: &Input<'_>, key: &ReplicaKey, replica: &Replica) -> bool {
    replica.ready() && !input.busy.contains(&Target::Replica(key.clone()))
}

fn each(
    input: &Input<'_>,
    (plan, slot): Place<'_>,
    test: impl Fn(&ReplicaKey, &Replica) -> bool,
) -> bool {
    let slotted = plan.services.iter().filter(|it| it.kind.slotted());
    slotted.into_iter().all(|service| {
        input
            .keys(service, slot)
            .any(|key| input.replicas.get(&key).is_some_and(|it| test(&key, it)))
    })
}

fn first(input: &Input<'_>) -> Option<Serve> {
    // A template without a deep check is taken at the word of its services.
    let asks_deep = input
        .plan
        .service(&input.plan.edge.service)
        .is_some_and(|service| service.deep.is_some());
    ((input.deep || !asks_deep) && deep_due(input))
        .then(|| ready(input, (input.plan, input.slot())))?
}

fn ready(input: &Input<'_>, place: Place<'_>) -> Option<Serve> {
    answer(
        place.1,
        edge(input, place).filter(|(key, replica)| stays_ready(input, key, replica)),
    )
}

fn follow(input: &Input<'_>, place: Place<'_>, serving: &BTreeSet<u8>) -> Option<Serve> {
    answer(
        place.1,
        edge(input, place).filter(|(key, replica)| {
            let keeps = replica.running()
                && replica.health == Health::Unknown
                && serving.contains(&key.replica);
            replica.ready() || keeps
        }),
    )
}

fn answer<'a>(
    slot: Slot,
    replicas: impl Iterator<Item = (ReplicaKey, &'a Replica)>,
) -> Option<Serve> {
    let replicas: BTreeSet<u8> = replicas.map(|(key, _)| key.replica).collect();
    (!replicas.is_empty()).then_some(Serve::Slot { slot, replicas })
}

/// Containers of the edge service that should serve.
fn edge<'a>(
    input: &'a Input<'_>,
    (plan, slot): Place<'a>,
) -> impl Iterator<Item = (ReplicaKey, &'a Replica)> {
    plan.service(&plan.edge.service)
        .into_iter()
        .flat_map(move |service| input.keys(service, slot))
        .filter_map(|key| input.replicas.get(&key).map(|replica| (key, replica)))
}
