//! Images in place of the template's.

use shop_plan::AllowedImages;

use super::*;

const ANOTHER: &str = "example/php:8.2";

/// An order for another image of PHP.
fn with_image(generation: u64, image: &str) -> Accepted {
    let mut order = fixtures::order(generation);
    order.spec.revision.number = generation;
    let php = "php-fpm".parse().unwrap();
    order.spec.revision.images.insert(php, image.to_owned());
    order
}

#[tokio::test(start_paused = true)]
async fn an_image_that_the_node_does_not_allow_is_refused_and_nothing_changes() {
    let (machine, agent) = provisioned().await;
    machine.engine.allow(AllowedImages::builtin());
    machine.engine.forget_calls();
    let refusal = agent.order(with_image(2, ANOTHER)).await.unwrap_err();
    assert_eq!(refusal.code, "image_not_allowed");
    assert!(refusal.message.contains(ANOTHER), "{}", refusal.message);
    let calls = machine.engine.calls();
    assert!(calls.iter().all(|call| call == "list"), "{calls:?}");
    // Asked again, for its administrator may have allowed it meanwhile.
    machine
        .engine
        .allow(AllowedImages::read("example/php:8.*").unwrap());
    agent.order(with_image(3, ANOTHER)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_store_whose_image_is_allowed_no_more_can_still_be_stopped() {
    let (machine, mut agent) = provisioned().await;
    machine
        .engine
        .allow(AllowedImages::read("example/php").unwrap());
    agent.order(with_image(2, ANOTHER)).await.unwrap();
    machine.engine.allow(AllowedImages::builtin());
    let mut stop = with_image(3, ANOTHER);
    stop.spec.revision.number = 2;
    stop.spec.run_state = RunState::Stopped;
    machine.engine.know(
        KnownPlan {
            generation: stop.generation,
            plan: fixtures::plan_of(&stop.spec).digest(),
        },
        hashes(&fixtures::plan_of(&stop.spec)),
    );
    agent.order(stop).await.unwrap();
    agent.until_state(State::Stopped).await;
}
