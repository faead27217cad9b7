//! Stores, their events and changes, and operations on them.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{some, time};
use crate::{
    api::words,
    app::{OperationView, Page, StoreChange as Change, StoreChanged, StoreView},
    domain::{
        event::StoreEvent,
        operation,
        session::{DriftReport, ReplicaReport},
        store::Lifecycle,
    },
};

/// A store.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api::rest) struct Store {
    pub id: String,
    /// Unique in its project.
    #[schema(example = "demo")]
    pub name: String,
    pub display_name: Option<String>,
    pub organisation: String,
    pub project: String,
    /// `production`, `staging`, `preview` or `development`.
    pub environment: String,
    pub labels: BTreeMap<String, String>,
    #[schema(example = "refshop")]
    pub template: String,
    pub template_version: String,
    pub parameters: BTreeMap<String, String>,
    pub profiles: BTreeMap<String, String>,
    pub hosts: Vec<String>,
    /// First URL a buyer can use; `null` until a node is known.
    pub url: Option<String>,
    pub admin_url: Option<String>,
    /// Id of the node it is placed on.
    pub node: Option<String>,
    /// Grows with every change of what the store should be. Also the `ETag`.
    pub generation: u64,
    /// Generation its agent reported on last; 0 for none.
    pub observed_generation: u64,
    /// `pending`, `provisioning`, `running`, `degraded`, `stopping`, `stopped`, `failed`, `deleting`, `awaiting_secrets`, `unreachable` or `paused`.
    pub status: String,
    /// Stable code of why it is not as it should be.
    pub reason: Option<String>,
    /// One sentence of the same for a person.
    pub message: Option<String>,
    /// `running`, `stopped`, `paused`, `grace` (stopped until it is deleted) or `deleting`.
    pub desired_state: String,
    pub replicas: Vec<Replica>,
    #[schema(format = DateTime)]
    pub created_at: String,
    #[schema(format = DateTime)]
    pub updated_at: String,
    pub change_seq: u64,
    pub revision: u64,
    pub isolation: String,
    /// Base64 of the X25519 key that operator secrets are sealed to; `null` until a node vouched for it.
    pub sealing_public_key: Option<String>,
    pub reserved_memory_bytes: u64,
    pub reserved_cpu_millis: u32,
    /// Number of the revision that serves; 0 when none does.
    pub serving_revision: u64,
    /// The maintenance page is asked for.
    pub maintenance: bool,
    /// Until then what somebody changes by hand is shown and left alone.
    #[schema(format = DateTime)]
    pub hold_until: Option<String>,
    /// Replicas asked for by service; absent means 1.
    pub scale: BTreeMap<String, u8>,
    /// What somebody changed by hand.
    pub drift: Vec<Drift>,
    /// Volumes that were there and are gone.
    pub lost_volumes: Vec<String>,
    /// When its data goes, while a deletion can be taken back.
    #[schema(format = DateTime)]
    pub delete_at: Option<String>,
    /// Images in place of the template's, by service.
    pub images: BTreeMap<String, String>,
}

/// Something that somebody changed by hand.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api::rest) struct Drift {
    /// `container`, `network`, `volume` or `limits`.
    pub kind: String,
    pub name: String,
    /// `stopped`, `removed`, `changed` or `killed`.
    pub what: String,
    #[schema(format = DateTime)]
    pub seen_at: Option<String>,
    /// `null` while it is not repaired.
    #[schema(format = DateTime)]
    pub repaired_at: Option<String>,
}

impl From<&DriftReport> for Drift {
    fn from(drift: &DriftReport) -> Self {
        Self {
            kind: drift.kind.clone(),
            name: drift.name.clone(),
            what: drift.what.clone(),
            seen_at: time(drift.seen_unix_ms),
            repaired_at: time(drift.repaired_unix_ms),
        }
    }
}

/// A page of stores.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api::rest) struct StoreList {
    pub stores: Vec<Store>,
    /// For `page_token`; `null` on the last page.
    pub next_page_token: Option<String>,
}

/// A container of a store, as its agent sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api::rest) struct Replica {
    pub service: String,
    /// `a`, `b` or `fixed`.
    pub slot: String,
    pub replica: u8,
    /// `absent`, `created`, `starting`, `ready`, `unready`, `crash_looping`, `exited` or `stopping`.
    pub phase: String,
    pub reason: Option<String>,
    pub exit_code: Option<i32>,
    pub oom_killed: bool,
    pub restarts: u32,
    #[schema(format = DateTime)]
    pub since: Option<String>,
}

/// Something that happened to a store.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api::rest) struct Event {
    pub seq: u64,
    pub store_id: Option<String>,
    pub node_id: Option<String>,
    /// Stable.
    pub code: String,
    /// `info`, `warning` or `error`.
    pub severity: String,
    pub message: String,
    pub service: Option<String>,
    #[schema(format = DateTime)]
    pub at: String,
}

/// A page of events.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api::rest) struct EventList {
    pub events: Vec<Event>,
    /// For `page_token`; `null` on the last page.
    pub next_page_token: Option<String>,
}

/// One thing an operator asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api::rest) struct Operation {
    pub id: String,
    /// `create`, `start`, `stop`, `restart`, `delete`, `undelete`, `update`, `rollback`, `scale`, `maintenance`, `pause`, `wake`, `hold`, `release`,
    /// `configure` or `task`.
    pub kind: String,
    pub store_id: String,
    pub store_name: String,
    /// `pending`, `running`, `succeeded`, `failed` or `cancelled`; the last three are final.
    pub state: String,
    /// Stable code of why it waits or failed, such as `no_capacity`.
    pub reason: Option<String>,
    pub message: Option<String>,
    pub steps: Vec<OperationStep>,
    pub requested_by: String,
    pub requested_reason: Option<String>,
    #[schema(format = DateTime)]
    pub created_at: String,
    #[schema(format = DateTime)]
    pub started_at: Option<String>,
    #[schema(format = DateTime)]
    pub ended_at: Option<String>,
    /// Generation of the store that it made.
    pub generation: u64,
    pub change_seq: u64,
    /// Of its store, while it goes on.
    pub replicas: Vec<Replica>,
}

/// One step of an operation.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api::rest) struct OperationStep {
    pub name: String,
    /// `pending`, `running`, `done` or `failed`.
    pub state: String,
    pub message: Option<String>,
    #[schema(format = DateTime)]
    pub started_at: Option<String>,
    #[schema(format = DateTime)]
    pub ended_at: Option<String>,
}

/// A page of operations, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api::rest) struct OperationList {
    pub operations: Vec<Operation>,
    /// For `page_token`; `null` on the last page.
    pub next_page_token: Option<String>,
}

/// One change in a watch.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api::rest) struct StoreChange {
    pub change_seq: u64,
    pub store_id: String,
    pub store_name: String,
    /// The store is gone; `store` is `null`.
    pub deleted: bool,
    pub store: Option<Store>,
}

impl From<StoreView> for Store {
    fn from(view: StoreView) -> Self {
        let StoreView {
            store,
            url,
            admin_url,
            observed_generation,
        } = view;
        let hold_until = words::hold_until(&store);
        let revision = store.spec.revision;
        let report = store.report;
        let key = &store.on_agent.sealing_public_key;
        Self {
            id: store.id.to_string(),
            name: store.name.to_string(),
            display_name: some(&store.display_name),
            organisation: store.organisation,
            project: store.project,
            environment: store.environment.as_str().to_owned(),
            labels: store.labels,
            template: revision.template,
            template_version: store.template_version,
            parameters: revision.parameters,
            profiles: revision.profiles,
            hosts: store
                .spec
                .hosts
                .iter()
                .map(|host| host.name.to_string())
                .collect(),
            url,
            admin_url,
            node: store.placement.map(|placement| placement.node.to_string()),
            generation: store.generation.get(),
            observed_generation,
            status: store.status.as_str().to_owned(),
            reason: some(&store.reason),
            message: some(&store.message),
            delete_at: delete_at(store.lifecycle),
            images: words::images(revision.images),
            desired_state: store.lifecycle.as_str().to_owned(),
            replicas: report
                .as_ref()
                .map(|report| report.replicas.iter().map(Replica::from).collect())
                .unwrap_or_default(),
            serving_revision: report.as_ref().map_or(0, |report| report.serving_revision),
            maintenance: store.spec.maintenance,
            hold_until,
            scale: store
                .spec
                .scale
                .iter()
                .map(|(service, replicas)| (service.to_string(), *replicas))
                .collect(),
            drift: report
                .as_ref()
                .map(|report| report.drift.iter().map(Drift::from).collect())
                .unwrap_or_default(),
            lost_volumes: report.map(|report| report.lost_volumes).unwrap_or_default(),
            created_at: store.created_at.to_string(),
            updated_at: store.updated_at.to_string(),
            change_seq: store.change_seq,
            revision: revision.number,
            isolation: revision.isolation.as_str().to_owned(),
            sealing_public_key: (!key.is_empty()).then(|| data_encoding::BASE64.encode(key)),
            reserved_memory_bytes: store.reserved.memory_bytes,
            reserved_cpu_millis: store.reserved.cpu_millis,
        }
    }
}

fn delete_at(lifecycle: Lifecycle) -> Option<String> {
    match lifecycle {
        Lifecycle::Grace { until, .. } => Some(until.to_string()),
        _ => None,
    }
}

impl From<Page<StoreView>> for StoreList {
    fn from(page: Page<StoreView>) -> Self {
        Self {
            stores: page.items.into_iter().map(Store::from).collect(),
            next_page_token: page.next,
        }
    }
}

impl From<&ReplicaReport> for Replica {
    fn from(report: &ReplicaReport) -> Self {
        Self {
            service: report.key.service.to_string(),
            slot: report.key.slot.to_string(),
            replica: report.key.replica,
            phase: report.phase.clone(),
            reason: some(&report.reason),
            exit_code: report.exit_code,
            oom_killed: report.oom_killed,
            restarts: report.restarts,
            since: time(report.since_unix_ms),
        }
    }
}

impl From<StoreEvent> for Event {
    fn from(event: StoreEvent) -> Self {
        Self {
            seq: event.seq,
            store_id: event.store.map(|id| id.to_string()),
            node_id: event.node.map(|id| id.to_string()),
            code: event.code,
            severity: event.severity.as_str().to_owned(),
            message: event.message,
            service: some(&event.service),
            at: event.at.to_string(),
        }
    }
}

impl From<Page<StoreEvent>> for EventList {
    fn from(page: Page<StoreEvent>) -> Self {
        Self {
            events: page.items.into_iter().map(Event::from).collect(),
            next_page_token: page.next,
        }
    }
}

impl From<operation::Step> for OperationStep {
    fn from(step: operation::Step) -> Self {
        Self {
            name: step.name,
            state: step.state.as_str().to_owned(),
            message: some(&step.message),
            started_at: step.started_ms.and_then(time),
            ended_at: step.ended_ms.and_then(time),
        }
    }
}

impl From<OperationView> for Operation {
    fn from(view: OperationView) -> Self {
        let OperationView {
            operation,
            replicas,
        } = view;
        Self {
            id: operation.id,
            kind: operation.kind.as_str().to_owned(),
            store_id: operation.store.to_string(),
            store_name: operation.store_name.to_string(),
            state: operation.state.as_str().to_owned(),
            reason: some(&operation.reason),
            message: some(&operation.message),
            steps: operation
                .steps
                .into_iter()
                .map(OperationStep::from)
                .collect(),
            requested_by: operation.requested_by,
            requested_reason: some(&operation.requested_reason),
            created_at: operation.created_at.to_string(),
            started_at: operation.started_at.map(|time| time.to_string()),
            ended_at: operation.ended_at.map(|time| time.to_string()),
            generation: operation.generation.get(),
            change_seq: operation.change_seq,
            replicas: replicas.iter().map(Replica::from).collect(),
        }
    }
}

impl From<Page<OperationView>> for OperationList {
    fn from(page: Page<OperationView>) -> Self {
        Self {
            operations: page.items.into_iter().map(Operation::from).collect(),
            next_page_token: page.next,
        }
    }
}

impl From<Change> for StoreChange {
    fn from(change: Change) -> Self {
        let change_seq = change.change_seq;
        match change.what {
            StoreChanged::Present(view) => {
                let store = Store::from(*view);
                Self {
                    change_seq,
                    store_id: store.id.clone(),
                    store_name: store.name.clone(),
                    deleted: false,
                    store: Some(store),
                }
            }
            StoreChanged::Gone { id, name } => Self {
                change_seq,
                store_id: id.to_string(),
                store_name: name.to_string(),
                deleted: true,
                store: None,
            },
        }
    }
}
