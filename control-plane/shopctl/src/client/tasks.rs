//! Requests about tasks.

use shop_proto::wire::admin::v1 as api;

use super::{CALL_DEADLINE, Client};
use crate::{
    failure::Failure,
    view::{Operation, Tasks},
};

/// A task to be run.
#[derive(Debug, Clone)]
pub(crate) struct NewRun {
    pub store: String,
    pub task: String,
    pub arguments: Vec<String>,
    pub reason: String,
    pub idempotency_key: String,
}

impl Client {
    pub(crate) async fn run_task(&self, new: NewRun) -> Result<Operation, Failure> {
        let mut admin = self.admin.clone();
        let request = api::RunTaskRequest {
            store: new.store,
            task: new.task,
            arguments: new.arguments,
            reason: new.reason,
            idempotency_key: new.idempotency_key,
        };
        self.call(CALL_DEADLINE, admin.run_task(request))
            .await
            .map(Operation::from)
    }

    pub(crate) async fn cancel_task(&self, run: &str, reason: &str) -> Result<Operation, Failure> {
        let mut admin = self.admin.clone();
        let request = api::CancelTaskRequest {
            run: run.to_owned(),
            reason: reason.to_owned(),
        };
        self.call(CALL_DEADLINE, admin.cancel_task(request))
            .await
            .map(Operation::from)
    }

    pub(crate) async fn list_tasks(&self, store: &str) -> Result<Tasks, Failure> {
        let mut admin = self.admin.clone();
        let request = api::ListTasksRequest {
            store: store.to_owned(),
        };
        self.call(CALL_DEADLINE, admin.list_tasks(request))
            .await
            .map(Tasks::from)
    }

    /// An operation as it stands.
    pub(crate) async fn operation(&self, id: &str) -> Result<Operation, Failure> {
        let mut admin = self.admin.clone();
        let request = api::GetOperationRequest { id: id.to_owned() };
        self.call(CALL_DEADLINE, admin.get_operation(request))
            .await
            .map(Operation::from)
    }
}
