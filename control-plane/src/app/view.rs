//! What use-cases answer: domain types with what an API user wants to see beside them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use secrecy::SecretString;
use shop_proto::{Digest, StoreId, StoreName};

use crate::domain::{
    access::ApiToken,
    audit::AuditEntry,
    node::Node,
    node::NodeStatus,
    operation::Operation,
    rollout::{Member, Rollout},
    session::ReplicaReport,
    store::Reservation,
    store::Store,
};

/// Part of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Opaque; `None` on the last page.
    pub next: Option<String>,
}

/// A store as it is shown.
#[derive(Debug, Clone)]
pub struct StoreView {
    pub store: Store,
    /// First URL a buyer can use; `None` until a node said where its edge is.
    pub url: Option<String>,
    pub admin_url: Option<String>,
    /// Generation the agent reported on last; 0 for none.
    pub observed_generation: u64,
}

/// An operation with the replicas of its store while it goes on.
#[derive(Debug, Clone)]
pub struct OperationView {
    pub operation: Operation,
    pub replicas: Vec<ReplicaReport>,
}

/// A rollout with the stores that were selected.
#[derive(Debug, Clone)]
pub struct RolloutView {
    pub rollout: Rollout,
    pub members: Vec<Member>,
}

/// A change of a store, for watches.
#[derive(Debug, Clone)]
pub struct StoreChange {
    pub change_seq: u64,
    pub what: StoreChanged,
}

/// How a store changed.
#[derive(Debug, Clone)]
pub enum StoreChanged {
    Present(Box<StoreView>),
    Gone { id: StoreId, name: StoreName },
}

/// A node and what is placed on it.
#[derive(Debug, Clone)]
pub struct NodeView {
    pub node: Node,
    pub status: NodeStatus,
    pub reserved: Reservation,
    pub stores: u32,
    pub last_seen_at: Option<Timestamp>,
    /// Of its edge.
    pub edge_url: Option<String>,
}

/// A new join token. Its text is shown once.
#[derive(Clone)]
pub struct NewJoinToken {
    pub id: String,
    pub token: SecretString,
    pub expires_at: Timestamp,
    pub root_pin: Digest,
    pub enroll_addresses: Vec<String>,
    pub agent_addresses: Vec<String>,
}

/// A new API token. Its text is shown once.
#[derive(Clone)]
pub struct NewApiToken {
    pub token: ApiToken,
    pub secret: SecretString,
}

/// Part of the audit chain.
#[derive(Debug, Clone)]
pub struct AuditPage {
    pub entries: Vec<AuditEntry>,
    pub head_seq: u64,
    pub head_hash: Digest,
}

/// An agent's sealed answer, for the caller alone.
#[derive(Debug, Clone)]
pub struct SealedAnswer {
    pub code: String,
    pub enc: Vec<u8>,
    pub ciphertext: Vec<u8>,
}

/// The fleet at a glance.
#[derive(Debug, Clone)]
pub struct FleetStatus {
    pub version: &'static str,
    /// `sqlite` or `postgresql`.
    pub database: &'static str,
    pub stores_by_status: BTreeMap<&'static str, u32>,
    pub nodes_ready: u32,
    pub nodes_total: u32,
    pub operations_pending: u32,
    pub operations_running: u32,
    pub warnings: Vec<String>,
    pub started_at: Timestamp,
    pub base_domain: String,
}
