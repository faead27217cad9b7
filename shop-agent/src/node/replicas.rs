//! Changing one container, with its intent on disk first: what the broker's verbs and the node's own preparation share.

use std::sync::Arc;

use data_encoding::HEXLOWER;
use shop_plan::{NetworkName, names::label};
use shop_proto::StoreId;

use super::{
    allowed::{self, ImageRefused},
    context::{Node, PlanError, Store},
    docker::{ContainerSpec, Created, Engine, EngineError, Observed, Removed, Started, Urgency},
    firewall::{self, FirewallError},
    paths::Paths,
    render::RenderError,
    state::{
        ChangeError, Intent, StoreRecord,
        files::{self, FileError},
    },
    tasks::{Unfinished, blocking},
    volumes,
};

/// Why a container or network could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// The plan.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The firewall.
    #[error(transparent)]
    Firewall(#[from] FirewallError),
    /// The record.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The disk.
    #[error("the node's disk could not be written")]
    File(#[from] FileError),
    /// A volume's data is gone.
    #[error("the data of volume {0} is gone from this node; put it back, or delete the store")]
    VolumeLost(String),
    /// The allow-list does not hold its image.
    #[error(transparent)]
    Image(#[from] ImageRefused),
    /// The plan does not render here.
    #[error(transparent)]
    Plan(PlanError),
    /// The process is ending.
    #[error(transparent)]
    Unfinished(#[from] Unfinished),
    /// The store is being retired, or another change of the container never ended.
    #[error("the container is not to be changed now")]
    Closed,
}

/// Creates a container, or adopts what a crash left. The intent is on disk before the engine is asked.
///
/// # Errors
/// See [`ReplicaError`].
pub async fn create(
    node: &Node,
    store: &Store,
    mut spec: ContainerSpec,
) -> Result<Created, ReplicaError> {
    let gate = store.gate(&spec.name);
    let _turn = gate.acquire().await.map_err(|_| ReplicaError::Closed)?;
    may_run(node, &spec).await?;
    // The engine would make a volume of its own for a name that it does not know.
    volumes::ready(node, store, Some(&spec)).await?;
    let intent = Intent {
        name: spec.name.clone(),
        nonce: nonce(),
    };
    spec.labels
        .insert(label::INTENT.to_owned(), intent.nonce.clone());
    let file = node.paths.intents().join(&spec.name);
    let paths = Arc::new(node.paths.clone());
    blocking(&paths, {
        let file = file.clone();
        move |_| files::keep(&file, &intent)
    })
    .await??;
    let outcome = node.engine.create(&spec).await;
    // After a deadline the engine may still be at it: the intent stays until somebody has looked.
    if !matches!(outcome, Err(EngineError::Deadline { .. })) {
        blocking(&paths, move |_| files::remove(&file)).await??;
    }
    Ok(outcome?)
}

/// Whether the image is the template's, or one that this host's administrator allows in its place: nothing of a store is made or started
/// without this question.
async fn may_run(node: &Node, spec: &ContainerSpec) -> Result<(), ReplicaError> {
    match &spec.own_image {
        Some(own) => Ok(allowed::check(node, own, &spec.image).await?),
        None => Ok(()),
    }
}

/// Starts a container.
///
/// # Errors
/// See [`ReplicaError`].
pub async fn start(
    node: &Node,
    store: &Store,
    spec: &ContainerSpec,
    urgency: Urgency,
) -> Result<Started, ReplicaError> {
    let gate = store.gate(&spec.name);
    let _turn = gate.acquire().await.map_err(|_| ReplicaError::Closed)?;
    may_run(node, spec).await?;
    volumes::check(node, store, spec).await?;
    Ok(node.engine.start(spec, urgency).await?)
}

/// Gives a container its spec's limits while it runs.
///
/// # Errors
/// See [`ReplicaError`].
pub async fn limit(node: &Node, store: &Store, spec: &ContainerSpec) -> Result<(), ReplicaError> {
    let gate = store.gate(&spec.name);
    let _turn = gate.acquire().await.map_err(|_| ReplicaError::Closed)?;
    Ok(node.engine.limit(&spec.name, spec.limits()).await?)
}

/// Removes a container; a running one only with `force`.
///
/// # Errors
/// See [`ReplicaError`].
pub async fn remove(
    node: &Node,
    store: &Store,
    name: &str,
    force: bool,
) -> Result<Removed, ReplicaError> {
    let gate = store.gate(name);
    let _turn = gate.acquire().await.map_err(|_| ReplicaError::Closed)?;
    Ok(node.engine.remove(name, force).await?)
}

/// Makes sure that a store's networks are there: ranges on disk first, then bridges, all at once.
///
/// # Errors
/// See [`ReplicaError`].
pub async fn networks(
    node: &Node,
    store: &Store,
    wanted: &[NetworkName],
) -> Result<Arc<StoreRecord>, ReplicaError> {
    // One at a time: two containers of a new slot ask for the same network at once, and the engine calls the second an overlap.
    let gate = store.gate("networks");
    let _turn = gate.acquire().await.map_err(|_| ReplicaError::Closed)?;
    let record = ranges(node, &store.id).await?;
    let place = node.place(&record);
    let specs = wanted
        .iter()
        .map(|network| place.network(*network))
        .collect::<Result<Vec<_>, _>>()?;
    futures::future::try_join_all(specs.iter().map(|spec| node.engine.ensure_network(spec)))
        .await?;
    Ok(record)
}

async fn ranges(node: &Node, store: &StoreId) -> Result<Arc<StoreRecord>, ReplicaError> {
    let (id, now) = (store.clone(), node.surroundings());
    let record = blocking(&node.state, move |state| state.ranges(&id, &now)).await??;
    // A bridge that the table does not know yet would be shut even to its own containers.
    firewall::assert(node).await?;
    Ok(record)
}

/// After a crash: intents whose container exists with their nonce are adopted, the others are dropped. Nothing is removed.
///
/// # Errors
/// When the engine or the disk fails.
pub async fn settle_intents(engine: &Engine, paths: &Paths) -> Result<(), ReplicaError> {
    let shared = Arc::new(paths.clone());
    let open = blocking(&shared, |paths| {
        files::names(&paths.intents())?
            .into_iter()
            .map(|name| files::kept::<Intent>(&paths.intents().join(name)))
            .collect::<Result<Vec<_>, FileError>>()
    })
    .await??;
    for intent in open.into_iter().flatten() {
        let found: Option<Observed> = engine.inspect(&intent.name).await?;
        let ours = found.is_some_and(|it| it.label(label::INTENT) == Some(&intent.nonce));
        tracing::info!(container = %intent.name, adopted = ours, "settled an open intent");
        blocking(&shared, move |paths| {
            files::remove(&paths.intents().join(&intent.name))
        })
        .await??;
    }
    Ok(())
}

fn nonce() -> String {
    HEXLOWER.encode(&rand::random::<[u8; 16]>())
}
