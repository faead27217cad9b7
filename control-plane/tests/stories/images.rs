//! Images in place of a template's: refused early by what the node said of its allow-list, and in the end by whoever is to run them.

use shop_proto::wire::admin::v1::{
    self as api, amend_store_request::What, amend_store_response::Answer,
};

use crate::{
    api::{new_store, told},
    node::{Node, Script},
    shop::Behaviour,
    world::{World, until},
};

const OTHER_TAG: &str = "shopfleet/refshop-php-fpm:77";
const FOREIGN: &str = "example/php:8.2";

fn image(service: &str, image: &str) -> What {
    What::Update(api::UpdateChange {
        images: [(service.to_owned(), image.to_owned())].into(),
        ..api::UpdateChange::default()
    })
}

fn own_image(service: &str) -> What {
    What::Update(api::UpdateChange {
        unset_images: vec![service.to_owned()],
        ..api::UpdateChange::default()
    })
}

async fn running(world: &World) -> Node {
    let node = world.node("one").await;
    let create = world.api.create("demo").await;
    world.api.until_operation(&create.id, "succeeded").await;
    node
}

async fn refused(world: &World, what: What) -> (String, Vec<(String, String)>) {
    told(&world.api.try_amend("demo", what, false).await.unwrap_err())
}

async fn preview(world: &World, what: What) -> api::Preview {
    match world
        .api
        .try_amend("demo", what, true)
        .await
        .unwrap()
        .answer
    {
        Some(Answer::Preview(preview)) => preview,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_comes_goes_back_and_comes_back_with_its_revision() {
    let world = World::start().await;
    let api = &world.api;
    let _node = running(&world).await;

    let told = preview(&world, image("php-fpm", OTHER_TAG)).await;
    assert_eq!(told.refused_code, "");
    let php = told.services.iter().find(|it| it.service == "php-fpm");
    let php = php.unwrap_or_else(|| panic!("{told:?}"));
    assert_eq!(php.restarts, "in-free-slot");
    assert!(php.reversible);
    let changed: Vec<_> = php
        .fields
        .iter()
        .map(|it| (it.field.as_str(), it.from.as_str(), it.to.as_str()))
        .collect();
    let own = "shopfleet/refshop-php-fpm:2";
    assert_eq!(changed, [("image", own, OTHER_TAG)]);
    let missing =
        |warning: &String| warning.contains(OTHER_TAG) && warning.contains("was not on node");
    assert!(told.warnings.iter().any(missing), "{:?}", told.warnings);

    let update = api.amend("demo", image("php-fpm", OTHER_TAG)).await;
    api.until_operation(&update.id, "succeeded").await;
    let chosen = [("php-fpm".to_owned(), OTHER_TAG.to_owned())];
    assert_eq!(
        api.store("demo").await.unwrap().images,
        chosen.clone().into()
    );
    let back = api.amend("demo", own_image("php-fpm")).await;
    api.until_operation(&back.id, "succeeded").await;
    assert!(api.store("demo").await.unwrap().images.is_empty());
    let again = What::Rollback(api::RollbackChange {
        revision: 2,
        allow_irreversible: false,
    });
    let again = api.amend("demo", again).await;
    api.until_operation(&again.id, "succeeded").await;
    assert_eq!(api.store("demo").await.unwrap().images, chosen.into());

    // It stood for an image that another version of the template does not bring.
    let other = What::Update(api::UpdateChange {
        template: "refshop@3".to_owned(),
        ..api::UpdateChange::default()
    });
    let told = preview(&world, other).await;
    let left_out = |warning: &String| warning.contains("is left out");
    assert!(told.warnings.iter().any(left_out), "{:?}", told.warnings);
    // With the same images it stays.
    let told = preview(
        &world,
        What::Update(api::UpdateChange {
            profiles: [("search".to_owned(), "none".to_owned())].into(),
            ..api::UpdateChange::default()
        }),
    )
    .await;
    assert!(!told.warnings.iter().any(left_out), "{:?}", told.warnings);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_node_does_not_allow_is_refused_with_what_it_allows() {
    let world = World::start().await;
    let api = &world.api;
    let node = running(&world).await;
    let before = api.store("demo").await.unwrap();

    let denied = preview(&world, image("php-fpm", FOREIGN)).await;
    assert_eq!(denied.refused_code, "image_not_allowed");
    for word in [FOREIGN, "allowed-images", "other tags"] {
        let message = &denied.refused_message;
        assert!(message.contains(word), "{word}: {message}");
    }
    let (code, _) = refused(&world, image("php-fpm", FOREIGN)).await;
    assert_eq!(code, "image_not_allowed");
    for (service, wanted, problem) in [
        ("db", "shopfleet/mariadb:2", "image_fixed"),
        ("php-fpm", "shopfleet/refshop-php-fpm", "image_shape"),
        ("nothing", OTHER_TAG, "unknown_service"),
    ] {
        let (_, problems) = refused(&world, image(service, wanted)).await;
        let expected = [(format!("/images/{service}"), problem.to_owned())];
        assert_eq!(problems, expected, "{service}");
    }
    let mut create = new_store("other");
    create.images = [("php-fpm".to_owned(), FOREIGN.to_owned())].into();
    let status = api.try_create(create.clone()).await.unwrap_err();
    let expected = [("/images/php-fpm".to_owned(), "image_not_allowed".to_owned())];
    assert_eq!(told(&status).1, expected);
    assert_eq!(api.store("demo").await.unwrap(), before);

    node.change(|script| {
        let rules = &mut script.capacity.allowed_images;
        rules.push("example/php:8.*".to_owned());
    });
    let created = until("the node has told of its list", async || {
        api.try_create(create.clone())
            .await
            .map_err(|status| status.to_string())
    })
    .await;
    api.until_operation(&created.id, "succeeded").await;
    let update = api.amend("demo", image("php-fpm", FOREIGN)).await;
    api.until_operation(&update.id, "succeeded").await;
    world.verify_audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_where_it_would_run_ends_the_update_and_the_store_goes_on() {
    let world = World::start().await;
    let api = &world.api;
    let node = running(&world).await;
    let refusing = Script {
        shops: Behaviour::Refuse {
            code: "image_not_allowed",
        },
        ..Script::default()
    };
    node.change(|script| script.shops = refusing.shops);
    let update = api.amend("demo", image("php-fpm", OTHER_TAG)).await;
    let failed = api.until_operation(&update.id, "failed").await;
    assert_eq!(failed.reason, "image_not_allowed");
    let store = api
        .until_store("demo", "what served is wanted again", |store| {
            store.revision == 1
        })
        .await;
    assert!(store.images.is_empty());
    assert_eq!(api.revisions("demo").await[0], (2, "held_back".to_owned()));
}
