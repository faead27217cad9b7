//! What is there of the own store, whichever plan it came from: it can always be drained, killed, stopped and removed. A service may be gone in the
//! plan that is to be.

use std::time::Duration;

use shop_plan::names::{self, label};
use shop_proto::ReplicaKey;
use tonic::Status;

use super::replies;
use crate::node::{
    context::{Node, Store},
    docker::Observed,
    doors, replicas,
};

/// For a container that does not say how long it may take: the engine's own.
const GRACE: Duration = Duration::from_secs(10);

/// Stops it with the grace it was made with. None there is as good.
pub(super) async fn stop(node: &Node, store: &Store, key: &ReplicaKey) -> Result<(), Status> {
    let Some(found) = find(node, store, key).await? else {
        return Ok(());
    };
    if found.running() {
        doors::leave(node, store, key, &found.name).await;
    }
    let grace = found.stop_grace.unwrap_or(GRACE);
    let stopped = node.engine.stop(&found.name, grace).await;
    stopped
        .map(|_| ())
        .map_err(|error| replies::of_engine(&error))
}

/// Asks it to finish what it has and go, with the signal it was made with.
pub(super) async fn drain(node: &Node, store: &Store, key: &ReplicaKey) -> Result<(), Status> {
    match find(node, store, key).await? {
        Some(found) if found.stop_signal.is_empty() => signal(node, &found, "SIGTERM").await,
        Some(found) => signal(node, &found, &found.stop_signal).await,
        None => Ok(()),
    }
}

/// Ends it at once: for one that hangs and answers nothing.
pub(super) async fn kill(node: &Node, store: &Store, key: &ReplicaKey) -> Result<(), Status> {
    match find(node, store, key).await? {
        Some(found) => signal(node, &found, "SIGKILL").await,
        None => Ok(()),
    }
}

async fn signal(node: &Node, found: &Observed, signal: &str) -> Result<(), Status> {
    let signalled = node.engine.signal(&found.name, signal).await;
    signalled
        .map(|_| ())
        .map_err(|error| replies::of_engine(&error))
}

/// Removes it; not while it runs.
pub(super) async fn remove(node: &Node, store: &Store, key: &ReplicaKey) -> Result<(), Status> {
    let Some(found) = find(node, store, key).await? else {
        return Ok(());
    };
    let removed = replicas::remove(node, store, &found.name, false).await;
    removed
        .map(|_| ())
        .map_err(|error| replies::of_replica(&error))
}

/// The container with the key's name, if this node made it for this store.
async fn find(node: &Node, store: &Store, key: &ReplicaKey) -> Result<Option<Observed>, Status> {
    let name = names::replica(&node.id, &store.id, key);
    let found = node.engine.inspect(&name).await;
    let found = found.map_err(|error| replies::of_engine(&error))?;
    Ok(found.filter(|it| {
        it.label(label::NODE) == Some(node.id.as_str())
            && it.label(label::STORE) == Some(store.id.as_str())
    }))
}
