//! Messages from outside become types, or errors that name the field.

use shop_proto::{
    Generation, NodeId, PROTOCOL, StoreId,
    wire::{agent::v1 as agent, common::v1 as common, node::v1 as node},
};

use super::*;
use crate::fleet::NodeOrder;

fn node_id() -> NodeId {
    "n1node".parse().unwrap()
}

fn store_id() -> StoreId {
    "k3v9q2m8x1aa".parse().unwrap()
}

fn from_node(message: node::node_message::Message) -> node::NodeMessage {
    node::NodeMessage {
        message: Some(message),
    }
}

fn from_agent(message: agent::agent_message::Message) -> agent::AgentMessage {
    agent::AgentMessage {
        message: Some(message),
    }
}

#[test]
fn a_wrong_field_is_named() {
    use node::node_message::Message as Up;
    let cases = [
        (
            Up::Hello(node::Hello {
                protocol: PROTOCOL + 1,
                ..node::Hello::default()
            }),
            "hello.protocol",
        ),
        (
            Up::Capacity(node::Capacity {
                edge_port: 70_000,
                ..node::Capacity::default()
            }),
            "capacity.edge_port",
        ),
        (
            Up::Capacity(node::Capacity {
                images: vec!["x".to_owned(); 10_000],
                ..node::Capacity::default()
            }),
            "capacity.images",
        ),
        (
            Up::RetireStatus(node::RetireStatus {
                store_id: "../../etc".to_owned(),
                state: "gone".to_owned(),
                ..node::RetireStatus::default()
            }),
            "retire_status.store_id",
        ),
        (
            Up::Vouch(node::Vouch {
                store_id: store_id().to_string(),
                spki_sha256: "abc".to_owned(),
                sealing_public_key: vec![0; 32],
            }),
            "vouch.spki_sha256",
        ),
    ];
    for (message, field) in cases {
        let error = node_input(&node_id(), from_node(message)).unwrap_err();
        assert_eq!(error.field, field);
    }
}

#[test]
fn a_store_speaks_for_itself_alone() {
    let report = common::StoreReport {
        generation: 4,
        state: "running".to_owned(),
        ..common::StoreReport::default()
    };
    let message = from_agent(agent::agent_message::Message::Report(report));
    let input = agent_input(&store_id(), message).unwrap();
    let Input::Event(FleetEvent::Report { store, report }) = input else {
        panic!("a report");
    };
    assert_eq!((store, report.generation), (store_id(), 4));
}

#[test]
fn what_a_newer_release_says_is_passed_over() {
    let unknown = agent::AgentMessage { message: None };
    assert!(matches!(
        agent_input(&store_id(), unknown),
        Ok(Input::Unknown)
    ));
}

#[test]
fn an_assignment_names_the_digest_of_exactly_its_spec() {
    let spec: shop_proto::Spec = serde_json::from_value(serde_json::json!({
        "format": 1, "store_name": "demo",
        "revision": {
            "number": 1, "template": "refshop", "template_digest": "0".repeat(64), "parameters": {}, "profiles": {},
            "images": {}, "resources": {}, "isolation": "standard",
        },
        "hosts": [], "scale": {}, "run_state": "running", "restart_seq": 0,
    }))
    .unwrap();
    let order = NodeOrder::Assign {
        store: store_id(),
        generation: Generation::FIRST,
        render_version: 1,
        spec: spec.clone(),
    };
    let Some(node::control_message::Message::Assignment(sent)) = node_order(order).message else {
        panic!("an assignment");
    };
    let received: shop_proto::Spec = sent.spec.unwrap().try_into().unwrap();
    assert_eq!(received.digest().to_string(), sent.spec_digest);
    assert_eq!(received, spec);
}

proptest::proptest! {
    /// Whatever an agent sends, it is taken or refused, never a panic; and what is taken is bounded.
    #[test]
    fn notes_are_bounded(code in ".*", message in ".{0,3000}", severity in "info|warning|error|.*") {
        let event = common::Event { code, severity, message, at_unix_ms: 0, service: String::new() };
        let message = from_agent(agent::agent_message::Message::Event(event));
        if let Ok(Input::Event(FleetEvent::AgentNote { note, .. })) = agent_input(&store_id(), message) {
            assert!(note.code.len() <= 128 && note.message.len() <= 1024);
            assert!(!note.code.chars().chain(note.message.chars()).any(char::is_control));
        }
    }
}
