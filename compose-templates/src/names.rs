//! Names of Docker objects and labels. Deterministic, and they carry the node id, so two node agents on one Docker never touch each other.

use shop_proto::{NodeId, ReplicaKey, ServiceName, StoreId};

use crate::NetworkName;

/// Labels on everything of ours. Lookups filter by [`label::NODE`].
pub mod label {
    /// Node id.
    pub const NODE: &str = "shopfleet.node";
    /// Store id.
    pub const STORE: &str = "shopfleet.store";
    /// Service of the replica key; `agent` for the shop agent.
    pub const SERVICE: &str = "shopfleet.service";
    /// Slot of the replica key.
    pub const SLOT: &str = "shopfleet.slot";
    /// Replica number of the replica key.
    pub const REPLICA: &str = "shopfleet.replica";
    /// Revision number the container was made for.
    pub const REVISION: &str = "shopfleet.revision";
    /// Spec hash the container was made from.
    pub const SPEC_HASH: &str = "shopfleet.spec-hash";
    /// Hash of what a container cannot change while it runs: its spec without limits.
    pub const SHAPE: &str = "shopfleet.shape";
    /// Nonce of the intent that made it.
    pub const INTENT: &str = "shopfleet.intent";
    /// Task name, on task containers.
    pub const TASK: &str = "shopfleet.task";
    /// Run id, on task containers.
    pub const RUN: &str = "shopfleet.run";
    /// What it is: `service`, `task`, `agent`, `edge`, `names`, `network`, `volume`.
    pub const KIND: &str = "shopfleet.kind";
}

/// Prefix of every name of a store on a node.
#[must_use]
pub fn prefix(node: &NodeId, store: &StoreId) -> String {
    format!("sf-{node}-{store}")
}

/// Container of a replica.
#[must_use]
pub fn replica(node: &NodeId, store: &StoreId, key: &ReplicaKey) -> String {
    format!("{}-{key}", prefix(node, store))
}

/// Container of the shop agent.
#[must_use]
pub fn agent(node: &NodeId, store: &StoreId) -> String {
    format!("{}-agent", prefix(node, store))
}

/// Container of a task run.
#[must_use]
pub fn task(node: &NodeId, store: &StoreId, task: &ServiceName, run: &str) -> String {
    format!("{}-task-{task}-{run}", prefix(node, store))
}

/// A network.
#[must_use]
pub fn network(node: &NodeId, store: &StoreId, network: NetworkName) -> String {
    format!("{}-{}", prefix(node, store), network.as_str())
}

/// A persistent volume.
#[must_use]
pub fn volume(node: &NodeId, store: &StoreId, volume: &ServiceName) -> String {
    format!("{}-{volume}", prefix(node, store))
}

/// The vault volume of the shop agent.
#[must_use]
pub fn vault_volume(node: &NodeId, store: &StoreId) -> String {
    format!("{}-agent-vault", prefix(node, store))
}

/// The secrets volume of one consumer.
#[must_use]
pub fn secrets_volume(node: &NodeId, store: &StoreId, consumer: &ServiceName) -> String {
    format!("{}-secrets-{consumer}", prefix(node, store))
}

/// Interface name of the bridge with this index: at most 15 characters, and `sf<node>-*` matches all of a node.
#[must_use]
pub fn bridge(node: &NodeId, index: u32) -> String {
    format!("sf{node}-{index:x}")
}
