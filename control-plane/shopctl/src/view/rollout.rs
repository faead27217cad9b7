//! Rollouts as they are shown.

use std::collections::BTreeMap;

use serde::Serialize;
use shop_proto::wire::admin::v1 as api;

use super::some;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Rollout {
    pub id: String,
    pub state: String,
    pub reason: Option<String>,
    pub message: Option<String>,
    pub wave: u32,
    pub selector: String,
    pub template: Option<String>,
    pub parameters: BTreeMap<String, String>,
    pub unset_parameters: Vec<String>,
    pub profiles: BTreeMap<String, String>,
    pub canary: u32,
    pub batch: String,
    pub max_failures: u32,
    pub max_failures_percent: u32,
    pub requested_by: String,
    pub requested_reason: Option<String>,
    pub created_at: String,
    pub ended_at: Option<String>,
    pub stores: Vec<RolloutStore>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RolloutStore {
    pub store_id: String,
    pub store_name: String,
    pub wave: u32,
    pub state: String,
    pub operation: Option<String>,
    pub reason: Option<String>,
    pub message: Option<String>,
}

impl From<api::RolloutStore> for RolloutStore {
    fn from(store: api::RolloutStore) -> Self {
        Self {
            store_id: store.store_id,
            store_name: store.store_name,
            wave: store.wave,
            state: store.state,
            operation: some(store.operation),
            reason: some(store.reason),
            message: some(store.message),
        }
    }
}

impl From<api::Rollout> for Rollout {
    fn from(rollout: api::Rollout) -> Self {
        Self {
            id: rollout.id,
            state: rollout.state,
            reason: some(rollout.reason),
            message: some(rollout.message),
            wave: rollout.wave,
            selector: rollout.selector,
            template: some(rollout.template),
            parameters: rollout.parameters,
            unset_parameters: rollout.unset_parameters,
            profiles: rollout.profiles,
            canary: rollout.canary,
            batch: rollout.batch,
            max_failures: rollout.max_failures,
            max_failures_percent: rollout.max_failures_percent,
            requested_by: rollout.requested_by,
            requested_reason: some(rollout.requested_reason),
            created_at: rollout.created_at,
            ended_at: some(rollout.ended_at),
            stores: rollout.stores.into_iter().map(RolloutStore::from).collect(),
        }
    }
}
