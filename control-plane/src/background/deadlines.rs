//! What follows from time alone: operations that took too long, nodes that are away for too long.

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp};

use crate::{
    app::App,
    db::{DbError, Tx},
    domain::{
        audit::{AuditRecord, Decision},
        deletion::grace_over,
        node::Link,
        store::Store,
    },
    operations::settle,
};

const INTERVAL: Duration = Duration::from_secs(1);

/// No session outlives the process that held it.
pub(super) async fn run(app: App) {
    loop {
        match forget_sessions(&app).await {
            Ok(()) => break,
            Err(error) => {
                tracing::warn!(error = %error, "the sessions of the last run are still in the database");
                tokio::time::sleep(super::RETRY).await;
            }
        }
    }
    super::every(app, "deadlines", INTERVAL, tick).await;
}

async fn forget_sessions(app: &App) -> Result<(), DbError> {
    let mut tx = app.context().db.write().await?;
    tx.nodes_down_since_before(app.context().started_at).await?;
    tx.commit().await
}

/// Ends the time of grace of stores. Each in a transaction of its own.
async fn delete_what_is_due(app: &App, now: Timestamp) -> Result<(), DbError> {
    let context = app.context();
    let mut tx = context.db.read().await?;
    let mut due = Vec::new();
    for id in tx.stores_to_delete(now).await? {
        if let Some(store) = tx.store(&id).await?
            && heard_of(&mut tx, &store).await?
        {
            due.push(id);
        }
    }
    drop(tx);
    for id in due {
        let mut tx = context.db.write().await?;
        let Some(before) = tx.store(&id).await? else {
            continue;
        };
        if !heard_of(&mut tx, &before).await? {
            continue;
        }
        if let Some(mut store) = grace_over(&before, now) {
            settle(&mut tx, &mut store, &before, app.limits(), now).await?;
            tx.audit(AuditRecord {
                at: now,
                actor: "system".to_owned(),
                source: "internal".to_owned(),
                request_id: String::new(),
                action: "store.grace_over".to_owned(),
                subject: format!("store:{id}"),
                decision: Decision::Allowed,
                reason: String::new(),
            })
            .await?;
            tx.commit().await?;
        }
    }
    Ok(())
}

/// Whether its node has said what it holds: only then is it known whether we come from a backup, and the deletion was taken back since.
/// A node that was removed says nothing any more.
async fn heard_of(tx: &mut Tx, store: &Store) -> Result<bool, DbError> {
    let Some(placement) = &store.placement else {
        return Ok(true);
    };
    let node = tx.node(&placement.node).await?;
    Ok(node.is_none_or(|node| matches!(node.link, Link::Up { .. })))
}

async fn tick(app: App) -> Result<(), DbError> {
    let context = app.context();
    let now = context.clock.now();
    let grace =
        SignedDuration::try_from(context.settings.unreachable_after).unwrap_or(SignedDuration::MAX);
    let away_since = now.saturating_sub(grace).unwrap_or(Timestamp::MIN);
    let due = {
        let mut tx = context.db.read().await?;
        let mut due: BTreeSet<_> = tx.stores_overdue(now).await?.into_iter().collect();
        due.extend(tx.stores_cut_off(away_since).await?);
        due
    };
    delete_what_is_due(&app, now).await?;
    for id in due {
        // One transaction each: one store that cannot be settled keeps no other from it.
        let mut tx = context.db.write().await?;
        if let Some(before) = tx.store(&id).await? {
            let mut store = before.clone();
            settle(&mut tx, &mut store, &before, app.limits(), now).await?;
            tx.commit().await?;
        }
    }
    Ok(())
}
