//! Gives stores that wait a node, or room on theirs, as soon as there is some.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use shop_proto::NodeId;

use crate::{
    app::App,
    db::{DbError, NodeLoad, Tx},
    domain::{
        event::{Severity, StoreEvent},
        store::{Placement, Reservation, Store},
    },
    operations::settle,
    policy::placement::{Candidate, Request, Verdict, Wants, Why, place},
};

const INTERVAL: Duration = Duration::from_secs(5);
/// Stores looked at in one tick.
const BATCH: u32 = 500;

pub(super) async fn run(app: App) {
    super::on_change(app, "placer", INTERVAL, tick).await;
}

async fn tick(app: App) -> Result<(), DbError> {
    let db = &app.context().db;
    // Most ticks have nothing to do and must not wait for their turn to write.
    let mut tx = db.read().await?;
    let nobody_waits = tx.unplaced_stores(1).await?.is_empty()
        && tx.stores_without_room(1).await?.is_empty()
        && tx.stores_awaiting_room(1).await?.is_empty();
    if nobody_waits {
        return Ok(());
    }
    drop(tx);
    let mut tx = db.write().await?;
    let mut stores = tx.stores_without_room(BATCH).await?;
    // Those that are there come first.
    stores.extend(tx.stores_awaiting_room(BATCH).await?);
    stores.extend(tx.unplaced_stores(BATCH).await?);
    let mut requests: Vec<Request> = Vec::with_capacity(stores.len());
    for store in &stores {
        let mut request = request(&app, store);
        if request.wants == Wants::Grow {
            let latest = tx.latest_operation(&store.id).await?;
            request.since = latest.map(|operation| operation.created_at);
        }
        requests.push(request);
    }
    let settings = &app.context().settings;
    let now = app.context().clock.now();
    let mut nodes = candidates(&mut tx, settings.cpu_overcommit, now).await?;
    for holder in tx.stores_holding_room().await? {
        for node in &mut nodes {
            node.expects(&holder);
        }
    }
    let mut changed = false;
    for (id, verdict) in place(&requests, nodes, settings.provisioning_per_node, now) {
        let found = stores
            .iter()
            .zip(&requests)
            .find(|(store, _)| store.id == id);
        if let Some((store, request)) = found {
            changed |= match verdict {
                Verdict::Place(_) if request.wants == Wants::Grow => {
                    grant(&app, &mut tx, store, now).await?
                }
                Verdict::Place(node) => {
                    put(&app, &mut tx, store, (node, request.reservation), now).await?
                }
                Verdict::Wait(why) => wait(&app, &mut tx, store, request, why, now).await?,
            };
        }
    }
    if changed {
        tx.commit().await?;
    }
    Ok(())
}

fn request(app: &App, store: &Store) -> Request {
    if let Some(growth) = Request::growth(store) {
        return growth;
    }
    // What was paused has given its reservation away, and is to have it again.
    let reservation = if store.reserved == Reservation::default() {
        // What cannot be rendered here takes next to nothing; its node says why it does not run.
        let unknown = Reservation {
            memory_bytes: 1,
            cpu_millis: 0,
        };
        app.needs_of(store, &store.spec)
            .map_or(unknown, |needs| needs.reserved)
    } else {
        store.reserved
    };
    Request {
        store: store.id.clone(),
        organisation: store.organisation.clone(),
        reservation,
        since: None,
        // Its data is there.
        pinned: match &store.placement {
            Some(placement) => Some(placement.node.clone()),
            None => store.pinned_node.clone(),
        },
        wants: match store.placement {
            Some(_) => Wants::Return,
            None => Wants::Place,
        },
        images: app.images_of(store),
    }
}

async fn candidates(
    tx: &mut Tx,
    cpu_overcommit: u32,
    now: Timestamp,
) -> Result<Vec<Candidate>, DbError> {
    let loads: BTreeMap<NodeId, NodeLoad> = tx
        .node_loads()
        .await?
        .into_iter()
        .map(|load| (load.node.clone(), load))
        .collect();
    let nodes = tx.list_nodes().await?;
    Ok(nodes
        .iter()
        .map(|node| {
            let (reserved, starting) = loads
                .get(&node.id)
                .map(|load| (load.reserved, load.starting))
                .unwrap_or_default();
            Candidate::of(node, reserved, starting, cpu_overcommit, now)
        })
        .collect())
}

async fn put(
    app: &App,
    tx: &mut Tx,
    before: &Store,
    (node, reserved): (NodeId, Reservation),
    now: Timestamp,
) -> Result<bool, DbError> {
    let mut store = before.clone();
    store.reserved = reserved;
    store.placement = Some(Placement {
        node: node.clone(),
        at: now,
    });
    settle(tx, &mut store, before, app.limits(), now).await?;
    tx.insert_event(&StoreEvent {
        seq: 0,
        store: Some(store.id),
        message: if before.placement.is_some() {
            format!("has room on node {node} again")
        } else {
            format!("placed on node {node}")
        },
        node: Some(node),
        code: "placed".to_owned(),
        severity: Severity::Info,
        service: String::new(),
        at: now,
    })
    .await?;
    Ok(true)
}

/// A change has the room it waited for, and is sent.
async fn grant(app: &App, tx: &mut Tx, before: &Store, now: Timestamp) -> Result<bool, DbError> {
    let mut store = before.granted();
    settle(tx, &mut store, before, app.limits(), now).await?;
    let message = format!("there is room for generation {} now", store.generation);
    tx.insert_event(&StoreEvent {
        seq: 0,
        store: Some(store.id),
        node: store.placement.map(|placement| placement.node),
        code: "room_granted".to_owned(),
        severity: Severity::Info,
        message,
        service: String::new(),
        at: now,
    })
    .await?;
    Ok(true)
}

/// Says why, once.
async fn wait(
    app: &App,
    tx: &mut Tx,
    before: &Store,
    request: &Request,
    why: Why,
    now: Timestamp,
) -> Result<bool, DbError> {
    let Some(mut operation) = tx.latest_operation(&before.id).await? else {
        return Ok(false);
    };
    let message = why.message(request);
    if operation.state.ended() || (operation.reason == why.code() && operation.message == message) {
        return Ok(false);
    }
    why.code().clone_into(&mut operation.reason);
    operation.message = message;
    tx.save_operation(&mut operation).await?;
    let mut store = before.clone();
    settle(tx, &mut store, before, app.limits(), now).await?;
    Ok(true)
}
