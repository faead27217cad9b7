//! Stores, their events, and operations on them.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use shop_proto::wire::{admin::v1 as api, common::v1 as common};

use super::{resources, some, time};

/// What to ask for when a store is made.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewStore {
    pub name: String,
    pub display_name: String,
    pub template: String,
    pub parameters: BTreeMap<String, String>,
    pub profiles: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub environment: String,
    pub hosts: Vec<String>,
    /// By service: memory in bytes, CPU in thousandths; 0 is not named.
    pub resources: BTreeMap<String, (u64, u32)>,
    /// By service, in place of the template's.
    pub images: BTreeMap<String, String>,
    pub isolation: String,
    pub project: String,
    pub reason: String,
    pub idempotency_key: String,
    pub node: String,
}

/// Log text that belongs to a failure, sealed to the roster's log key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SealedLog {
    pub enc: Vec<u8>,
    pub ciphertext: Vec<u8>,
}

/// One container of a store, as its agent sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Replica {
    pub service: String,
    pub slot: String,
    pub replica: u32,
    pub phase: String,
    pub reason: Option<String>,
    pub exit_code: Option<i32>,
    pub oom_killed: bool,
    pub restarts: u32,
    pub since: Option<String>,
    #[serde(skip)]
    pub last_log: Option<SealedLog>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Store {
    pub id: String,
    pub name: String,
    pub display_name: Option<String>,
    pub organisation: String,
    pub project: String,
    pub environment: String,
    pub labels: BTreeMap<String, String>,
    pub template: String,
    pub template_version: String,
    pub parameters: BTreeMap<String, String>,
    pub profiles: BTreeMap<String, String>,
    /// By service, in place of the template's.
    pub images: BTreeMap<String, String>,
    pub hosts: Vec<String>,
    pub url: Option<String>,
    pub admin_url: Option<String>,
    pub node: Option<String>,
    pub generation: u64,
    pub observed_generation: u64,
    pub status: String,
    pub reason: Option<String>,
    pub message: Option<String>,
    pub desired_state: String,
    pub replicas: Vec<Replica>,
    pub created_at: String,
    pub updated_at: String,
    pub revision: u64,
    pub isolation: String,
    pub reserved_memory_bytes: u64,
    pub reserved_cpu_millis: u32,
    pub serving_revision: u64,
    pub maintenance: bool,
    pub hold_until: Option<String>,
    pub scale: BTreeMap<String, u32>,
    pub lost_volumes: Vec<String>,
    pub delete_at: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Receipt {
    pub store_id: String,
    pub node: String,
    pub document: String,
    /// Base64.
    pub signature: String,
    pub certificate: String,
    pub at: String,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Event {
    pub seq: u64,
    pub store_id: Option<String>,
    pub node_id: Option<String>,
    pub code: String,
    pub severity: String,
    pub message: String,
    pub service: Option<String>,
    pub at: String,
}

/// How far an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OperationState {
    Pending,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Step {
    pub name: String,
    pub state: String,
    pub message: Option<String>,
    pub started_at: Option<String>,
    pub ended_at: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Operation {
    pub id: String,
    pub kind: String,
    pub store_id: String,
    pub store_name: String,
    pub state: OperationState,
    pub reason: Option<String>,
    pub message: Option<String>,
    pub steps: Vec<Step>,
    pub requested_by: String,
    pub requested_reason: Option<String>,
    pub created_at: String,
    pub started_at: Option<String>,
    pub ended_at: Option<String>,
    pub generation: u64,
    pub replicas: Vec<Replica>,
}

impl OperationState {
    /// Whether nothing will change any more.
    pub(crate) const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// A state this tool does not know is one that has not ended, as far as it can tell.
    fn parse(text: &str) -> Self {
        match text {
            "pending" => Self::Pending,
            "succeeded" => Self::Succeeded,
            "failed" => Self::Failed,
            "cancelled" => Self::Cancelled,
            _ => Self::Running,
        }
    }
}

impl fmt::Display for OperationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<NewStore> for api::CreateStoreRequest {
    fn from(new: NewStore) -> Self {
        Self {
            name: new.name,
            display_name: new.display_name,
            template: new.template,
            parameters: new.parameters,
            profiles: new.profiles,
            labels: new.labels,
            environment: new.environment,
            hosts: new.hosts,
            resources: resources(new.resources),
            images: new.images,
            isolation: new.isolation,
            project: new.project,
            reason: new.reason,
            idempotency_key: new.idempotency_key,
            node: new.node,
        }
    }
}

impl From<common::ReplicaStatus> for Replica {
    fn from(status: common::ReplicaStatus) -> Self {
        let key = status.key.unwrap_or_default();
        Self {
            service: key.service,
            slot: key.slot,
            replica: key.replica,
            phase: status.phase,
            reason: some(status.reason),
            exit_code: status.has_exit_code.then_some(status.exit_code),
            oom_killed: status.oom_killed,
            restarts: status.restarts,
            since: time(status.since_unix_ms),
            last_log: status.last_log.map(|sealed| SealedLog {
                enc: sealed.enc,
                ciphertext: sealed.ciphertext,
            }),
        }
    }
}

fn replicas(statuses: Vec<common::ReplicaStatus>) -> Vec<Replica> {
    statuses.into_iter().map(Replica::from).collect()
}

impl From<api::Receipt> for Receipt {
    fn from(receipt: api::Receipt) -> Self {
        Self {
            store_id: receipt.store_id,
            node: receipt.node,
            document: receipt.document,
            signature: data_encoding::BASE64.encode(&receipt.signature),
            certificate: receipt.certificate,
            at: receipt.at,
        }
    }
}

impl From<api::Store> for Store {
    fn from(store: api::Store) -> Self {
        Self {
            id: store.id,
            name: store.name,
            display_name: some(store.display_name),
            organisation: store.organisation,
            project: store.project,
            environment: store.environment,
            labels: store.labels,
            template: store.template,
            template_version: store.template_version,
            parameters: store.parameters,
            images: store.images,
            profiles: store.profiles,
            hosts: store.hosts,
            url: some(store.url),
            admin_url: some(store.admin_url),
            node: some(store.node),
            generation: store.generation,
            observed_generation: store.observed_generation,
            status: store.status,
            reason: some(store.reason),
            message: some(store.message),
            desired_state: store.desired_state,
            replicas: replicas(store.replicas),
            created_at: store.created_at,
            updated_at: store.updated_at,
            revision: store.revision,
            isolation: store.isolation,
            reserved_memory_bytes: store.reserved_memory_bytes,
            reserved_cpu_millis: store.reserved_cpu_millis,
            serving_revision: store.serving_revision,
            maintenance: store.maintenance,
            hold_until: some(store.hold_until),
            scale: store.scale,
            lost_volumes: store.lost_volumes,
            delete_at: some(store.delete_at),
        }
    }
}

impl From<api::StoreEvent> for Event {
    fn from(event: api::StoreEvent) -> Self {
        Self {
            seq: event.seq,
            store_id: some(event.store_id),
            node_id: some(event.node_id),
            code: event.code,
            severity: event.severity,
            message: event.message,
            service: some(event.service),
            at: event.at,
        }
    }
}

impl From<api::OperationStep> for Step {
    fn from(step: api::OperationStep) -> Self {
        Self {
            name: step.name,
            state: step.state,
            message: some(step.message),
            started_at: some(step.started_at),
            ended_at: some(step.ended_at),
        }
    }
}

impl From<api::Operation> for Operation {
    fn from(operation: api::Operation) -> Self {
        Self {
            id: operation.id,
            kind: operation.kind,
            store_id: operation.store_id,
            store_name: operation.store_name,
            state: OperationState::parse(&operation.state),
            reason: some(operation.reason),
            message: some(operation.message),
            steps: operation.steps.into_iter().map(Step::from).collect(),
            requested_by: operation.requested_by,
            requested_reason: some(operation.requested_reason),
            created_at: operation.created_at,
            started_at: some(operation.started_at),
            ended_at: some(operation.ended_at),
            generation: operation.generation,
            replicas: replicas(operation.replicas),
        }
    }
}
