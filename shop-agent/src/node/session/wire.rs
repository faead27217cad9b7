//! The session's messages to and from the node's own types.

use std::time::Duration;

use shop_proto::{
    Digest, Generation, PROTOCOL, StoreId,
    wire::{
        WireError,
        common::v1::Event,
        generation,
        node::v1::{
            AssignmentStatus, Capacity as WireCapacity, ControlMessage, Hello, InventoryItem,
            NodeEvent, NodeMessage, RetireStatus, Vouch as WireVouch, control_message::Message,
            node_message,
        },
        required,
    },
};

use crate::identity::Credential;
use crate::node::{
    capacity::Capacity,
    context::Node,
    orders::Assignment,
    outbox::{Note, Progress, Reason, Retirement, Severity, Stage, Status, Vouch, Word},
    state::RosterRecord,
};

/// What the control plane may say.
pub(super) enum Order {
    Assign(Box<Assignment>),
    Retire {
        store: StoreId,
        generation: Generation,
    },
    Retired(StoreId),
    Vouched {
        store: StoreId,
        spki: Digest,
    },
    Roster(RosterRecord),
    Reconnect(Duration),
    /// Nothing for this release to do.
    Nothing,
}

pub(super) fn order(message: ControlMessage) -> Result<Order, WireError> {
    Ok(match required(message.message, "message")? {
        Message::Assignment(it) => Order::Assign(Box::new(Assignment {
            store: store(&it.store_id)?,
            generation: generation(it.generation, "generation")?,
            render_version: it.render_version,
            spec: required(it.spec, "spec")?.try_into()?,
            spec_digest: digest(&it.spec_digest, "spec_digest")?,
        })),
        Message::Retire(it) => Order::Retire {
            store: store(&it.store_id)?,
            generation: generation(it.generation, "generation")?,
        },
        Message::RetireRecorded(it) => Order::Retired(store(&it.store_id)?),
        Message::VouchRecorded(it) => Order::Vouched {
            store: store(&it.store_id)?,
            spki: digest(&it.spki_sha256, "spki_sha256")?,
        },
        Message::Roster(it) => Order::Roster(RosterRecord {
            document: it.document,
            signature: it.signature,
        }),
        Message::Reconnect(it) => {
            Order::Reconnect(Duration::from_millis(it.reconnect_in_ms.min(600_000)))
        }
        // Roots are pinned at joining; a bundle cannot add one.
        Message::TrustBundle(_) | Message::Throttle(_) => Order::Nothing,
    })
}

pub(super) fn hello(node: &Node, capacity: Capacity) -> NodeMessage {
    let assigned = node.state.stores().into_iter().map(|record| InventoryItem {
        store_id: record.store.to_string(),
        generation: record.newest.generation.get(),
        spec_digest: record.newest.spec_digest.to_string(),
        state: "assigned".to_owned(),
    });
    let retiring = node.state.tombstones().into_iter().map(|it| InventoryItem {
        store_id: it.store.to_string(),
        generation: it.generation.get(),
        spec_digest: String::new(),
        state: "retiring".to_owned(),
    });
    message(node_message::Message::Hello(Hello {
        protocol: PROTOCOL,
        render_versions: shop_plan::RENDER_VERSIONS.to_vec(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        boot_id: node.boot_id.clone(),
        inventory: assigned.chain(retiring).collect(),
        capacity: Some(of_capacity(capacity)),
        engine_version: node.engine.version().to_owned(),
        capabilities: Vec::new(),
    }))
}

pub(super) fn capacity(capacity: Capacity) -> NodeMessage {
    message(node_message::Message::Capacity(of_capacity(capacity)))
}

/// One word; what is signed is signed with the key that this session's certificate is for.
pub(super) fn word(word: Word, credential: &Credential) -> NodeMessage {
    message(match word {
        Word::Status(it) => node_message::Message::AssignmentStatus(status(it)),
        Word::Retirement(it) => node_message::Message::RetireStatus(retirement(it, credential)),
        Word::Vouch(Vouch {
            store,
            spki,
            sealing,
        }) => node_message::Message::Vouch(WireVouch {
            store_id: store.to_string(),
            spki_sha256: spki.to_string(),
            sealing_public_key: sealing,
        }),
        Word::Note(it) => node_message::Message::Event(note(it)),
    })
}

fn message(message: node_message::Message) -> NodeMessage {
    NodeMessage {
        message: Some(message),
    }
}

fn status(it: Status) -> AssignmentStatus {
    let (state, reason) = match it.progress {
        Progress::Accepted => ("accepted", None),
        Progress::Preparing => ("preparing", None),
        Progress::Prepared => ("prepared", None),
        Progress::Refused(reason) => ("refused", Some(reason)),
        Progress::Error(reason) => ("error", Some(reason)),
    };
    let (code, message) = match reason {
        Some(Reason { code, message }) => (code.to_owned(), message),
        None => (String::new(), String::new()),
    };
    AssignmentStatus {
        store_id: it.store.to_string(),
        generation: it.generation.get(),
        plan_digest: it
            .plan_digest
            .map(|digest| digest.to_string())
            .unwrap_or_default(),
        state: state.to_owned(),
        code,
        message,
    }
}

fn retirement(it: Retirement, credential: &Credential) -> RetireStatus {
    let signature = it.receipt.as_ref().and_then(|document| {
        let signed = credential.key().sign(document.as_bytes());
        // Without a signature it proves nothing; the next session signs it again.
        signed
            .inspect_err(
                |error| tracing::error!(%error, store = %it.store, "a receipt could not be signed"),
            )
            .ok()
    });
    RetireStatus {
        store_id: it.store.to_string(),
        generation: it.generation.get(),
        state: match it.stage {
            Stage::Tombstoned => "tombstoned",
            Stage::Stopping => "stopping",
            Stage::Removing => "removing",
            Stage::Gone => "gone",
            Stage::Blocked => "blocked",
            Stage::Refused => "refused",
        }
        .to_owned(),
        message: it.message,
        receipt_signature: signature.unwrap_or_default(),
        receipt_document: it.receipt.unwrap_or_default(),
    }
}

fn note(it: Note) -> NodeEvent {
    NodeEvent {
        store_id: it.store.map(|store| store.to_string()).unwrap_or_default(),
        event: Some(Event {
            code: it.code.to_owned(),
            severity: match it.severity {
                Severity::Info => "info",
                Severity::Warning => "warning",
                Severity::Error => "error",
            }
            .to_owned(),
            message: it.message,
            at_unix_ms: it.at_unix_ms,
            service: String::new(),
        }),
    }
}

fn of_capacity(it: Capacity) -> WireCapacity {
    WireCapacity {
        memory_bytes: it.memory_bytes,
        cpu_millis: it.cpu_millis,
        disk_total_bytes: it.disk_total_bytes,
        disk_free_bytes: it.disk_free_bytes,
        disk_limit_percent: it.disk_limit_percent,
        edge_scheme: it.edge_scheme.to_owned(),
        edge_port: u32::from(it.edge_port),
        images: it.images,
        allowed_images: it.allowed_images,
    }
}

fn store(text: &str) -> Result<StoreId, WireError> {
    text.parse()
        .map_err(|error| WireError::at("store_id", error))
}

fn digest(text: &str, field: &'static str) -> Result<Digest, WireError> {
    text.parse().map_err(|error| WireError::at(field, error))
}
