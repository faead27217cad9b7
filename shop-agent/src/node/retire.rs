//! Removes a store from this node, step by step, each safe to repeat: route, agent, services in reverse order, networks, volumes with their
//! data, directories; then looks whether anything is left. The tombstone was on disk before the first step.

use std::{sync::Arc, time::Duration};

use shop_plan::names::{self, label};
use shop_proto::{HostName, StoreId};

use super::{
    context::{Node, plan_of},
    docker::{EngineError, Observed, Scope},
    edge,
    outbox::{Retirement, Stage},
    receipt::{self, Facts, Looked, Removed, Stop, Uids},
    replicas::ReplicaError,
    routes,
    state::{
        StoreRecord, Tombstone,
        files::{self, FileError},
    },
    tasks::{Unfinished, blocking},
};

/// A shop agent flushes and goes.
const AGENT_GRACE: Duration = Duration::from_secs(5);
/// For a container that does not say how long it may take.
const GRACE: Duration = Duration::from_secs(10);

/// What keeps a store from going; tried again.
#[derive(Debug, thiserror::Error)]
pub enum RetireError {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The disk.
    #[error("a directory of the store could not be removed")]
    File(#[from] FileError),
    /// The names file.
    #[error("the store's host names could not be taken out of the edge's table")]
    Route(#[source] Box<ReplicaError>),
    /// The process is ending.
    #[error(transparent)]
    Unfinished(#[from] Unfinished),
    /// Everything was removed and something is there.
    #[error("{0} are still there")]
    Left(String),
}

/// All of it. Ends when nothing is left.
///
/// # Errors
/// See [`RetireError`].
pub async fn retire(node: &Node, tombstone: &Tombstone) -> Result<(), RetireError> {
    let store = &tombstone.store;
    let say = |stage, message: String| node.outbox.retirement(word(tombstone, stage, message));
    // Buyers first: nobody is sent to what is about to go. The store is in no table any more since its tombstone was written.
    routes::publish(node)
        .await
        .map_err(|error| RetireError::Route(Box::new(error)))?;
    say(Stage::Stopping, String::new());
    let stop = stop(node, store, tombstone).await?;
    let removed = look(node, store, tombstone.remains.as_ref()).await?;
    let (id, how) = (store.clone(), stop.clone());
    blocking(&node.state, move |state| {
        state.found(&id, |tombstone| {
            tombstone.removed.merge(removed);
            tombstone.stop.get_or_insert(how);
        })
    })
    .await??;
    let message = match &stop {
        Stop::InOrder => String::new(),
        Stop::Skipped { reason } => format!("services were not stopped in order: {reason}"),
    };
    say(Stage::Removing, message);
    clear(node, store).await?;
    if let Some(record) = &tombstone.remains {
        forget_hosts(node, record).await?;
    }
    let looked_for = prove(node, store).await?;
    let (id, at) = (store.clone(), jiff::Timestamp::now());
    let name = node.id.clone();
    let gone = blocking(&node.state, move |state| {
        state.emptied(&id, at.as_millisecond())?;
        state.found(&id, |tombstone| {
            let facts = Facts {
                store: &id,
                node: &name,
                generation: tombstone.generation,
                stop: tombstone.stop.as_ref().unwrap_or(&Stop::InOrder),
                removed: &tombstone.removed,
                looked_for: &looked_for,
                at,
            };
            // One document for one order, however often it is said.
            let document = receipt::document(&facts);
            tombstone.receipt.get_or_insert(document);
        })
    })
    .await??;
    if let Some(gone) = gone {
        node.outbox
            .retirement(word(&gone, Stage::Gone, String::new()));
    }
    Ok(())
}

/// The word about a removal.
#[must_use]
pub fn word(tombstone: &Tombstone, stage: Stage, message: String) -> Retirement {
    Retirement {
        store: tombstone.store.clone(),
        generation: tombstone.generation,
        stage,
        message,
        receipt: tombstone.receipt.clone().filter(|_| stage == Stage::Gone),
    }
}

/// The agent first, so that nobody starts again what is stopped; then buyers' services, the data's last.
async fn stop(node: &Node, store: &StoreId, tombstone: &Tombstone) -> Result<Stop, RetireError> {
    let agent = names::agent(&node.id, store);
    node.engine.stop(&agent, AGENT_GRACE).await?;
    let Some(record) = &tombstone.remains else {
        return Ok(Stop::InOrder);
    };
    let accepted = record.serving.as_ref().unwrap_or(&record.newest);
    let plan = match plan_of(store, &accepted.spec, accepted.render_version) {
        Ok(plan) => plan,
        Err(error) => {
            tracing::warn!(%error, %store, "a store's services are not stopped in order");
            return Ok(Stop::Skipped {
                reason: error.to_string(),
            });
        }
    };
    let containers = node.engine.list(Scope::Store(&node.id, store)).await?;
    let running: Vec<&Observed> = containers.iter().filter(|it| it.running()).collect();
    let known = |it: &Observed| {
        plan.services
            .iter()
            .position(|service| it.label(label::SERVICE) == Some(service.name.as_str()))
    };
    // Tasks and what the plan does not know come first: nobody depends on them.
    let last = std::iter::once(None);
    for place in last.chain((0..plan.services.len()).rev().map(Some)) {
        let stops = running
            .iter()
            .filter(|it| known(it) == place)
            .map(|it| node.engine.stop(&it.name, it.stop_grace.unwrap_or(GRACE)));
        futures::future::try_join_all(stops).await?;
    }
    Ok(Stop::InOrder)
}

/// What there is of the store, for the receipt.
async fn look(
    node: &Node,
    store: &StoreId,
    remains: Option<&StoreRecord>,
) -> Result<Removed, RetireError> {
    let scope = Scope::Store(&node.id, store);
    let containers = node.engine.list(scope).await?;
    let networks = node.engine.network_names(scope).await?;
    let secrets = format!("{}-secrets-", names::prefix(&node.id, store));
    let (secrets_volumes, volumes) = node
        .engine
        .volume_names(scope)
        .await?
        .into_iter()
        .partition(|name| name.starts_with(&secrets));
    let subnets = remains.into_iter().flat_map(|it| it.subnets.values());
    Ok(Removed {
        containers: containers.into_iter().map(|it| it.name).collect(),
        networks: networks.into_iter().collect(),
        volumes,
        secrets_volumes,
        uids: remains.map(|it| Uids::from(it.uid_base)),
        subnets: subnets
            .map(|index| node.pool.subnet(*index).to_string())
            .collect(),
    })
}

/// Whatever is labelled as this store's goes, whichever plan it came from.
async fn clear(node: &Node, store: &StoreId) -> Result<(), RetireError> {
    let scope = Scope::Store(&node.id, store);
    let containers: Vec<Observed> = node.engine.list(scope).await?;
    let removals = containers
        .iter()
        .map(|it| node.engine.remove(&it.name, true));
    futures::future::try_join_all(removals).await?;
    // One after the other: the engine takes one lock for all networks.
    for network in node.engine.network_names(scope).await? {
        node.engine.remove_network(&network).await?;
    }
    for volume in node.engine.volume_names(scope).await? {
        node.engine.remove_volume(&volume).await?;
    }
    let (paths, id) = (Arc::new(node.paths.clone()), store.clone());
    blocking(&paths, move |paths| {
        files::remove_tree(&paths.volumes(&id))?;
        files::remove(&paths.wrapping_key(&id))?;
        files::remove_tree(&paths.sockets(&id))
    })
    .await??;
    Ok(())
}

/// Certificates of its host names go with their keys. What cannot be removed is said and left: the directory is the edge's.
async fn forget_hosts(node: &Node, record: &StoreRecord) -> Result<(), RetireError> {
    let routed = edge::hosts(node);
    let hosts = record.routed_hosts();
    let hosts: Vec<HostName> = hosts
        .filter(|host| !routed.contains_key(host.as_str()))
        .cloned()
        .collect();
    let paths = Arc::new(node.paths.clone());
    let removed = blocking(&paths, move |paths| edge::forget(paths, &hosts)).await?;
    if let Err(error) = removed {
        tracing::warn!(%error, store = %record.store, "a certificate of a store that is gone stays in the edge's storage");
    }
    Ok(())
}

/// Looks for everything a store can have here. Nothing of it may be there.
async fn prove(node: &Node, store: &StoreId) -> Result<Vec<Looked>, RetireError> {
    let scope = Scope::Store(&node.id, store);
    let labels = format!(
        "labelled {}={store} and {}={}",
        label::STORE,
        label::NODE,
        node.id
    );
    let containers = node.engine.list(scope).await?;
    let found = [
        (
            "containers",
            containers.into_iter().map(|it| it.name).collect(),
        ),
        ("networks", node.engine.network_names(scope).await?),
        ("volumes", node.engine.volume_names(scope).await?),
    ];
    let mut left: Vec<String> = Vec::new();
    let mut looked = Vec::new();
    for (what, names) in found {
        looked.push(Looked {
            r#for: format!("{what} {labels}"),
            found: names.len(),
        });
        left.extend(names);
    }
    for (what, path) in [
        ("data of its volumes", node.paths.volumes(store)),
        ("key that wrapped its vault", node.paths.wrapping_key(store)),
        ("its sockets", node.paths.sockets(store)),
    ] {
        let there = path.exists();
        looked.push(Looked {
            r#for: format!("{what} in {}", path.display()),
            found: there.into(),
        });
        left.extend(there.then(|| path.display().to_string()));
    }
    if left.is_empty() {
        Ok(looked)
    } else {
        Err(RetireError::Left(left.join(", ")))
    }
}
