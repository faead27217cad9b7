//! The control plane is killed as by a power cut, at every boundary and at random moments, while nodes and shop agents go on.

use std::time::Duration;

use crate::{
    api::Api,
    node::{Node, Retiring, Script},
    shop::Behaviour,
    wishes::{Dice, Wishes, one_copy_of_each},
    world::{World, until},
};

impl World {
    pub async fn power_cut(&mut self) {
        self.plane.kill();
        self.plane.spawn().await;
    }
}

async fn until_done(api: &Api, operation: &str, step: &str) {
    until(&format!("step {step} is done"), async || {
        match api.operation(operation).await {
            Ok(found)
                if found
                    .steps
                    .iter()
                    .any(|it| it.name == step && it.state == "done") =>
            {
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_every_step_boundary_it_goes_on_where_it_was() {
    let mut world = World::process(|_| {}).await;
    let api = world.api.clone();
    let create = api.create("demo").await;
    world.power_cut().await;
    assert_eq!(api.operation(&create.id).await.unwrap().state, "pending");
    let script = Script {
        prepare: false,
        vouch: false,
        shops: Behaviour::Starting,
        retiring: Retiring::Stall,
        ..Script::default()
    };
    let node = world.node_with("one", script).await;
    until_done(&api, &create.id, "placed").await;
    world.power_cut().await;
    node.change(|script| script.prepare = true);
    until_done(&api, &create.id, "prepared").await;
    world.power_cut().await;
    node.change(|script| script.vouch = true);
    until_done(&api, &create.id, "enrolled").await;
    world.power_cut().await;
    node.change(|script| script.shops = Behaviour::Serve);
    api.until_operation(&create.id, "succeeded").await;
    world.power_cut().await;
    let store = api.until_status("demo", "running").await;
    assert_eq!(store.generation, 1);

    node.change(|script| script.shops = Behaviour::Starting);
    let stop = api.stop("demo").await;
    until_done(&api, &stop.id, "delivered").await;
    world.power_cut().await;
    node.change(|script| script.shops = Behaviour::Serve);
    api.until_operation(&stop.id, "succeeded").await;

    let delete = api.delete("demo").await;
    until_done(&api, &delete.id, "tombstoned").await;
    world.power_cut().await;
    assert_eq!(api.store("demo").await.unwrap().status, "deleting");
    node.change(|script| script.retiring = Retiring::Finish);
    api.until_operation(&delete.id, "succeeded").await;
    world.power_cut().await;
    api.until_gone("demo").await;
    until("the tombstone is let go", async || {
        match node.tombstones() {
            left if left.is_empty() => Ok(()),
            left => Err(format!("{left:?}")),
        }
    })
    .await;
    let ended = api.operation(&create.id).await.unwrap();
    assert_eq!(ended.state, "succeeded");
    assert_eq!(node.outdated(), Vec::<String>::new());
    world.verify_audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_twenty_random_moments_nothing_acknowledged_is_lost() {
    let mut dice = Dice::seeded(0x5f0b_2026);
    let mut world = World::process(|_| {}).await;
    let api = world.api.clone();
    let nodes = [world.node("one").await, world.node("two").await];
    let mut wishes = Wishes::default();
    for _ in 0..20 {
        let wish = wishes.next(&mut dice);
        let messages = dice.roll(25);
        let ((wish, operation), ()) = tokio::join!(wish.until_acknowledged(api.clone()), async {
            moment(&nodes, messages).await;
            world.power_cut().await;
        });
        wishes.acknowledged(wish, operation);
    }
    wishes.until_true(&api).await;
    one_copy_of_each(&api, &nodes).await;
    world.verify_audit().await;
}

/// After so many messages from now, or when the fleet has nothing more to say.
pub async fn moment(nodes: &[Node; 2], messages: u64) {
    let (mut one, mut two) = (nodes[0].seen(), nodes[1].seen());
    let total = |one: u64, two: u64| one + two;
    let goal = total(*one.borrow(), *two.borrow()) + messages;
    let quiet = Duration::from_millis(150);
    while total(*one.borrow(), *two.borrow()) < goal {
        let change = async {
            tokio::select! {
                changed = one.changed() => changed,
                changed = two.changed() => changed,
            }
        };
        if tokio::time::timeout(quiet, change).await.is_err() {
            return;
        }
    }
}
