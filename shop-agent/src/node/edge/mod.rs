//! The shared reverse proxy of this node and its name responder: keeps both containers running.
//!
//! Buyers' requests go on while the node agent is away: both containers restart by themselves, the edge from its configuration file, the
//! responder from the names file. An edge of another image or shape takes over beside the one before, which then drains.

mod admin;
mod certificates;
mod config;
mod containers;
mod drain;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod plan;
mod responder;
mod side;
mod storage;
pub mod told;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::Full;
use shop_plan::address;
use shop_proto::StoreId;

use self::{
    admin::AdminSocket,
    config::{ADMIN_SOCKET, Config, Frame},
    containers::{EDGE_IMAGE, Edge},
    plan::{Make, Seen, Step, View},
    side::Side,
};
pub use self::{certificates::warm, side::Standing, storage::forget};
use super::{
    context::{Node, now_unix_ms},
    docker::{EngineError, UnixHttpError, unix_request},
    firewall::{self, FirewallError, Port},
    outbox::{Note, Severity},
    paths::Paths,
    prepare::REPLACED_AT_ONCE,
    replicas::ReplicaError,
    routes,
    state::files::FileError,
    tasks::{Unfinished, blocking},
};

/// Between two looks: a lost edge or lost routes are back within five seconds.
const LOOK: Duration = Duration::from_secs(2);
/// Between two steps of a replacement.
const SOON: Duration = Duration::from_millis(250);
/// A replacement that takes longer goes wrong, and that is said.
const TAKES: Duration = Duration::from_secs(20);
/// How long the image that was found last is believed to be the one.
const IMAGE: Duration = Duration::from_secs(30);
/// Longest wait for the edge's admin API, which answers when it runs what it was given.
const ADMIN: Duration = Duration::from_secs(10);

/// What keeps the edge from being as it should; tried again.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// An image is missing.
    #[error("image {0} is not on this node; build or load it")]
    Image(&'static str),
    /// The disk.
    #[error("the node's disk could not be written")]
    File(#[from] FileError),
    /// The process is ending.
    #[error(transparent)]
    Unfinished(#[from] Unfinished),
    /// The names file.
    #[error("the names file could not be written")]
    Names(#[source] Box<ReplicaError>),
    /// The firewall.
    #[error(transparent)]
    Firewall(#[from] FirewallError),
    /// The admin socket.
    #[error("the edge's admin socket does not answer")]
    Admin(#[from] UnixHttpError),
    /// The request itself.
    #[error("the request to the edge could not be made")]
    Request(#[from] http::Error),
    /// The edge said no.
    #[error("the edge refused its configuration (status {status})")]
    Refused {
        /// HTTP status.
        status: u16,
    },
    /// The next edge does not come.
    #[error("no new edge can take over yet; the one before serves on")]
    NoSuccessor,
}

/// The edge's user.
#[must_use]
pub const fn uid(node: &Node) -> u32 {
    node.record.first_uid - 1
}

/// Public and inner ports of the edge that gets new connections.
#[must_use]
pub fn ports(node: &Node) -> [Port; 2] {
    node.edge.meant().ports(&node.args)
}

/// Where the edges write what they answered.
#[must_use]
pub fn access_logs(paths: &Paths) -> [PathBuf; 2] {
    Side::BOTH.map(|side| side.directory(paths).join(config::ACCESS_LOG))
}

/// What is remembered between two looks; a node agent that is started anew does without.
#[derive(Default)]
struct Keeper {
    failing: bool,
    image: Option<(Instant, String)>,
    /// Since when the meant edge is not the one that should be.
    unsettled: Option<Instant>,
}

/// What was found where new connections go.
enum Stands {
    /// The edge that should be.
    Current,
    /// Another, or none.
    Other,
}

/// Looks after both until its task ends. Without an edge, only the names file and the firewall are kept.
pub async fn keep(node: Arc<Node>) {
    let mut keeper = Keeper::default();
    let mut waiting = Some(REPLACED_AT_ONCE);
    loop {
        let looked = keeper.look(&node).await;
        // Whatever came of it: agents do not wait for an edge that cannot be had.
        node.replacing.add_permits(waiting.take().unwrap_or(0));
        let pause = match looked {
            Ok(pause) => {
                keeper.failing = false;
                pause
            }
            Err(error) => {
                // Said once, not every two seconds.
                if !keeper.failing {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the edge is not as it should be; trying again"
                    );
                }
                keeper.failing = true;
                LOOK
            }
        };
        tokio::select! {
            () = node.routing.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

impl Keeper {
    /// One look; gives how long to wait for the next.
    async fn look(&mut self, node: &Node) -> Result<Duration, EdgeError> {
        firewall::assert(node).await?;
        routes::refresh(node)
            .await
            .map_err(|error| EdgeError::Names(Box::new(error)))?;
        if node.args.no_edge {
            return Ok(LOOK);
        }
        responder::keep(node).await?;
        node.traffic.attribute(hosts(node));
        let outcome = self.step(node).await;
        if let Ok(Stands::Current) = outcome {
            self.unsettled = None;
            let side = node.edge.meant();
            let config = config::render(&frame(node, side));
            containers::write(node, side, &config).await?;
            push(node, side, &config).await?;
            return Ok(LOOK);
        }
        let since = self.unsettled.get_or_insert_with(Instant::now);
        if since.elapsed() < TAKES {
            return outcome.map(|_| SOON);
        }
        outcome.and(Err(EdgeError::NoSuccessor))
    }

    /// Sees what there is and does the next step.
    async fn step(&mut self, node: &Node) -> Result<Stands, EdgeError> {
        let image = self.image(node).await?;
        let meant = node.edge.meant();
        let [here, there] = [meant, meant.other()].map(|side| Edge {
            side,
            image: &image,
            shape: config::shape(&frame(node, side)),
        });
        let seen = containers::see(node, &here).await?;
        let step = plan::next(View {
            meant,
            here: seen,
            there: containers::see(node, &there).await?,
            left: drain::left(node, there.side).await?,
        });
        match step {
            Step::Rest => {}
            Step::Start(side) => {
                drain::forget(node, side).await?;
                let edge = if side == meant { &here } else { &there };
                let config = config::render(&frame(node, side));
                containers::start(node, edge, &config).await?;
            }
            Step::Switch(side) => switch(node, side).await?,
            Step::Drain(side) => drain::begin(node, side).await?,
            Step::Remove(side) => containers::remove(node, side).await?,
        }
        Ok(if seen == Seen::Running(Make::Current) {
            Stands::Current
        } else {
            Stands::Other
        })
    }

    /// Content id of the edge's image. Asked for now and then: it may be built anew at any time.
    async fn image(&mut self, node: &Node) -> Result<String, EdgeError> {
        if let Some((at, image)) = &self.image
            && at.elapsed() < IMAGE
        {
            return Ok(image.clone());
        }
        let found = node.engine.image_id(EDGE_IMAGE).await?;
        let image = found.ok_or(EdgeError::Image(EDGE_IMAGE))?;
        self.image = Some((Instant::now(), image.clone()));
        Ok(image)
    }
}

/// Sends new connections to an edge that answers; one that does not yet is looked at again.
async fn switch(node: &Node, side: Side) -> Result<(), EdgeError> {
    drain::forget(node, side).await?;
    match push(node, side, &config::render(&frame(node, side))).await {
        Err(EdgeError::Admin(_)) => return Ok(()),
        other => other?,
    }
    let file = node.edge.clone();
    blocking(&file, move |standing| standing.mean(side)).await??;
    firewall::assert(node).await?;
    tracing::info!(container = %side.container(&node.id), "a new edge takes over; the one before drains");
    node.outbox.note(Note {
        store: None,
        code: "edge_replaced",
        severity: Severity::Info,
        message: "a new edge has taken over; the one before answers its visitors to the end"
            .to_owned(),
        at_unix_ms: now_unix_ms(),
    });
    Ok(())
}

/// The edge of a side has this configuration, or gets it.
async fn push(node: &Node, side: Side, config: &Config) -> Result<(), EdgeError> {
    let found = AdminSocket::find(&side.directory(&node.paths).join(socket_name()));
    let found = found.map_err(UnixHttpError::Connect)?;
    let socket = found.path();
    let question = http::Request::get(format!("/id/{}", config.id))
        .header(http::header::HOST, config::ADMIN_HOST)
        .body(Full::default())?;
    let (status, _) = unix_request(&socket, question, ADMIN).await?;
    if status == 200 {
        return Ok(());
    }
    let load = http::Request::post("/load")
        .header(http::header::HOST, config::ADMIN_HOST)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(config.text.clone())))?;
    let (status, answer) = unix_request(&socket, load, ADMIN).await?;
    if status != 200 {
        let said: String = String::from_utf8_lossy(&answer).chars().take(400).collect();
        tracing::warn!(status, %said, "the edge refused its configuration");
        return Err(EdgeError::Refused { status });
    }
    tracing::info!(config = %config.id, "the edge has its configuration");
    Ok(())
}

fn frame(node: &Node, side: Side) -> Frame {
    let names = node.pool.subnet(node.record.names_subnet);
    Frame {
        ports: side.ports(&node.args),
        leaving: side.leaving(),
        pool: node.pool,
        responder: names.host(address::AGENT),
        internal_tls: node.args.edge_internal_tls,
    }
}

/// Whose the host names are.
#[must_use]
pub fn hosts(node: &Node) -> BTreeMap<String, StoreId> {
    let records = node.state.stores();
    let hosts = records.iter().flat_map(|record| {
        let store = &record.store;
        record
            .routed_hosts()
            .map(|host| (host.to_string(), store.clone()))
    });
    hosts.collect()
}

fn socket_name() -> PathBuf {
    PathBuf::from(ADMIN_SOCKET)
        .file_name()
        .map(PathBuf::from)
        .unwrap_or_default()
}
