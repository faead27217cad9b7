//! Who may open a session, what goes through it, and what ends it.

use std::time::Duration;

use control_plane::fleet::{FleetEvent, NodeOrder, Orders as _};
use shop_proto::{
    PROTOCOL,
    wire::{
        agent::v1::agent_client::AgentClient,
        common::v1 as common,
        enrollment::v1::EnrollResponse,
        node::v1::{self as node, control_message::Message as Down, node_message::Message as Up},
    },
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_stream::StreamExt as _;
use tonic::Code;

use crate::{
    client::{
        Key, agent_hello, agent_session, channel, config, dial, enrol_store, join, node_hello,
        node_session, renew,
    },
    rig::Rig,
};

const MINUTE: Duration = Duration::from_secs(60);
const STORE: &str = "k3v9q2m8x1aa";

async fn joined(rig: &Rig) -> (EnrollResponse, Key) {
    let key = Key::new();
    let answer = join(rig, &rig.token('a', MINUTE), &key).await.unwrap();
    (answer, key)
}

async fn enrolled(rig: &Rig) -> (EnrollResponse, Key) {
    let key = Key::new();
    rig.vouch(STORE, key.spki());
    let answer = enrol_store(rig, STORE, &key).await.unwrap();
    (answer, key)
}

#[tokio::test]
async fn events_go_up_and_orders_come_down_in_the_name_of_the_certificate() {
    let mut rig = Rig::start();
    let (answer, key) = joined(&rig).await;
    let mut session = node_session(&rig, (&answer, &key), node_hello(PROTOCOL))
        .await
        .unwrap();
    let FleetEvent::NodeUp { node, hello } = rig.event().await else {
        panic!("the session is up first");
    };
    assert_eq!(node.as_str(), answer.node_id);
    assert_eq!(hello.boot_id, "boot");
    assert_eq!(rig.fleet.connected().nodes, std::slice::from_ref(&node));

    let vouch = Up::Vouch(node::Vouch {
        store_id: STORE.to_owned(),
        spki_sha256: key.spki().to_string(),
        sealing_public_key: vec![7; 32],
    });
    session
        .up
        .send(node::NodeMessage {
            message: Some(vouch),
        })
        .await
        .unwrap();
    let FleetEvent::Vouch { node: by, vouch } = rig.event().await else {
        panic!("the voucher");
    };
    assert_eq!(by, node);
    let order = NodeOrder::VouchRecorded {
        store: vouch.store,
        spki: vouch.spki,
    };
    assert!(rig.fleet.to_node(&node, order));
    let order = session.order().await.unwrap().unwrap();
    assert!(
        matches!(order.message, Some(Down::VouchRecorded(_))),
        "{order:?}"
    );

    drop(session);
    assert!(matches!(rig.event().await, FleetEvent::NodeDown { .. }));
    let order = NodeOrder::Reconnect { in_ms: 1 };
    assert!(!rig.fleet.to_node(&node, order), "nobody is there");
}

#[tokio::test]
async fn an_unknown_protocol_is_refused_with_the_reason() {
    let rig = Rig::start();
    let (answer, key) = joined(&rig).await;
    let mut session = node_session(&rig, (&answer, &key), node_hello(PROTOCOL + 1))
        .await
        .unwrap();
    let refused = session.order().await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("protocol"), "{refused:?}");
    assert!(rig.fleet.connected().nodes.is_empty());
}

#[tokio::test]
async fn nothing_may_come_before_hello() {
    let rig = Rig::start();
    let (answer, key) = joined(&rig).await;
    let capacity = node::NodeMessage {
        message: Some(Up::Capacity(node::Capacity::default())),
    };
    let mut session = node_session(&rig, (&answer, &key), capacity).await.unwrap();
    assert_eq!(
        session.order().await.unwrap_err().code(),
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn each_identity_reaches_its_own_service_only() {
    let mut rig = Rig::start();
    let (node, node_key) = joined(&rig).await;
    let (store, store_key) = enrolled(&rig).await;
    let wrong = agent_session(&rig, (&node, &node_key), 3)
        .await
        .err()
        .unwrap();
    assert_eq!(wrong.code(), Code::PermissionDenied);
    let wrong = node_session(&rig, (&store, &store_key), node_hello(PROTOCOL))
        .await
        .err()
        .unwrap();
    assert_eq!(wrong.code(), Code::PermissionDenied);
    assert!(rig.events.try_recv().is_err(), "neither came to be");
    let mut right = agent_session(&rig, (&store, &store_key), 3).await.unwrap();
    assert!(matches!(rig.event().await, FleetEvent::AgentUp { .. }));
    let held: Vec<u64> = rig.fleet.connected().stores.into_values().collect();
    assert_eq!(held, [3]);
    // A second Hello is not a way to become somebody else.
    right.up.send(agent_hello(3)).await.unwrap();
    assert_eq!(
        right.order().await.unwrap_err().code(),
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn no_certificate_no_call() {
    let rig = Rig::start();
    let anonymous = match channel(rig.agents, config(&rig, None)).await {
        // In TLS 1.3 the client learns of the refusal with the first answer.
        Ok(channel) => AgentClient::new(channel)
            .session(tokio_stream::iter([agent_hello(3)]).chain(tokio_stream::pending()))
            .await
            .is_err(),
        Err(_) => true,
    };
    assert!(anonymous);
}

#[tokio::test]
async fn a_connection_is_never_resumed() {
    let rig = Rig::start();
    let (answer, key) = joined(&rig).await;
    let config = config(&rig, Some((&answer, &key)));
    for _ in 0..2 {
        let mut stream = dial(rig.agents, config.clone()).await.unwrap();
        // The server's first frame comes after it has checked the certificate, and after any ticket.
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
            .await
            .unwrap();
        let mut first = [0; 9];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(
            stream.get_ref().1.handshake_kind(),
            Some(rustls::HandshakeKind::Full)
        );
    }
}

#[tokio::test]
async fn the_newest_session_wins_and_no_down_is_told_in_between() {
    let mut rig = Rig::start();
    let (answer, key) = joined(&rig).await;
    let mut old = node_session(&rig, (&answer, &key), node_hello(PROTOCOL))
        .await
        .unwrap();
    rig.event().await;
    let new = node_session(&rig, (&answer, &key), node_hello(PROTOCOL))
        .await
        .unwrap();
    assert_eq!(old.order().await.unwrap_err().code(), Code::Aborted);
    assert!(matches!(rig.event().await, FleetEvent::NodeUp { .. }));
    drop(new);
    assert!(matches!(rig.event().await, FleetEvent::NodeDown { .. }));
}

#[tokio::test]
async fn a_session_on_the_renewed_leaf_retires_the_old_one() {
    let mut rig = Rig::start();
    let (current, first) = enrolled(&rig).await;
    let mut before = agent_session(&rig, (&current, &first), 3).await.unwrap();
    rig.event().await;
    let second = Key::new();
    let renewed = renew(&rig, &current, &second, first.prove(&second.csr))
        .await
        .unwrap();
    let mut after = agent_session(&rig, (&renewed, &second), 3).await.unwrap();
    rig.event().await;
    assert_eq!(before.order().await.unwrap_err().code(), Code::Aborted);
    let mut late = agent_session(&rig, (&current, &first), 3).await.unwrap();
    let refused = late.order().await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    // And the refused one has taken nothing over.
    rig.fleet.ask_to_reconnect();
    assert!(after.order().await.unwrap().is_some());
}

#[tokio::test]
async fn denial_ends_the_session_and_the_next_handshake() {
    let mut rig = Rig::start();
    let (answer, key) = joined(&rig).await;
    let mut session = node_session(&rig, (&answer, &key), node_hello(PROTOCOL))
        .await
        .unwrap();
    let FleetEvent::NodeUp { node, .. } = rig.event().await else {
        panic!("the session is up first");
    };
    rig.deny.insert(shop_proto::Identity::Node(node));
    assert_eq!(
        session.order().await.unwrap_err().code(),
        Code::PermissionDenied
    );
    let again = node_session(&rig, (&answer, &key), node_hello(PROTOCOL)).await;
    assert!(again.is_err());
}

#[tokio::test]
async fn a_message_that_is_not_valid_is_dropped_and_the_next_one_counts() {
    let mut rig = Rig::start();
    let (answer, key) = joined(&rig).await;
    let session = node_session(&rig, (&answer, &key), node_hello(PROTOCOL))
        .await
        .unwrap();
    rig.event().await;
    for state in ["exploded", "prepared"] {
        let status = Up::AssignmentStatus(node::AssignmentStatus {
            store_id: STORE.to_owned(),
            generation: 1,
            state: state.to_owned(),
            message: "a\u{1b}[31m".repeat(1000),
            ..node::AssignmentStatus::default()
        });
        let message = node::NodeMessage {
            message: Some(status),
        };
        session.up.send(message).await.unwrap();
    }
    let FleetEvent::Assignment { status, .. } = rig.event().await else {
        panic!("the valid one");
    };
    assert_eq!(status.state, "prepared");
    assert!(status.message.len() <= 1024 && !status.message.contains('\u{1b}'));
    let oversized = Up::Event(node::NodeEvent {
        store_id: String::new(),
        event: Some(common::Event {
            message: "x".repeat(2 << 20),
            ..common::Event::default()
        }),
    });
    let message = node::NodeMessage {
        message: Some(oversized),
    };
    session.up.send(message).await.unwrap();
    assert!(
        matches!(rig.event().await, FleetEvent::NodeDown { .. }),
        "over the message limit"
    );
}

#[tokio::test]
async fn closing_ends_every_session() {
    let mut rig = Rig::start();
    let (answer, key) = joined(&rig).await;
    let mut session = node_session(&rig, (&answer, &key), node_hello(PROTOCOL))
        .await
        .unwrap();
    rig.event().await;
    rig.fleet.ask_to_reconnect();
    let order = session.order().await.unwrap().unwrap();
    assert!(matches!(order.message, Some(Down::Reconnect(_))));
    rig.closing.cancel();
    assert_eq!(session.order().await.unwrap_err().code(), Code::Unavailable);
}
