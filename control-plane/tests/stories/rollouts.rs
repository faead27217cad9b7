//! Rollouts and cancels, with the control plane killed as by a power cut at each of their boundaries: they end where they would have, and no
//! store is asked for the same thing twice.

use shop_proto::wire::admin::v1::{self as api, amend_store_request::What};

use crate::{
    api::Api,
    kills::moment,
    node::{Node, Script},
    shop::Behaviour,
    wishes::Dice,
    world::{World, until},
};

/// Phases of an update that a shop agent stops at, as long as it is told to.
const PHASES: [&str; 3] = ["preparing", "checking", "switched"];

fn at(phase: &'static str) -> Behaviour {
    Behaviour::Updating {
        serving: 1,
        phase,
        reason: "",
    }
}

fn wish(key: &str) -> api::StartRolloutRequest {
    api::StartRolloutRequest {
        parameters: [("shop_name".to_owned(), "New".to_owned())].into(),
        canary: 1,
        batch: "2".to_owned(),
        idempotency_key: key.to_owned(),
        ..api::StartRolloutRequest::default()
    }
}

async fn start(api: &Api) -> api::Rollout {
    let answer = api.grpc().start_rollout(wish("once")).await;
    answer.unwrap().into_inner()
}

async fn look(api: &Api, id: &str) -> Result<api::Rollout, tonic::Status> {
    let request = api::GetRolloutRequest { id: id.to_owned() };
    Ok(api.grpc().get_rollout(request).await?.into_inner())
}

async fn until_rollout(
    api: &Api,
    id: &str,
    what: &str,
    fits: impl Fn(&api::Rollout) -> bool,
) -> api::Rollout {
    until(what, async || match look(api, id).await {
        Ok(rollout) if fits(&rollout) => Ok(rollout),
        other => Err(format!("{other:?}")),
    })
    .await
}

fn of_wave(rollout: &api::Rollout, wave: usize) -> impl Iterator<Item = &api::RolloutStore> {
    let stores = rollout.stores.iter();
    stores.filter(move |store| store.wave as usize == wave)
}

/// One node for each wave, so that each has a script of its own: one store, then two, then two.
async fn three_waves(world: &World) -> Vec<Node> {
    let mut nodes = Vec::new();
    for (wave, names) in [&["aa"][..], &["bb", "bc"], &["cc", "cd"]]
        .iter()
        .enumerate()
    {
        let node = world.node(&format!("node-{wave}")).await;
        for name in *names {
            let mut store = crate::api::new_store(name);
            store.node = node.id().to_owned();
            let create = world.api.try_create(store).await.unwrap();
            world.api.until_operation(&create.id, "succeeded").await;
        }
        node.change(|script| script.shops = at(PHASES[0]));
        nodes.push(node);
    }
    nodes
}

/// Operations of a store, oldest first: kind and state.
async fn history(api: &Api, store: &str) -> Vec<(String, String)> {
    let request = api::ListOperationsRequest {
        store: store.to_owned(),
        page_size: 200,
        ..api::ListOperationsRequest::default()
    };
    let answer = api.grpc().list_operations(request).await.unwrap();
    let mut operations = answer.into_inner().operations;
    operations.reverse();
    operations
        .into_iter()
        .map(|operation| (operation.kind, operation.state))
        .collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(kind, state)| ((*kind).to_owned(), (*state).to_owned()))
        .collect()
}

/// Every store was updated once, and nothing else was asked of it.
async fn each_once(world: &World, nodes: &[Node], rollout: &api::Rollout) {
    for store in &rollout.stores {
        assert_eq!(store.state, "done", "{rollout:?}");
        let seen = history(&world.api, &store.store_name).await;
        let expected = pairs(&[("create", "succeeded"), ("update", "succeeded")]);
        assert_eq!(seen, expected, "{}", store.store_name);
        let now = world.api.store(&store.store_name).await.unwrap();
        assert_eq!((now.revision, now.generation), (2, 2), "{now:?}");
    }
    for node in nodes {
        assert_eq!(node.outdated(), Vec::<String>::new());
    }
    let request = api::ListRolloutsRequest::default();
    let all = world.api.grpc().list_rollouts(request).await.unwrap();
    assert_eq!(all.into_inner().rollouts.len(), 1);
    world.verify_audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_boundary_a_rollout_updates_each_store_once() {
    let mut world = World::process(|_| {}).await;
    let api = world.api.clone();
    let nodes = three_waves(&world).await;
    let rollout = start(&api).await;
    world.power_cut().await;
    // Whoever heard no answer asks again.
    assert_eq!(start(&api).await.id, rollout.id);
    for (wave, node) in nodes.iter().enumerate() {
        let updating = until_rollout(&api, &rollout.id, "the wave is updated", |seen| {
            of_wave(seen, wave).all(|store| store.state == "updating")
        })
        .await;
        world.power_cut().await;
        for later in wave + 1..nodes.len() {
            assert!(of_wave(&updating, later).all(|store| store.state == "waiting"));
        }
        for phase in PHASES {
            node.change(|script| script.shops = at(phase));
            for store in of_wave(&updating, wave) {
                let phase = format!(": {phase}");
                api.until_store(&store.store_name, "it is so far", |seen| {
                    seen.reason == "updating" && seen.message.ends_with(&phase)
                })
                .await;
            }
            world.power_cut().await;
        }
        node.change(|script| script.shops = Behaviour::Serve);
        until_rollout(&api, &rollout.id, "the wave is done", |seen| {
            of_wave(seen, wave).all(|store| store.state == "done")
        })
        .await;
        world.power_cut().await;
    }
    let ended = until_rollout(&api, &rollout.id, "the end", |seen| {
        seen.state == "succeeded"
    })
    .await;
    world.power_cut().await;
    each_once(&world, &nodes, &ended).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments_a_rollout_updates_each_store_once() {
    let mut dice = Dice::seeded(0x0b5e_2026);
    let mut world = World::process(|_| {}).await;
    let api = world.api.clone();
    let nodes = [world.node("one").await, world.node("two").await];
    for name in ["aa", "bb", "cc", "dd", "ee", "ff"] {
        let create = api.create(name).await;
        api.until_operation(&create.id, "succeeded").await;
    }
    let rollout = start(&api).await;
    let mut cuts = 0;
    let ended = loop {
        match look(&api, &rollout.id).await {
            Ok(seen) if seen.state != "running" => break seen,
            _ => {}
        }
        // Few messages: between them lies what is asked and what is remembered of it.
        moment(&nodes, 1 + dice.roll(6)).await;
        world.power_cut().await;
        cuts += 1;
        assert!(
            cuts < 100,
            "it gets nowhere: {:?}",
            look(&api, &rollout.id).await
        );
    };
    assert_eq!(ended.state, "succeeded", "{ended:?}");
    each_once(&world, &nodes, &ended).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_takes_stores_back_an_aborted_rollout_takes_each_back_once() {
    let mut world = World::process(|_| {}).await;
    let api = world.api.clone();
    let nodes = three_waves(&world).await;
    let rollout = start(&api).await;
    nodes[0].change(|script| script.shops = Behaviour::Serve);
    until_rollout(&api, &rollout.id, "the second wave is updated", |seen| {
        of_wave(seen, 1).all(|store| store.state == "updating")
    })
    .await;
    let abort = api::RolloutActionRequest {
        id: rollout.id.clone(),
        rollback: true,
        ..api::RolloutActionRequest::default()
    };
    api.grpc().abort_rollout(abort).await.unwrap();
    world.power_cut().await;
    until_rollout(&api, &rollout.id, "the canary goes back", |seen| {
        of_wave(seen, 0).all(|store| store.state == "went_back")
    })
    .await;
    world.power_cut().await;
    nodes[1].change(|script| script.shops = Behaviour::Serve);
    until_rollout(
        &api,
        &rollout.id,
        "what was under way goes back, too",
        |seen| of_wave(seen, 1).all(|store| store.state == "went_back"),
    )
    .await;
    world.power_cut().await;
    let back = pairs(&[
        ("create", "succeeded"),
        ("update", "succeeded"),
        ("rollback", "succeeded"),
    ]);
    for name in ["aa", "bb", "bc"] {
        api.until_store(name, "it is back", |seen| {
            seen.status == "running" && seen.revision == 1 && seen.serving_revision == 1
        })
        .await;
        until(&format!("{name} was taken back once"), async || {
            let seen = history(&api, name).await;
            if seen == back {
                Ok(())
            } else {
                Err(format!("{seen:?}"))
            }
        })
        .await;
    }
    for name in ["cc", "cd"] {
        assert_eq!(history(&api, name).await, pairs(&[("create", "succeeded")]));
    }
    world.verify_audit().await;
}

fn cancel(operation: &str) -> api::CancelOperationRequest {
    api::CancelOperationRequest {
        id: operation.to_owned(),
        // An operation is taken back once.
        idempotency_key: format!("cancel-{operation}"),
        ..api::CancelOperationRequest::default()
    }
}

/// How far the update is when it is taken back, and what the kill comes between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Between {
    /// The request and its answer: the operator does not know, and asks again.
    AskedAndAnswered,
    /// The answer and the agent that hears of it.
    AnsweredAndSent,
    /// The agent's word and its end.
    SentAndDone,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_boundary_a_cancel_takes_the_update_back_once() {
    let mut world = World::process(|_| {}).await;
    let api = world.api.clone();
    let node = world.node_with("one", Script::default()).await;
    let between = [
        Between::AskedAndAnswered,
        Between::AnsweredAndSent,
        Between::SentAndDone,
    ];
    let cases = between
        .into_iter()
        .flat_map(|between| [PHASES[0], PHASES[1]].map(|phase| (between, phase)));
    for (number, (between, phase)) in cases.enumerate() {
        let name = format!("shop-{number}");
        node.change(|script| script.shops = Behaviour::Serve);
        let create = api.create(&name).await;
        api.until_operation(&create.id, "succeeded").await;
        node.change(|script| script.shops = at(phase));
        let new_name = What::Update(api::UpdateChange {
            parameters: [("shop_name".to_owned(), "New".to_owned())].into(),
            ..api::UpdateChange::default()
        });
        let update = api.amend(&name, new_name).await;
        let so_far = format!(": {phase}");
        api.until_store(&name, "it is so far", |seen| {
            seen.message.ends_with(&so_far)
        })
        .await;
        match between {
            Between::AskedAndAnswered => {
                let request = cancel(&update.id);
                let asking = api.clone();
                let first = request.clone();
                let (_, ()) = tokio::join!(
                    async move { asking.grpc().cancel_operation(first).await },
                    world.power_cut()
                );
                until("the cancel is answered", async || {
                    let asked = api.grpc().cancel_operation(request.clone()).await;
                    asked.map(drop).map_err(|status| format!("{status:?}"))
                })
                .await;
            }
            Between::AnsweredAndSent => {
                node.change(|script| script.uplink = false);
                let request = cancel(&update.id);
                api.grpc().cancel_operation(request).await.unwrap();
                world.power_cut().await;
                node.change(|script| script.uplink = true);
            }
            Between::SentAndDone => {
                node.change(|script| script.shops = Behaviour::Silent);
                let back = api.grpc().cancel_operation(cancel(&update.id)).await;
                let back = back.unwrap().into_inner();
                until("the agent has heard of it", async || {
                    let heard = node.shop(&back.store_id, crate::shop::Shop::desired);
                    match heard.flatten() {
                        Some(desired) if desired.generation == 3 => Ok(()),
                        other => Err(format!("{other:?}")),
                    }
                })
                .await;
                world.power_cut().await;
                node.change(|script| script.shops = at(phase));
            }
        }
        let expected = pairs(&[
            ("create", "succeeded"),
            ("update", "cancelled"),
            ("rollback", "succeeded"),
        ]);
        until(
            &format!("{between:?}, {phase}: it is taken back once"),
            async || {
                let seen = history(&api, &name).await;
                if seen == expected {
                    Ok(())
                } else {
                    Err(format!("{seen:?}"))
                }
            },
        )
        .await;
        let store = api.store(&name).await.unwrap();
        assert_eq!(
            (store.revision, store.generation),
            (1, 3),
            "{between:?} {phase}"
        );
        assert_eq!(node.outdated(), Vec::<String>::new());
    }
    world.verify_audit().await;
}
