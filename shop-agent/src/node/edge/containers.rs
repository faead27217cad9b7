//! The containers of the edge and of the name responder: what they are made from, and whether they are there.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use shop_plan::{address, names::label};
use shop_proto::Digest;

use super::{
    EdgeError,
    config::Config,
    plan::{Make, Seen},
    side::Side,
    told, uid,
};
use crate::node::{
    context::{Node, now_unix_ms},
    docker::{
        Attachment, ContainerSpec, MountSpec, NetworkSpec, Networking, Restart, Started, Urgency,
    },
    outbox::{Note, Severity},
    render::AGENT_IMAGE,
    state::files::{self, FileError},
    tasks::blocking,
};

/// The edge's image.
pub const EDGE_IMAGE: &str = "shopfleet/caddy:1";
/// Open requests are finished before the edge ends.
const EDGE_GRACE: Duration = Duration::from_secs(10);
/// A public authority stops listening for an hour after five failures of a host name, of which the edge makes up to two of one permission.
const CERTIFICATES_PER_HOUR: u32 = 2;

/// What an edge is made from.
pub struct Edge<'a> {
    /// Where it stands.
    pub side: Side,
    /// Content id of its image.
    pub image: &'a str,
    /// Of its configuration.
    pub shape: Digest,
}

/// The name responder's user.
const fn names_uid(node: &Node) -> u32 {
    node.record.first_uid - 2
}

/// The name responder runs, from the image that was here when it was made.
///
/// # Errors
/// When the engine fails or the image is missing.
pub async fn responder(node: &Node) -> Result<(), EdgeError> {
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
    let mut command = vec![
        "names".to_owned(),
        "--page-address".to_owned(),
        address.to_string(),
    ];
    if !node.args.edge_internal_tls {
        command.push("--certificates-per-hour".to_owned());
        command.push(CERTIFICATES_PER_HOUR.to_string());
    }
    let mut spec = ContainerSpec {
        name: format!("sf-{}-names", node.id),
        image: AGENT_IMAGE.to_owned(),
        own_image: None,
        entrypoint: None,
        command: Some(command),
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
    if responds(node, &spec).await? {
        return Ok(());
    }
    node.engine.ensure_network(&network).await?;
    let image = node.engine.image_id(AGENT_IMAGE).await?;
    let image = image.ok_or(EdgeError::Image(AGENT_IMAGE))?;
    sign(&mut spec, &image);
    node.images.learn(AGENT_IMAGE, image);
    if let Some(found) = node.engine.inspect(&spec.name).await?
        && !spec.made(&found)
    {
        tracing::info!(container = %spec.name, "replacing a container that was made from another release");
        node.engine.stop(&spec.name, spec.stop_grace).await?;
        node.engine.remove(&spec.name, true).await?;
    }
    up(node, &spec).await
}

/// Whether it runs and is the one it should be. One call to the engine.
async fn responds(node: &Node, spec: &ContainerSpec) -> Result<bool, EdgeError> {
    let Some(found) = node.engine.inspect(&spec.name).await? else {
        return Ok(false);
    };
    let known = node.images.known(&spec.image);
    Ok(found.running()
        && known.is_some_and(|image| found.label(label::SPEC_HASH) == Some(&*hash(spec, &image))))
}

/// What is on a side. One call to the engine.
///
/// # Errors
/// When the engine fails.
pub async fn see(node: &Node, edge: &Edge<'_>) -> Result<Seen, EdgeError> {
    let Some(found) = node.engine.inspect(&edge.side.container(&node.id)).await? else {
        return Ok(Seen::Absent);
    };
    let wanted = spec(node, edge);
    let make = if found.label(label::SPEC_HASH) == wanted.label(label::SPEC_HASH) {
        Make::Current
    } else {
        Make::Other
    };
    Ok(if found.running() {
        Seen::Running(make)
    } else {
        Seen::Ended(make)
    })
}

/// Makes the edge, or starts what was made of it.
///
/// # Errors
/// When the disk or the engine fails.
pub async fn start(node: &Node, edge: &Edge<'_>, config: &Config) -> Result<(), EdgeError> {
    write(node, edge.side, config).await?;
    up(node, &spec(node, edge)).await
}

/// Ends what is on a side, however it was made.
///
/// # Errors
/// When the engine fails.
pub async fn remove(node: &Node, side: Side) -> Result<(), EdgeError> {
    let name = side.container(&node.id);
    node.engine.stop(&name, EDGE_GRACE).await?;
    node.engine.remove(&name, true).await?;
    tracing::info!(container = %name, "an edge that nobody needs any more is gone");
    Ok(())
}

/// Writes what the edge starts from when the node agent is away.
///
/// # Errors
/// When the disk fails.
pub async fn write(node: &Node, side: Side, config: &Config) -> Result<(), EdgeError> {
    let uid = uid(node);
    let text = config.text.clone();
    let paths = Arc::new(node.paths.clone());
    blocking(&paths, move |paths| {
        files::directory(&side.directory(paths), 0o750, Some((uid, uid)))?;
        files::directory(&paths.edge_data(), 0o700, Some((uid, uid)))?;
        told::prepare(paths)?;
        let file = told::directory(paths).join(side.config());
        if files::read(&file)?.as_deref() != Some(text.as_bytes()) {
            files::replace(&file, text.as_bytes(), 0o644)?;
        }
        Ok::<_, FileError>(())
    })
    .await??;
    Ok(())
}

/// Its container. Both sides share the ACME account and the certificates, which the edge locks itself.
fn spec(node: &Node, edge: &Edge<'_>) -> ContainerSpec {
    let uid = uid(node);
    let config = format!("{}/{}", told::INSIDE, edge.side.config());
    let mut spec = ContainerSpec {
        name: edge.side.container(&node.id),
        image: EDGE_IMAGE.to_owned(),
        own_image: None,
        entrypoint: Some(vec!["/usr/bin/caddy".to_owned()]),
        command: Some(vec!["run".to_owned(), "--config".to_owned(), config]),
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
            directory(&edge.side.directory(&node.paths), "/run/edge", false),
            directory(&told::directory(&node.paths), told::INSIDE, true),
            directory(&node.paths.edge_data(), "/data", false),
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
    // Of another shape, it is another edge.
    sign(&mut spec, &format!("{} {}", edge.image, edge.shape));
    spec
}

/// Creates and starts it.
async fn up(node: &Node, spec: &ContainerSpec) -> Result<(), EdgeError> {
    node.engine.create(spec).await?;
    if node.engine.start(spec, Urgency::Soon).await? == Started::Now {
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

/// Says on the container what it was made from.
fn sign(spec: &mut ContainerSpec, image: &str) {
    let hash = hash(spec, image);
    spec.labels.insert(label::SPEC_HASH.to_owned(), hash);
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

fn directory(source: &Path, path: &str, read_only: bool) -> MountSpec {
    MountSpec::Directory {
        source: source.to_string_lossy().into_owned(),
        path: path.to_owned(),
        read_only,
    }
}
