//! Which containers to ask now, and how.

use std::net::{Ipv4Addr, SocketAddrV4};

use shop_plan::{Login, NetworkName, Probe, ServicePlan, StorePlan, address};
use shop_proto::{ReplicaKey, Slot};

use super::{
    act::{SharedVault, locked},
    order::Order,
    probe::{DEADLINE, DEEP_DEADLINE, Question},
    prober::{Ask, BRISK_DEADLINE, Pace},
    steps::{Goal, Input, Replica, serve},
    world::World,
};
use crate::ledger::Phase;

/// Whom to ask: everything that runs and should, and the whole store once everything it goes through is ready. `true`: it belongs to
/// the plan on its way in.
pub fn wanted(input: &Input<'_>, world: &World) -> Vec<(Ask, bool)> {
    if input.goal() != Goal::Run {
        return Vec::new();
    }
    let mut asks: Vec<(Ask, bool)> = input
        .wanted()
        .filter(|it| input.replicas.get(&it.key).is_some_and(Replica::running))
        .map(|it| {
            let start = world.start(&it.key);
            let others = it.service.kind.slotted() && input.spec.replicas(&it.service.name) > 1;
            let pace = if others { Pace::Brisk } else { Pace::Steady };
            (Ask::Replica(it.key, start, pace), it.next)
        })
        .collect();
    let edge_in = |slot: Slot| {
        input.wanted().find(|it| {
            it.service.name == it.plan.edge.service
                && it.key.slot == slot
                && input.replicas.get(&it.key).is_some_and(Replica::ready)
        })
    };
    if let Some(edge) = edge_in(input.slot())
        && edge.service.deep.is_some()
        && serve::deep_due(input)
    {
        let start = world.start(&edge.key);
        asks.push((Ask::Deep(edge.key, start), edge.next));
    }
    let update = input.entries.open_update();
    let checked = update.filter(|it| matches!(it.phase, Phase::Checking | Phase::Switched));
    if let Some(edge) = checked.and_then(|update| edge_in(update.slot)) {
        let start = world.start(&edge.key);
        asks.push((Ask::Watch(edge.key, start), edge.next));
    }
    asks
}

/// How to ask. None when the plan or the node gives it no address we can reach.
pub fn question(
    ask: &Ask,
    plan: &StorePlan,
    host: String,
    world: &World,
    vault: &SharedVault,
) -> Option<Question> {
    let (Ask::Replica(key, ..) | Ask::Deep(key, _) | Ask::Watch(key, _)) = ask;
    let service = plan.service(&key.service)?;
    let (probe, deadline) = match ask {
        Ask::Replica(.., Pace::Brisk) => (service.ready.clone(), BRISK_DEADLINE),
        Ask::Replica(..) => (service.ready.clone(), DEADLINE),
        Ask::Deep(..) => (service.deep.clone()?, DEEP_DEADLINE),
        Ask::Watch(..) => {
            let probe = service.deep.as_ref().unwrap_or(&service.ready);
            (probe.clone(), DEEP_DEADLINE)
        }
    };
    let address = host_of(service, key, plan, world)?;
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
        host,
        password,
        deadline,
    })
}

/// Where a login is checked.
pub fn place(login: &Login, plan: &StorePlan, world: &World) -> Option<SocketAddrV4> {
    let key = ReplicaKey {
        service: login.service.clone(),
        slot: Slot::Fixed,
        replica: 0,
    };
    let address = host_of(plan.service(&login.service)?, &key, plan, world)?;
    Some(SocketAddrV4::new(address, login.port))
}

fn host_of(
    service: &ServicePlan,
    key: &ReplicaKey,
    plan: &StorePlan,
    world: &World,
) -> Option<Ipv4Addr> {
    let network = network(service, key)?;
    let part = address::replica(plan, key, network)?;
    let mut networks = world.networks.iter();
    Some(networks.find(|known| known.name == network)?.host(part))
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
pub fn host(order: &Order) -> String {
    let hosts = &order.accepted.spec.hosts;
    hosts
        .iter()
        .find(|host| host.verified)
        .or_else(|| hosts.first())
        .map_or_else(|| "shop.invalid".to_owned(), |host| host.name.to_string())
}
