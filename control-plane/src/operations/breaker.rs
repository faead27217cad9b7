//! What the end of a new store says about its node.

use jiff::Timestamp;

use crate::{
    db::{DbError, Tx},
    domain::{
        event::{Severity, StoreEvent},
        operation::{Operation, OperationKind, OperationState},
        store::Store,
    },
};

/// Counts a creation that ended just now.
pub(super) async fn count(
    tx: &mut Tx,
    store: &Store,
    operation: &Operation,
    now: Timestamp,
) -> Result<(), DbError> {
    let failed = match (operation.kind, operation.state) {
        (OperationKind::Create, OperationState::Failed) => true,
        (OperationKind::Create, OperationState::Succeeded) => false,
        _ => return Ok(()),
    };
    let Some(placement) = &store.placement else {
        return Ok(());
    };
    let Some(mut node) = tx.node(&placement.node).await? else {
        return Ok(());
    };
    let before = node.breaker;
    node.breaker = if failed {
        before.failed(now)
    } else {
        before.succeeded()
    };
    if node.breaker == before {
        return Ok(());
    }
    tx.save_node(&node).await?;
    let (severity, code, message) = match (before.until, node.breaker.until) {
        (_, Some(until)) => (
            Severity::Warning,
            "node_tripped",
            format!(
                "{} new stores in a row failed on node {}: no new ones go there until {until}, then one on trial",
                node.breaker.failures, node.name
            ),
        ),
        (Some(_), None) => (
            Severity::Info,
            "node_tripped_over",
            format!(
                "a new store came up on node {}: others go there again",
                node.name
            ),
        ),
        (None, None) => return Ok(()),
    };
    tx.insert_event(&StoreEvent {
        seq: 0,
        store: None,
        node: Some(node.id),
        code: code.to_owned(),
        severity,
        message,
        service: String::new(),
        at: now,
    })
    .await
}
