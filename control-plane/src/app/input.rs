//! What API users ask for, after the border has checked shapes and before the use-case has checked meaning.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Serialize;
use shop_proto::{NodeId, ServiceName};

use crate::domain::rollout::{RolloutEvent, WishedWatch};

/// `POST /stores`. Texts are as they came; the use-case reports everything that is wrong with them at once.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CreateStore {
    pub name: String,
    pub display_name: String,
    pub template: String,
    pub parameters: BTreeMap<String, String>,
    pub profiles: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// Empty: production.
    pub environment: String,
    pub hosts: Vec<String>,
    pub resources: BTreeMap<String, ResourcesInput>,
    /// Empty: standard.
    pub isolation: String,
    /// Empty: default.
    pub project: String,
    pub reason: String,
    /// Not part of what is asked.
    #[serde(skip)]
    pub idempotency_key: Option<String>,
    /// Empty: the scheduler chooses.
    pub node: String,
    /// Replicas by service, for clones; empty: one of each.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub scale: BTreeMap<ServiceName, u8>,
    /// By service, in place of the template's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, String>,
}

/// Limits; 0 keeps the template's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ResourcesInput {
    pub memory_bytes: u64,
    pub cpu_millis: u32,
}

/// Start, stop, restart, undelete.
#[derive(Debug, Clone, Default)]
pub struct StoreAction {
    /// Name or id.
    pub store: String,
    pub reason: String,
    pub idempotency_key: Option<String>,
    /// Only when the store is still at this generation.
    pub if_generation: Option<u64>,
}

/// `DELETE /stores/{store}`.
#[derive(Debug, Clone, Default)]
pub struct DeleteStore {
    pub action: StoreAction,
    /// No time of grace.
    pub now: bool,
    /// Such as `1h`; empty: the configured one.
    pub grace: String,
}

/// `POST /stores/{store}/forget`.
#[derive(Debug, Clone, Default)]
pub struct ForgetStore {
    /// Name or id.
    pub store: String,
    pub reason: String,
}

/// `POST /stores/{store}/clone`.
#[derive(Debug, Clone, Default)]
pub struct CloneStore {
    /// Name or id of the store whose configuration is taken.
    pub store: String,
    /// Of the new one.
    pub name: String,
    pub display_name: String,
    /// Over those of the first.
    pub labels: BTreeMap<String, String>,
    /// Empty: that of the first.
    pub environment: String,
    pub hosts: Vec<String>,
    pub node: String,
    pub reason: String,
    pub idempotency_key: Option<String>,
}

/// `POST /operations/{operation}/cancel`.
#[derive(Debug, Clone, Default)]
pub struct CancelOperation {
    pub operation: String,
    pub reason: String,
    pub idempotency_key: Option<String>,
}

/// `POST /rollouts`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct StartRollout {
    /// `key=value,key!=value`; empty selects all stores.
    pub selector: String,
    /// `refshop@2`; empty keeps each store's.
    pub template: String,
    /// `None` goes back to the template's default.
    pub parameters: BTreeMap<String, Option<String>>,
    pub profiles: BTreeMap<String, String>,
    pub watch: WishedWatch,
    pub allow_irreversible: bool,
    /// Stores in the first wave.
    pub canary: u32,
    /// `10%` or `25`; empty: `10%`.
    pub batch: String,
    /// Stores of each wave after the canaries that may fail.
    pub max_failures: u32,
    /// The same as a share of the wave; 0: `max_failures` counts.
    pub max_failures_percent: u32,
    pub reason: String,
    /// Says which stores are reached in which wave, and writes nothing.
    pub dry_run: bool,
    /// Not part of what is asked.
    #[serde(skip)]
    pub idempotency_key: Option<String>,
}

/// `POST /rollouts/{rollout}/pause`, `resume`, `abort`.
#[derive(Debug, Clone)]
pub struct RolloutAction {
    pub rollout: String,
    pub event: RolloutEvent,
    /// With an abort: stores that were updated go back.
    pub goes_back: bool,
    pub reason: String,
}

/// Which part of a list.
#[derive(Debug, Clone, Default)]
pub struct PageRequest {
    /// 0 means 50; at most [`PageRequest::MAX`].
    pub size: u32,
    /// `next` of the page before.
    pub token: Option<String>,
}

impl PageRequest {
    /// Items on a page at most.
    pub const MAX: u32 = 200;
    const DEFAULT: u32 = 50;

    pub(crate) fn limit(&self) -> u32 {
        match self.size {
            0 => Self::DEFAULT,
            size => size.min(Self::MAX),
        }
    }
}

/// `GET /stores`.
#[derive(Debug, Clone, Default)]
pub struct ListStores {
    pub page: PageRequest,
    /// `key=value,key!=value`.
    pub selector: String,
    /// A status, or empty for all.
    pub status: String,
    /// `name` (default), `created`, or either with a leading `-`.
    pub sort: String,
}

/// `GET /operations`.
#[derive(Debug, Clone, Default)]
pub struct ListOperations {
    pub page: PageRequest,
    /// Name or id of a store, or empty for all.
    pub store: String,
    /// A state, or empty for all.
    pub state: String,
}

/// `GET /stores/{store}/events`.
#[derive(Debug, Clone, Default)]
pub struct ListEvents {
    pub page: PageRequest,
    /// Name or id.
    pub store: String,
}

/// `POST /join-tokens`.
#[derive(Debug, Clone, Copy, Default)]
pub struct CreateJoinToken {
    /// 60 to 86400; 0 means 900.
    pub ttl_seconds: u32,
}

/// `DELETE /nodes/{id}`.
#[derive(Debug, Clone)]
pub struct RemoveNode {
    pub node: NodeId,
    pub reason: String,
}

/// `POST /tokens`.
#[derive(Debug, Clone, Default)]
pub struct CreateToken {
    pub name: String,
    pub role: String,
    /// 0 means 90 days; at most 366 days.
    pub ttl_seconds: u32,
}

/// `GET /audit`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ListAudit {
    pub after_seq: u64,
    pub size: u32,
}

/// A signed request for something sealed. Judged by the store's agent.
#[derive(Debug, Clone, Default)]
pub struct SealedInput {
    /// Name or id.
    pub store: String,
    pub operation_id: String,
    pub kind: String,
    pub subject: String,
    pub one_time_public_key: Vec<u8>,
    pub expires_unix_ms: i64,
    pub signer_key_id: String,
    pub signature: Vec<u8>,
}

/// Where a request came from; becomes part of its [`crate::domain::access::Caller`].
#[derive(Debug, Clone)]
pub struct Origin {
    pub address: Option<IpAddr>,
    pub request_id: String,
}
