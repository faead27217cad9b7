//! The containers of the edge: what they are made from, and whether they are there.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use shop_plan::names::label;
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
    docker::{ContainerSpec, MountSpec, Networking, Observed, Restart, Started, Urgency},
    outbox::{Note, Severity},
    state::files::{self, FileError},
    tasks::blocking,
};

/// The edge's image.
pub const EDGE_IMAGE: &str = "shopfleet/caddy:1";
/// Open requests are finished before the edge ends.
const EDGE_GRACE: Duration = Duration::from_secs(10);

/// What an edge is made from.
pub struct Edge<'a> {
    /// Where it stands.
    pub side: Side,
    /// Content id of its image.
    pub image: &'a str,
    /// Of its configuration.
    pub shape: Digest,
}

/// What is on a side. One call to the engine.
///
/// # Errors
/// When the engine fails.
pub async fn see(node: &Node, edge: &Edge<'_>) -> Result<Seen, EdgeError> {
    let found = node.engine.inspect(&edge.side.container(&node.id)).await?;
    Ok(seen(found.as_ref(), &spec(node, edge)))
}

/// What was found, beside what is wanted.
pub fn seen(found: Option<&Observed>, wanted: &ContainerSpec) -> Seen {
    let Some(found) = found else {
        return Seen::Absent;
    };
    let make = if found.label(label::SPEC_HASH) == wanted.label(label::SPEC_HASH) {
        Make::Current
    } else {
        Make::Other
    };
    if found.running() {
        Seen::Running(make)
    } else {
        Seen::Ended(make)
    }
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

/// Creates and starts it. All stores of the node wait for it: it never queues behind one of them.
///
/// # Errors
/// When the engine fails.
pub async fn up(node: &Node, spec: &ContainerSpec) -> Result<(), EdgeError> {
    node.engine.create(spec).await?;
    if node.engine.start(spec, Urgency::First).await? == Started::Now {
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
pub fn sign(spec: &mut ContainerSpec, image: &str) {
    let hash = Digest::of(format!("{} {image}", spec.content_digest()).as_bytes());
    spec.labels
        .insert(label::SPEC_HASH.to_owned(), hash.to_string());
}

/// The labels of what belongs to a node and to none of its stores.
pub fn labels(node: &Node, kind: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (label::NODE.to_owned(), node.id.to_string()),
        (label::KIND.to_owned(), kind.to_owned()),
    ])
}

/// A directory of the node.
pub fn directory(source: &Path, path: &str, read_only: bool) -> MountSpec {
    MountSpec::Directory {
        source: source.to_string_lossy().into_owned(),
        path: path.to_owned(),
        read_only,
    }
}
