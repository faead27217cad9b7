//! The end of a store's life as an operator sees it: grace, a way back, a receipt, and a node that comes back too late.

use control_plane::config::Span;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use shop_proto::wire::admin::v1 as api;
use tonic::Code;
use x509_parser::pem::Pem;

use crate::{
    api::{act, told},
    world::{World, until},
};

async fn running(world: &World) -> api::Store {
    let create = world.api.create("demo").await;
    world.api.until_operation(&create.id, "succeeded").await;
    world.api.store("demo").await.unwrap()
}

async fn delete_later(world: &World, grace: &str) -> api::Operation {
    let mut request = act("demo");
    request.grace = grace.to_owned();
    let answer = world.api.grpc().delete_store(request).await;
    answer.unwrap().into_inner()
}

async fn until_waiting(world: &World, operation: &str) {
    until("the deletion waits for its time", async || {
        let seen = world.api.operation(operation).await.unwrap();
        match (seen.state.as_str(), seen.reason.as_str()) {
            ("pending", "in_grace") => Ok(()),
            _ => Err(format!("{seen:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_its_time_of_grace_it_comes_back_or_goes_as_asked() {
    let mut world = World::process(|_| {}).await;
    let api = world.api.clone();
    let node = world.node("one").await;
    let store = running(&world).await;
    let delete = delete_later(&world, "1h").await;
    until_waiting(&world, &delete.id).await;
    world.plane.kill();
    world.plane.spawn().await;
    let waiting = api.store("demo").await.unwrap();
    assert_eq!(waiting.status, "deleting");
    assert!(!waiting.delete_at.is_empty());
    let back = api.grpc().undelete_store(act("demo")).await.unwrap();
    api.until_operation(&back.into_inner().id, "succeeded")
        .await;
    let again = api.until_status("demo", "running").await;
    assert_eq!(again.id, store.id, "the same store, with its data");
    assert_eq!(node.holds().len(), 1);

    // The time passes while the control plane is away.
    let delete = delete_later(&world, "2s").await;
    world.plane.kill();
    world.plane.spawn().await;
    api.until_operation(&delete.id, "succeeded").await;
    api.until_gone("demo").await;
    assert_eq!(node.outdated(), Vec::<String>::new());
    world.verify_audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_store_leaves_a_receipt_that_anybody_can_check() {
    let world = World::start().await;
    let api = &world.api;
    let node = world.node("one").await;
    let id = running(&world).await.id;
    let request = |store: &str| api::GetStoreRequest {
        store: store.to_owned(),
    };
    let early = api.grpc().get_receipt(request("demo")).await.unwrap_err();
    assert_eq!(told(&early).0, "store_present");
    let delete = api.delete("demo").await;
    api.until_operation(&delete.id, "succeeded").await;
    for store in ["demo", id.as_str()] {
        let answer = api.grpc().get_receipt(request(store)).await;
        let receipt = answer.unwrap().into_inner();
        assert_eq!(
            (receipt.store_id.as_str(), receipt.node.as_str()),
            (id.as_str(), node.id())
        );
        let document: serde_json::Value = serde_json::from_str(&receipt.document).unwrap();
        assert_eq!(document["store"], id.as_str());
        let leaf = Pem::iter_from_buffer(receipt.certificate.as_bytes())
            .next()
            .unwrap()
            .unwrap();
        let point = leaf.parse_x509().unwrap();
        let point = point.public_key().subject_public_key.data.to_vec();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
            .verify(receipt.document.as_bytes(), &receipt.signature)
            .unwrap();
    }
    let unknown = api.grpc().get_receipt(request("never")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_forgotten_is_taken_down_when_its_node_comes_back() {
    let world = World::with(|config| {
        config.provisioning.unreachable_after = "200ms".parse::<Span>().unwrap();
    })
    .await;
    let api = &world.api;
    let node = world.node("one").await;
    let id = running(&world).await.id;
    node.change(|script| script.connected = false);
    api.until_status("demo", "unreachable").await;
    let delete = api.delete("demo").await;
    api.until_store("demo", "deletion waits", |store| {
        store.status == "deleting" && store.reason == "node_unreachable"
    })
    .await;
    let request = api::ForgetStoreRequest {
        store: "demo".to_owned(),
        reason: "the host burnt down".to_owned(),
    };
    let forgotten = api.grpc().forget_store(request).await.unwrap().into_inner();
    assert_eq!(
        (forgotten.id.as_str(), forgotten.reason.as_str()),
        (delete.id.as_str(), "forgotten")
    );
    api.until_gone("demo").await;
    assert_eq!(node.holds().len(), 1, "the node knows nothing of it");
    node.change(|script| script.connected = true);
    until("the node takes it down", async || {
        match (node.holds().len(), node.tombstones().len()) {
            (0, 0) => Ok(()),
            left => Err(format!("{left:?}")),
        }
    })
    .await;
    let request = api::GetStoreRequest { store: id };
    until("its receipt is there after all", async || {
        let answer = api.grpc().get_receipt(request.clone()).await;
        answer.map(drop).map_err(|status| format!("{status:?}"))
    })
    .await;
    world.verify_audit().await;
}
