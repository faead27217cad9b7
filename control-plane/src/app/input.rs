//! What API users ask for, after the border has checked shapes and before the use-case has checked meaning.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Serialize;
use shop_proto::NodeId;

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
}

/// Limits; 0 keeps the template's.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct ResourcesInput {
    pub memory_bytes: u64,
    pub cpu_millis: u32,
}

/// Start, stop, restart, delete.
#[derive(Debug, Clone, Default)]
pub struct StoreAction {
    /// Name or id.
    pub store: String,
    pub reason: String,
    pub idempotency_key: Option<String>,
    /// Only when the store is still at this generation.
    pub if_generation: Option<u64>,
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
