//! Start, stop, restart, delete: each a new generation, and an operation that takes the place of the one under way.

use shop_proto::Digest;

use super::{allowed, check_key, check_reason, remember, replay};
use crate::{
    app::{App, AppError, OperationView, StoreAction},
    db::Tx,
    domain::{
        access::Caller,
        change::{Decision, Refusal, decide},
        operation::{Deadline, Operation, OperationKind, OperationState},
        progress::cancelled,
        store::{IllegalTransition, Store},
    },
    operations::settle,
};

impl App {
    /// Wants a store running.
    ///
    /// # Errors
    /// When there is no such store, it is not as the caller saw it, or it is being deleted.
    pub async fn start_store(
        &self,
        caller: &Caller,
        input: StoreAction,
    ) -> Result<OperationView, AppError> {
        self.change_store(caller, input, OperationKind::Start).await
    }

    /// Wants a store stopped. Volumes and identity stay.
    ///
    /// # Errors
    /// As [`App::start_store`].
    pub async fn stop_store(
        &self,
        caller: &Caller,
        input: StoreAction,
    ) -> Result<OperationView, AppError> {
        self.change_store(caller, input, OperationKind::Stop).await
    }

    /// Wants a running store's services started anew.
    ///
    /// # Errors
    /// As [`App::start_store`]; and when it is stopped or still being set up.
    pub async fn restart_store(
        &self,
        caller: &Caller,
        input: StoreAction,
    ) -> Result<OperationView, AppError> {
        self.change_store(caller, input, OperationKind::Restart)
            .await
    }

    /// Wants a store gone, volumes included. There is no way back.
    ///
    /// # Errors
    /// When there is no such store, or it is not as the caller saw it.
    pub async fn delete_store(
        &self,
        caller: &Caller,
        input: StoreAction,
    ) -> Result<OperationView, AppError> {
        self.change_store(caller, input, OperationKind::Delete)
            .await
    }

    async fn change_store(
        &self,
        caller: &Caller,
        input: StoreAction,
        kind: OperationKind,
    ) -> Result<OperationView, AppError> {
        let context = self.context();
        let mut problems = Vec::new();
        check_reason(&input.reason, &mut problems);
        check_key(input.idempotency_key.as_deref(), &mut problems);
        if !problems.is_empty() {
            return Err(AppError::Invalid { problems });
        }
        let asked = (
            kind.as_str(),
            &input.store,
            &input.reason,
            input.if_generation,
        );
        let request = Digest::of_value(&asked);
        let key = input.idempotency_key.as_deref();
        let mut tx = context.db.write().await?;
        if let Some(before) = replay(self, &mut tx, caller, key, request).await? {
            return Ok(before);
        }
        let now = context.clock.now();
        let store = self.found(&mut tx, &input.store).await?;
        if let Some(expected) = input.if_generation
            && expected != store.generation.get()
        {
            return Err(AppError::PreconditionFailed {
                store: store.name.to_string(),
                expected,
                actual: store.generation.get(),
            });
        }
        let latest = tx.latest_operation(&store.id).await?;
        let decision =
            decide(&store, latest.as_ref(), kind).map_err(|refusal| refused(&store, refusal))?;
        let operation = match (decision, latest) {
            (Decision::Ongoing, Some(latest)) => latest,
            (Decision::Change(next), latest) => {
                if let Some(active) = latest.filter(|latest| !latest.state.ended()) {
                    tx.save_operation(&mut cancelled(&active, kind, now))
                        .await?;
                }
                let operation = self.new_operation(caller, &input, kind, &next);
                self.apply(&mut tx, operation, &store, *next).await?
            }
            (Decision::Unchanged | Decision::Ongoing, _) => {
                let mut operation = self.new_operation(caller, &input, kind, &store);
                operation.state = OperationState::Succeeded;
                "unchanged".clone_into(&mut operation.reason);
                operation.message =
                    format!("store {} was so already; nothing was changed", store.name);
                operation.ended_at = Some(now);
                tx.insert_operation(&mut operation).await?;
                operation
            }
        };
        remember(&mut tx, caller, key, request, &operation.id, now).await?;
        let action = format!("store.{kind}");
        let subject = format!("store:{}", store.id);
        tx.audit(allowed(caller, &action, subject, &input.reason, now))
            .await?;
        let view = self.operation_view(&mut tx, operation).await?;
        tx.commit().await?;
        Ok(view)
    }

    async fn apply(
        &self,
        tx: &mut Tx,
        mut operation: Operation,
        before: &Store,
        mut next: Store,
    ) -> Result<Operation, AppError> {
        tx.insert_operation(&mut operation).await?;
        let now = self.context().clock.now();
        let settled = settle(tx, &mut next, before, self.limits(), now).await?;
        Ok(settled.operation.unwrap_or(operation))
    }

    fn new_operation(
        &self,
        caller: &Caller,
        input: &StoreAction,
        kind: OperationKind,
        store: &Store,
    ) -> Operation {
        let context = self.context();
        Operation {
            id: context.ids.operation(),
            kind,
            organisation: store.organisation.clone(),
            store: store.id.clone(),
            store_name: store.name.clone(),
            generation: store.generation,
            state: OperationState::Pending,
            reason: String::new(),
            message: String::new(),
            steps: Vec::new(),
            requested_by: caller.actor.clone(),
            requested_reason: input.reason.clone(),
            request_id: caller.request_id.clone(),
            created_at: context.clock.now(),
            started_at: None,
            ended_at: None,
            deadline: Deadline::None,
            change_seq: 0,
        }
    }
}

fn refused(store: &Store, refusal: Refusal) -> AppError {
    let name = &store.name;
    match refusal {
        Refusal::Illegal(IllegalTransition::Deleting | IllegalTransition::Deleted) => {
            AppError::conflict(
                "store_deleting",
                format!("store {name} is being deleted; there is no way back"),
            )
        }
        Refusal::Illegal(IllegalTransition::Stopped) => AppError::conflict(
            "store_stopped",
            format!("store {name} is stopped; start it with `shopctl store start {name}`"),
        ),
        Refusal::Illegal(IllegalTransition::Live) => AppError::conflict(
            "store_live",
            format!("store {name} was not asked to be deleted"),
        ),
        Refusal::StillStarting => AppError::conflict(
            "operation_in_progress",
            format!("store {name} is still on its way up; wait for it, or stop it"),
        ),
    }
}
