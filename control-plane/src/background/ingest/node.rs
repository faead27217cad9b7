//! What node agents say. A node speaks only for stores that are placed on it.

use shop_proto::{NodeId, StoreId};

use super::{After, change, denied, deny, event, receipt};
use crate::{
    app::App,
    db::{DbError, Tx},
    domain::{
        event::Severity,
        identity::VouchedKey,
        node::{DISK_ALARM_PERCENT, DiskUse, Link, Node, disk_used_percent},
        refusal::Refusal,
        session::{
            AssignmentStatus, Capacity, InventoryItem, NodeHello, NodeOrder, RetireStatus, Vouch,
        },
        store::{Lifecycle, LifecycleEvent, NodeProgress, Placement, Store, UNPROVEN},
    },
};

pub(super) async fn holds(tx: &mut Tx, node: &NodeId, store: &StoreId) -> Result<bool, DbError> {
    let store = tx.store(store).await?;
    Ok(store.is_some_and(|store| is_on(&store, node)))
}

fn is_on(store: &Store, node: &NodeId) -> bool {
    store
        .placement
        .as_ref()
        .is_some_and(|placement| placement.node == *node)
}

pub(super) async fn up(
    app: &App,
    tx: &mut Tx,
    id: &NodeId,
    hello: NodeHello,
    after: &mut After,
) -> Result<(), DbError> {
    let Some(mut node) = tx.node(id).await? else {
        tracing::warn!(node = %id, "a session of a node that is not known");
        return Ok(());
    };
    let before = node.clone();
    node.agent_version = hello.agent_version;
    node.engine_version = hello.engine_version;
    node.boot_id = hello.boot_id;
    node.render_versions = hello.render_versions;
    node.capacity = hello.capacity;
    node.link = Link::Up {
        since: app.context().clock.now(),
    };
    for item in hello.inventory.iter().filter(|item| !item.retiring) {
        adopt(app, tx, id, &item.store).await?;
    }
    node.orphans.clear();
    for item in &hello.inventory {
        if stranger(app, tx, id, item, after).await? {
            node.orphans.push(item.store.clone());
        }
    }
    tx.save_node(&node).await?;
    pressure(app, tx, &before, &node).await?;
    for store in tx.stores_on(id).await? {
        let held = hello.inventory.iter().find(|item| item.store == store.id);
        take_stock(app, tx, &store, held).await?;
    }
    if let Some(roster) = tx.roster().await? {
        after.to_nodes.push((id.clone(), NodeOrder::Roster(roster)));
    }
    after.nodes_up.push(id.clone());
    Ok(())
}

/// The inventory is the truth about what the node holds, whatever it acknowledged before.
async fn take_stock(
    app: &App,
    tx: &mut Tx,
    store: &Store,
    held: Option<&InventoryItem>,
) -> Result<(), DbError> {
    let generation = held
        .filter(|item| !item.retiring)
        .map_or(0, |item| item.generation);
    if generation > store.generation.get() {
        let message = format!(
            "its node holds generation {generation}, newer than {}: this control plane is behind, perhaps from a backup",
            store.generation
        );
        let node = store.placement.as_ref().map(|placement| &placement.node);
        let about = (Some(&store.id), node);
        tx.insert_event(&event(app, about, Severity::Error, "needs_review", message))
            .await?;
    }
    change(app, tx, &store.id, |store| {
        // What it refused before, it may take now: it may be another release.
        let stale = store.on_node.generation != generation || store.on_node.state == "refused";
        if stale && store.lifecycle != Lifecycle::Deleting {
            store.on_node = NodeProgress {
                generation,
                ..NodeProgress::default()
            };
        }
    })
    .await
}

/// A store that waits for a node and is on this one: we come from a backup. Placed anew it would be there twice.
async fn adopt(app: &App, tx: &mut Tx, node: &NodeId, id: &StoreId) -> Result<(), DbError> {
    let waits = tx.store(id).await?.is_some_and(|store| {
        store.placement.is_none() && matches!(store.lifecycle, Lifecycle::Live(_))
    });
    if !waits {
        return Ok(());
    }
    let message = format!(
        "node {node} holds it already and keeps it: this control plane was behind, perhaps from a backup"
    );
    let about = (Some(id), Some(node));
    tx.insert_event(&event(app, about, Severity::Warning, "adopted", message))
        .await?;
    change(app, tx, id, |store| {
        store.placement = Some(Placement {
            node: node.clone(),
            at: app.context().clock.now(),
        });
    })
    .await
}

/// Whether something in the inventory is not placed there. It is said once and left alone: never retired without a tombstone of ours.
async fn stranger(
    app: &App,
    tx: &mut Tx,
    node: &NodeId,
    item: &InventoryItem,
    after: &mut After,
) -> Result<bool, DbError> {
    match tx.store(&item.store).await? {
        Some(store) if is_on(&store, node) => {
            if store.lifecycle == Lifecycle::Deleted {
                // Its end is recorded: a tombstone may go, and what is left may be taken down.
                let order = if item.retiring {
                    NodeOrder::RetireRecorded { store: store.id }
                } else {
                    retire(store)
                };
                after.to_nodes.push((node.clone(), order));
            }
            Ok(false)
        }
        _ => {
            let about = (Some(&item.store), Some(node));
            if !tx.event_known("orphan", about.0, about.1).await? {
                let message = format!(
                    "node {node} holds store {}, which this control plane has not placed there; it is left alone",
                    item.store
                );
                let event = event(app, about, Severity::Error, "orphan", message);
                tx.insert_event(&event).await?;
            }
            Ok(true)
        }
    }
}

pub(super) async fn down(app: &App, tx: &mut Tx, id: &NodeId) -> Result<(), DbError> {
    let Some(mut node) = tx.node(id).await? else {
        return Ok(());
    };
    node.link = Link::Down {
        since: app.context().clock.now(),
    };
    tx.save_node(&node).await
}

pub(super) async fn capacity(
    app: &App,
    tx: &mut Tx,
    id: &NodeId,
    capacity: Capacity,
) -> Result<(), DbError> {
    let Some(before) = tx.node(id).await? else {
        return Ok(());
    };
    // The disk's free bytes change all the time: a percent is worth a write, a byte is not.
    let same = disk_used_percent(&before.capacity) == disk_used_percent(&capacity)
        && before.capacity
            == Capacity {
                disk_free_bytes: before.capacity.disk_free_bytes,
                ..capacity.clone()
            };
    if same {
        return Ok(());
    }
    let mut node = before.clone();
    node.capacity = capacity;
    tx.save_node(&node).await?;
    pressure(app, tx, &before, &node).await
}

/// Tells when a disk gets too full, and when it is better.
async fn pressure(app: &App, tx: &mut Tx, before: &Node, node: &Node) -> Result<(), DbError> {
    let (was, is) = (DiskUse::of(&before.capacity), DiskUse::of(&node.capacity));
    let used = is.used;
    let (severity, code, message) = if was.used < DISK_ALARM_PERCENT && used >= DISK_ALARM_PERCENT {
        let message = format!(
            "the disk of node {} is {used} % full: make room now",
            node.name
        );
        (Severity::Error, "disk_alarm", message)
    } else if !was.is_short() && is.is_short() {
        let message = format!(
            "the disk of node {} is {used} % full: no new stores are placed there",
            node.name
        );
        (Severity::Warning, "disk_pressure", message)
    } else if was.is_short() && !is.is_short() {
        let message = format!("the disk of node {} has room again", node.name);
        (Severity::Info, "disk_pressure_over", message)
    } else {
        return Ok(());
    };
    let about = (None, Some(&node.id));
    tx.insert_event(&event(app, about, severity, code, message))
        .await
}

pub(super) async fn assignment(
    app: &App,
    tx: &mut Tx,
    node: &NodeId,
    status: AssignmentStatus,
    after: &mut After,
) -> Result<(), DbError> {
    let Some(store) = tx.store(&status.store).await? else {
        return Ok(());
    };
    if !is_on(&store, node) {
        return Ok(());
    }
    let refused = status.state == "refused";
    if store.lifecycle == Lifecycle::Deleted {
        if !refused {
            // An assignment that was under way when the store's end was recorded: an empty store was made anew.
            after.to_nodes.push((node.clone(), retire(store)));
        }
        return Ok(());
    }
    if refused {
        refusal(app, tx, node, &store, &status).await?;
    }
    let id = status.store.clone();
    change(app, tx, &id, |store| {
        let current = status.generation == store.generation.get();
        // A change that waits for room has not been sent: this is about the one before.
        if !current && !refused && status.generation == store.ordered().0.get() {
            store.on_node.generation = status.generation;
        }
        if !current || store.lifecycle.wanted().is_none() {
            return;
        }
        if !refused {
            store.on_node.generation = status.generation;
            store.on_node.plan_digest = status.plan_digest;
        }
        store.on_node.state = status.state;
        store.on_node.code = status.code;
        store.on_node.message = status.message;
    })
    .await
}

/// Tells of a refusal. One that passes is heard again with every try, and told once.
async fn refusal(
    app: &App,
    tx: &mut Tx,
    node: &NodeId,
    store: &Store,
    status: &AssignmentStatus,
) -> Result<(), DbError> {
    let generation = status.generation;
    let known = generation == store.generation.get()
        && store.on_node.refusal().is_some()
        && store.on_node.code == status.code;
    let (severity, message) = match Refusal::of(&status.code) {
        Refusal::Passing if known => return Ok(()),
        Refusal::Passing => (
            Severity::Warning,
            format!(
                "its node cannot take generation {generation} now and is asked again: {}",
                status.message
            ),
        ),
        Refusal::Lasting => (
            Severity::Error,
            format!(
                "its node refuses generation {generation}: {}",
                status.message
            ),
        ),
    };
    let about = (Some(&store.id), Some(node));
    tx.insert_event(&event(app, about, severity, &status.code, message))
        .await
}

/// What is left of a store whose end is recorded is taken down.
fn retire(deleted: Store) -> NodeOrder {
    NodeOrder::Retire {
        store: deleted.id,
        generation: deleted.generation,
    }
}

pub(super) async fn retirement(
    app: &App,
    tx: &mut Tx,
    node: &NodeId,
    status: RetireStatus,
    after: &mut After,
) -> Result<(), DbError> {
    let Some(store) = tx.store(&status.store).await? else {
        return Ok(());
    };
    if !is_on(&store, node) || status.generation != store.generation.get() {
        return Ok(());
    }
    let ending = matches!(store.lifecycle, Lifecycle::Deleting | Lifecycle::Deleted);
    let said = status.state == "gone";
    let gone = said && ending && receipt::take(app, tx, node, &store, status.receipt).await?;
    if gone {
        let recorded = NodeOrder::RetireRecorded {
            store: store.id.clone(),
        };
        after.to_nodes.push((node.clone(), recorded));
    }
    change(app, tx, &store.id, |store| {
        if store.lifecycle != Lifecycle::Deleting {
            return;
        }
        if gone && let Ok(lifecycle) = store.lifecycle.next(LifecycleEvent::Retired) {
            store.lifecycle = lifecycle;
        }
        if said && !gone {
            UNPROVEN.clone_into(&mut store.on_node.state);
            "its node says that nothing is left, and its receipt does not prove it; see the store's events, look at the node, \
             then `shopctl store delete --force-forget`"
                .clone_into(&mut store.on_node.message);
            return;
        }
        store.on_node.state = status.state;
        store.on_node.message = status.message;
    })
    .await
}

pub(super) async fn vouch(
    app: &App,
    tx: &mut Tx,
    node: &NodeId,
    vouch: Vouch,
    after: &mut After,
) -> Result<(), DbError> {
    let store = tx.store(&vouch.store).await?;
    let accepted = store
        .as_ref()
        .is_some_and(|store| is_on(store, node) && store.lifecycle.wanted().is_some());
    if !accepted {
        tracing::warn!(node = %node, store = %vouch.store, "a node vouches for a store that is not placed on it");
        let subject = format!("store:{}", vouch.store);
        let record = denied(
            app,
            format!("node:{node}"),
            "store.vouch",
            subject,
            "not_placed_here",
        );
        return deny(app, tx, record).await;
    }
    tx.record_vouch(&VouchedKey {
        store: vouch.store.clone(),
        spki: vouch.spki,
        node: node.clone(),
        sealing_public_key: vouch.sealing_public_key.clone(),
        recorded_at: app.context().clock.now(),
    })
    .await?;
    let recorded = NodeOrder::VouchRecorded {
        store: vouch.store.clone(),
        spki: vouch.spki,
    };
    after.to_nodes.push((node.clone(), recorded));
    change(app, tx, &vouch.store, |store| {
        store.on_agent.sealing_public_key = vouch.sealing_public_key;
    })
    .await
}
