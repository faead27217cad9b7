//! Takes in what sessions say: a batch at a time, in one transaction, so that a busy fleet costs few writes.
//!
//! An event that cannot be taken in is logged and dropped: whoever sent it says it again, since reports are levels. Only a database that
//! does not answer holds the batch up, and with it, through the bounded channel, the sessions.

mod agent;
mod node;
mod receipt;
mod tasks;

use std::{collections::HashMap, sync::Arc, time::Duration};

use shop_proto::{NodeId, StoreId};
use tokio::sync::mpsc;

pub(super) use tasks::follow as follow_task;

use super::{sent::Sent, take_back};
use crate::{
    app::App,
    db::{DbError, Tx},
    domain::{
        audit::{AuditRecord, Decision},
        event::{Severity, StoreEvent},
        session::{AgentOrder, FleetEvent, NodeOrder, Note, SealedResult},
        store::Store,
    },
    operations::settle,
};

/// Events in one transaction.
const BATCH: usize = 64;
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// What to do once the transaction is durable.
#[derive(Default)]
struct After {
    to_nodes: Vec<(NodeId, NodeOrder)>,
    to_agents: Vec<(StoreId, AgentOrder)>,
    nodes_up: Vec<NodeId>,
    agents_up: Vec<StoreId>,
    sealed: Vec<(StoreId, SealedResult)>,
}

pub(super) async fn run(app: App, mut events: mpsc::Receiver<FleetEvent>, sent: Arc<Sent>) {
    let mut batch = Vec::with_capacity(BATCH);
    while events.recv_many(&mut batch, BATCH).await > 0 {
        let taken = coalesce(std::mem::take(&mut batch));
        if taken.len() > 1 && take_in(&app, &sent, &taken).await.is_ok() {
            continue;
        }
        for event in &taken {
            take_in_patiently(&app, &sent, event).await;
        }
    }
    tracing::info!("the fleet has no more to say");
}

/// Of reports and capacities in a row, only the last says how it is.
fn coalesce(events: Vec<FleetEvent>) -> Vec<FleetEvent> {
    let mut kept: Vec<Option<FleetEvent>> = Vec::with_capacity(events.len());
    let mut reports: HashMap<StoreId, usize> = HashMap::new();
    let mut capacities: HashMap<NodeId, usize> = HashMap::new();
    for event in events {
        let replaced = match &event {
            FleetEvent::Report { store, .. } => reports.insert(store.clone(), kept.len()),
            FleetEvent::NodeCapacity { node, .. } => capacities.insert(node.clone(), kept.len()),
            FleetEvent::AgentUp { store, .. } | FleetEvent::AgentDown { store } => {
                reports.remove(store);
                None
            }
            FleetEvent::NodeUp { node, .. } | FleetEvent::NodeDown { node } => {
                capacities.remove(node);
                None
            }
            _ => None,
        };
        if let Some(index) = replaced {
            kept[index] = None;
        }
        kept.push(Some(event));
    }
    kept.into_iter().flatten().collect()
}

async fn take_in(app: &App, sent: &Sent, events: &[FleetEvent]) -> Result<(), DbError> {
    let mut after = After::default();
    let mut tx = app.context().db.write().await?;
    for event in events {
        handle(app, &mut tx, event.clone(), &mut after).await?;
    }
    tx.commit().await?;
    finish(app, sent, after);
    Ok(())
}

async fn take_in_patiently(app: &App, sent: &Sent, event: &FleetEvent) {
    let mut wait = FIRST_RETRY;
    loop {
        match take_in(app, sent, std::slice::from_ref(event)).await {
            Ok(()) => return,
            Err(error @ (DbError::Busy(_) | DbError::Full(_) | DbError::Unreachable(_))) => {
                tracing::warn!(error = %error, "what the fleet says waits for the database");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LAST_RETRY);
            }
            Err(error) => {
                tracing::error!(error = ?error, event = ?event, "something a session said could not be taken in");
                return;
            }
        }
    }
}

/// Orders that get lost here are sent again: acknowledgements are levels as well.
fn finish(app: &App, sent: &Sent, after: After) {
    let context = app.context();
    for (node, order) in after.to_nodes {
        context.orders.to_node(&node, order);
    }
    for (store, order) in after.to_agents {
        context.orders.to_agent(&store, order);
    }
    for node in after.nodes_up {
        sent.forget_node(&node);
    }
    for store in after.agents_up {
        sent.forget_agent(&store);
    }
    for (store, result) in after.sealed {
        let key = crate::app::waiter_key(&store, &result.operation_id);
        context.sealed.answer(&key, result);
    }
}

async fn handle(
    app: &App,
    tx: &mut Tx,
    event: FleetEvent,
    after: &mut After,
) -> Result<(), DbError> {
    match event {
        FleetEvent::NodeUp { node, hello } => node::up(app, tx, &node, hello, after).await,
        FleetEvent::NodeDown { node } => node::down(app, tx, &node).await,
        FleetEvent::NodeCapacity { node, capacity } => {
            node::capacity(app, tx, &node, capacity).await
        }
        FleetEvent::Assignment { node, status } => {
            node::assignment(app, tx, &node, status, after).await
        }
        FleetEvent::Retirement { node, status } => {
            node::retirement(app, tx, &node, status, after).await
        }
        FleetEvent::Vouch { node, vouch } => node::vouch(app, tx, &node, vouch, after).await,
        FleetEvent::NodeNote { node, store, note } => {
            let store = match store {
                Some(store) if node::holds(tx, &node, &store).await? => Some(store),
                _ => None,
            };
            tx.insert_event(&noted(app, store, Some(node), note)).await
        }
        FleetEvent::AgentUp { store, hello } => agent::up(app, tx, &store, hello, after).await,
        // What it said last stays true until somebody says otherwise; a node without session is what makes a store unreachable.
        FleetEvent::AgentDown { .. } => Ok(()),
        FleetEvent::Report { store, report } => agent::report(app, tx, &store, report).await,
        FleetEvent::AgentNote { store, note } => {
            tx.insert_event(&noted(app, Some(store), None, note)).await
        }
        FleetEvent::Refused {
            store,
            generation,
            code,
            message,
        } => agent::refused(app, tx, &store, generation, code, message).await,
        FleetEvent::Task { store, report } => tasks::report(app, tx, &store, report, after).await,
        FleetEvent::Sealed { store, result } => {
            after.sealed.push((store, result));
            Ok(())
        }
        FleetEvent::Escrow { store, escrow } => {
            let now = app.context().clock.now();
            tx.insert_escrow(&store, &escrow, agent::ESCROWS_KEPT, now)
                .await
        }
    }
}

/// Loads a store, changes it, and settles what follows. Deleted stores do not change.
async fn change<F>(app: &App, tx: &mut Tx, id: &StoreId, change: F) -> Result<(), DbError>
where
    F: FnOnce(&mut Store),
{
    let Some(before) = tx.store(id).await? else {
        return Ok(());
    };
    if before.lifecycle == crate::domain::store::Lifecycle::Deleted {
        return Ok(());
    }
    let mut store = before.clone();
    change(&mut store);
    let now = app.context().clock.now();
    settle(tx, &mut store, &before, app.limits(), now).await?;
    take_back::look(app, tx, &store).await
}

fn noted(app: &App, store: Option<StoreId>, node: Option<NodeId>, note: Note) -> StoreEvent {
    let now = app.context().clock.now();
    StoreEvent {
        seq: 0,
        store,
        node,
        code: note.code,
        severity: Severity::parse(&note.severity),
        message: note.message,
        service: note.service,
        // A clock that is ahead must not put an event into the future.
        at: jiff::Timestamp::from_millisecond(note.at_unix_ms).map_or(now, |at| at.min(now)),
    }
}

fn event(
    app: &App,
    (store, node): (Option<&StoreId>, Option<&NodeId>),
    severity: Severity,
    code: &str,
    message: String,
) -> StoreEvent {
    StoreEvent {
        seq: 0,
        store: store.cloned(),
        node: node.cloned(),
        code: code.to_owned(),
        severity,
        message,
        service: String::new(),
        at: app.context().clock.now(),
    }
}

/// Something an agent may not do.
fn denied(app: &App, actor: String, action: &str, subject: String, reason: &str) -> AuditRecord {
    AuditRecord {
        at: app.context().clock.now(),
        actor,
        source: "session".to_owned(),
        request_id: String::new(),
        action: action.to_owned(),
        subject,
        decision: Decision::Denied,
        reason: reason.to_owned(),
    }
}

/// At most one a second of each action: an agent that lies must not fill the disk. All are in the log.
async fn deny(app: &App, tx: &mut Tx, record: AuditRecord) -> Result<(), DbError> {
    tracing::warn!(actor = %record.actor, action = %record.action, subject = %record.subject, reason = %record.reason, "denied");
    if !app.context().denials.admits(&record) {
        return Ok(());
    }
    tx.audit(record).await
}
