//! Nodes and shop agents with good certificates and bad words: each can speak only for itself, and never for long.

use shop_proto::wire::{
    admin::v1 as api,
    agent::v1::AgentMessage,
    agent::v1::agent_message::Message as ShopUp,
    common::v1 as common,
    enrollment::v1::EnrollResponse,
    node::v1::{self as wire, control_message::Message as Down, node_message::Message as Up},
};
use tonic::Code;

use crate::{
    client::{
        AgentSession, Key, NodeSession, agent_hello, agent_session_with, enrol_store, join,
        node_hello, node_session,
    },
    node::{Node, Retiring, Script, retire_status},
    shop::{Behaviour, report},
    world::{World, until},
};

/// A node of ours that says what a test wants. It has no room, so nothing is placed on it.
struct Liar {
    credential: EnrollResponse,
    key: Key,
    session: NodeSession,
}

async fn liar(world: &World, inventory: Vec<wire::InventoryItem>) -> Liar {
    let request = api::CreateJoinTokenRequest::default();
    let token = world.api.grpc().create_join_token(request).await;
    let token = token.unwrap().into_inner().token;
    let target = world.plane.place().borrow().target.clone();
    let key = Key::new();
    let credential = join(&target, &token, &key).await.unwrap();
    let mut hello = node_hello(shop_proto::PROTOCOL);
    if let Some(Up::Hello(hello)) = &mut hello.message {
        hello.inventory = inventory;
    }
    let session = node_session(&target, (&credential, &key), hello)
        .await
        .unwrap();
    Liar {
        credential,
        key,
        session,
    }
}

impl Liar {
    async fn say(&self, message: Up) {
        let message = wire::NodeMessage {
            message: Some(message),
        };
        self.session.up.send(message).await.unwrap();
    }

    /// Everything said before has been taken in when this is known.
    async fn marked(&self, world: &World) {
        let full = wire::Capacity {
            disk_total_bytes: 100,
            disk_free_bytes: 1,
            ..wire::Capacity::default()
        };
        self.say(Up::Capacity(full)).await;
        until("the liar's last word is in", async || {
            let nodes = world.api.grpc().list_nodes(api::ListNodesRequest {}).await;
            let nodes = nodes.unwrap().into_inner().nodes;
            let marked = |node: &api::Node| {
                node.id == self.credential.node_id && node.status == "disk_pressure"
            };
            if nodes.iter().any(marked) {
                Ok(())
            } else {
                Err(format!("{nodes:?}"))
            }
        })
        .await;
    }
}

/// The session of a shop agent whose own voice is silenced.
async fn possessed(world: &World, node: &Node, store: &str) -> AgentSession {
    node.silence(store);
    let (credential, key) = node
        .shop(store, |shop| shop.credential())
        .flatten()
        .unwrap();
    let desired = node.shop(store, |shop| shop.desired()).flatten().unwrap();
    let mut hello = agent_hello(desired.generation);
    if let Some(ShopUp::Hello(hello)) = &mut hello.message {
        hello.spec_digest = desired.spec_digest;
    }
    let target = world.plane.place().borrow().target.clone();
    agent_session_with(&target, (&credential, &key), hello)
        .await
        .unwrap()
}

async fn say(session: &AgentSession, message: ShopUp) {
    let message = AgentMessage {
        message: Some(message),
    };
    session.up.send(message).await.unwrap();
}

fn event(code: &str, message: &str) -> ShopUp {
    ShopUp::Event(common::Event {
        code: code.to_owned(),
        severity: "info".to_owned(),
        message: message.to_owned(),
        ..common::Event::default()
    })
}

/// Everything that a session said before has been taken in when this event is known.
async fn marked(world: &World, session: &AgentSession, store: &str) -> Vec<api::StoreEvent> {
    say(session, event("marker", "")).await;
    until("the marker is in", async || {
        let events = world.api.events(store).await;
        if events.iter().any(|event| event.code == "marker") {
            Ok(events)
        } else {
            Err(format!("{events:?}"))
        }
    })
    .await
}

async fn running(world: &World, name: &str) -> String {
    let create = world.api.create(name).await;
    world.api.until_operation(&create.id, "succeeded").await;
    create.store_id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_agent_speaks_for_its_own_store_alone() {
    let world = World::start().await;
    let node = world.node("one").await;
    let (a, b) = (
        running(&world, "shop-a").await,
        running(&world, "shop-b").await,
    );
    let session = possessed(&world, &node, &a).await;
    let of_b = node.shop(&b, |shop| shop.desired()).flatten().unwrap();
    let crash = Behaviour::Crash {
        service: "db".to_owned(),
        exit_code: 1,
    };
    // What B's agent would say: no field names a store, so it counts for A, and there it fits no spec.
    say(&session, ShopUp::Report(report(&of_b, &crash))).await;
    say(&session, event("lie", "about b")).await;
    marked(&world, &session, "shop-a").await;
    assert_eq!(world.api.store("shop-b").await.unwrap().status, "running");
    let told = world.api.events("shop-b").await;
    assert!(told.iter().all(|event| event.code != "lie"), "{told:?}");

    // Its certificate opens no node's session, and no node's opens a shop's.
    let target = world.plane.place().borrow().target.clone();
    let (credential, key) = node.shop(&a, |shop| shop.credential()).flatten().unwrap();
    let refused = node_session(
        &target,
        (&credential, &key),
        node_hello(shop_proto::PROTOCOL),
    )
    .await;
    assert_eq!(refused.err().unwrap().code(), Code::PermissionDenied);
    let refused = agent_session_with(&target, node.credential(), agent_hello(1)).await;
    assert_eq!(refused.err().unwrap().code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_report_and_an_absurd_generation_change_nothing_for_others() {
    let world = World::start().await;
    let api = &world.api;
    let node = world.node("one").await;
    let (a, _b) = (
        running(&world, "shop-a").await,
        running(&world, "shop-b").await,
    );
    let old = node.shop(&a, |shop| shop.desired()).flatten().unwrap();
    let stop = api.stop("shop-a").await;
    api.until_operation(&stop.id, "succeeded").await;
    let session = possessed(&world, &node, &a).await;
    say(&session, ShopUp::Report(report(&old, &Behaviour::Serve))).await;
    marked(&world, &session, "shop-a").await;
    let store = api.store("shop-a").await.unwrap();
    assert_eq!((store.status.as_str(), store.generation), ("stopped", 2));

    let mut absurd = report(&old, &Behaviour::Serve);
    absurd.generation = u64::MAX;
    absurd.restart_seq = u64::MAX;
    say(&session, ShopUp::Report(absurd)).await;
    api.until_store("shop-a", "is suspicious", |store| {
        store.status != "stopped" || !store.reason.is_empty()
    })
    .await;
    assert_eq!(api.store("shop-b").await.unwrap().status, "running");
    let delete = api.delete("shop-a").await;
    api.until_operation(&delete.id, "succeeded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_vouches_for_its_own_stores_alone() {
    let world = World::start().await;
    let api = &world.api;
    let script = Script {
        vouch: false,
        ..Script::default()
    };
    let node = world.node_with("honest", script).await;
    let create = api.create("demo").await;
    node.until_holds(&create.store_id).await;
    let mut liar = liar(&world, Vec::new()).await;
    let stolen = Key::new();
    liar.say(Up::Vouch(wire::Vouch {
        store_id: create.store_id.clone(),
        spki_sha256: stolen.spki().to_string(),
        sealing_public_key: vec![6; 32],
    }))
    .await;
    liar.marked(&world).await;
    let target = world.plane.place().borrow().target.clone();
    enrol_store(&target, &create.store_id, &stolen)
        .await
        .unwrap_err();
    let (entries, ..) = api.audit().await;
    let denied = entries
        .iter()
        .find(|entry| entry.action == "store.vouch")
        .unwrap();
    assert_eq!(denied.decision, "denied");
    assert_eq!(denied.actor, format!("node:{}", liar.credential.node_id));
    assert!(
        api.store("demo")
            .await
            .unwrap()
            .sealing_public_key
            .is_empty()
    );

    node.change(|script| script.vouch = true);
    api.until_operation(&create.id, "succeeded").await;
    // The other key is no better now.
    enrol_store(&target, &create.store_id, &stolen)
        .await
        .unwrap_err();
    liar.session
        .up
        .send(node_hello(shop_proto::PROTOCOL))
        .await
        .unwrap();
    let ended = loop {
        match liar.session.order().await {
            Ok(Some(order)) => assert!(!matches!(order.message, Some(Down::VouchRecorded(_)))),
            Ok(None) => panic!("a second Hello ends a session with a reason"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::InvalidArgument);
    world.verify_audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gone_counts_from_the_stores_own_node_and_only_for_a_deletion() {
    let world = World::start().await;
    let api = &world.api;
    let script = Script {
        retiring: Retiring::Stall,
        ..Script::default()
    };
    let node = world.node_with("honest", script).await;
    let id = running(&world, "demo").await;
    let liar = liar(&world, Vec::new()).await;
    let gone = |generation| Up::RetireStatus(retire_status(&id, generation, "gone"));
    liar.say(gone(1)).await;
    // And from its own node, when nobody has asked for it.
    node.say(gone(1)).await;
    let delete = api.delete("demo").await;
    liar.say(gone(2)).await;
    liar.marked(&world).await;
    // Its own node, about the generation before.
    node.say(gone(1)).await;
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
    assert_eq!(node.tombstones(), [id]);
    node.change(|script| script.retiring = Retiring::Finish);
    api.until_operation(&delete.id, "succeeded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absurdly_long_words_are_cut_or_dropped_and_the_session_goes_on() {
    let world = World::start().await;
    let node = world.node("one").await;
    let id = running(&world, "demo").await;
    let session = possessed(&world, &node, &id).await;
    let long = "x".repeat(600_000);
    say(&session, event("long", &format!("{long}\u{1b}[2J"))).await;
    say(&session, event(&long, "a code without end")).await;
    let desired = node.shop(&id, |shop| shop.desired()).flatten().unwrap();
    let mut wordy = report(&desired, &Behaviour::Serve);
    wordy.message.clone_from(&long);
    say(&session, ShopUp::Report(wordy.clone())).await;
    wordy.steps = vec![common::StepStatus::default(); 10_000];
    say(&session, ShopUp::Report(wordy)).await;
    let mut wordy = report(&desired, &Behaviour::Serve);
    wordy.reason = long;
    say(&session, ShopUp::Report(wordy)).await;
    let events = marked(&world, &session, "demo").await;
    let cut = events.iter().find(|event| event.code == "long").unwrap();
    assert!(
        (1..=1024).contains(&cut.message.len()),
        "{}",
        cut.message.len()
    );
    assert!(events.iter().all(|event| event.code.len() <= 128));
    let store = world.api.store("demo").await.unwrap();
    assert_eq!(store.status, "running");
    assert!(store.message.len() <= 1024);

    // Larger than any message may be: the session ends, the store does not.
    let huge = "x".repeat(8 << 20);
    say(&session, event("huge", &huge)).await;
    session.up.closed().await;
    assert_eq!(world.api.store("demo").await.unwrap().status, "running");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_that_nobody_placed_are_said_and_left_alone() {
    let world = World::start().await;
    let api = &world.api;
    let node = world.node("one").await;
    let id = running(&world, "demo").await;
    let item = |store: &str, state: &str| wire::InventoryItem {
        store_id: store.to_owned(),
        generation: 7,
        spec_digest: String::new(),
        state: state.to_owned(),
    };
    // One that does not exist, and one that lives elsewhere.
    let inventory = vec![
        item("zzzzzzzzzzzz", "assigned"),
        item(&id, "assigned"),
        item("yyyyyyyyyyyy", "retiring"),
    ];
    let mut liar = liar(&world, inventory).await;
    let warning = until("the orphans are said", async || {
        let status = api.grpc().get_status(api::GetStatusRequest {}).await;
        let warnings = status.unwrap().into_inner().warnings;
        let found = warnings.iter().find(|text| text.contains("zzzzzzzzzzzz"));
        found.cloned().ok_or_else(|| format!("{warnings:?}"))
    })
    .await;
    assert!(warning.contains(&id), "{warning}");
    let events = api.events("demo").await;
    assert!(events.iter().any(|it| it.code == "orphan"), "{events:?}");
    liar.marked(&world).await;
    // Whatever the liar is told in its life, it is no order about a store.
    world_ends(world, &mut liar, &node).await;
}

async fn world_ends(mut world: World, liar: &mut Liar, node: &Node) {
    let held = node.holds();
    world.plane.stop().await;
    while let Ok(Some(order)) = liar.session.order().await {
        assert!(
            !matches!(order.message, Some(Down::Retire(_) | Down::Assignment(_))),
            "{order:?}"
        );
    }
    assert_eq!(node.holds(), held);
    assert!(!liar.key.csr.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_shop_agent_that_never_stops_talking_slows_down_no_other() {
    let world = World::start().await;
    let node = world.node("one").await;
    let loud = running(&world, "loud").await;
    let session = possessed(&world, &node, &loud).await;
    let desired = node.shop(&loud, |shop| shop.desired()).flatten().unwrap();
    let crash = Behaviour::Crash {
        service: "db".to_owned(),
        exit_code: 1,
    };
    let reports = [
        report(&desired, &crash),
        report(&desired, &Behaviour::Serve),
    ];
    let up = session.up.clone();
    let talking = tokio::spawn(async move {
        for report in reports.iter().cycle() {
            let message = AgentMessage {
                message: Some(ShopUp::Report(report.clone())),
            };
            if up.send(message).await.is_err() {
                return;
            }
        }
    });
    for index in 0..4 {
        running(&world, &format!("quiet-{index}")).await;
    }
    assert!(
        !talking.is_finished(),
        "its session is slowed down, not ended"
    );
    // And it is still heard: its own store can be deleted all the while.
    let delete = world.api.delete("loud").await;
    world.api.until_operation(&delete.id, "succeeded").await;
    talking.abort();
}
