//! The shared reverse proxy of this node and its name responder: keeps both containers running and the edge's routes current.
//!
//! Buyers' requests go on while the node agent is away: both containers restart by themselves, the edge from the configuration file beside
//! its socket, the responder from the names file.

mod config;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use shop_plan::{address, names::label};
use shop_proto::{Digest, StoreId};

use self::config::{ADMIN_SOCKET, Config, Input, Route};
use super::{
    context::{Node, now_unix_ms},
    docker::{
        Attachment, ContainerSpec, EngineError, MountSpec, NetworkSpec, Networking, Restart,
        Started, UnixHttpError, Urgency, unix_request,
    },
    firewall::{self, FirewallError, Port},
    outbox::{Note, Severity},
    paths::Paths,
    render::AGENT_IMAGE,
    replicas::ReplicaError,
    routes,
    settings::NodeArgs,
    state::files::{self, FileError},
    tasks::{Unfinished, blocking},
};

/// The edge's image.
const EDGE_IMAGE: &str = "shopfleet/caddy:1";
/// Where the edge listens when a user without rights may not listen on the public port.
const INNER_PORTS: [u16; 2] = [7480, 7481];
/// Between two looks: a lost edge or lost routes are back within five seconds.
const LOOK: Duration = Duration::from_secs(2);
/// Longest answer of the edge's admin API; a reload with thousands of routes takes a while.
const ADMIN: Duration = Duration::from_secs(10);
/// Open requests are finished before the edge ends.
const EDGE_GRACE: Duration = Duration::from_secs(10);

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
}

/// The edge's user.
#[must_use]
pub const fn uid(node: &Node) -> u32 {
    node.record.first_uid - 1
}

/// The name responder's user.
const fn names_uid(node: &Node) -> u32 {
    node.record.first_uid - 2
}

/// Public and inner ports.
#[must_use]
pub fn ports(args: &NodeArgs) -> [Port; 2] {
    let port = |public: u16, inner: u16| Port {
        public,
        inner: if public < 1024 { inner } else { public },
    };
    let [http, https] = INNER_PORTS;
    [port(args.edge_http, http), port(args.edge_https, https)]
}

/// Where the edge writes what it answered.
#[must_use]
pub fn access_log(paths: &Paths) -> PathBuf {
    paths.edge_run().join(config::ACCESS_LOG)
}

/// Looks after both until its task ends. Without an edge, only the names file and the firewall are kept.
pub async fn keep(node: Arc<Node>) {
    let mut failing = false;
    loop {
        match look(&node).await {
            Ok(()) => failing = false,
            Err(error) => {
                // Said once, not every two seconds.
                if !failing {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the edge is not as it should be; trying again"
                    );
                }
                failing = true;
            }
        }
        tokio::select! {
            () = node.routing.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn look(node: &Node) -> Result<(), EdgeError> {
    firewall::assert(node).await?;
    routes::refresh(node)
        .await
        .map_err(|error| EdgeError::Names(Box::new(error)))?;
    if node.args.no_edge {
        return Ok(());
    }
    responder(node).await?;
    node.traffic.attribute(hosts(node));
    let config = config::render(&input(node));
    edge(node, &config).await?;
    push(node, &config).await
}

async fn responder(node: &Node) -> Result<(), EdgeError> {
    let subnet = node.pool.subnet(node.record.names_subnet);
    let network = NetworkSpec {
        name: format!("sf-{}-names", node.id),
        bridge: shop_plan::names::bridge(&node.id, node.record.names_subnet.get()),
        subnet: subnet.to_string(),
        gateway: subnet.gateway(),
        internal: true,
        labels: labels(node, "network"),
    };
    let address = subnet.host(address::AGENT);
    let spec = ContainerSpec {
        name: format!("sf-{}-names", node.id),
        image: AGENT_IMAGE.to_owned(),
        entrypoint: None,
        command: Some(vec![
            "names".to_owned(),
            "--page-address".to_owned(),
            address.to_string(),
        ]),
        env: BTreeMap::new(),
        user: (names_uid(node), names_uid(node)),
        labels: labels(node, "names"),
        hostname: "names".to_owned(),
        memory_bytes: 64 << 20,
        cpu_millis: 1000,
        pids: 32,
        read_only: true,
        mounts: vec![directory(&node.paths.names(), "/run/shopfleet", true)],
        networking: Networking::Bridges(vec![Attachment {
            network: network.name.clone(),
            address,
            alias: "names".to_owned(),
        }]),
        extra_hosts: BTreeMap::new(),
        stop_signal: "SIGTERM".to_owned(),
        stop_grace: Duration::from_secs(2),
        restart: Restart::UnlessStopped,
    };
    if running(node, &spec).await? {
        return Ok(());
    }
    node.engine.ensure_network(&network).await?;
    up(node, spec).await
}

async fn edge(node: &Node, config: &Config) -> Result<(), EdgeError> {
    let (run, data, uid) = (node.paths.edge_run(), node.paths.edge_data(), uid(node));
    let text = config.text.clone();
    let shared = Arc::new(run.clone());
    let state = data.clone();
    blocking(&shared, move |run| {
        files::directory(run, 0o750, Some((uid, uid)))?;
        files::directory(&state, 0o700, Some((uid, uid)))?;
        let file = run.join("config.json");
        // What it starts from when the node agent is away.
        if files::read(&file)?.as_deref() != Some(text.as_bytes()) {
            files::replace(&file, text.as_bytes(), 0o644)?;
        }
        Ok::<_, FileError>(())
    })
    .await??;
    let spec = ContainerSpec {
        name: format!("sf-{}-edge", node.id),
        image: EDGE_IMAGE.to_owned(),
        entrypoint: Some(vec!["/usr/bin/caddy".to_owned()]),
        command: Some(
            ["run", "--config", "/run/edge/config.json"]
                .map(str::to_owned)
                .to_vec(),
        ),
        env: BTreeMap::from([
            ("XDG_CONFIG_HOME".to_owned(), "/data/config".to_owned()),
            ("XDG_DATA_HOME".to_owned(), "/data".to_owned()),
            ("HOME".to_owned(), "/tmp".to_owned()),
        ]),
        user: (uid, uid),
        labels: labels(node, "edge"),
        hostname: String::new(),
        memory_bytes: 512 << 20,
        cpu_millis: 4000,
        pids: 256,
        read_only: true,
        mounts: vec![
            directory(&run, "/run/edge", false),
            directory(&data, "/data", false),
            MountSpec::Memory {
                path: "/tmp".to_owned(),
                size_bytes: 16 << 20,
            },
        ],
        networking: Networking::Host,
        extra_hosts: BTreeMap::new(),
        stop_signal: "SIGTERM".to_owned(),
        stop_grace: EDGE_GRACE,
        restart: Restart::UnlessStopped,
    };
    if running(node, &spec).await? {
        return Ok(());
    }
    up(node, spec).await
}

/// The edge has this configuration, or gets it.
async fn push(node: &Node, config: &Config) -> Result<(), EdgeError> {
    let socket = node.paths.edge_run().join(socket_name());
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
    tracing::info!(config = %config.id, "the edge has new routes");
    Ok(())
}

fn input(node: &Node) -> Input {
    let mut routes: Vec<Route> = node
        .state
        .stores()
        .iter()
        .flat_map(|record| {
            let own: Vec<_> = record
                .subnets
                .values()
                .map(|index| node.pool.subnet(*index).cidr())
                .collect();
            record
                .routed_hosts()
                .map(|host| Route {
                    host: host.to_string(),
                    own: own.clone(),
                })
                .collect::<Vec<_>>()
        })
        // A store whose networks are not made yet serves nobody yet.
        .filter(|route| !route.own.is_empty())
        .collect();
    routes.sort_unstable();
    routes.dedup_by(|one, other| one.host == other.host);
    Input {
        routes,
        ports: ports(&node.args),
        pool: node.pool,
        responder: node
            .pool
            .subnet(node.record.names_subnet)
            .host(address::AGENT),
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

/// Whether the container runs and is the one it should be. One call to the engine.
async fn running(node: &Node, spec: &ContainerSpec) -> Result<bool, EdgeError> {
    let Some(found) = node.engine.inspect(&spec.name).await? else {
        return Ok(false);
    };
    let known = node.images.known(&spec.image);
    Ok(found.running()
        && known.is_some_and(|image| {
            found.label(label::SPEC_HASH) == Some(hash(spec, &image).as_str())
        }))
}

/// Creates and starts it; one made from another spec or image is replaced.
async fn up(node: &Node, mut spec: ContainerSpec) -> Result<(), EdgeError> {
    let image = node
        .engine
        .image_id(&spec.image)
        .await?
        .ok_or(if spec.image == EDGE_IMAGE {
            EdgeError::Image(EDGE_IMAGE)
        } else {
            EdgeError::Image(AGENT_IMAGE)
        })?;
    let hash = hash(&spec, &image);
    node.images.learn(&spec.image, image);
    spec.labels.insert(label::SPEC_HASH.to_owned(), hash);
    if let Some(found) = node.engine.inspect(&spec.name).await?
        && !spec.made(&found)
    {
        tracing::info!(container = %spec.name, "replacing a container that was made from another release");
        node.engine.stop(&spec.name, spec.stop_grace).await?;
        node.engine.remove(&spec.name, true).await?;
    }
    node.engine.create(&spec).await?;
    if node.engine.start(&spec, Urgency::Soon).await? == Started::Now {
        tracing::info!(container = %spec.name, "started");
        node.outbox.note(Note {
            store: None,
            code: "container_started",
            severity: Severity::Info,
            message: format!("{} did not run and was started", spec.name),
            at_unix_ms: now_unix_ms(),
        });
    }
    Ok(())
}

fn hash(spec: &ContainerSpec, image: &str) -> String {
    Digest::of(format!("{} {image}", spec.content_digest()).as_bytes()).to_string()
}

fn labels(node: &Node, kind: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (label::NODE.to_owned(), node.id.to_string()),
        (label::KIND.to_owned(), kind.to_owned()),
    ])
}

fn directory(source: &std::path::Path, path: &str, read_only: bool) -> MountSpec {
    MountSpec::Directory {
        source: source.to_string_lossy().into_owned(),
        path: path.to_owned(),
        read_only,
    }
}

fn socket_name() -> PathBuf {
    PathBuf::from(ADMIN_SOCKET)
        .file_name()
        .map(PathBuf::from)
        .unwrap_or_default()
}
