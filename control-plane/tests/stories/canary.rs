//! What is sealed passes through unread, and no secret is left in files or logs.

use std::fs;

use shop_proto::wire::{
    admin::v1 as api, agent::v1 as agent, agent::v1::agent_message::Message as Up,
};
use tonic::Code;

use crate::world::{World, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sealed_answers_pass_and_secrets_stay_nowhere() {
    let mut world = World::process(|_| {}).await;
    let node = world.node("one").await;
    let api = world.api.clone();
    let create = api.create("demo").await;
    api.until_operation(&create.id, "succeeded").await;

    let request = |operation: &str| api::RequestSealedRequest {
        store: "demo".to_owned(),
        operation_id: operation.to_owned(),
        kind: "reveal".to_owned(),
        subject: "admin".to_owned(),
        one_time_public_key: vec![3; 32],
        expires_unix_ms: i64::MAX,
        signer_key_id: "somebody".to_owned(),
        signature: vec![4; 64],
    };
    let answer = api.grpc().request_sealed(request("op-1")).await.unwrap();
    let answer = answer.into_inner();
    assert_eq!(answer.code, "ok");
    assert_eq!(answer.ciphertext, crate::shop::SEALED_ANSWER);

    // The vault, sealed to the recovery key: kept, and never shown.
    let escrow = agent::Escrow {
        vault_version: 1,
        recipient_key_id: "recovery".to_owned(),
        enc: vec![5; 32],
        ciphertext: b"escrow-canary-6f1d".to_vec(),
    };
    node.shop(&create.store_id, |shop| shop.speak(Up::Escrow(escrow)));
    until("the escrow is kept", async || {
        if contains(&world, b"escrow-canary-6f1d") {
            Ok(())
        } else {
            Err("not yet".to_owned())
        }
    })
    .await;

    let token = api::CreateTokenRequest {
        name: "ci".to_owned(),
        role: "viewer".to_owned(),
        ttl_seconds: 0,
    };
    let token = api.grpc().create_token(token).await.unwrap().into_inner();
    let join = api::CreateJoinTokenRequest::default();
    let join = api
        .grpc()
        .create_join_token(join)
        .await
        .unwrap()
        .into_inner();
    // A token in the wrong place, as people paste them.
    let mut wrong = api.grpc();
    let guess = api::RevokeTokenRequest {
        id: token.secret.clone(),
    };
    let refused = wrong.revoke_token(guess).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let refused = api.store(&token.secret).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let path = format!("/api/v1/stores/{}", token.secret);
    assert_eq!(api.rest("GET", &path, &[], None).await.status, 404);

    let admin = world.plane.token();
    fs::remove_file(world.plane.data().join("token")).unwrap();
    world.verify_audit().await;
    world.plane.kill();
    let secret = |text: &str| text.split('_').nth(2).unwrap().to_owned();
    for (what, text) in [
        ("the admin token", secret(&admin)),
        ("an API token", secret(&token.secret)),
        ("a join token", secret(&join.token)),
        (
            "a sealed answer",
            String::from_utf8_lossy(crate::shop::SEALED_ANSWER).into_owned(),
        ),
    ] {
        assert!(text.len() > 16, "{what}");
        assert!(!contains(&world, text.as_bytes()), "{what} is in a file");
        assert!(!world.plane.logs().contains(&text), "{what} is in the log");
    }
    assert!(!world.plane.logs().contains("escrow-canary-6f1d"));
    assert!(world.plane.logs().contains("serving"), "there is a log");
}

/// Whether any file of the database has these bytes.
fn contains(world: &World, needle: &[u8]) -> bool {
    let database = world.plane.database();
    ["", "-wal"].iter().any(|suffix| {
        let bytes = fs::read(format!("{}{suffix}", database.display())).unwrap_or_default();
        bytes.windows(needle.len()).any(|window| window == needle)
    })
}
