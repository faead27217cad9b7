//! A fleet whose sessions come and go at random, and whose disks are lost, while operators want things: it ends as they want it.

use crate::{
    node::Script,
    wishes::{Dice, Wishes, one_copy_of_each},
    world::World,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_come_and_go_change_nothing_in_the_end() {
    let mut dice = Dice::seeded(0x0f1a_9927);
    let mut world = World::start().await;
    let api = world.api.clone();
    let nodes = [world.node("one").await, world.node("two").await];
    let mut wishes = Wishes::default();
    for _ in 0..60 {
        let node = &nodes[usize::try_from(dice.roll(2)).unwrap()];
        match dice.roll(8) {
            0 => node.change(|script| script.connected = !script.connected),
            1 => node.change(|script| script.uplink = !script.uplink),
            2 => node.change(|script| script.prepare = !script.prepare),
            3 => node.change(|script| script.vouch = !script.vouch),
            4 => node.lose_everything().await,
            5 if dice.roll(4) == 0 => {
                world.plane.stop().await;
                world.plane.start().await;
            }
            _ => {
                let wish = wishes.next(&mut dice);
                let (wish, operation) = wish.until_acknowledged(api.clone()).await;
                wishes.acknowledged(wish, operation);
            }
        }
    }
    for node in &nodes {
        node.change(|script| *script = Script::default());
    }
    wishes.until_true(&api).await;
    one_copy_of_each(&api, &nodes).await;
    world.verify_audit().await;
}
