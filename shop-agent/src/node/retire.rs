//! Removes a store from this node, step by step, each safe to repeat: route, agent, services in reverse order, networks, volumes with their
//! data, directories; then looks whether anything is left. The tombstone was on disk before the first step.

use std::{path::PathBuf, sync::Arc};

use shop_plan::names::{self, label};
use shop_proto::StoreId;

use super::{
    context::{Node, now_unix_ms, plan_of},
    docker::{EngineError, Observed, Scope},
    outbox::{Retirement, Stage},
    state::{
        StoreRecord, Tombstone,
        files::{self, FileError},
    },
    tasks::{Unfinished, blocking},
};

/// What keeps a store from going; tried again.
#[derive(Debug, thiserror::Error)]
pub enum RetireError {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The disk.
    #[error("a directory of the store could not be removed")]
    File(#[from] FileError),
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
    let say = |stage| {
        node.outbox
            .retirement(word(tombstone, stage, String::new()))
    };
    say(Stage::Stopping);
    stop(node, store, tombstone.remains.as_ref()).await?;
    say(Stage::Removing);
    clear(node, store).await?;
    prove(node, store).await?;
    let id = store.clone();
    blocking(&node.state, move |state| state.emptied(&id, now_unix_ms())).await??;
    say(Stage::Gone);
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
    }
}

/// The agent first, so that nobody starts again what is stopped; then buyers' services, the data's last.
async fn stop(
    node: &Node,
    store: &StoreId,
    remains: Option<&StoreRecord>,
) -> Result<(), RetireError> {
    let agent = names::agent(&node.id, store);
    node.engine
        .stop(&agent, std::time::Duration::from_secs(5))
        .await?;
    let Some(record) = remains else { return Ok(()) };
    let Ok(plan) = plan_of(store, &record.newest.spec, record.newest.render_version) else {
        return Ok(());
    };
    let containers = node.engine.list(Scope::Store(&node.id, store)).await?;
    for service in plan.services.iter().rev() {
        let running = containers
            .iter()
            .filter(|it| it.running() && it.label(label::SERVICE) == Some(service.name.as_str()));
        let stops = running.map(|it| node.engine.stop(&it.name, service.container.stop_grace));
        futures::future::try_join_all(stops).await?;
    }
    Ok(())
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

async fn prove(node: &Node, store: &StoreId) -> Result<(), RetireError> {
    let scope = Scope::Store(&node.id, store);
    let mut left: Vec<String> = node
        .engine
        .list(scope)
        .await?
        .into_iter()
        .map(|it| it.name)
        .collect();
    left.extend(node.engine.network_names(scope).await?);
    left.extend(node.engine.volume_names(scope).await?);
    let directories: [PathBuf; 2] = [node.paths.volumes(store), node.paths.sockets(store)];
    left.extend(
        directories
            .iter()
            .filter(|path| path.exists())
            .map(|path| path.display().to_string()),
    );
    if left.is_empty() {
        Ok(())
    } else {
        Err(RetireError::Left(left.join(", ")))
    }
}
