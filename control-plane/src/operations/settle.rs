//! One store, settled in one transaction with whatever changed it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::breaker;
use crate::{
    db::{DbError, Tx},
    domain::{
        event::{Severity, StoreEvent},
        node::Link,
        operation::{Operation, OperationState},
        progress::{Facts, condition, progress},
        room,
        store::{Reservation, Store, StoreStatus},
        update,
    },
};

/// What the configuration decides about progress.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub provision_deadline: Duration,
    pub unreachable_after: Duration,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The newest operation of the store.
    pub operation: Option<Operation>,
    /// It ended just now.
    pub ended: bool,
}

/// Derives status and progress and writes what differs. `before` is the store as it is in the database, `None` when it was just inserted.
///
/// # Errors
/// When the database does not answer, or the store is no longer as it was read.
pub async fn settle(
    tx: &mut Tx,
    store: &mut Store,
    before: &Store,
    limits: Limits,
    now: Timestamp,
) -> Result<Settled, DbError> {
    let facts = facts(tx, store, limits, now).await?;
    let mut operation = tx.latest_operation(&store.id).await?;
    let mut ended = false;
    if let Some(current) = &mut operation
        && !current.state.ended()
    {
        let mut next = progress(store, current, &facts);
        if next != *current {
            ended = next.state.ended();
            tx.save_operation(&mut next).await?;
            if ended {
                tx.insert_event(&told(store, &next, now)).await?;
                breaker::count(tx, store, &next, now).await?;
            }
            *current = next;
        }
    }
    let seen = condition(store, operation.as_ref(), &facts);
    store.status = seen.status;
    store.reason = seen.reason;
    store.message = seen.message;
    if store.status == StoreStatus::Paused {
        // Nothing of it runs: its room is anybody's until it is woken.
        store.reserved = Reservation::default();
        store.room = None;
    }
    if let Some(after) = room::over(store, operation.as_ref()) {
        store.reserved = after;
        store.room = None;
    }
    if let Some(number) = update::serving(store)
        && update::serving(before) != Some(number)
    {
        tx.revision_serves(&store.id, number).await?;
    }
    if store != before {
        tx.save_store(store, now).await?;
    }
    Ok(Settled { operation, ended })
}

/// The end of an operation, as an event.
fn told(store: &Store, operation: &Operation, now: Timestamp) -> StoreEvent {
    let failed = operation.state == OperationState::Failed;
    StoreEvent {
        seq: 0,
        store: Some(store.id.clone()),
        node: store
            .placement
            .as_ref()
            .map(|placement| placement.node.clone()),
        code: format!("{}_{}", operation.kind, operation.state.as_str()),
        severity: if failed {
            Severity::Error
        } else {
            Severity::Info
        },
        message: if operation.message.is_empty() {
            format!("{} {}", operation.kind, operation.state.as_str())
        } else {
            operation.message.clone()
        },
        service: String::new(),
        at: now,
    }
}

async fn facts(
    tx: &mut Tx,
    store: &Store,
    limits: Limits,
    now: Timestamp,
) -> Result<Facts, DbError> {
    let link = match &store.placement {
        Some(placement) => tx.node(&placement.node).await?.map(|node| node.link),
        None => None,
    };
    let away_too_long = |since: Timestamp| {
        let away = now.duration_since(since);
        away >= SignedDuration::try_from(limits.unreachable_after).unwrap_or(SignedDuration::MAX)
    };
    Ok(Facts {
        now,
        node_reachable: match link {
            Some(Link::Down { since }) => !away_too_long(since),
            Some(Link::Up { .. } | Link::Never) => true,
            // Not placed, or on a node that was removed.
            None => store.placement.is_none(),
        },
        provision_deadline: SignedDuration::try_from(limits.provision_deadline)
            .unwrap_or(SignedDuration::MAX),
    })
}
