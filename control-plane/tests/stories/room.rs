//! Where stores go, and why they wait.

use shop_proto::wire::admin::v1::{self as api, amend_store_request::What};

use crate::{
    node::{Script, capacity},
    shop::Behaviour,
    world::{World, until},
};

async fn until_waits(world: &World, operation: &str, reason: &str) -> api::Operation {
    until(&format!("the operation waits: {reason}"), async || {
        let found = world.api.operation(operation).await.unwrap();
        if found.state == "pending" && found.reason == reason {
            Ok(found)
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_waits_with_the_reason_and_goes_on() {
    let world = World::start().await;
    let api = &world.api;
    let create = api.create("demo").await;
    let waiting = until_waits(&world, &create.id, "no_nodes").await;
    assert!(waiting.message.contains("node join"), "{}", waiting.message);
    let store = api.store("demo").await.unwrap();
    assert_eq!(
        (store.status.as_str(), store.reason.as_str()),
        ("pending", "no_nodes")
    );

    let mut small = Script::default();
    small.capacity.memory_bytes = 256 << 20;
    let node = world.node_with("small", small).await;
    until_waits(&world, &create.id, "no_capacity").await;

    node.change(|script| script.capacity = capacity(64, 85));
    let waiting = until_waits(&world, &create.id, "disk_pressure").await;
    assert!(waiting.message.contains("disk"), "{}", waiting.message);
    let status = api
        .grpc()
        .get_status(api::GetStatusRequest {})
        .await
        .unwrap()
        .into_inner();
    assert!(
        status
            .warnings
            .iter()
            .any(|warning| warning.contains("85 %")),
        "{:?}",
        status.warnings
    );

    node.change(|script| script.capacity = capacity(64, 84));
    let ended = api.until_operation(&create.id, "succeeded").await;
    assert_eq!(ended.reason, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn room_is_reserved_and_comes_back_with_a_delete() {
    let world = World::start().await;
    let api = &world.api;
    let mut script = Script::default();
    // Room for one, the host's share included, and not for two.
    script.capacity.memory_bytes = 2 << 30;
    let node = world.node_with("one", script).await;
    let first = api.create("first").await;
    api.until_operation(&first.id, "succeeded").await;
    let need = api.store("first").await.unwrap().reserved_memory_bytes;
    assert!(need > 0);
    // What the node has beyond the host's share is exactly one store.
    node.change(|script| script.capacity.memory_bytes = need + (need / 3).min(1 << 30));
    let listed = async || {
        let answer = api.grpc().list_nodes(api::ListNodesRequest {}).await;
        answer.unwrap().into_inner().nodes.remove(0)
    };
    until("the node's room is known", async || {
        let seen = listed().await;
        if seen.memory_bytes < 2 << 30 && seen.memory_reserved_bytes == need {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        }
    })
    .await;
    let second = api.create("second").await;
    until_waits(&world, &second.id, "no_capacity").await;
    api.delete("first").await;
    api.until_operation(&second.id, "succeeded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scale_out_that_waits_for_room_is_cancelled_over_both_apis() {
    let world = World::start().await;
    let api = &world.api;
    let node = world.node("one").await;
    for name in ["shop", "other"] {
        let create = api.create(name).await;
        api.until_operation(&create.id, "succeeded").await;
    }
    let before = api.store("shop").await.unwrap();
    // What the node has beyond the host's share is exactly these two.
    let both = 2 * before.reserved_memory_bytes;
    let bytes = both + (both / 3).min(1 << 30);
    node.change(|script| script.capacity.memory_bytes = bytes);
    until("the node's room is known", async || {
        let answer = api.grpc().list_nodes(api::ListNodesRequest {}).await;
        let seen = answer.unwrap().into_inner().nodes.remove(0);
        if seen.memory_bytes == bytes {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        }
    })
    .await;
    for over_rest in [false, true] {
        let scale = What::Scale(api::ScaleChange {
            replicas: [("php-fpm".to_owned(), 2)].into(),
        });
        let scale = api.amend("shop", scale).await;
        until_waits(&world, &scale.id, "no_capacity").await;
        if over_rest {
            let path = format!("/api/v1/operations/{}/cancel", scale.id);
            let answer = api.rest("POST", &path, &[], None).await;
            assert_eq!(answer.status, 202, "{:?}", answer.body);
        } else {
            let request = api::CancelOperationRequest {
                id: scale.id.clone(),
                ..api::CancelOperationRequest::default()
            };
            api.grpc().cancel_operation(request).await.unwrap();
        }
        api.until_operation(&scale.id, "cancelled").await;
        api.until_store("shop", "it is as it was", |store| {
            store.status == "running" && store.reason.is_empty()
        })
        .await;
        let after = api.store("shop").await.unwrap();
        assert_eq!(after.scale, before.scale);
        assert_eq!(after.reserved_memory_bytes, before.reserved_memory_bytes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_keeps_new_stores_out_and_leaves_old_ones_alone() {
    let world = World::start().await;
    let api = &world.api;
    let full = world.node("full").await;
    let old = api.create("old").await;
    api.until_operation(&old.id, "succeeded").await;
    full.change(|script| script.capacity = capacity(640, 96));
    until("the alarm", async || {
        let status = api.grpc().get_status(api::GetStatusRequest {}).await;
        let warnings = status.unwrap().into_inner().warnings;
        if warnings.iter().any(|warning| warning.contains("96 %")) {
            Ok(())
        } else {
            Err(format!("{warnings:?}"))
        }
    })
    .await;
    // Emptier by far, and still not chosen.
    let other = world.node("other").await;
    let new = api.create("new").await;
    api.until_operation(&new.id, "succeeded").await;
    assert_eq!(api.store("new").await.unwrap().node, other.id());
    let old = api.store("old").await.unwrap();
    assert_eq!(
        (old.node.as_str(), old.status.as_str()),
        (full.id(), "running")
    );
    let stop = api.stop("old").await;
    api.until_operation(&stop.id, "succeeded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_at_once_all_serve_under_the_limit_and_no_organisation_starves() {
    let world = World::with(|config| config.provisioning.per_node = 3).await;
    let api = &world.api;
    small_organisation(&world).await;
    let script = Script {
        prepare: false,
        ..Script::default()
    };
    let creates = (0..20).map(|index| async move { api.create(&format!("big-{index}")).await });
    let mut operations = futures::future::join_all(creates).await;
    // Last in line, from somebody else.
    let mut late = crate::api::new_store("small");
    late.project = "small".to_owned();
    let late = api.try_create(late).await.unwrap();
    let nodes = [
        world.node_with("one", script.clone()).await,
        world.node_with("two", script).await,
    ];
    let held = || nodes.iter().map(|node| node.holds().len()).sum::<usize>();
    until("as many as may have started", async || match held() {
        6 => Ok(()),
        other => Err(format!("{other}")),
    })
    .await;
    let placed = api.store(&late.store_id).await.unwrap();
    assert_ne!(placed.node, "", "the small organisation has had its turn");
    until("all others say that they queue", async || {
        let mut queued = 0;
        for operation in &operations {
            let found = api.operation(&operation.id).await.unwrap();
            queued += usize::from(found.state == "pending" && found.reason == "queued");
        }
        if queued == 15 {
            Ok(())
        } else {
            Err(format!("{queued} of 21"))
        }
    })
    .await;
    assert_eq!(held(), 6, "no more than three on each");

    for node in &nodes {
        node.change(|script| script.prepare = true);
    }
    operations.push(late);
    for operation in &operations {
        api.until_operation(&operation.id, "succeeded").await;
    }
    let mut ids: Vec<String> = nodes
        .iter()
        .flat_map(|node| node.holds().into_keys())
        .collect();
    ids.sort();
    let mut expected: Vec<String> = operations.into_iter().map(|one| one.store_id).collect();
    expected.sort();
    assert_eq!(ids, expected, "each exactly once");
    for node in &nodes {
        assert!(node.holds().len() >= 8, "spread");
        assert_eq!(node.outdated(), Vec::<String>::new());
    }
}

/// There is no call yet that makes one.
async fn small_organisation(world: &World) {
    use sqlx::Connection as _;
    let url = format!("sqlite://{}", world.plane.database().display());
    let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
    for statement in [
        "INSERT INTO organisations (id, name, display_name, created_at) VALUES ('small', 'small', 'Small', 0)",
        "INSERT INTO projects (id, organisation_id, name, display_name, created_at) VALUES ('small', 'small', 'small', 'Small', 0)",
    ] {
        sqlx::query(statement).execute(&mut database).await.unwrap();
    }
    database.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_store_that_never_comes_up_holds_up_no_other() {
    let world = World::with(|config| config.provisioning.per_node = 2).await;
    let api = &world.api;
    let stuck = Script {
        shops: Behaviour::Crash {
            service: "db".to_owned(),
            exit_code: 1,
        },
        ..Script::default()
    };
    let _stuck = world.node_with("stuck", stuck).await;
    let bad = api.create("bad").await;
    api.until_store("bad", "its agent reports", |store| {
        store.observed_generation == 1
    })
    .await;
    let _good = world.node("good").await;
    for index in 0..4 {
        let mut request = crate::api::new_store(&format!("good-{index}"));
        request.node = _good.id().to_owned();
        let good = api.try_create(request).await.unwrap();
        api.until_operation(&good.id, "succeeded").await;
    }
    assert_eq!(api.operation(&bad.id).await.unwrap().state, "running");
}
