//! A node's session.

use shop_proto::{
    PROTOCOL,
    wire::{
        WireError,
        agent::v1 as agent,
        node::v1::{self as api, control_message::Message as Down, node_message::Message as Up},
    },
};

use super::{
    Input,
    shared::{
        SHORT, bytes, digest, items, note, optional_digest, roster, sentence, spec, store, text,
    },
};
use crate::fleet::{
    AssignmentStatus, Capacity, FleetEvent, InventoryItem, NodeHello, NodeOrder, RetireStatus,
    SignedReceipt, Vouch,
};

/// Stores on one node.
const INVENTORY: usize = 4096;
/// Images present on one node.
const IMAGES: usize = 512;
/// Rules of one node's allow-list.
const ALLOWED_IMAGES: usize = 512;
const RENDER_VERSIONS: usize = 16;
/// What a node may say about a store it took down: a line for everything it had.
const RECEIPT_DOCUMENT: usize = 64 << 10;
/// An ECDSA P-256 signature in ASN.1 form has 72 bytes.
const RECEIPT_SIGNATURE: usize = 128;
/// An X25519 public key.
const SEALING_KEY: usize = 32;

/// Checks one message of the node that the certificate names.
///
/// # Errors
/// Names the field that is wrong.
pub fn node_input(
    node: &shop_proto::NodeId,
    message: api::NodeMessage,
) -> Result<Input<NodeHello>, WireError> {
    let node = node.clone();
    let event = match message.message {
        None => return Ok(Input::Unknown),
        Some(Up::Hello(message)) => return hello(message).map(Input::Hello),
        Some(Up::Capacity(message)) => FleetEvent::NodeCapacity {
            node,
            capacity: capacity(message)?,
        },
        Some(Up::AssignmentStatus(message)) => FleetEvent::Assignment {
            node,
            status: assignment(message)?,
        },
        Some(Up::Vouch(message)) => FleetEvent::Vouch {
            node,
            vouch: vouch(message)?,
        },
        Some(Up::RetireStatus(message)) => FleetEvent::Retirement {
            node,
            status: retirement(message)?,
        },
        Some(Up::Event(message)) => FleetEvent::NodeNote {
            node,
            store: match message.store_id.as_str() {
                "" => None,
                id => Some(store(id, "node_event.store_id")?),
            },
            note: note(shop_proto::wire::required(
                message.event,
                "node_event.event",
            )?)?,
        },
    };
    Ok(Input::Event(event))
}

fn hello(hello: api::Hello) -> Result<NodeHello, WireError> {
    let api::Hello {
        protocol,
        render_versions,
        agent_version,
        boot_id,
        inventory,
        capacity: room,
        engine_version,
        capabilities: _,
    } = hello;
    if protocol != PROTOCOL {
        return Err(WireError::at(
            "hello.protocol",
            format!("is {protocol}; this control plane speaks {PROTOCOL}"),
        ));
    }
    Ok(NodeHello {
        render_versions: items(render_versions, RENDER_VERSIONS, "hello.render_versions")?,
        agent_version: text(agent_version, SHORT, "hello.agent_version")?,
        engine_version: text(engine_version, SHORT, "hello.engine_version")?,
        boot_id: text(boot_id, SHORT, "hello.boot_id")?,
        inventory: items(inventory, INVENTORY, "hello.inventory")?
            .into_iter()
            .map(inventory_item)
            .collect::<Result<_, _>>()?,
        capacity: room.map(capacity).transpose()?.unwrap_or_default(),
    })
}

fn inventory_item(item: api::InventoryItem) -> Result<InventoryItem, WireError> {
    let api::InventoryItem {
        store_id,
        generation,
        spec_digest,
        state,
    } = item;
    Ok(InventoryItem {
        store: store(&store_id, "hello.inventory.store_id")?,
        generation,
        spec_digest: optional_digest(&spec_digest, "hello.inventory.spec_digest")?,
        retiring: match state.as_str() {
            "assigned" => false,
            "retiring" => true,
            _ => {
                return Err(WireError::at(
                    "hello.inventory.state",
                    "must be assigned or retiring",
                ));
            }
        },
    })
}

fn capacity(capacity: api::Capacity) -> Result<Capacity, WireError> {
    let api::Capacity {
        memory_bytes,
        cpu_millis,
        disk_total_bytes,
        disk_free_bytes,
        edge_scheme,
        edge_port,
        images,
        allowed_images,
        disk_limit_percent,
    } = capacity;
    Ok(Capacity {
        memory_bytes,
        cpu_millis,
        disk_total_bytes,
        disk_free_bytes,
        disk_limit_percent: match disk_limit_percent {
            0..=100 => disk_limit_percent,
            _ => {
                return Err(WireError::at(
                    "capacity.disk_limit_percent",
                    "must be at most 100",
                ));
            }
        },
        edge_scheme: match edge_scheme.as_str() {
            "" | "http" | "https" => edge_scheme,
            _ => {
                return Err(WireError::at(
                    "capacity.edge_scheme",
                    "must be http or https",
                ));
            }
        },
        edge_port: u16::try_from(edge_port)
            .map_err(|_| WireError::at("capacity.edge_port", "is no port"))?,
        images: items(images, IMAGES, "capacity.images")?
            .into_iter()
            .map(|image| text(image, 256, "capacity.images"))
            .collect::<Result<_, _>>()?,
        allowed_images: items(allowed_images, ALLOWED_IMAGES, "capacity.allowed_images")?
            .into_iter()
            .map(|rule| text(rule, 512, "capacity.allowed_images"))
            .collect::<Result<_, _>>()?,
    })
}

fn assignment(status: api::AssignmentStatus) -> Result<AssignmentStatus, WireError> {
    let api::AssignmentStatus {
        store_id,
        generation,
        plan_digest,
        state,
        code,
        message,
    } = status;
    Ok(AssignmentStatus {
        store: store(&store_id, "assignment_status.store_id")?,
        generation,
        plan_digest: optional_digest(&plan_digest, "assignment_status.plan_digest")?,
        state: match state.as_str() {
            "accepted" | "preparing" | "prepared" | "refused" | "error" => state,
            _ => {
                return Err(WireError::at(
                    "assignment_status.state",
                    "is none that is known",
                ));
            }
        },
        code: text(code, SHORT, "assignment_status.code")?,
        message: sentence(&message),
    })
}

fn vouch(vouch: api::Vouch) -> Result<Vouch, WireError> {
    let api::Vouch {
        store_id,
        spki_sha256,
        sealing_public_key,
    } = vouch;
    if sealing_public_key.len() != SEALING_KEY {
        return Err(WireError::at(
            "vouch.sealing_public_key",
            "must have 32 bytes",
        ));
    }
    Ok(Vouch {
        store: store(&store_id, "vouch.store_id")?,
        spki: digest(&spki_sha256, "vouch.spki_sha256")?,
        sealing_public_key,
    })
}

fn retirement(status: api::RetireStatus) -> Result<RetireStatus, WireError> {
    let api::RetireStatus {
        store_id,
        generation,
        state,
        message,
        receipt_document,
        receipt_signature,
    } = status;
    Ok(RetireStatus {
        store: store(&store_id, "retire_status.store_id")?,
        generation,
        state: match state.as_str() {
            "tombstoned" | "stopping" | "removing" | "gone" | "blocked" | "refused" => state,
            _ => {
                return Err(WireError::at(
                    "retire_status.state",
                    "is none that is known",
                ));
            }
        },
        message: sentence(&message),
        receipt: match (receipt_document.is_empty(), receipt_signature.is_empty()) {
            (true, true) => None,
            _ if receipt_document.len() > RECEIPT_DOCUMENT => {
                return Err(WireError::at(
                    "retire_status.receipt_document",
                    "is too long",
                ));
            }
            _ => Some(SignedReceipt {
                document: receipt_document,
                signature: bytes(
                    receipt_signature,
                    RECEIPT_SIGNATURE,
                    "retire_status.receipt_signature",
                )?,
            }),
        },
    })
}

/// An order, as the wire carries it.
#[must_use]
pub fn node_order(order: NodeOrder) -> api::ControlMessage {
    let message = match order {
        NodeOrder::Assign {
            store,
            generation,
            render_version,
            spec: wanted,
        } => {
            let (spec, spec_digest) = spec(&wanted);
            Down::Assignment(api::Assignment {
                store_id: store.to_string(),
                generation: generation.get(),
                render_version,
                spec,
                spec_digest,
            })
        }
        NodeOrder::Retire { store, generation } => Down::Retire(api::Retire {
            store_id: store.to_string(),
            generation: generation.get(),
        }),
        NodeOrder::RetireRecorded { store } => Down::RetireRecorded(api::RetireRecorded {
            store_id: store.to_string(),
        }),
        NodeOrder::VouchRecorded { store, spki } => Down::VouchRecorded(api::VouchRecorded {
            store_id: store.to_string(),
            spki_sha256: spki.to_string(),
        }),
        NodeOrder::Roster(signed) => Down::Roster(roster(signed)),
        NodeOrder::Reconnect { in_ms } => Down::Reconnect(agent::Reconnect {
            reconnect_in_ms: in_ms,
        }),
    };
    api::ControlMessage {
        message: Some(message),
    }
}
