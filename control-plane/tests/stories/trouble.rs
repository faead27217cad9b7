//! Bad days that end well: missing images, refusals, lost disks, removed nodes, deadlines that passed while nobody was there.

use control_plane::config::Span;
use shop_proto::wire::admin::v1 as api;
use tonic::Code;

use crate::{
    api::told,
    client::{node_hello, node_session},
    node::Script,
    shop::Behaviour,
    world::{World, until},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_image_is_said_and_the_create_goes_on_once_it_is_there() {
    let world = World::start().await;
    let api = &world.api;
    let script = Script {
        trouble: Some("image_missing"),
        ..Script::default()
    };
    let node = world.node_with("one", script).await;
    let create = api.create("demo").await;
    let seen = until("the reason is shown", async || {
        let found = api.operation(&create.id).await.unwrap();
        if found.reason == "image_missing" {
            Ok(found)
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await;
    assert_eq!(seen.state, "running");
    assert_eq!(api.store("demo").await.unwrap().reason, "image_missing");
    node.change(|script| script.trouble = None);
    let ended = api.until_operation(&create.id, "succeeded").await;
    assert_eq!(ended.reason, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn digests_that_differ_are_refused_audited_and_over_with_a_new_generation() {
    let world = World::start().await;
    let api = &world.api;
    let script = Script {
        shops: Behaviour::Refuse {
            code: "plan_mismatch",
        },
        ..Script::default()
    };
    let node = world.node_with("one", script).await;
    let create = api.create("demo").await;
    let store = api
        .until_store("demo", "the refusal is shown", |store| {
            store.reason == "plan_mismatch"
        })
        .await;
    assert_eq!(store.status, "provisioning");
    let (entries, ..) = api.audit().await;
    let denied = entries
        .iter()
        .find(|entry| entry.decision == "denied" && entry.reason == "plan_mismatch");
    let denied = denied.unwrap_or_else(|| panic!("{entries:?}"));
    assert_eq!(denied.subject, format!("store:{}", store.id));

    node.change(|script| script.shops = Behaviour::Serve);
    let stop = api.stop("demo").await;
    api.until_operation(&create.id, "cancelled").await;
    api.until_operation(&stop.id, "succeeded").await;
    let start = api.start("demo").await;
    api.until_operation(&start.id, "succeeded").await;
    world.verify_audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_its_disk_is_told_everything_again() {
    let world = World::start().await;
    let api = &world.api;
    let node = world.node("one").await;
    for name in ["first", "second"] {
        let create = api.create(name).await;
        api.until_operation(&create.id, "succeeded").await;
    }
    let stop = api.stop("second").await;
    api.until_operation(&stop.id, "succeeded").await;
    let held = node.holds();
    node.lose_everything().await;
    until(
        "it holds all again, and the agents have new keys",
        async || {
            let now = node.holds();
            let told = |id: &String| node.shop(id, |shop| shop.desired()).flatten().is_some();
            if now == held && held.keys().all(told) {
                Ok(())
            } else {
                Err(format!("{now:?}"))
            }
        },
    )
    .await;
    api.until_status("first", "running").await;
    api.until_status("second", "stopped").await;
    assert_eq!(node.outdated(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_stores_stays_and_a_removed_one_is_out_for_good() {
    let world = World::start().await;
    let api = &world.api;
    let node = world.node("one").await;
    let create = api.create("demo").await;
    api.until_operation(&create.id, "succeeded").await;
    let remove = || api::RemoveNodeRequest {
        node: node.id().to_owned(),
        reason: "retired".to_owned(),
    };
    let refused = api.grpc().remove_node(remove()).await.unwrap_err();
    assert_eq!(told(&refused).0, "node_has_stores");
    let delete = api.delete("demo").await;
    api.until_operation(&delete.id, "succeeded").await;
    api.grpc().remove_node(remove()).await.unwrap();
    let target = world.plane.place().borrow().target.clone();
    until("its certificate is good for nothing", async || {
        let hello = node_hello(shop_proto::PROTOCOL);
        match node_session(&target, node.credential(), hello).await {
            Err(_) => Ok(()),
            Ok(mut session) => match session.order().await {
                Err(status) if status.code() == Code::PermissionDenied => Ok(()),
                other => Err(format!("{other:?}")),
            },
        }
    })
    .await;
    let nodes = api.grpc().list_nodes(api::ListNodesRequest {}).await;
    assert!(nodes.unwrap().into_inner().nodes.is_empty());
    let waiting = api.create("next").await;
    until("nothing goes to a removed node", async || {
        let found = api.operation(&waiting.id).await.unwrap();
        if found.reason == "no_nodes" {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_that_passes_while_the_control_plane_is_away_counts() {
    let mut world = World::with(|config| {
        config.provisioning.deadline = "1s".parse::<Span>().unwrap();
    })
    .await;
    let api = world.api.clone();
    let script = Script {
        shops: Behaviour::Starting,
        ..Script::default()
    };
    let node = world.node_with("one", script).await;
    let create = api.create("demo").await;
    node.until_holds(&create.store_id).await;
    world.plane.stop().await;
    let asked = std::time::Instant::now();
    until("the deadline has passed", async || {
        if asked.elapsed() > std::time::Duration::from_secs(1) {
            Ok(())
        } else {
            Err(format!("{:?}", asked.elapsed()))
        }
    })
    .await;
    world.plane.start().await;
    let failed = api.until_operation(&create.id, "failed").await;
    assert_eq!(failed.reason, "deadline_exceeded");

    // Given up is not the end: it may be started again, and what serves after all is shown as serving.
    node.change(|script| script.shops = Behaviour::Serve);
    api.until_status("demo", "running").await;
    assert_eq!(api.operation(&create.id).await.unwrap().state, "failed");
    let stop = api.stop("demo").await;
    api.until_operation(&stop.id, "succeeded").await;
    let start = api.start("demo").await;
    api.until_operation(&start.id, "succeeded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_ends_when_the_agent_has_done_it() {
    let world = World::start().await;
    let api = &world.api;
    let node = world.node("one").await;
    let create = api.create("demo").await;
    api.until_operation(&create.id, "succeeded").await;
    node.change(|script| script.shops = Behaviour::Starting);
    api.until_status("demo", "degraded").await;
    let restart = api.grpc().restart_store(crate::api::act("demo")).await;
    let restart = restart.unwrap().into_inner();
    let delivered = |found: &api::Operation| {
        let mut steps = found.steps.iter();
        steps.any(|step| step.name == "delivered" && step.state == "done")
    };
    until("the agent knows", async || {
        let found = api.operation(&restart.id).await.unwrap();
        if delivered(&found) {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await;
    assert_eq!(api.operation(&restart.id).await.unwrap().state, "running");
    node.change(|script| script.shops = Behaviour::Serve);
    api.until_operation(&restart.id, "succeeded").await;
    let held = node.shop(&create.store_id, |shop| shop.desired()).flatten();
    assert_eq!(held.unwrap().spec.unwrap().restart_seq, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_roster_reaches_who_is_there_and_who_comes_later() {
    let world = World::start().await;
    let api = &world.api;
    let first = world.node("one").await;
    let create = api.create("demo").await;
    api.until_operation(&create.id, "succeeded").await;
    let roster = api::PutRosterRequest {
        document: b"a roster, judged by agents".to_vec(),
        signature: vec![1; 64],
    };
    api.grpc().put_roster(roster.clone()).await.unwrap();
    let until_known = async |node: &crate::node::Node, copies: usize| {
        until("the roster is known", async || {
            let seen = node.rosters();
            if seen == vec![roster.document.clone(); copies] {
                Ok(())
            } else {
                Err(format!("{seen:?}"))
            }
        })
        .await;
    };
    until_known(&first, 2).await;
    let second = world.node("two").await;
    until_known(&second, 1).await;
}
