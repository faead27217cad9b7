//! Messages of sessions and of the broker: protobuf that becomes types, or an error that names the field.

use control_plane::fleet::{
    FleetEvent, Note,
    fuzzing::{Input, agent_input, node_input},
};
use prost::Message;
use shop_agent::{engine, node, store};
use shop_proto::{
    NodeId, PROTOCOL, Spec, StoreId,
    wire::{
        ErrorDetails, FieldProblem, agent::v1 as agent, broker::v1 as broker, common::v1 as common,
        node::v1 as wire,
    },
};

use crate::{Target, chosen};

pub(crate) const TARGETS: &[Target] = &[
    Target::new("node_session", node_session).with_seeds(node_messages),
    Target::new("agent_session", agent_session).with_seeds(agent_messages),
    Target::new("orders", orders).with_seeds(order_messages),
    Target::new("spec", spec).with_seeds(specs),
    Target::new("broker", broker_messages).with_seeds(broker_seeds),
    Target::new("error_details", error_details).with_seeds(details),
];

/// Longest codes, states and names, and longest sentences, behind the border of the control plane.
const SHORT: usize = 128;
const SENTENCE: usize = 1024;

pub(crate) fn store_id() -> StoreId {
    "k3v9q2m8x1aa".parse().expect("a store id")
}

fn node_id() -> NodeId {
    "n1node".parse().expect("a node id")
}

fn readable(text: &str, most: usize) {
    assert!(text.len() <= most, "{} bytes", text.len());
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

fn note(note: &Note) {
    readable(&note.code, SHORT);
    readable(&note.service, SHORT);
    readable(&note.message, SENTENCE);
}

fn event(event: FleetEvent) {
    match event {
        FleetEvent::NodeNote { note: it, .. } | FleetEvent::AgentNote { note: it, .. } => note(&it),
        FleetEvent::Assignment { status, .. } => {
            readable(&status.code, SHORT);
            readable(&status.message, SENTENCE);
        }
        FleetEvent::Retirement { status, .. } => {
            readable(&status.message, SENTENCE);
            if let Some(receipt) = status.receipt {
                assert!(receipt.document.len() <= 64 << 10 && receipt.signature.len() <= 128);
            }
        }
        FleetEvent::Vouch { vouch, .. } => assert_eq!(vouch.sealing_public_key.len(), 32),
        FleetEvent::Refused { code, message, .. } => {
            readable(&code, SHORT);
            readable(&message, SENTENCE);
        }
        FleetEvent::Report { store, report } => {
            assert_eq!(store, store_id(), "a store speaks for itself alone");
            readable(&report.message, SENTENCE);
            assert!(report.replicas.len() <= 256 && report.steps.len() <= 256);
            // It is kept as JSON.
            let kept = serde_json::to_vec(&report).expect("a report is JSON");
            let read = serde_json::from_slice(&kept);
            assert_eq!(read.ok(), Some(report));
        }
        _ => {}
    }
}

fn node_session(input: &[u8]) {
    let Ok(message) = wire::NodeMessage::decode(input) else {
        return;
    };
    match node_input(&node_id(), message) {
        Ok(Input::Hello(hello)) => {
            readable(&hello.agent_version, SHORT);
            readable(&hello.boot_id, SHORT);
            assert!(hello.inventory.len() <= 4096 && hello.render_versions.len() <= 16);
        }
        Ok(Input::Event(it)) => event(it),
        Ok(Input::Unknown) => {}
        Err(error) => assert!(!error.field.is_empty() && !error.problem.is_empty()),
    }
}

fn agent_session(input: &[u8]) {
    let Ok(message) = agent::AgentMessage::decode(input) else {
        return;
    };
    match agent_input(&store_id(), message) {
        Ok(Input::Hello(hello)) => {
            readable(&hello.agent_version, SHORT);
            readable(&hello.boot_id, SHORT);
            assert!(hello.receipt.len() <= 4096 && hello.sealing_public_key.len() <= SHORT);
        }
        Ok(Input::Event(it)) => event(it),
        Ok(Input::Unknown) => {}
        Err(error) => assert!(!error.field.is_empty() && !error.problem.is_empty()),
    }
}

/// What agents are told to be: the same spec is read from it that was meant.
fn orders(input: &[u8]) {
    let Some((which, input)) = chosen(input) else {
        return;
    };
    if which.is_multiple_of(2) {
        if let Ok(message) = wire::ControlMessage::decode(input) {
            let read = node::fuzzing::order(message);
            assert!(read.is_ok() || read.is_err_and(|error| !error.field.is_empty()));
        }
    } else if let Ok(desired) = agent::Desired::decode(input) {
        let (digest, generation) = (desired.spec_digest.clone(), desired.generation);
        if let Ok(accepted) = store::fuzzing::accepted(desired) {
            assert_eq!(accepted.spec.digest().to_string(), digest);
            assert_eq!(accepted.generation.get(), generation);
        }
    }
}

/// A spec keeps its digest on every way it goes: over the wire, and through a file.
fn spec(input: &[u8]) {
    let Ok(message) = common::Spec::decode(input) else {
        return;
    };
    let Ok(read) = Spec::try_from(message) else {
        return;
    };
    let sent = common::Spec::from(&read);
    let sent = common::Spec::decode(sent.encode_to_vec().as_slice()).expect("we wrote it");
    assert_eq!(Spec::try_from(sent).as_ref(), Ok(&read));
    let kept = serde_json::to_vec(&read).expect("a spec is JSON");
    let kept: Spec = serde_json::from_slice(&kept).expect("we wrote it");
    assert_eq!(kept.digest(), read.digest());
    assert_eq!(kept, read);
}

fn broker_messages(input: &[u8]) {
    let Some((which, input)) = chosen(input) else {
        return;
    };
    match which % 3 {
        0 => {
            let Ok(answer) = broker::ListResponse::decode(input) else {
                return;
            };
            let (containers, plans) = (answer.containers.len(), answer.plans.len());
            if let Some(listing) = engine::fuzzing::listing(answer) {
                // What cannot be read is a reason to refuse the list, never to believe half of it.
                assert_eq!(listing.containers.len(), containers);
                assert_eq!(listing.plans.len(), plans);
            }
        }
        1 => {
            if let Ok(answer) = broker::IntroduceResponse::decode(input) {
                let pins = answer.root_pins.len();
                if let Some(introduction) = engine::fuzzing::introduction(answer) {
                    assert_eq!(introduction.root_pins.len(), pins);
                }
            }
        }
        _ => {
            if let Ok(request) = broker::IntroduceRequest::decode(input)
                && let Ok(keys) = node::fuzzing::keys(&request)
            {
                assert_eq!(keys.sealing, request.sealing_public_key);
                assert!(request.identity_spki_der.len() <= 128 && keys.sealing.len() == 32);
            }
        }
    }
}

fn error_details(input: &[u8]) {
    if let Some(details) = ErrorDetails::decode(input) {
        let written = details.encode(3, "again");
        assert_eq!(ErrorDetails::decode(&written), Some(details));
    }
}

fn of_node(message: wire::node_message::Message) -> Vec<u8> {
    wire::NodeMessage {
        message: Some(message),
    }
    .encode_to_vec()
}

fn of_agent(message: agent::agent_message::Message) -> Vec<u8> {
    agent::AgentMessage {
        message: Some(message),
    }
    .encode_to_vec()
}

fn an_event() -> common::Event {
    common::Event {
        code: "disk_full".to_owned(),
        severity: "warning".to_owned(),
        message: "the disk is nearly full".to_owned(),
        at_unix_ms: 1_800_000_000_000,
        service: "db".to_owned(),
    }
}

fn node_messages() -> Vec<Vec<u8>> {
    use wire::node_message::Message as Up;
    let capacity = wire::Capacity {
        memory_bytes: 8 << 30,
        cpu_millis: 4000,
        edge_scheme: "https".to_owned(),
        edge_port: 443,
        images: vec!["shopfleet/caddy:1".to_owned()],
        allowed_images: vec!["registry.example/*:1.*".to_owned()],
        ..wire::Capacity::default()
    };
    vec![
        of_node(Up::Hello(wire::Hello {
            protocol: PROTOCOL,
            render_versions: vec![1],
            agent_version: "0.1.0".to_owned(),
            boot_id: "b".to_owned(),
            inventory: vec![wire::InventoryItem {
                store_id: store_id().to_string(),
                generation: 3,
                spec_digest: String::new(),
                state: "assigned".to_owned(),
            }],
            capacity: Some(capacity.clone()),
            ..wire::Hello::default()
        })),
        of_node(Up::Capacity(capacity)),
        of_node(Up::AssignmentStatus(wire::AssignmentStatus {
            store_id: store_id().to_string(),
            generation: 3,
            state: "refused".to_owned(),
            code: "no_room".to_owned(),
            message: "no network is free".to_owned(),
            ..wire::AssignmentStatus::default()
        })),
        of_node(Up::Vouch(wire::Vouch {
            store_id: store_id().to_string(),
            spki_sha256: "0".repeat(64),
            sealing_public_key: vec![9; 32],
        })),
        of_node(Up::RetireStatus(wire::RetireStatus {
            store_id: store_id().to_string(),
            generation: 4,
            state: "gone".to_owned(),
            receipt_document: "{}".to_owned(),
            receipt_signature: vec![1; 70],
            ..wire::RetireStatus::default()
        })),
        of_node(Up::Event(wire::NodeEvent {
            store_id: String::new(),
            event: Some(an_event()),
        })),
    ]
}

fn agent_messages() -> Vec<Vec<u8>> {
    use agent::agent_message::Message as Up;
    vec![
        of_agent(Up::Hello(agent::Hello {
            protocol: PROTOCOL,
            render_versions: vec![1],
            generation: 3,
            spec_digest: "0".repeat(64),
            sealing_public_key: vec![9; 32],
            receipt: vec![1; 70],
            ..agent::Hello::default()
        })),
        of_agent(Up::Report(common::StoreReport {
            generation: 3,
            state: "running".to_owned(),
            replicas: vec![common::ReplicaStatus {
                key: Some(common::ReplicaKey {
                    service: "web".to_owned(),
                    slot: "a".to_owned(),
                    replica: 0,
                }),
                phase: "ready".to_owned(),
                last_log: Some(common::SealedText {
                    format: 1,
                    recipient_key_id: "02d449a31fbb267c".to_owned(),
                    enc: vec![2; 32],
                    ciphertext: vec![3; 80],
                }),
                ..common::ReplicaStatus::default()
            }],
            steps: vec![common::StepStatus {
                name: "db".to_owned(),
                state: "done".to_owned(),
                ..common::StepStatus::default()
            }],
            serving_slot: "a".to_owned(),
            update: Some(common::UpdateStatus {
                phase: "switched".to_owned(),
                slot: "b".to_owned(),
                ..common::UpdateStatus::default()
            }),
            drift: vec![common::Drift {
                kind: "container".to_owned(),
                ..common::Drift::default()
            }],
            lost_volumes: vec!["media".to_owned()],
            ..common::StoreReport::default()
        })),
        of_agent(Up::Event(an_event())),
        of_agent(Up::TaskStatus(agent::TaskStatus {
            operation_id: "r1".to_owned(),
            task: "reindex".to_owned(),
            state: "running".to_owned(),
            ..agent::TaskStatus::default()
        })),
        of_agent(Up::TaskResult(agent::TaskResult {
            operation_id: "r1".to_owned(),
            task: "reindex".to_owned(),
            outcome: "failed".to_owned(),
            exit_code: 1,
            has_exit_code: true,
            ..agent::TaskResult::default()
        })),
        of_agent(Up::Refusal(agent::Refusal {
            generation: 2,
            code: "generation_outdated".to_owned(),
            message: "generation 2 is older than 3".to_owned(),
        })),
    ]
}

/// A spec with everything in it.
pub(crate) fn a_spec() -> Spec {
    let json = serde_json::json!({
        "format": 1, "store_name": "demo",
        "revision": {
            "number": 2, "template": "refshop", "template_digest": "0".repeat(64), "parameters": {"currency": "EUR"},
            "profiles": {"web": "nginx"}, "images": {"web": "registry.example/web:2"},
            "resources": {"php-fpm": {"memory_bytes": 536_870_912, "cpu_millis": null}}, "isolation": "standard",
        },
        "hosts": [{"name": "shop.example.com", "verified": true}], "scale": {"web": 2}, "run_state": "running", "restart_seq": 1,
    });
    serde_json::from_value(json).expect("a spec")
}

fn order_messages() -> Vec<Vec<u8>> {
    use wire::control_message::Message as Down;
    let spec = a_spec();
    let digest = spec.digest().to_string();
    let desired = agent::Desired {
        generation: 3,
        render_version: 1,
        spec: Some((&spec).into()),
        spec_digest: digest.clone(),
    };
    let orders = [
        Down::Assignment(wire::Assignment {
            store_id: store_id().to_string(),
            generation: 3,
            render_version: 1,
            spec: Some((&spec).into()),
            spec_digest: digest.clone(),
        }),
        Down::Retire(wire::Retire {
            store_id: store_id().to_string(),
            generation: 4,
        }),
        Down::VouchRecorded(wire::VouchRecorded {
            store_id: store_id().to_string(),
            spki_sha256: digest,
        }),
        Down::Roster(agent::Roster {
            document: b"{}".to_vec(),
            signature: vec![1; 64],
        }),
        Down::Reconnect(agent::Reconnect {
            reconnect_in_ms: 1000,
        }),
    ];
    let orders = orders.map(|message| {
        let message = wire::ControlMessage {
            message: Some(message),
        };
        [&[0], message.encode_to_vec().as_slice()].concat()
    });
    let mut seeds = Vec::from(orders);
    seeds.push([&[1], desired.encode_to_vec().as_slice()].concat());
    seeds
}

fn specs() -> Vec<Vec<u8>> {
    vec![common::Spec::from(&a_spec()).encode_to_vec()]
}

fn broker_seeds() -> Vec<Vec<u8>> {
    let networks = vec![broker::NetworkAddress {
        network: "app-a".to_owned(),
        subnet: "10.200.0.0/27".to_owned(),
    }];
    let listing = broker::ListResponse {
        containers: vec![broker::Container {
            key: Some(common::ReplicaKey {
                service: "web".to_owned(),
                slot: "a".to_owned(),
                replica: 1,
            }),
            spec_hash: "0".repeat(64),
            state: "running".to_owned(),
            ..broker::Container::default()
        }],
        plans: vec![broker::KnownPlan {
            generation: 3,
            plan_digest: "0".repeat(64),
            ..broker::KnownPlan::default()
        }],
        serving_slot: "a".to_owned(),
        serving_replicas: vec![0, 1],
        networks: networks.clone(),
        ..broker::ListResponse::default()
    };
    let introduction = broker::IntroduceResponse {
        store_id: store_id().to_string(),
        node_id: node_id().to_string(),
        root_pins: vec!["0".repeat(64)],
        trust_domain: "shopfleet".to_owned(),
        vault_key: vec![5; 32],
        networks,
        ..broker::IntroduceResponse::default()
    };
    let key = shop_agent::identity::KeyPair::generate().expect("random bytes");
    let request = broker::IntroduceRequest {
        protocol: PROTOCOL,
        identity_spki_der: key.spki_der(),
        sealing_public_key: vec![9; 32],
    };
    vec![
        [&[0], listing.encode_to_vec().as_slice()].concat(),
        [&[1], introduction.encode_to_vec().as_slice()].concat(),
        [&[2], request.encode_to_vec().as_slice()].concat(),
    ]
}

fn details() -> Vec<Vec<u8>> {
    let details = ErrorDetails {
        code: "invalid_request".to_owned(),
        problems: vec![FieldProblem {
            pointer: "/name".to_owned(),
            code: "bad_name".to_owned(),
            message: "a store name is short".to_owned(),
        }],
    };
    vec![details.encode(3, "1 problem")]
}
