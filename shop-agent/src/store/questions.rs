//! Which containers to ask now, and how.

use shop_plan::{NetworkName, Probe, ServicePlan, StorePlan, address};
use shop_proto::ReplicaKey;

use super::{
    act::{SharedVault, locked},
    order::Order,
    probe::{DEADLINE, DEEP_DEADLINE, Question},
    prober::Ask,
    steps::{Goal, Input, Replica, serve},
    world::World,
};

/// Whom to ask: everything that runs and should, and the whole store once everything it goes through is ready.
pub fn wanted(input: &Input<'_>, world: &World) -> Vec<Ask> {
    if input.goal() != Goal::Run {
        return Vec::new();
    }
    let mut asks: Vec<Ask> = input
        .wanted()
        .filter(|(_, key)| input.replicas.get(key).is_some_and(Replica::running))
        .map(|(_, key)| {
            let start = world.start(&key);
            Ask::Replica(key, start)
        })
        .collect();
    let edge = input
        .wanted()
        .find(|(service, key)| {
            service.name == input.plan.edge.service
                && service.deep.is_some()
                && input.replicas.get(key).is_some_and(Replica::ready)
        })
        .map(|(_, key)| key);
    if let Some(key) = edge
        && serve::deep_due(input)
    {
        let start = world.start(&key);
        asks.push(Ask::Deep(key, start));
    }
    asks
}

/// How to ask. None when the plan or the node gives it no address we can reach.
pub fn question(ask: &Ask, order: &Order, world: &World, vault: &SharedVault) -> Option<Question> {
    let plan: &StorePlan = &order.rendered.plan;
    let (Ask::Replica(key, _) | Ask::Deep(key, _)) = ask;
    let service = plan.service(&key.service)?;
    let (probe, deadline) = match ask {
        Ask::Replica(..) => (service.ready.clone(), DEADLINE),
        Ask::Deep(..) => (service.deep.clone()?, DEEP_DEADLINE),
    };
    let network = network(service, key)?;
    let part = address::replica(plan, key, network)?;
    let address = world
        .networks
        .iter()
        .find(|known| known.name == network)?
        .host(part);
    let password = match &probe {
        Probe::Redis {
            password_secret: Some(secret),
            ..
        } => locked(vault).content().secrets.get(secret).cloned(),
        _ => None,
    };
    Some(Question {
        address,
        probe,
        host: host(order),
        password,
        deadline,
    })
}

/// The agent is in the `app-*` and `data` networks.
fn network(service: &ServicePlan, key: &ReplicaKey) -> Option<NetworkName> {
    service
        .container
        .networks_in(key.slot)
        .into_iter()
        .filter(|network| network.internal())
        .min()
}

/// The name that the edge would send.
fn host(order: &Order) -> String {
    let hosts = &order.accepted.spec.hosts;
    hosts
        .iter()
        .find(|host| host.verified)
        .or_else(|| hosts.first())
        .map_or_else(|| "shop.invalid".to_owned(), |host| host.name.to_string())
}
