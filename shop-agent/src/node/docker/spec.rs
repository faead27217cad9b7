//! What the node asks of the engine and what it sees there, in our own words.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use serde::Serialize;
use shop_plan::names::label;
use shop_proto::{Digest, NodeId, StoreId};

/// A container, complete: what is not here is written by `body` and is the same for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContainerSpec {
    /// Deterministic, carries the node id.
    pub name: String,
    /// Image reference.
    pub image: String,
    /// None keeps the image's entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// None keeps the image's command.
    pub command: Option<Vec<String>>,
    /// Never a secret.
    pub env: BTreeMap<String, String>,
    /// uid and gid: never 0.
    pub user: (u32, u32),
    /// Ours only; an image's own labels never count.
    pub labels: BTreeMap<String, String>,
    /// Host name inside.
    pub hostname: String,
    /// Bytes; swap is the same, so none is used.
    pub memory_bytes: u64,
    /// Thousandths of a core.
    pub cpu_millis: u32,
    /// Processes and threads.
    pub pids: u32,
    /// Read-only root.
    pub read_only: bool,
    /// In order of their paths.
    pub mounts: Vec<MountSpec>,
    /// How it reaches others.
    pub networking: Networking,
    /// Names resolved inside to an address of ours.
    pub extra_hosts: BTreeMap<String, Ipv4Addr>,
    /// Engine's name of the signal that asks it to stop.
    pub stop_signal: String,
    /// Then it is killed.
    pub stop_grace: Duration,
    /// Who restarts it.
    pub restart: Restart,
    /// The template's image, where an operator's takes its place: then the allow-list decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_image: Option<String>,
}

/// Something mounted. Binds with an implicit source do not exist here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum MountSpec {
    /// A named volume.
    Volume {
        /// Engine's name of the volume.
        name: String,
        /// Path inside.
        path: String,
        /// Read-only.
        read_only: bool,
    },
    /// A directory of the node itself: refused by the engine when it is missing.
    Directory {
        /// Path on the host.
        source: String,
        /// Path inside.
        path: String,
        /// Read-only.
        read_only: bool,
    },
    /// Memory, noexec, nosuid, nodev.
    Memory {
        /// Path inside.
        path: String,
        /// Bytes.
        size_bytes: u64,
    },
}

/// How a container is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Networking {
    /// The host's own network: edge only.
    Host,
    /// Our bridges, with fixed addresses. The first one is named at creation, the others connected before start.
    Bridges(Vec<Attachment>),
}

/// A place in a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attachment {
    /// Engine's name of the network.
    pub network: String,
    /// Fixed address.
    pub address: Ipv4Addr,
    /// Name that others of the network find it by.
    pub alias: String,
}

/// Who restarts a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Restart {
    /// Its supervisor.
    Never,
    /// The engine: edge and name responder only.
    UnlessStopped,
}

/// Whose containers are meant.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// Everything of a node.
    Node(&'a NodeId),
    /// Everything of a store on a node.
    Store(&'a NodeId, &'a StoreId),
    /// One kind of a store's containers, as their label says it.
    Kind(&'a NodeId, &'a StoreId, &'static str),
}

/// A container as the engine has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// 64 hexadecimal characters.
    pub id: String,
    /// Without the leading slash.
    pub name: String,
    /// All labels, an image's too.
    pub labels: BTreeMap<String, String>,
    /// What it does.
    pub state: ContainerState,
    /// Networks it is connected to.
    pub networks: Vec<String>,
    /// The limits it has now, whatever it was made with.
    pub limits: Limits,
    /// Engine's name of the signal that asks it to stop; empty for the engine's own.
    pub stop_signal: String,
    /// How long it was made to be given before it is killed.
    pub stop_grace: Option<Duration>,
}

/// What a container may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes; swap is the same.
    pub memory_bytes: u64,
    /// Thousandths of a core.
    pub cpu_millis: u32,
    /// Processes and threads.
    pub pids: u32,
}

/// What a container does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerState {
    /// Never started.
    Created,
    /// Running (or paused: nobody here pauses).
    Running {
        /// When, in Unix milliseconds.
        started_unix_ms: i64,
    },
    /// Ended.
    Exited {
        /// Its exit code, 128 + signal for a signal.
        code: i32,
        /// Ended by the kernel for its memory limit.
        oom_killed: bool,
        /// When it was started, in Unix milliseconds.
        started_unix_ms: i64,
        /// When it ended, in Unix milliseconds.
        finished_unix_ms: i64,
    },
    /// Going away.
    Removing,
    /// The engine could not remove it; it can never run again.
    Dead,
}

impl ContainerSpec {
    /// Digest of everything but the labels: names what the container was made from.
    #[must_use]
    pub fn content_digest(&self) -> Digest {
        let unlabelled = Self {
            labels: BTreeMap::new(),
            ..self.clone()
        };
        Digest::of_value(&unlabelled)
    }

    /// A label of ours.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str)
    }

    /// Whether what is there was made from this: every label is the same, but for the intent's nonce. A container that says its shape may be
    /// of another revision: what is not in the shape is changed while it runs.
    #[must_use]
    pub fn made(&self, observed: &Observed) -> bool {
        let shaped = observed.label(label::SHAPE).is_some();
        let counts = |key: &str| match key {
            label::INTENT => false,
            label::SHAPE => shaped,
            label::REVISION => !shaped,
            label::SPEC_HASH => !shaped || self.label(label::SHAPE).is_none(),
            _ => true,
        };
        self.labels
            .iter()
            .filter(|(key, _)| counts(key))
            .all(|(key, value)| observed.labels.get(key) == Some(value))
    }

    /// What it may use.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        Limits {
            memory_bytes: self.memory_bytes,
            cpu_millis: self.cpu_millis,
            pids: self.pids,
        }
    }

    /// The networks that are still missing on what is there.
    pub fn missing<'a>(&'a self, observed: &'a [String]) -> impl Iterator<Item = &'a Attachment> {
        let wanted: &[Attachment] = match &self.networking {
            Networking::Host => &[],
            Networking::Bridges(attachments) => attachments,
        };
        wanted
            .iter()
            .filter(|attachment| !observed.contains(&attachment.network))
    }
}

impl Observed {
    /// A label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str)
    }

    /// Whether it runs now.
    #[must_use]
    pub const fn running(&self) -> bool {
        matches!(self.state, ContainerState::Running { .. })
    }
}
