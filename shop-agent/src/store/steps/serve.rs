//! Who should answer for the store's host names.
//!
//! The first answer waits for everything: services ready, once-tasks done, deep check passed. Later ones only follow the replicas of the
//! edge service: a replica that ended or is known unready is left out while another one is there. The last one is never taken away:
//! its address is fixed, it is restarted at once, and the edge retries.

use std::collections::BTreeSet;

use shop_proto::ReplicaKey;

use super::{Health, Input, Replica, Step};
use crate::engine::Serve;

/// The step to what should be said, if it is not said already.
pub fn change(input: &Input<'_>) -> Option<Step> {
    let wanted = match input.serving {
        Serve::Slot { slot, replicas } if *slot == input.slot() => follow(input, replicas),
        _ => first(input),
    }?;
    (wanted != *input.serving).then_some(Step::Serve(wanted))
}

/// Whether the deep check is worth asking: everything it goes through is ready.
#[must_use]
pub fn deep_due(input: &Input<'_>) -> bool {
    input.once_tasks_done()
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
        Serve::None | Serve::Maintenance => false,
    }
}

fn first(input: &Input<'_>) -> Option<Serve> {
    let replicas: BTreeSet<u8> = edge(input)
        .filter(|(_, replica)| replica.ready())
        .map(|(key, _)| key.replica)
        .collect();
    // A template without a deep check is taken at the word of its services.
    let asks_deep = input
        .plan
        .service(&input.plan.edge.service)
        .is_some_and(|service| service.deep.is_some());
    ((input.deep || !asks_deep) && deep_due(input) && !replicas.is_empty()).then(|| Serve::Slot {
        slot: input.slot(),
        replicas,
    })
}

fn follow(input: &Input<'_>, serving: &BTreeSet<u8>) -> Option<Serve> {
    let replicas: BTreeSet<u8> = edge(input)
        .filter(|(key, replica)| {
            let keeps = replica.running()
                && replica.health == Health::Unknown
                && serving.contains(&key.replica);
            replica.ready() || keeps
        })
        .map(|(key, _)| key.replica)
        .collect();
    (!replicas.is_empty()).then(|| Serve::Slot {
        slot: input.slot(),
        replicas,
    })
}

/// Containers of the edge service that should serve.
fn edge<'a>(input: &'a Input<'_>) -> impl Iterator<Item = (ReplicaKey, &'a Replica)> {
    input
        .plan
        .service(&input.plan.edge.service)
        .into_iter()
        .flat_map(|service| input.wanted_of(service))
        .filter_map(|key| input.replicas.get(&key).map(|replica| (key, replica)))
}
