//! What operators want meanwhile: stop and delete while a store comes up, nodes that are gone, deadlines.

use control_plane::config::Span;

use crate::{
    node::{Retiring, Script},
    shop::Behaviour,
    world::{World, until},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_during_provisioning_wins() {
    let world = World::start().await;
    let api = &world.api;
    let script = Script {
        shops: Behaviour::Starting,
        ..Script::default()
    };
    let node = world.node_with("one", script).await;
    let create = api.create("demo").await;
    api.until_store("demo", "its agent reports", |store| {
        store.observed_generation == 1
    })
    .await;
    let stop = api.stop("demo").await;
    let create = api.until_operation(&create.id, "cancelled").await;
    assert_eq!(create.reason, "superseded");
    api.until_status("demo", "stopping").await;
    node.change(|script| script.shops = Behaviour::Serve);
    api.until_operation(&stop.id, "succeeded").await;
    api.until_status("demo", "stopped").await;

    let start = api.start("demo").await;
    api.until_operation(&start.id, "succeeded").await;
    api.until_status("demo", "running").await;
    assert_eq!(node.outdated(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_before_there_is_a_node_holds_when_one_joins() {
    let world = World::start().await;
    let api = &world.api;
    let create = api.create("demo").await;
    let stop = api.stop("demo").await;
    api.until_operation(&create.id, "cancelled").await;
    api.until_operation(&stop.id, "succeeded").await;
    api.until_status("demo", "stopped").await;
    let node = world.node("one").await;
    // Another store proves that the placer has looked.
    api.create("other").await;
    api.until_status("other", "running").await;
    assert_eq!(node.holds().len(), 1);
    let start = api.start("demo").await;
    api.until_operation(&start.id, "succeeded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_wins_at_every_stage() {
    for stage in ["unplaced", "assigned", "prepared", "reporting", "running"] {
        let world = World::start().await;
        let api = &world.api;
        let script = Script {
            prepare: stage != "assigned",
            vouch: stage != "prepared",
            shops: match stage {
                "running" => Behaviour::Serve,
                _ => Behaviour::Starting,
            },
            ..Script::default()
        };
        let node = match stage {
            "unplaced" => None,
            _ => Some(world.node_with("one", script).await),
        };
        let create = api.create("demo").await;
        let id = create.store_id.clone();
        if let Some(node) = &node {
            node.until_holds(&id).await;
        }
        if matches!(stage, "reporting" | "running") {
            api.until_store("demo", "its agent reports", |store| {
                store.observed_generation == 1
            })
            .await;
        }
        if stage == "running" {
            api.until_operation(&create.id, "succeeded").await;
        }
        let delete = api.delete("demo").await;
        api.until_operation(&delete.id, "succeeded").await;
        api.until_gone("demo").await;
        let ended = api.operation(&create.id).await.unwrap();
        let expected = if stage == "running" {
            "succeeded"
        } else {
            "cancelled"
        };
        assert_eq!(ended.state, expected, "{stage}");
        if let Some(node) = &node {
            until("nothing is left, no tombstone either", async || {
                match (node.holds().len(), node.tombstones().len()) {
                    (0, 0) => Ok(()),
                    left => Err(format!("{stage}: {left:?}")),
                }
            })
            .await;
        }
        // The name is free again; the id is not used again.
        let again = api.create("demo").await;
        assert_ne!(again.store_id, id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_waits_for_a_node_that_is_gone_and_says_so() {
    let world = World::with(|config| {
        config.provisioning.unreachable_after = "200ms".parse::<Span>().unwrap();
    })
    .await;
    let api = &world.api;
    let node = world.node("one").await;
    api.create("demo").await;
    let id = api.until_status("demo", "running").await.id;
    node.change(|script| script.connected = false);
    let store = api.until_status("demo", "unreachable").await;
    assert_eq!(store.reason, "node_unreachable");
    let delete = api.delete("demo").await;
    let store = api
        .until_store("demo", "deletion waits", |store| {
            store.status == "deleting" && store.reason == "node_unreachable"
        })
        .await;
    assert!(store.message.contains("node"), "{}", store.message);
    let waiting = api.operation(&delete.id).await.unwrap();
    assert_eq!(
        (waiting.state.as_str(), waiting.reason.as_str()),
        ("running", "node_unreachable")
    );
    assert_eq!(node.holds().keys().collect::<Vec<_>>(), [&id]);

    // Back, but something keeps it from finishing: that is said too.
    node.change(|script| {
        script.connected = true;
        script.retiring = Retiring::Stall;
    });
    until("the tombstone is told", async || {
        let found = api.operation(&delete.id).await.unwrap();
        let step = found.steps.iter().find(|step| step.name == "tombstoned");
        match step {
            Some(step) if step.state == "done" => Ok(()),
            _ => Err(format!("{found:?}")),
        }
    })
    .await;
    assert_eq!(api.store("demo").await.unwrap().status, "deleting");
    node.change(|script| script.retiring = Retiring::Finish);
    api.until_operation(&delete.id, "succeeded").await;
    api.until_gone("demo").await;
    assert_eq!(node.outdated(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crashing_service_fails_the_create_at_the_deadline_and_delete_cleans_up() {
    let world = World::with(|config| {
        config.provisioning.deadline = "4s".parse::<Span>().unwrap();
    })
    .await;
    let api = &world.api;
    let script = Script {
        shops: Behaviour::Crash {
            service: "db".to_owned(),
            exit_code: 137,
        },
        ..Script::default()
    };
    let node = world.node_with("one", script).await;
    let create = api.create("demo").await;
    let failed = api.until_operation(&create.id, "failed").await;
    assert_eq!(failed.reason, "deadline_exceeded");
    for word in ["db", "crash_looping", "137", "demo"] {
        assert!(failed.message.contains(word), "{}", failed.message);
    }
    assert_eq!(failed.replicas[0].exit_code, 137);
    assert_eq!(failed.steps.last().unwrap().name, "serving");
    assert!(
        failed.steps.iter().any(|step| step.state == "failed"),
        "{failed:?}"
    );
    let store = api.until_status("demo", "failed").await;
    assert_eq!(store.reason, "deadline_exceeded");
    assert!(store.message.contains("137"), "{}", store.message);

    let delete = api.delete("demo").await;
    api.until_operation(&delete.id, "succeeded").await;
    until("nothing is left", async || {
        if node.holds().is_empty() {
            Ok(())
        } else {
            Err("something".to_owned())
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_stands_while_secrets_are_awaited() {
    let world = World::with(|config| {
        config.provisioning.deadline = "4s".parse::<Span>().unwrap();
    })
    .await;
    let api = &world.api;
    let script = |shops| Script {
        shops,
        ..Script::default()
    };
    let node = world
        .node_with("one", script(Behaviour::AwaitSecrets))
        .await;
    let create = api.create("waiting").await;
    api.until_status("waiting", "awaiting_secrets").await;
    // A store whose clock runs reaches its deadline meanwhile.
    let silent = world.node_with("two", script(Behaviour::Silent)).await;
    let mut request = crate::api::new_store("silent");
    request.node = silent.id().to_owned();
    let other = api.try_create(request).await.unwrap();
    let failed = api.until_operation(&other.id, "failed").await;
    assert_eq!(failed.reason, "deadline_exceeded");
    assert_eq!(api.operation(&create.id).await.unwrap().state, "running");
    node.change(|script| script.shops = Behaviour::Serve);
    api.until_operation(&create.id, "succeeded").await;
}
