//! Another revision for a live store: taken, tried and taken back, halted, finished while nobody looked; and what changes beside it.

use shop_proto::wire::admin::v1::{self as api, amend_store_request::What};

use crate::{
    api::told,
    node::{Node, Script},
    shop::Behaviour,
    world::{World, until},
};

fn name(shop: &str) -> What {
    What::Update(api::UpdateChange {
        parameters: [("shop_name".to_owned(), shop.to_owned())].into(),
        ..api::UpdateChange::default()
    })
}

fn updating(serving: u64, phase: &'static str, reason: &'static str) -> Script {
    Script {
        shops: Behaviour::Updating {
            serving,
            phase,
            reason,
        },
        ..Script::default()
    }
}

async fn running(world: &World) -> Node {
    let node = world.node("one").await;
    let create = world.api.create("demo").await;
    world.api.until_operation(&create.id, "succeeded").await;
    node
}

fn act(node: &Node, script: Script) {
    node.change(|it| it.shops = script.shops);
}

async fn until_step(world: &World, operation: &str, step: &str, state: &str) {
    until(&format!("step {step} is {state}"), async || {
        let found = world.api.operation(operation).await.unwrap();
        match found.steps.iter().find(|it| it.name == step) {
            Some(it) if it.state == state => Ok(()),
            _ => Err(format!("{found:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_goes_through_its_phases_and_can_be_taken_back_by_word() {
    let world = World::start().await;
    let api = &world.api;
    let node = running(&world).await;
    act(&node, updating(1, "preparing", ""));
    let update = api.amend("demo", name("Two")).await;
    assert_eq!(update.kind, "update");
    until_step(&world, &update.id, "prepare", "running").await;
    // Buyers are served all the while.
    let store = api
        .until_store("demo", "it says that it updates", |store| {
            store.reason == "updating"
        })
        .await;
    assert_eq!(
        (store.status.as_str(), store.serving_revision),
        ("running", 1)
    );
    act(&node, updating(1, "checking", ""));
    until_step(&world, &update.id, "check", "running").await;
    act(&node, updating(1, "switched", ""));
    until_step(&world, &update.id, "switch", "done").await;
    node.change(|script| script.shops = Behaviour::Serve);
    api.until_operation(&update.id, "succeeded").await;
    let expected = [(2, "serving".to_owned()), (1, "superseded".to_owned())];
    assert_eq!(api.revisions("demo").await, expected);

    let back = api
        .amend("demo", What::Rollback(api::RollbackChange::default()))
        .await;
    api.until_operation(&back.id, "succeeded").await;
    let store = api.store("demo").await.unwrap();
    assert_eq!((store.revision, store.serving_revision), (1, 1));
    assert_eq!(node.outdated(), Vec::<String>::new());
    world.verify_audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_agent_took_back_is_not_wanted_any_more() {
    let world = World::start().await;
    let api = &world.api;
    let node = running(&world).await;
    act(&node, updating(1, "rolled_back", "update_not_ready"));
    let update = api.amend("demo", name("Bad")).await;
    let failed = api.until_operation(&update.id, "failed").await;
    assert_eq!(failed.reason, "update_not_ready");
    assert!(failed.message.contains("exits with code 1"), "{failed:?}");
    let store = api
        .until_store("demo", "the serving revision is wanted again", |store| {
            store.revision == 1 && store.observed_generation == store.generation
        })
        .await;
    assert_eq!(store.status, "running");
    // Once: another report does not make another generation.
    let generation = store.generation;
    node.change(|script| script.uplink = false);
    node.change(|script| script.uplink = true);
    api.stop("demo").await;
    let stopped = api.until_status("demo", "stopped").await;
    assert_eq!(stopped.generation, generation + 1);
    let revisions = api.revisions("demo").await;
    assert_eq!(revisions[0], (2, "held_back".to_owned()));
    let events = api.events("demo").await;
    let told = events
        .iter()
        .filter(|event| event.code == "revision_held_back");
    assert_eq!(told.count(), 1);
    let (audit, ..) = api.audit().await;
    assert!(
        audit
            .iter()
            .any(|entry| entry.action == "store.take_back" && entry.actor == "system")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_halted_update_stays_where_it_is_and_asks() {
    let world = World::start().await;
    let api = &world.api;
    let node = running(&world).await;
    act(&node, updating(1, "halted", "update_bad_minute"));
    let update = api.amend("demo", name("Stuck")).await;
    let failed = api.until_operation(&update.id, "failed").await;
    assert_eq!(failed.reason, "halted");
    let store = api.until_status("demo", "degraded").await;
    assert_eq!((store.reason.as_str(), store.revision), ("halted", 2));
    // Mended from outside, it goes on from there.
    node.change(|script| script.shops = Behaviour::Serve);
    api.until_store("demo", "it serves after all", |store| {
        store.serving_revision == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_completes_while_the_control_plane_is_away() {
    for ends_well in [true, false] {
        let mut world = World::process(|_| {}).await;
        let node = running(&world).await;
        act(&node, updating(1, "preparing", ""));
        let update = world.api.amend("demo", name("Away")).await;
        until_step(&world, &update.id, "prepare", "running").await;
        world.plane.kill();
        if ends_well {
            node.change(|script| script.shops = Behaviour::Serve);
        } else {
            act(&node, updating(1, "rolled_back", "update_bad_minute"));
        }
        world.plane.spawn().await;
        let state = if ends_well { "succeeded" } else { "failed" };
        world.api.until_operation(&update.id, state).await;
        let wanted = if ends_well { 2 } else { 1 };
        let store = world
            .api
            .until_store("demo", "it is caught up with", |store| {
                store.revision == wanted && store.serving_revision == wanted
            })
            .await;
        assert_eq!(store.status, "running");
        assert_eq!(node.outdated(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_writes_nothing_and_there_is_no_unasked_way_without_return() {
    let world = World::start().await;
    let api = &world.api;
    running(&world).await;
    let before = api.store("demo").await.unwrap();
    let answer = api.try_amend("demo", name("Dry"), true).await.unwrap();
    let Some(api::amend_store_response::Answer::Preview(preview)) = answer.answer else {
        panic!("{answer:?}");
    };
    assert_eq!((preview.from_revision, preview.to_revision), (1, 2));
    assert!(preview.slots, "{preview:?}");
    let to_three = What::Update(api::UpdateChange {
        template: "refshop@3".to_owned(),
        ..api::UpdateChange::default()
    });
    let refused = api.try_amend("demo", to_three, false).await.unwrap_err();
    assert_eq!(told(&refused).0, "irreversible", "{refused:?}");
    assert!(refused.message().contains("--allow-irreversible"));
    assert_eq!(api.store("demo").await.unwrap(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pausing_frees_room_and_waking_waits_for_it() {
    let world = World::start().await;
    let api = &world.api;
    let node = running(&world).await;
    let needs = api.store("demo").await.unwrap().reserved_memory_bytes;
    // Room for one store and a half, beside what the host keeps for itself.
    node.change(|script| {
        script.capacity.memory_bytes = (1 << 30) + needs + needs / 2;
    });
    let pause = api.amend("demo", What::Pause(api::PauseChange {})).await;
    api.until_operation(&pause.id, "succeeded").await;
    let paused = api.until_status("demo", "paused").await;
    assert_eq!(paused.reserved_memory_bytes, 0);
    let other = api.create("other").await;
    api.until_operation(&other.id, "succeeded").await;
    let wake = api.amend("demo", What::Wake(api::WakeChange {})).await;
    let waiting = api
        .until_store("demo", "it waits for room", |store| {
            store.status == "pending" && store.reason == "no_capacity"
        })
        .await;
    assert!(waiting.message.contains("MiB"), "{}", waiting.message);
    api.amend("other", What::Pause(api::PauseChange {})).await;
    api.until_operation(&wake.id, "succeeded").await;
    api.until_status("demo", "running").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scale_maintenance_and_hold_leave_the_store_serving() {
    let world = World::start().await;
    let api = &world.api;
    let _node = running(&world).await;
    let scale = What::Scale(api::ScaleChange {
        replicas: [("web".to_owned(), 2), ("php-fpm".to_owned(), 3)].into(),
    });
    let before = api.store("demo").await.unwrap().reserved_memory_bytes;
    let scaled = api.amend("demo", scale).await;
    api.until_operation(&scaled.id, "succeeded").await;
    let store = api.store("demo").await.unwrap();
    assert_eq!(store.scale.get("php-fpm"), Some(&3));
    assert!(store.reserved_memory_bytes > before);
    let on = What::Maintenance(api::MaintenanceChange { on: true });
    let on = api.amend("demo", on).await;
    api.until_operation(&on.id, "succeeded").await;
    api.until_store("demo", "the page is shown", |store| {
        store.status == "running" && store.reason == "maintenance"
    })
    .await;
    let hold = api
        .amend("demo", What::Hold(api::HoldChange { for_seconds: 60 }))
        .await;
    api.until_operation(&hold.id, "succeeded").await;
    assert!(!api.store("demo").await.unwrap().hold_until.is_empty());
    let release = api
        .amend("demo", What::Release(api::ReleaseChange {}))
        .await;
    api.until_operation(&release.id, "succeeded").await;
    assert!(api.store("demo").await.unwrap().hold_until.is_empty());
}
