//! Takes everything of this node off this host: containers, networks, volumes with their data, the firewall table, directories.

use std::{path::Path, time::Duration};

use shop_plan::names::label;
use shop_proto::NodeId;

use super::{
    docker::{Engine, EngineError, Observed, Scope},
    doors,
    firewall::{self, FirewallError},
    join::{self, JoinError},
    paths::Paths,
    settings::NodeArgs,
    state::files::{self, FileError},
};

/// Shop agents and the edge flush and go.
const GRACE: Duration = Duration::from_secs(10);

/// What keeps the node from going.
#[derive(Debug, thiserror::Error)]
pub enum PurgeError {
    /// Whose?
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The firewall.
    #[error(transparent)]
    Firewall(#[from] FirewallError),
    /// The disk.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Removes the node that `args` names. Nothing there is as good. Safe to repeat after it was cut off.
///
/// # Errors
/// See [`PurgeError`]; the node's own record goes last, so it can be tried again.
pub async fn purge(args: &NodeArgs) -> Result<Option<NodeId>, PurgeError> {
    let Some(record) = join::find(args)? else {
        return Ok(None);
    };
    let paths = Paths::new(&args.state_dir, &args.run_dir, &record.id);
    let _lock = join::lock(&paths)?;
    let engine = Engine::connect(&args.docker).await?;
    objects(&engine, &record.id).await?;
    firewall::remove(&record.id).await?;
    doors::remove(&record.id).await?;
    files::remove_tree(paths.run())?;
    // The record that finds all this is inside: it goes with the last directory.
    for directory in ["volumes", "keys", "stores", "tombstones", "intents", "edge"] {
        files::remove_tree(&paths.state().join(directory))?;
    }
    files::remove_tree(paths.state())?;
    empty_parent(&args.run_dir);
    empty_parent(&args.state_dir);
    Ok(Some(record.id))
}

async fn objects(engine: &Engine, node: &NodeId) -> Result<(), PurgeError> {
    let scope = Scope::Node(node);
    let containers = engine.list(scope).await?;
    // Agents first, so that nobody starts again what is stopped.
    let (agents, others): (Vec<&Observed>, Vec<&Observed>) = containers
        .iter()
        .partition(|it| it.label(label::KIND) == Some("agent"));
    for group in [agents, others] {
        let stops = group
            .iter()
            .filter(|it| it.running())
            .map(|it| engine.stop(&it.name, GRACE));
        futures::future::try_join_all(stops).await?;
        let removals = group.iter().map(|it| engine.remove(&it.name, true));
        futures::future::try_join_all(removals).await?;
    }
    for network in engine.network_names(scope).await? {
        engine.remove_network(&network).await?;
    }
    for volume in engine.volume_names(scope).await? {
        engine.remove_volume(&volume).await?;
    }
    Ok(())
}

/// The shared root goes when no other node uses it.
fn empty_parent(path: &Path) {
    // A directory that is not empty, or is a mount point of our own container, stays.
    let _ = std::fs::remove_dir(path);
}
