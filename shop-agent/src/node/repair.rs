//! Puts right what somebody took apart by hand around a store's containers: networks made again with their own address ranges, containers
//! connected to them again, volume objects made again over their data. Containers themselves are their shop agent's business.

use shop_plan::names::{self, label};
use shop_proto::ReplicaKey;

use super::{
    context::{Node, Rendered, Store, now_unix_ms},
    docker::{Connected, ContainerSpec, Scope},
    outbox::{Note, Severity},
    prepare::{self, PrepareError, of},
    replicas::{self, ReplicaError},
    state::{ChangeError, StoreRecord},
    volumes,
};

/// Looks, and repairs what it finds. True when something was repaired.
///
/// # Errors
/// See [`PrepareError`].
pub async fn look(node: &Node, store: &Store) -> Result<bool, PrepareError> {
    let record = node
        .state
        .store(&store.id)
        .ok_or(ReplicaError::from(ChangeError::Unknown))?;
    let plans = store.plans(&record)?;
    let scope = Scope::Store(&node.id, &store.id);
    let networks = networks(node, store, &record, &plans).await?;
    let volumes = volume_objects(node, store, &record, &plans).await?;
    let ids = node.engine.network_ids(scope).await?;
    let mut connected = false;
    for container in node.engine.connections(scope).await? {
        let Some(spec) = spec(node, &record, &plans, &container) else {
            continue;
        };
        let apart = spec.missing(&[]).any(|it| {
            let held = container.networks.get(&it.network);
            held.is_none_or(|held| !held.is_empty() && ids.get(&it.network) != Some(held))
        });
        if apart {
            connected |= connect(node, store, &spec).await?;
        }
    }
    Ok(networks | volumes | connected)
}

async fn networks(
    node: &Node,
    store: &Store,
    record: &StoreRecord,
    plans: &[Rendered],
) -> Result<bool, PrepareError> {
    let wanted = prepare::wanted(record, plans);
    let there = node
        .engine
        .network_names(Scope::Store(&node.id, &store.id))
        .await?;
    let missing: Vec<_> = wanted
        .into_iter()
        .filter(|network| !there.contains(&names::network(&node.id, &store.id, *network)))
        .collect();
    if missing.is_empty() {
        return Ok(false);
    }
    replicas::networks(node, store, &missing).await?;
    let missing: Vec<&str> = missing.iter().map(|network| network.as_str()).collect();
    say(
        node,
        store,
        "network_repaired",
        format!("removed by somebody and made again: {}", missing.join(", ")),
    );
    Ok(true)
}

async fn volume_objects(
    node: &Node,
    store: &Store,
    record: &StoreRecord,
    plans: &[Rendered],
) -> Result<bool, PrepareError> {
    let wanted = node.place(record).volumes(&of(plans));
    let there = node
        .engine
        .volume_names(Scope::Store(&node.id, &store.id))
        .await?;
    let lost = volumes::lost(node, record).await?;
    let prefix = names::prefix(&node.id, &store.id);
    let missing: Vec<&str> = wanted
        .iter()
        .map(|(volume, _)| volume.name.as_str())
        .filter(|name| !there.iter().any(|it| it == name))
        .filter(|name| !lost.iter().any(|it| format!("{prefix}-{it}") == **name))
        .collect();
    if missing.is_empty() {
        return Ok(false);
    }
    volumes::ready(node, store, None).await?;
    say(
        node,
        store,
        "volume_repaired",
        format!(
            "removed by somebody and made again over the same data: {}",
            missing.join(", ")
        ),
    );
    Ok(true)
}

/// What a container of ours should be connected to; `None` for those that end by themselves and for keys that no plan knows.
fn spec(
    node: &Node,
    record: &StoreRecord,
    plans: &[Rendered],
    container: &Connected,
) -> Option<ContainerSpec> {
    let of = |key: &str| container.labels.get(key).map(String::as_str);
    let place = node.place(record);
    match of(label::KIND)? {
        "agent" => place.agent(&[], "").ok(),
        "service" => {
            let replica = of(label::REPLICA)?.parse().ok()?;
            let key = ReplicaKey::parse(of(label::SERVICE)?, of(label::SLOT)?, replica).ok()?;
            let made = |rendered: &&Rendered| {
                let service = rendered.plan.service(&key.service);
                service.is_some_and(|service| {
                    let shape = rendered.plan.shape_hash(service).to_string();
                    of(label::SHAPE) == Some(&shape)
                        || of(label::SPEC_HASH) == Some(&service.spec_hash.to_string())
                })
            };
            let plan = &plans.iter().find(made)?.plan;
            place.replica(plan, &key).ok()
        }
        _ => None,
    }
}

/// Nobody else changes the container meanwhile; what it is in by now counts.
async fn connect(node: &Node, store: &Store, spec: &ContainerSpec) -> Result<bool, PrepareError> {
    let gate = store.gate(&spec.name);
    let turn = gate.acquire().await;
    let _turn = turn.map_err(|_| ReplicaError::Closed)?;
    let scope = Scope::Store(&node.id, &store.id);
    let ids = node.engine.network_ids(scope).await?;
    let containers = node.engine.connections(scope).await?;
    let Some(found) = containers.into_iter().find(|it| it.name == spec.name) else {
        return Ok(false);
    };
    let mut present = Vec::new();
    for (network, held) in &found.networks {
        let wanted = spec.missing(&[]).any(|it| it.network == *network);
        if wanted && !held.is_empty() && ids.get(network) != Some(held) {
            // It remembers the network that was removed; one that does not run would not start with it.
            node.engine.disconnect(network, &spec.name).await?;
        } else {
            present.push(network.clone());
        }
    }
    if spec.missing(&present).next().is_none() {
        return Ok(false);
    }
    node.engine.attach(spec, &present).await?;
    say(
        node,
        store,
        "network_repaired",
        format!(
            "{} was disconnected by somebody and is connected again",
            spec.name
        ),
    );
    Ok(true)
}

fn say(node: &Node, store: &Store, code: &'static str, message: String) {
    tracing::warn!(store = %store.id, code, "{message}");
    node.outbox.note(Note {
        store: Some(store.id.clone()),
        code,
        severity: Severity::Warning,
        message,
        at_unix_ms: now_unix_ms(),
    });
}
