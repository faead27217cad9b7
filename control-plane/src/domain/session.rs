//! What flows between sessions and the rest of the control plane: one event channel up, typed orders down through [`Orders`].
//!
//! The fleet is transport: it decides nothing. `background::ingest` consumes the events; `background::dispatch` sends the orders.

use std::collections::BTreeMap;

use shop_plan::Schema;
use shop_proto::{Digest, Generation, NodeId, ReplicaKey, Spec, StoreId};

/// Something a session said or something that happened to a session.
#[expect(
    clippy::large_enum_variant,
    reason = "reports are what most events are: a box for each would buy nothing"
)]
#[derive(Debug, Clone)]
pub enum FleetEvent {
    /// A node's session is up.
    NodeUp { node: NodeId, hello: NodeHello },
    /// A node's last session ended.
    NodeDown { node: NodeId },
    /// Room on a node.
    NodeCapacity { node: NodeId, capacity: Capacity },
    /// How far a node is with an assignment.
    Assignment {
        node: NodeId,
        status: AssignmentStatus,
    },
    /// How far a node is with a retirement.
    Retirement { node: NodeId, status: RetireStatus },
    /// A node vouches for a shop agent's key. Answer with [`NodeOrder::VouchRecorded`].
    Vouch { node: NodeId, vouch: Vouch },
    /// Something worth telling about a node or one of its stores.
    NodeNote {
        node: NodeId,
        store: Option<StoreId>,
        note: Note,
    },
    /// A shop agent's session is up.
    AgentUp { store: StoreId, hello: AgentHello },
    /// A shop agent's last session ended.
    AgentDown { store: StoreId },
    /// A store as its agent sees it.
    Report { store: StoreId, report: StoreReport },
    /// Something worth telling about a store.
    AgentNote { store: StoreId, note: Note },
    /// The agent would not take a Desired.
    Refused {
        store: StoreId,
        generation: u64,
        code: String,
        message: String,
    },
    /// How a run of a task stands.
    Task { store: StoreId, report: TaskReport },
    /// The answer to a sealed request. Opaque here.
    Sealed {
        store: StoreId,
        result: SealedResult,
    },
    /// The vault sealed to the recovery key. Opaque here.
    Escrow { store: StoreId, escrow: Escrow },
}

/// An order for a node's session.
#[expect(
    clippy::large_enum_variant,
    reason = "orders are few and short-lived: a box would buy nothing"
)]
#[derive(Debug, Clone)]
pub enum NodeOrder {
    /// The node should hold this store.
    Assign {
        store: StoreId,
        generation: Generation,
        render_version: u32,
        spec: Spec,
    },
    /// The node should take this store down, volumes included.
    Retire {
        store: StoreId,
        generation: Generation,
    },
    /// The outcome of a retirement is recorded.
    RetireRecorded { store: StoreId },
    /// A voucher is recorded; the agent may enrol.
    VouchRecorded { store: StoreId, spki: Digest },
    /// The signed roster, as signed.
    Roster(RosterBytes),
    /// Come back later, on another connection.
    Reconnect { in_ms: u64 },
}

/// An order for a shop agent's session.
#[derive(Debug, Clone)]
pub enum AgentOrder {
    /// What the store should be.
    Desired {
        generation: Generation,
        render_version: u32,
        spec: Spec,
    },
    /// Relayed as received.
    SealedRequest(SealedRequest),
    /// Run a task; the same id is the same run.
    RunTask {
        id: String,
        task: String,
        arguments: Vec<String>,
    },
    /// End a run before its time.
    CancelTask { id: String, task: String },
    /// How a run ended is durable here.
    TaskRecorded { id: String },
    /// The signed roster, as signed.
    Roster(RosterBytes),
    /// Come back later, on another connection.
    Reconnect { in_ms: u64 },
}

/// The roster document and its signature: relayed, never judged here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RosterBytes {
    pub document: Vec<u8>,
    pub signature: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeHello {
    pub render_versions: Vec<u32>,
    pub agent_version: String,
    pub engine_version: String,
    pub boot_id: String,
    pub inventory: Vec<InventoryItem>,
    pub capacity: Capacity,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryItem {
    pub store: StoreId,
    pub generation: u64,
    pub spec_digest: Option<Digest>,
    pub retiring: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capacity {
    pub memory_bytes: u64,
    pub cpu_millis: u32,
    pub disk_total_bytes: u64,
    pub disk_free_bytes: u64,
    /// From this share of it in use on, in percent, no new stores are to go there, as its administrator decided; 0 when it never said.
    pub disk_limit_percent: u32,
    pub edge_scheme: String,
    pub edge_port: u16,
    pub images: Vec<String>,
    /// Rules of its administrator's allow-list: which images may take the place of a template's own.
    pub allowed_images: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignmentStatus {
    pub store: StoreId,
    pub generation: u64,
    pub plan_digest: Option<Digest>,
    /// `accepted`, `preparing`, `prepared`, `refused` or `error`.
    pub state: String,
    pub code: String,
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetireStatus {
    pub store: StoreId,
    pub generation: u64,
    /// `tombstoned`, `stopping`, `removing`, `gone`, `blocked` or `refused`.
    pub state: String,
    pub message: String,
    /// With `gone`, from nodes that make one.
    pub receipt: Option<SignedReceipt>,
}

/// What a node signed about a store it took down, not checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedReceipt {
    /// JSON, exactly as signed.
    pub document: String,
    pub signature: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouch {
    pub store: StoreId,
    pub spki: Digest,
    pub sealing_public_key: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub code: String,
    pub severity: String,
    pub message: String,
    pub at_unix_ms: i64,
    pub service: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentHello {
    pub render_versions: Vec<u32>,
    pub generation: u64,
    pub spec_digest: Option<Digest>,
    pub boot_id: String,
    pub agent_version: String,
    pub sealing_public_key: Vec<u8>,
    pub receipt: Vec<u8>,
}

/// A store as its agent sees it; stored as JSON, shown by the API.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StoreReport {
    pub generation: u64,
    pub spec_digest: String,
    pub plan_digest: String,
    /// `waiting`, `starting`, `running`, `degraded`, `stopping`, `stopped` or `failed`.
    pub state: String,
    pub reason: String,
    pub message: String,
    pub replicas: Vec<ReplicaReport>,
    pub steps: Vec<StepReport>,
    pub serving_slot: String,
    pub restart_seq: u64,
    /// Number of the revision that serves; 0 when none does.
    #[serde(default)]
    pub serving_revision: u64,
    /// The update under way, or the last one while its outcome matters.
    #[serde(default)]
    pub update: Option<UpdateReport>,
    #[serde(default)]
    pub held_back: Option<HeldBackReport>,
    #[serde(default)]
    pub drift: Vec<DriftReport>,
    /// Volumes that existed and are gone.
    #[serde(default)]
    pub lost_volumes: Vec<String>,
    /// The edge answers with the maintenance page.
    #[serde(default)]
    pub maintenance: bool,
    /// What migrations have made of the data; none before it is installed, and from agents that do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Schema>,
}

/// One revision taking the place of another.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct UpdateReport {
    pub from_revision: u64,
    pub to_revision: u64,
    pub generation: u64,
    /// `preparing`, `migrating`, `checking`, `switched`, `draining`, `done`, `rolled_back` or `halted`.
    pub phase: String,
    pub slot: String,
    pub began_unix_ms: i64,
    pub switched_unix_ms: i64,
    pub window_ends_unix_ms: i64,
    pub reason: String,
    pub message: String,
}

/// A revision that was tried and taken back.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HeldBackReport {
    pub generation: u64,
    pub revision: u64,
    pub reason: String,
    pub message: String,
    pub at_unix_ms: i64,
}

/// A difference to what was asked that nobody of ours made.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DriftReport {
    /// `container`, `network`, `volume` or `limits`.
    pub kind: String,
    pub name: String,
    /// `stopped`, `removed`, `changed` or `killed`.
    pub what: String,
    pub seen_unix_ms: i64,
    /// 0 while it is not repaired.
    pub repaired_unix_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ReplicaReport {
    pub key: ReplicaKey,
    pub phase: String,
    pub reason: String,
    pub exit_code: Option<i32>,
    pub oom_killed: bool,
    pub restarts: u32,
    pub since_unix_ms: i64,
    pub last_log: Option<SealedText>,
}

/// Sealed to the roster's log keys; opaque here.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SealedText {
    pub format: u32,
    pub recipient_key_id: String,
    pub enc: Vec<u8>,
    pub ciphertext: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StepReport {
    pub name: String,
    /// `pending`, `running`, `done` or `failed`.
    pub state: String,
    pub started_unix_ms: i64,
    pub ended_unix_ms: i64,
}

/// How a run of a task stands, as the store's agent tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskReport {
    /// The operation's, or the agent's own for a scheduled run.
    pub id: String,
    pub task: String,
    pub scheduled: bool,
    pub state: super::task::TaskState,
    pub exit_code: Option<i32>,
    pub message: String,
    /// 0 when it never began.
    pub started_unix_ms: i64,
    /// 0 while it has not ended.
    pub ended_unix_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedRequest {
    pub operation_id: String,
    pub kind: String,
    pub subject: String,
    pub one_time_public_key: Vec<u8>,
    pub expires_unix_ms: i64,
    pub signer_key_id: String,
    pub signature: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedResult {
    pub operation_id: String,
    pub code: String,
    pub enc: Vec<u8>,
    pub ciphertext: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Escrow {
    pub vault_version: u64,
    pub recipient_key_id: String,
    pub enc: Vec<u8>,
    pub ciphertext: Vec<u8>,
}

/// What is connected right now, for readiness and listings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connected {
    pub nodes: Vec<NodeId>,
    pub stores: BTreeMap<StoreId, u64>,
}

/// The way down: hands an order to a session that is up. Never waits; a full or missing session is an outcome, since every order is
/// repeated until it is acknowledged.
pub trait Orders: Send + Sync {
    /// False when no session of this node took it.
    fn to_node(&self, node: &NodeId, order: NodeOrder) -> bool;
    /// False when no session of this store's agent took it.
    fn to_agent(&self, store: &StoreId, order: AgentOrder) -> bool;
    /// Which sessions are up.
    fn connected(&self) -> Connected;
}
