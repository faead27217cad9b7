//! Taking an operation back: the right request in its place, or the reason why it is too late.

use super::{
    AmendStore, Amended, Amendment, App, AppError, CancelOperation, CancelTask, OperationView,
    StoreAction, stores::mismatch,
};
use crate::domain::{
    access::Caller,
    cancel::{Instead, TooLate, cancel},
    operation::Operation,
};

impl App {
    /// Takes an operation back. The answer is the operation that does so.
    ///
    /// # Errors
    /// When there is none, it has ended, or it is too late; with what to do instead.
    pub async fn cancel_operation(
        &self,
        caller: &Caller,
        input: CancelOperation,
    ) -> Result<OperationView, AppError> {
        let (operation, store) = {
            let mut tx = self.context().db.read().await?;
            let operation =
                tx.operation(&input.operation)
                    .await?
                    .ok_or_else(|| AppError::NotFound {
                        what: "operation",
                        name: input.operation.chars().take(80).collect(),
                    })?;
            // Whoever heard no answer asks again, and the operation has ended since.
            if let Some(key) = &input.idempotency_key
                && let Some(record) = tx.idempotent(&caller.actor, key).await?
            {
                return match tx.operation(&record.answer).await? {
                    Some(first)
                        if first.store == operation.store
                            && first.generation > operation.generation =>
                    {
                        self.operation_view(&mut tx, first).await
                    }
                    _ => Err(mismatch()),
                };
            }
            let store = tx
                .store(&operation.store)
                .await?
                .ok_or_else(|| AppError::NotFound {
                    what: "store",
                    name: operation.store.to_string(),
                })?;
            (operation, store)
        };
        let instead = cancel(&store, &operation).map_err(|why| too_late(&operation, why))?;
        // Nothing may come between what was seen and what is asked for.
        let action = StoreAction {
            store: store.id.to_string(),
            reason: reason(&input.reason, &operation),
            idempotency_key: input.idempotency_key,
            if_generation: Some(store.generation.get()),
        };
        match instead {
            Instead::Stop => self.stop_store(caller, action).await,
            Instead::Undelete => self.undelete_store(caller, action).await,
            Instead::Pause => self.amended(caller, action, Amendment::Pause).await,
            Instead::BackTo(number) => {
                let what = Amendment::Rollback {
                    number: Some(number),
                    allow_irreversible: false,
                };
                self.amended(caller, action, what).await
            }
            Instead::Withdraw => self.withdraw(caller, action, operation.kind).await,
            Instead::EndTask => {
                let input = CancelTask {
                    operation: operation.id,
                    reason: action.reason,
                };
                self.cancel_task(caller, input).await
            }
        }
    }

    async fn amended(
        &self,
        caller: &Caller,
        action: StoreAction,
        what: Amendment,
    ) -> Result<OperationView, AppError> {
        let input = AmendStore {
            store: action.store,
            reason: action.reason,
            idempotency_key: action.idempotency_key,
            if_generation: action.if_generation,
            dry_run: false,
            what,
        };
        match self.amend(caller, input).await? {
            Amended::Accepted(view) => Ok(*view),
            Amended::Preview(_) => Err(AppError::conflict(
                "not_cancelled",
                "the operation could not be taken back; look again and repeat",
            )),
        }
    }
}

/// What the audit chain says, when the operator says nothing.
fn reason(given: &str, operation: &Operation) -> String {
    if given.is_empty() {
        format!("takes back {} {}", operation.kind, operation.id)
    } else {
        given.to_owned()
    }
}

fn too_late(operation: &Operation, why: TooLate) -> AppError {
    let Operation {
        kind,
        store_name: name,
        state,
        ..
    } = operation;
    match why {
        TooLate::Ended => AppError::conflict(
            "operation_ended",
            format!("the {kind} of store {name} has ended: {}", state.as_str()),
        ),
        TooLate::Deleting => AppError::conflict(
            "too_late",
            format!("store {name} is being removed from its node; there is no way back"),
        ),
        TooLate::Switched => AppError::conflict(
            "too_late",
            format!(
                "the new revision of store {name} serves already; go back with `shopctl store rollback {name}`"
            ),
        ),
        TooLate::Migrating => AppError::conflict(
            "too_late",
            format!(
                "the database of store {name} is being changed for good; wait for the end, then look at `shopctl store explain {name}`"
            ),
        ),
        TooLate::AskOpposite => AppError::conflict(
            "not_cancellable",
            format!(
                "a {kind} cannot be taken back half way; ask for what you want instead, such as `shopctl store start {name}`: a newer request takes its place"
            ),
        ),
    }
}
