//! The whole process in this one: init's files, SQLite, all four listeners; a node joins, a store is ordered and its agent enrols.

use std::{collections::BTreeMap, path::Path, time::Duration};

use clap::Parser as _;
use control_plane::{
    app::{CreateJoinToken, CreateStore},
    cli::Cli,
    commands,
    config::{Config, FILE},
    domain::access::Caller,
    identity::Authority,
    server::Server,
};
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use shop_proto::{
    PROTOCOL,
    wire::node::v1::{self as node, control_message::Message as Down, node_message::Message as Up},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::Code;

use crate::{
    client::{Key, NodeSession, agent_session, enrol_store, join, node_hello, node_session},
    rig::{PATIENCE, Target},
};

async fn init(data: &Path) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments = ["control-plane", "init", "--token-file"];
    let token = data.join("token");
    let cli = Cli::try_parse_from(arguments.map(AsRef::as_ref).into_iter().chain([
        token.as_os_str(),
        "--data".as_ref(),
        data.as_os_str(),
    ]));
    commands::run(cli.unwrap()).await.unwrap();
}

async fn started(data: &Path) -> (Server, Target) {
    let mut config = Config::load(&data.join(FILE), |_| None).unwrap();
    let free = "127.0.0.1:0".parse().unwrap();
    config.listen.admin = free;
    config.listen.enrolment = free;
    config.listen.agents = free;
    config.listen.metrics = free;
    let authority = Authority::load(&config.identity(), Timestamp::now()).unwrap();
    let server = Server::start(config).await.unwrap();
    let target = Target {
        enrolment: server.addresses().enrolment,
        agents: server.addresses().agents,
        roots: authority.bundle().roots,
    };
    (server, target)
}

async fn order(session: &mut NodeSession, wanted: impl Fn(&Down) -> bool) -> Down {
    loop {
        let order = session.order().await.unwrap().expect("the session is open");
        match order.message {
            Some(message) if wanted(&message) => return message,
            _ => {}
        }
    }
}

async fn tell(session: &NodeSession, message: Up) {
    let message = node::NodeMessage {
        message: Some(message),
    };
    session.up.send(message).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_init_to_a_certified_shop_agent() {
    let directory = tempfile::tempdir().unwrap();
    init(directory.path()).await;
    let (server, target) = started(directory.path()).await;
    let app = server.app().clone();
    let admin = Caller::system("test");

    let token = app
        .create_join_token(&admin, CreateJoinToken::default())
        .await
        .unwrap();
    let (node_key, thief) = (Key::new(), Key::new());
    let node = join(&target, token.token.expose_secret(), &node_key)
        .await
        .unwrap();
    let refused = join(&target, token.token.expose_secret(), &thief)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let mut hello = node_hello(PROTOCOL);
    if let Some(Up::Hello(hello)) = &mut hello.message {
        hello.capacity = Some(node::Capacity {
            memory_bytes: 16 << 30,
            cpu_millis: 4000,
            disk_total_bytes: 100 << 30,
            disk_free_bytes: 90 << 30,
            disk_limit_percent: 0,
            edge_scheme: "http".to_owned(),
            edge_port: 80,
            images: Vec::new(),
            allowed_images: Vec::new(),
        });
    }
    let mut session = node_session(&target, (&node, &node_key), hello)
        .await
        .unwrap();

    let operation = app
        .create_store(
            &admin,
            CreateStore {
                name: "demo".to_owned(),
                template: "refshop".to_owned(),
                parameters: BTreeMap::new(),
                ..CreateStore::default()
            },
        )
        .await
        .unwrap();
    let store = operation.operation.store.to_string();
    let assigned = order(&mut session, |order| matches!(order, Down::Assignment(_))).await;
    let Down::Assignment(assignment) = assigned else {
        unreachable!("only assignments pass")
    };
    assert_eq!(assignment.store_id, store);

    let agent_key = Key::new();
    let early = enrol_store(&target, &store, &agent_key).await.unwrap_err();
    assert_eq!(early.code(), Code::FailedPrecondition);
    let vouch = node::Vouch {
        store_id: store.clone(),
        spki_sha256: agent_key.spki().to_string(),
        sealing_public_key: vec![9; 32],
    };
    tell(&session, Up::Vouch(vouch)).await;
    order(&mut session, |order| {
        matches!(order, Down::VouchRecorded(_))
    })
    .await;
    let agent = enrol_store(&target, &store, &agent_key).await.unwrap();
    assert_eq!(agent.store_id, store);
    let mut agent = agent_session(&target, (&agent, &agent_key), 0)
        .await
        .unwrap();
    let desired = agent.order().await.unwrap().unwrap();
    let Some(shop_proto::wire::agent::v1::control_message::Message::Desired(desired)) =
        desired.message
    else {
        panic!("what the store should be, first: {desired:?}")
    };
    assert_eq!(desired.spec_digest, assignment.spec_digest);

    assert!(probe(&server, "/readyz").await.starts_with("HTTP/1.1 200"));
    let metrics = probe(&server, "/metrics").await;
    assert!(
        metrics.contains("shopfleet_sessions{kind=\"node\"} 1"),
        "{metrics}"
    );
    assert!(
        metrics.contains("shopfleet_sessions{kind=\"shop_agent\"} 1"),
        "{metrics}"
    );

    assert!(
        metrics.contains("shopfleet_store_provisioning_seconds_count 0"),
        "{metrics}"
    );

    tokio::time::timeout(PATIENCE, server.stop()).await.unwrap();
    let goodbye = order(&mut session, |order| matches!(order, Down::Reconnect(_))).await;
    assert!(matches!(goodbye, Down::Reconnect(_)));
    assert_eq!(session.order().await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn init_again_changes_nothing_and_certificates_outlive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    init(data).await;
    let (server, target) = started(data).await;
    let token = server
        .app()
        .create_join_token(&Caller::system("test"), CreateJoinToken::default())
        .await
        .unwrap();
    let key = Key::new();
    let node = join(&target, token.token.expose_secret(), &key)
        .await
        .unwrap();
    let pin = server.root_pin();
    server.stop().await;

    let before = std::fs::read_to_string(data.join(FILE)).unwrap();
    std::fs::remove_file(data.join("token")).unwrap();
    init(data).await;
    assert_eq!(std::fs::read_to_string(data.join(FILE)).unwrap(), before);
    assert!(!data.join("token").exists(), "no second token");

    let (server, target) = started(data).await;
    assert_eq!(server.root_pin(), pin);
    let mut session = node_session(&target, (&node, &key), node_hello(PROTOCOL))
        .await
        .unwrap();
    // Dropping the server's handles is no way to stop it; stopping is.
    tokio::time::timeout(Duration::from_secs(10), server.stop())
        .await
        .unwrap();
    while session.order().await.is_ok_and(|order| order.is_some()) {}
}

async fn probe(server: &Server, path: &str) -> String {
    let mut stream = TcpStream::connect(server.addresses().metrics)
        .await
        .unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
