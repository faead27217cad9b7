//! Makes a store's surroundings and keeps its agent running: networks, volumes, sockets, the shop-agent container. For a store that has no
//! container yet it also creates (never starts) the services' containers, which needs no secret and overlaps with the agent's own start.

use std::{sync::Arc, time::Duration};

use shop_plan::{NetworkName, StorePlan, names::label};
use shop_proto::{ReplicaKey, RunState, Slot};

use super::{
    allowed::ImageRefused,
    broker,
    context::{Node, PlanError, Rendered, Store},
    docker::{ContainerSpec, EngineError, Scope, Urgency},
    forward::{self, Way, forward},
    outbox::{Progress, Reason, Status},
    render::AGENT_IMAGE,
    replicas::{self, ReplicaError},
    socket::Door,
    state::{
        AcceptError, StoreRecord,
        files::{self, FileError},
    },
    tasks::{Unfinished, blocking},
    volumes,
};

/// Agents that are replaced at once. A new release replaces every store's: all at once they would keep the engine from starting what
/// buyers wait for, and no store would have its agent back before the last one.
pub const REPLACED_AT_ONCE: usize = 2;

/// Why a store is not prepared; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// A container, network or volume.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    /// The plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The disk.
    #[error("the node's disk could not be written")]
    File(#[from] FileError),
    /// A socket.
    #[error("a socket of the store could not be made")]
    Socket(#[source] std::io::Error),
    /// The process is ending.
    #[error(transparent)]
    Unfinished(#[from] Unfinished),
}

impl From<EngineError> for PrepareError {
    fn from(error: EngineError) -> Self {
        Self::Replica(error.into())
    }
}

impl PrepareError {
    /// As the control plane is told.
    #[must_use]
    pub fn reason(&self) -> Reason {
        let code = match self {
            Self::Replica(
                ReplicaError::Engine(EngineError::ImageMissing)
                | ReplicaError::Image(ImageRefused::Engine(EngineError::ImageMissing)),
            ) => "image_missing",
            Self::Replica(ReplicaError::Image(ImageRefused::Engine(_))) => "engine_unavailable",
            Self::Replica(ReplicaError::Image(_)) => "image_not_allowed",
            Self::Replica(ReplicaError::Engine(
                EngineError::Unreachable { .. } | EngineError::Deadline { .. },
            )) => "engine_unavailable",
            Self::Replica(ReplicaError::Engine(_)) => "engine_refused",
            Self::Replica(ReplicaError::Change(super::state::ChangeError::Exhausted(_))) => {
                "no_subnet"
            }
            Self::Replica(ReplicaError::VolumeLost(_)) => "volume_lost",
            Self::Plan(_) => "plan",
            _ => "node_disk",
        };
        Reason {
            code,
            message: self.to_string(),
        }
    }
}

impl From<&AcceptError> for Reason {
    fn from(error: &AcceptError) -> Self {
        let code = match error {
            AcceptError::GenerationOutdated { .. } => "generation_outdated",
            AcceptError::ContentChanged => "content_changed",
            AcceptError::Retiring => "retiring",
            AcceptError::HostTaken { .. } => "host_taken",
            AcceptError::Exhausted(_) => "no_subnet",
            AcceptError::File(_) => "node_disk",
        };
        Self {
            code,
            message: error.to_string(),
        }
    }
}

/// Directories and sockets. The directory is never removed while the agent's container lives: sockets are bound anew inside it.
///
/// # Errors
/// When the disk says no.
pub async fn open_doors(
    node: &Arc<Node>,
    store: &Arc<Store>,
    record: &StoreRecord,
) -> Result<(), PrepareError> {
    let agent = record.uid_base;
    let directory = node.paths.sockets(&store.id);
    let paths = Arc::new(directory.clone());
    blocking(&paths, move |path| {
        files::directory(path, 0o750, Some((0, agent)))
    })
    .await??;
    let open = |name: &str, places| {
        Door::open(&directory.join(name), agent, places).map_err(PrepareError::Socket)
    };
    let brokered = open("broker.sock", broker::PLACES)?;
    let enrolment = open("enroll.sock", forward::PLACES)?;
    let session = open("session.sock", forward::PLACES)?;
    let tasks = &store.tasks;
    tasks.spawn(
        "broker",
        broker::serve(node.clone(), store.clone(), brokered),
    );
    tasks.spawn(
        "enrol",
        forward(node.clone(), store.clone(), enrolment, Way::Enrolment),
    );
    tasks.spawn(
        "uplink",
        forward(node.clone(), store.clone(), session, Way::Session),
    );
    Ok(())
}

/// Everything around the store, then its agent. Idempotent.
///
/// # Errors
/// See [`PrepareError`].
pub async fn surroundings(node: &Node, store: &Store) -> Result<Prepared, PrepareError> {
    let record = node
        .state
        .store(&store.id)
        .ok_or(ReplicaError::from(super::state::ChangeError::Unknown))?;
    let plans = store.plans(&record)?;
    let say = |progress| node.outbox.status(status(&record, &plans, progress));
    say(Progress::Preparing);
    // All networks first: while a container starts, the engine makes none, and the services' creation would wait for the agent's start.
    let (record, ()) = futures::try_join!(
        async {
            let wanted = wanted(&record, &plans);
            Ok::<_, PrepareError>(replicas::networks(node, store, &wanted).await?)
        },
        async { Ok(volumes::ready(node, store, None).await?) },
    )?;
    let (agent, ()) = futures::join!(
        agent(node, store, &record, &plans),
        create_services(node, store, &record, &plans),
    );
    agent?;
    node.outbox
        .status(status(&record, &plans, Progress::Prepared));
    Ok(Prepared {
        generation: record.newest.generation,
    })
}

/// What was prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prepared {
    /// The newest generation at that time.
    pub generation: shop_proto::Generation,
}

/// Sees that the agent runs; `Ok(false)` when it had to be started.
///
/// # Errors
/// See [`PrepareError`].
pub async fn agent_runs(node: &Node, store: &Store) -> Result<bool, PrepareError> {
    let name = shop_plan::names::agent(&node.id, &store.id);
    let found = node.engine.inspect(&name).await?;
    Ok(found.is_some_and(|it| it.running()))
}

/// After a network was added: the running agent joins it.
///
/// # Errors
/// See [`ReplicaError`].
pub async fn join_agent(node: &Node, store: &Store) -> Result<(), ReplicaError> {
    let record = node
        .state
        .store(&store.id)
        .ok_or(super::state::ChangeError::Unknown)?;
    // Only its networks are looked at: neither plans nor the image matter.
    let spec = node.place(&record).agent(&[], "")?;
    if let Some(found) = node.engine.inspect(&spec.name).await? {
        node.engine.attach(&spec, &found.networks).await?;
    }
    Ok(())
}

/// The word about an assignment.
#[must_use]
pub fn status(record: &StoreRecord, plans: &[Rendered], progress: Progress) -> Status {
    Status {
        store: record.store.clone(),
        generation: record.newest.generation,
        plan_digest: plans.first().map(|rendered| rendered.digest),
        progress,
    }
}

/// The networks that must be there.
#[must_use]
pub fn wanted(record: &StoreRecord, plans: &[Rendered]) -> Vec<NetworkName> {
    let egress = plans.iter().any(|rendered| {
        let services = rendered
            .plan
            .services
            .iter()
            .map(|service| &service.container);
        let tasks = rendered.plan.tasks.iter().map(|task| &task.container);
        services.chain(tasks).any(|container| {
            container
                .networks_in(Slot::A)
                .contains(&NetworkName::Egress)
        })
    });
    let mut wanted = vec![NetworkName::AppA, NetworkName::Data];
    if record.second_slot {
        wanted.push(NetworkName::AppB);
    }
    if egress {
        wanted.push(NetworkName::Egress);
    }
    wanted
}

async fn agent(
    node: &Node,
    store: &Store,
    record: &StoreRecord,
    plans: &[Rendered],
) -> Result<(), PrepareError> {
    let image = node
        .engine
        .image_id(AGENT_IMAGE)
        .await?
        .ok_or(EngineError::ImageMissing)?;
    let spec = node
        .place(record)
        .agent(&of(plans), &image)
        .map_err(ReplicaError::from)?;
    match node.engine.inspect(&spec.name).await? {
        // Another image, or a secrets volume more: services run on meanwhile.
        Some(found) if !spec.made(&found) => {
            let turn = node.replacing.acquire().await;
            let _turn = turn.map_err(|_| ReplicaError::Closed)?;
            node.engine.stop(&spec.name, spec.stop_grace).await?;
            replicas::remove(node, store, &spec.name, true).await?;
            make(node, store, spec).await
        }
        Some(found) if found.running() => {
            node.engine.attach(&spec, &found.networks).await?;
            Ok(())
        }
        Some(_) => {
            replicas::start(node, store, &spec, Urgency::First).await?;
            Ok(())
        }
        None => make(node, store, spec).await,
    }
}

async fn make(node: &Node, store: &Store, spec: ContainerSpec) -> Result<(), PrepareError> {
    replicas::create(node, store, spec.clone()).await?;
    replicas::start(node, store, &spec, Urgency::First).await?;
    Ok(())
}

/// For a new store only. What fails here fails again, and with a typed answer, when the agent asks for it.
async fn create_services(node: &Node, store: &Store, record: &StoreRecord, plans: &[Rendered]) {
    let Some(newest) = plans.first() else { return };
    if record.newest.spec.run_state != RunState::Running {
        return;
    }
    let scope = Scope::Store(&node.id, &store.id);
    let has_some = match node.engine.list(scope).await {
        Ok(found) => found
            .iter()
            .any(|it| it.label(label::KIND) == Some("service")),
        Err(_) => true,
    };
    if has_some {
        return;
    }
    let place = node.place(record);
    let keys = keys(&newest.plan, record);
    let creations = keys.iter().map(|key| async {
        let spec = place
            .replica(&newest.plan, key)
            .map_err(ReplicaError::from)?;
        replicas::create(node, store, spec).await
    });
    for outcome in futures::future::join_all(creations).await {
        if let Err(error) = outcome {
            tracing::warn!(%error, store = %store.id, "a container could not be created ahead");
        }
    }
}

fn keys(plan: &StorePlan, record: &StoreRecord) -> Vec<ReplicaKey> {
    plan.services
        .iter()
        .flat_map(|service| {
            let (slot, replicas) = if service.kind.slotted() {
                (Slot::A, record.newest.spec.replicas(&service.name))
            } else {
                (Slot::Fixed, 1)
            };
            (0..replicas).map(move |replica| ReplicaKey {
                service: service.name.clone(),
                slot,
                replica,
            })
        })
        .collect()
}

/// The plans alone, as the renderer wants them.
#[must_use]
pub fn of(plans: &[Rendered]) -> Vec<&StorePlan> {
    plans.iter().map(|rendered| &*rendered.plan).collect()
}

/// Between two looks at a store in which nothing happens.
pub const STEADY: Duration = Duration::from_secs(30);
