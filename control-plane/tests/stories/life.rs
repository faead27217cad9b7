//! A store's life as an operator sees it.

use shop_proto::wire::admin::v1 as api;
use tonic::Code;

use crate::{
    node::Script,
    shop::Behaviour,
    world::{World, until},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_create_to_running_step_by_step() {
    let world = World::start().await;
    let api = &world.api;
    let script = Script {
        prepare: false,
        vouch: false,
        shops: Behaviour::Starting,
        ..Script::default()
    };
    let node = world.node_with("one", script).await;
    let operation = api.create("demo").await;
    assert_eq!(operation.kind, "create");
    let id = operation.store_id.clone();
    let request = api::GetOperationRequest {
        id: operation.id.clone(),
    };
    let mut watch = api
        .grpc()
        .watch_operation(request)
        .await
        .unwrap()
        .into_inner();

    until_step(&world, &operation.id, "placed").await;
    node.until_holds(&id).await;
    node.change(|script| script.prepare = true);
    until_step(&world, &operation.id, "prepared").await;
    node.change(|script| script.vouch = true);
    until_step(&world, &operation.id, "enrolled").await;
    api.until_store("demo", "its agent reports", |store| {
        store.observed_generation == 1
    })
    .await;
    let shown = until("the agent's own step", async || {
        let shown = api.operation(&operation.id).await.unwrap();
        let step = shown.steps.iter().find(|step| step.name == "start db");
        match step {
            Some(step) if step.state == "running" => Ok(shown),
            _ => Err(format!("{shown:?}")),
        }
    })
    .await;
    assert_eq!(shown.state, "running");
    assert_eq!(api.store("demo").await.unwrap().status, "provisioning");

    node.change(|script| script.shops = Behaviour::Serve);
    let store = api.until_status("demo", "running").await;
    assert_eq!((store.node.as_str(), store.generation), (node.id(), 1));
    assert!(store.url.starts_with("http://demo-"), "{}", store.url);
    assert_eq!(store.sealing_public_key, [9; 32]);
    let ended = api.until_operation(&operation.id, "succeeded").await;
    let steps: Vec<(&str, &str)> = ended
        .steps
        .iter()
        .map(|step| (step.name.as_str(), step.state.as_str()))
        .collect();
    assert_eq!(
        steps,
        [
            ("accepted", "done"),
            ("placed", "done"),
            ("prepared", "done"),
            ("enrolled", "done"),
            ("start db", "done"),
            ("serving", "done")
        ]
    );
    // The watch says what happened, in order, and ends after the end.
    let mut states = Vec::new();
    while let Some(seen) = watch.message().await.unwrap() {
        states.push(seen.state);
    }
    assert_eq!(states.last().map(String::as_str), Some("succeeded"));
    states.dedup();
    assert!(
        matches!(states.as_slice(), [.., running, _] if running == "running"),
        "{states:?}"
    );
    assert_eq!(node.outdated(), Vec::<String>::new());
    world.verify_audit().await;
}

async fn until_step(world: &World, operation: &str, step: &str) {
    until(&format!("step {step} is done"), async || {
        let found = world.api.operation(operation).await.unwrap();
        let done = |it: &api::OperationStep| it.name == step && it.state == "done";
        if found.steps.iter().any(done) {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_of_stores_resumes_and_says_when_it_cannot() {
    let world = World::start().await;
    let api = &world.api;
    let _node = world.node("one").await;
    api.create("first").await;
    api.until_status("first", "running").await;

    let watching = async |after| {
        let request = api::WatchRequest {
            after_change_seq: after,
            store: String::new(),
        };
        let mut grpc = api.grpc();
        grpc.watch_stores(request)
            .await
            .map(tonic::Response::into_inner)
    };
    let mut watch = watching(0).await.unwrap();
    let present = watch.message().await.unwrap().unwrap();
    assert_eq!(present.store.unwrap().name, "first");
    drop(watch);

    // Missed while nobody watched: told from where the watcher was.
    let second = api.create("second").await;
    api.until_operation(&second.id, "succeeded").await;
    let mut watch = watching(present.change_seq).await.unwrap();
    let mut last = present.change_seq;
    loop {
        let change = watch.message().await.unwrap().unwrap();
        assert!(change.change_seq > last, "in order, nothing twice");
        last = change.change_seq;
        let store = change.store.unwrap();
        assert_eq!(store.name, "second", "what was seen is not told again");
        if store.status == "running" {
            break;
        }
    }
    api.delete("first").await;
    loop {
        let change = watch.message().await.unwrap().unwrap();
        if change.deleted {
            assert_eq!(change.store.unwrap().name, "first");
            break;
        }
    }

    // From the future: this control plane was restored from a backup, say.
    let refused = match watching(1 << 40).await {
        Ok(mut stream) => stream.message().await.unwrap_err(),
        Err(status) => status,
    };
    assert_eq!(refused.code(), Code::OutOfRange, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asked_to_end_it_ends_well_whoever_is_watching() {
    let mut world = World::process(|_| {}).await;
    let api = world.api.clone();
    let node = world.node("one").await;
    let create = api.create("demo").await;
    api.until_operation(&create.id, "succeeded").await;
    let request = api::WatchRequest::default();
    let mut watch = api.grpc().watch_stores(request).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    let waiting = api.create("elsewhere").await;
    let path = format!("/api/v1/operations/{}?wait=60s", waiting.id);
    let (ended, ()) = tokio::join!(world.plane.terminate(), async {
        while watch.message().await.is_ok_and(|change| change.is_some()) {}
    });
    assert!(ended.success(), "{ended}");
    world.plane.spawn().await;
    let found = api.rest("GET", &path, &[], None).await;
    assert_eq!(
        (found.status, &found.body["state"]),
        (200, &"succeeded".into())
    );
    api.until_status("demo", "running").await;
    assert_eq!(node.outdated(), Vec::<String>::new());
}
