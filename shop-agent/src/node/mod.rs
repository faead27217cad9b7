//! The node role: owns Docker, addresses, the firewall and the edge of one host; runs the broker of each store; keeps shop agents running.
//! Holds no store secret and decides nothing about what a store should be.

mod allowed;
mod archive;
mod broker;
mod capacity;
mod context;
mod docker;
mod doors;
mod edge;
mod export;
mod firewall;
mod forward;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod images;
pub mod ipam;
mod join;
mod orders;
mod outbox;
pub mod paths;
mod prepare;
mod purge;
mod receipt;
mod render;
mod repair;
mod replicas;
mod retire;
mod routes;
mod session;
mod settings;
mod socket;
pub mod state;
mod supervisor;
mod tasks;
mod traffic;
mod volumes;
mod workers;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Notify, Semaphore, watch},
};

pub use export::{ExportArgs, run as export};
pub use settings::NodeArgs;

use self::{
    context::{Images, Node, Stores, boot_id},
    docker::{Engine, EngineError},
    doors::Doors,
    firewall::Firewall,
    join::Joined,
    outbox::Outbox,
    state::State,
    tasks::Tasks,
    traffic::Traffic,
};
use crate::{names, uplink::Backoff};

/// How long background work may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs until SIGTERM. What it started keeps running.
///
/// # Errors
/// When this host cannot join, or its state cannot be read.
pub async fn run(args: NodeArgs) -> anyhow::Result<()> {
    if args.leave {
        match purge::purge(&args).await? {
            Some(node) => tracing::info!(%node, "everything of this node is gone from this host"),
            None => tracing::info!("there is no node here"),
        }
        return Ok(());
    }
    let joined = join::open(&args).await?;
    let engine = connect(&args.docker).await?;
    let node = Arc::new(node(args, joined, engine)?);
    replicas::settle_intents(&node.engine, &node.paths).await?;
    if let Some(directory) = &node.args.images {
        if images::first_time(&node)? {
            // Before the control plane hears of this host: it must be able to run what it is given.
            images::load(&node, directory).await?;
        } else {
            node.tasks
                .spawn("images", images::renew(node.clone(), directory.clone()));
        }
    }
    // Before anything of a store runs.
    firewall::assert(&node).await?;
    if let Err(error) = doors::remove(&node.id).await {
        tracing::warn!(%error, "doors that were shut before stay so for a while");
    }
    start(&node);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("ending; stores run on");
    node.tasks.end(PATIENCE).await;
    Ok(())
}

fn node(args: NodeArgs, joined: Joined, engine: Engine) -> anyhow::Result<Node> {
    let Joined {
        record,
        paths,
        credential,
        trust,
        lock,
    } = joined;
    let pool = record.pool.cidr()?;
    let trust_domain = credential
        .identity()
        .strip_prefix("spiffe://")
        .and_then(|rest| rest.split('/').next())
        .unwrap_or_default()
        .parse()?;
    Ok(Node {
        id: record.id.clone(),
        traffic: Traffic::new(edge::access_logs(&paths)),
        edge: Arc::new(edge::Standing::load(&paths)?),
        state: Arc::new(State::load(paths.clone(), &record, pool)?),
        record,
        args,
        paths,
        pool,
        trust_domain,
        engine,
        outbox: Outbox::default(),
        trust,
        credential: ArcSwap::from_pointee(credential),
        renewed: Notify::new(),
        connected: watch::Sender::new(false),
        stores: Stores::default(),
        routing: Notify::new(),
        publishing: Semaphore::new(1),
        replacing: Semaphore::new(0),
        firewall: Firewall::default(),
        doors: Doors::default(),
        images: Images::default(),
        boot_id: boot_id(),
        tasks: Tasks::default(),
        _lock: lock,
    })
}

/// Local state first: with the control plane away everything comes up all the same.
fn start(node: &Arc<Node>) {
    for record in node.state.stores() {
        workers::ensure(node, &record.store);
    }
    for tombstone in node.state.tombstones() {
        workers::ensure(node, &tombstone.store);
    }
    node.tasks
        .spawn("engine-events", supervisor::watch(node.clone()));
    node.tasks.spawn("session", session::hold(node.clone()));
    node.tasks
        .spawn("renewals", session::renewals(node.clone()));
    node.tasks.spawn("edge", edge::keep(node.clone()));
    if !node.args.no_edge {
        // Before the first look at the log, which reads back what this node agent missed.
        node.traffic.attribute(edge::hosts(node));
        node.tasks.spawn("traffic", traffic::count(node.clone()));
        node.tasks.spawn("certificates", edge::warm(node.clone()));
    }
    node.tasks.spawn("firewall", firewall::keep(node.clone()));
    node.tasks.spawn("disk", capacity::watch_disk(node.clone()));
}

/// After a boot the engine may come later than we do.
async fn connect(socket: &std::path::Path) -> Result<Engine, EngineError> {
    let mut backoff = Backoff::default();
    loop {
        match Engine::connect(socket).await {
            Err(error @ EngineError::Version { .. }) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, socket = %socket.display(), "waiting for the container engine");
                tokio::time::sleep(backoff.next(rand::random())).await;
            }
            Ok(engine) => return Ok(engine),
        }
    }
}
