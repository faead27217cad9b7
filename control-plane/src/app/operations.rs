//! Seeing operations.

use super::{App, AppError, ListOperations, OperationView, Page, Problem, cursor};
use crate::{
    db::Tx,
    domain::operation::{Operation, OperationState},
};

impl App {
    /// An operation by id.
    ///
    /// # Errors
    /// When there is none.
    pub async fn get_operation(&self, id: &str) -> Result<OperationView, AppError> {
        let mut tx = self.context().db.read().await?;
        let operation = tx.operation(id).await?.ok_or_else(|| AppError::NotFound {
            what: "operation",
            name: id.chars().take(80).collect(),
        })?;
        self.operation_view(&mut tx, operation).await
    }

    /// Operations, newest first.
    ///
    /// # Errors
    /// When the filter is wrong.
    pub async fn list_operations(
        &self,
        input: ListOperations,
    ) -> Result<Page<OperationView>, AppError> {
        let state = match input.state.as_str() {
            "" => None,
            text => Some(OperationState::parse(text).ok_or_else(|| {
                let known: Vec<&str> = OperationState::ALL.iter().map(|s| s.as_str()).collect();
                AppError::Invalid {
                    problems: vec![Problem::at(
                        "/state",
                        "unknown_state",
                        format!("a state is one of {}", known.join(", ")),
                    )],
                }
            })?),
        };
        let before = match &input.page.token {
            Some(token) => Some(cursor::decode::<1>(token)?[0].clone()),
            None => None,
        };
        let limit = input.page.limit();
        let mut tx = self.context().db.read().await?;
        let store = match input.store.as_str() {
            "" => None,
            text => match tx.find_store(text).await? {
                Some(store) => Some(store.id),
                // What was done to a deleted store is known by its id.
                None => Some(text.parse().map_err(|_| AppError::NotFound {
                    what: "store",
                    name: text.chars().take(80).collect(),
                })?),
            },
        };
        let mut operations = tx
            .list_operations(store.as_ref(), state, before.as_deref(), limit + 1)
            .await?;
        let next = (operations.len() > limit as usize)
            .then(|| {
                operations.truncate(limit as usize);
                operations.last().map(|last| cursor::encode(&[&last.id]))
            })
            .flatten();
        let mut items = Vec::with_capacity(operations.len());
        for operation in operations {
            items.push(self.operation_view(&mut tx, operation).await?);
        }
        Ok(Page { items, next })
    }

    /// With the replicas of its store while it goes on, or while they are why it failed.
    pub(super) async fn operation_view(
        &self,
        tx: &mut Tx,
        operation: Operation,
    ) -> Result<OperationView, AppError> {
        let told = !operation.state.ended() || operation.state == OperationState::Failed;
        let store = if told {
            tx.store(&operation.store).await?
        } else {
            None
        };
        let replicas = store
            .filter(|store| store.generation == operation.generation)
            .and_then(|store| store.report)
            .map(|report| report.replicas)
            .unwrap_or_default();
        Ok(OperationView {
            operation,
            replicas,
        })
    }
}
