//! A control plane restored from a backup is behind: it says so, retires nothing, and takes over only at an operator's word.

use std::{fs, path::Path};

use shop_proto::wire::admin::v1 as api;

use crate::{
    node::{Script, capacity},
    world::{World, until},
};

/// The database's files, copied while nothing runs.
fn copy(from: &Path, to: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let name = |path: &Path| format!("{}{suffix}", path.display());
        match fs::exists(name(from)) {
            Ok(true) => drop(fs::copy(name(from), name(to)).unwrap()),
            _ => drop(fs::remove_file(name(to))),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_agents_hold_newer_is_reviewed_and_nothing_is_retired() {
    let mut world = World::start().await;
    let node = world.node("one").await;
    let api = world.api.clone();
    for name in ["changed", "same"] {
        let create = api.create(name).await;
        api.until_operation(&create.id, "succeeded").await;
    }
    let (database, backup) = (world.plane.database(), world.plane.data().join("backup.db"));
    world.plane.stop().await;
    copy(&database, &backup);
    world.plane.start().await;
    let stop = api.stop("changed").await;
    api.until_operation(&stop.id, "succeeded").await;
    let start = api.start("changed").await;
    api.until_operation(&start.id, "succeeded").await;
    let newer = api.create("newer").await;
    api.until_operation(&newer.id, "succeeded").await;
    let held = node.holds();
    assert_eq!(held.len(), 3);

    world.plane.stop().await;
    copy(&backup, &database);
    world.plane.start().await;
    let store = api
        .until_store("changed", "needs a review", |store| {
            store.reason == "needs_review"
        })
        .await;
    assert_eq!(store.generation, 1);
    assert!(!store.message.is_empty());
    assert_ne!(store.status, "failed", "it serves all the while");
    until("the unknown store is said", async || {
        let status = api.grpc().get_status(api::GetStatusRequest {}).await;
        let warnings = status.unwrap().into_inner().warnings;
        if warnings.iter().any(|text| text.contains(&newer.store_id)) {
            Ok(())
        } else {
            Err(format!("{warnings:?}"))
        }
    })
    .await;
    let same = api.until_status("same", "running").await;
    assert_eq!(same.reason, "");
    // An order about this store shows that dispatch has had its turn with all of them.
    let stop = api.stop("same").await;
    api.until_operation(&stop.id, "succeeded").await;
    assert_eq!(node.tombstones(), Vec::<String>::new());
    assert_eq!(
        node.outdated(),
        Vec::<String>::new(),
        "nothing old was ordered"
    );
    let now = node.holds();
    assert_eq!(now[&store.id], held[&store.id]);
    assert_eq!(now[&newer.store_id], held[&newer.store_id]);

    // An operator's word takes it over, above what anybody holds.
    let stop = api.stop("changed").await;
    api.until_operation(&stop.id, "succeeded").await;
    let store = api.until_status("changed", "stopped").await;
    assert!(store.generation > held[&store.id], "{}", store.generation);
    assert_eq!(node.outdated(), Vec::<String>::new());
    world.verify_audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_joined_since_is_said_and_left_alone() {
    let mut world = World::start().await;
    let api = world.api.clone();
    let (database, backup) = (world.plane.database(), world.plane.data().join("backup.db"));
    world.plane.stop().await;
    copy(&database, &backup);
    world.plane.start().await;
    let node = world.node("one").await;
    let create = api.create("demo").await;
    api.until_operation(&create.id, "succeeded").await;
    let held = node.holds();

    world.plane.stop().await;
    copy(&backup, &database);
    world.plane.start().await;
    until("the unknown node is said", async || {
        let status = api.grpc().get_status(api::GetStatusRequest {}).await;
        let warnings = status.unwrap().into_inner().warnings;
        if warnings.iter().any(|text| text.contains(node.id())) {
            Ok(())
        } else {
            Err(format!("{warnings:?}"))
        }
    })
    .await;
    // New stores do not go there, and the old one is not touched.
    let waiting = api.create("next").await;
    until("there is no node", async || {
        let found = api.operation(&waiting.id).await.unwrap();
        if found.reason == "no_nodes" {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await;
    assert_eq!(node.holds(), held);
    assert_eq!(node.outdated(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_was_placed_since_stays_where_it_is() {
    let mut world = World::start().await;
    let api = world.api.clone();
    let full = || Script {
        capacity: capacity(64, 90),
        ..Script::default()
    };
    let other = world.node_with("other", full()).await;
    let node = world.node_with("one", full()).await;
    let create = api.create("demo").await;
    assert_eq!(create.state, "pending");
    let (database, backup) = (world.plane.database(), world.plane.data().join("backup.db"));
    world.plane.stop().await;
    copy(&database, &backup);
    world.plane.start().await;
    node.change(|script| script.capacity = capacity(64, 10));
    api.until_operation(&create.id, "succeeded").await;
    let held = node.holds();
    assert_eq!(held.len(), 1);

    other.change(|script| script.connected = false);
    world.plane.stop().await;
    copy(&backup, &database);
    world.plane.start().await;
    let store = api.until_status("demo", "running").await;
    assert_eq!(store.node, node.id());
    let events = api.events("demo").await;
    assert!(events.iter().any(|it| it.code == "adopted"), "{events:?}");
    other.change(|script| {
        script.connected = true;
        script.capacity = capacity(640, 10);
    });
    // The other node, emptier by far, gets what comes next, and not this one.
    let next = api.create("next").await;
    api.until_operation(&next.id, "succeeded").await;
    assert!(other.holds().keys().all(|id| *id == next.store_id));
    assert_eq!(node.holds()[&store.id], held[&store.id]);
    assert_eq!(node.outdated(), Vec::<String>::new());
}
