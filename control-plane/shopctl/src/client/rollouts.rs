//! Requests about rollouts, clones and cancels.

use std::collections::BTreeMap;

use shop_proto::wire::{admin::v1 as api, common::v1 as common};

use super::{CALL_DEADLINE, Client, PAGE};
use crate::{
    failure::Failure,
    view::{Operation, Rollout},
};

/// A rollout to be begun.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewRollout {
    pub selector: String,
    pub template: String,
    pub parameters: BTreeMap<String, String>,
    pub unset: Vec<String>,
    pub profiles: BTreeMap<String, String>,
    pub canary: u32,
    pub batch: String,
    pub max_failures: u32,
    /// In place of `max_failures`; 0 for none.
    pub max_failures_percent: u32,
    pub allow_irreversible: bool,
    pub window_seconds: u32,
    pub reason: String,
    pub dry_run: bool,
    pub idempotency_key: String,
}

/// What to do with a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RolloutAction {
    Pause,
    Resume,
    Abort { rollback: bool },
}

/// A store with another one's configuration.
#[derive(Debug, Clone)]
pub(crate) struct NewClone {
    pub store: String,
    pub name: String,
    pub display_name: String,
    pub labels: BTreeMap<String, String>,
    pub environment: String,
    pub hosts: Vec<String>,
    pub node: String,
    pub reason: String,
}

impl Client {
    pub(crate) async fn start_rollout(&self, new: NewRollout) -> Result<Rollout, Failure> {
        let mut admin = self.admin.clone();
        let request = api::StartRolloutRequest {
            selector: new.selector,
            template: new.template,
            parameters: new.parameters,
            unset_parameters: new.unset,
            profiles: new.profiles,
            watch: Some(common::Watch {
                window_seconds: new.window_seconds,
                ..common::Watch::default()
            }),
            allow_irreversible: new.allow_irreversible,
            canary: new.canary,
            batch: new.batch,
            max_failures: new.max_failures,
            max_failures_percent: new.max_failures_percent,
            reason: new.reason,
            dry_run: new.dry_run,
            idempotency_key: new.idempotency_key,
        };
        self.call(CALL_DEADLINE, admin.start_rollout(request))
            .await
            .map(Rollout::from)
    }

    pub(crate) async fn get_rollout(&self, id: &str) -> Result<Rollout, Failure> {
        let mut admin = self.admin.clone();
        let request = api::GetRolloutRequest { id: id.to_owned() };
        self.call(CALL_DEADLINE, admin.get_rollout(request))
            .await
            .map(Rollout::from)
    }

    /// The newest ones.
    pub(crate) async fn list_rollouts(&self) -> Result<Vec<Rollout>, Failure> {
        let mut admin = self.admin.clone();
        let request = api::ListRolloutsRequest {
            page_size: PAGE,
            page_token: String::new(),
        };
        let page = self
            .call(CALL_DEADLINE, admin.list_rollouts(request))
            .await?;
        Ok(page.rollouts.into_iter().map(Rollout::from).collect())
    }

    pub(crate) async fn control_rollout(
        &self,
        id: &str,
        action: RolloutAction,
        reason: &str,
    ) -> Result<Rollout, Failure> {
        let mut admin = self.admin.clone();
        let request = api::RolloutActionRequest {
            id: id.to_owned(),
            reason: reason.to_owned(),
            rollback: action == RolloutAction::Abort { rollback: true },
        };
        let answer = match action {
            RolloutAction::Pause => self.call(CALL_DEADLINE, admin.pause_rollout(request)).await,
            RolloutAction::Resume => {
                self.call(CALL_DEADLINE, admin.resume_rollout(request))
                    .await
            }
            RolloutAction::Abort { .. } => {
                self.call(CALL_DEADLINE, admin.abort_rollout(request)).await
            }
        };
        answer.map(Rollout::from)
    }

    pub(crate) async fn clone_store(&self, new: NewClone) -> Result<Operation, Failure> {
        let mut admin = self.admin.clone();
        let request = api::CloneStoreRequest {
            store: new.store,
            name: new.name,
            display_name: new.display_name,
            labels: new.labels,
            environment: new.environment,
            hosts: new.hosts,
            node: new.node,
            reason: new.reason,
            idempotency_key: String::new(),
        };
        self.call(CALL_DEADLINE, admin.clone_store(request))
            .await
            .map(Operation::from)
    }

    pub(crate) async fn cancel_operation(
        &self,
        id: &str,
        reason: &str,
    ) -> Result<Operation, Failure> {
        let mut admin = self.admin.clone();
        let request = api::CancelOperationRequest {
            id: id.to_owned(),
            reason: reason.to_owned(),
            idempotency_key: String::new(),
        };
        self.call(CALL_DEADLINE, admin.cancel_operation(request))
            .await
            .map(Operation::from)
    }
}
