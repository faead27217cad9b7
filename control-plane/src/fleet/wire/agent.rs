//! A shop agent's session.

use shop_proto::{
    PROTOCOL, StoreId,
    wire::{
        WireError,
        agent::v1::{self as api, agent_message::Message as Up, control_message::Message as Down},
    },
};

use super::{
    Input,
    shared::{
        SEALED, SHORT, bytes, items, note, optional_digest, report, roster, sentence, spec, text,
    },
    tasks,
};
use crate::fleet::{AgentHello, AgentOrder, Escrow, FleetEvent, SealedRequest, SealedResult};

const RENDER_VERSIONS: usize = 16;
/// A signed receipt of the node.
const RECEIPT: usize = 4096;

/// Checks one message of the store that the certificate names.
///
/// # Errors
/// Names the field that is wrong.
pub fn agent_input(
    store: &StoreId,
    message: api::AgentMessage,
) -> Result<Input<AgentHello>, WireError> {
    let store = store.clone();
    let event = match message.message {
        None => return Ok(Input::Unknown),
        Some(Up::Hello(message)) => return hello(message).map(Input::Hello),
        Some(Up::Report(message)) => FleetEvent::Report {
            store,
            report: report(message)?,
        },
        Some(Up::Event(message)) => FleetEvent::AgentNote {
            store,
            note: note(message)?,
        },
        Some(Up::SealedResult(message)) => FleetEvent::Sealed {
            store,
            result: sealed_result(message)?,
        },
        Some(Up::Escrow(message)) => FleetEvent::Escrow {
            store,
            escrow: escrow(message)?,
        },
        Some(Up::Refusal(message)) => FleetEvent::Refused {
            store,
            generation: message.generation,
            code: text(message.code, SHORT, "refusal.code")?,
            message: sentence(&message.message),
        },
        Some(Up::TaskStatus(message)) => FleetEvent::Task {
            store,
            report: tasks::status(message)?,
        },
        Some(Up::TaskResult(message)) => FleetEvent::Task {
            store,
            report: tasks::result(message)?,
        },
    };
    Ok(Input::Event(event))
}

fn hello(hello: api::Hello) -> Result<AgentHello, WireError> {
    let api::Hello {
        protocol,
        render_versions,
        generation,
        spec_digest,
        boot_id,
        agent_version,
        sealing_public_key,
        receipt,
        capabilities: _,
    } = hello;
    if protocol != PROTOCOL {
        return Err(WireError::at(
            "hello.protocol",
            format!("is {protocol}; this control plane speaks {PROTOCOL}"),
        ));
    }
    Ok(AgentHello {
        render_versions: items(render_versions, RENDER_VERSIONS, "hello.render_versions")?,
        generation,
        spec_digest: optional_digest(&spec_digest, "hello.spec_digest")?,
        boot_id: text(boot_id, SHORT, "hello.boot_id")?,
        agent_version: text(agent_version, SHORT, "hello.agent_version")?,
        sealing_public_key: bytes(sealing_public_key, SHORT, "hello.sealing_public_key")?,
        receipt: bytes(receipt, RECEIPT, "hello.receipt")?,
    })
}

fn sealed_result(result: api::SealedResult) -> Result<SealedResult, WireError> {
    let api::SealedResult {
        operation_id,
        code,
        enc,
        ciphertext,
    } = result;
    Ok(SealedResult {
        operation_id: text(operation_id, SHORT, "sealed_result.operation_id")?,
        code: text(code, SHORT, "sealed_result.code")?,
        enc: bytes(enc, SHORT, "sealed_result.enc")?,
        ciphertext: bytes(ciphertext, SEALED, "sealed_result.ciphertext")?,
    })
}

fn escrow(escrow: api::Escrow) -> Result<Escrow, WireError> {
    let api::Escrow {
        vault_version,
        recipient_key_id,
        enc,
        ciphertext,
    } = escrow;
    Ok(Escrow {
        vault_version,
        recipient_key_id: text(recipient_key_id, SHORT, "escrow.recipient_key_id")?,
        enc: bytes(enc, SHORT, "escrow.enc")?,
        ciphertext: bytes(ciphertext, SEALED, "escrow.ciphertext")?,
    })
}

/// An order, as the wire carries it.
#[must_use]
pub fn agent_order(order: AgentOrder) -> api::ControlMessage {
    let message = match order {
        AgentOrder::Desired {
            generation,
            render_version,
            spec: wanted,
        } => {
            let (spec, spec_digest) = spec(&wanted);
            Down::Desired(api::Desired {
                generation: generation.get(),
                render_version,
                spec,
                spec_digest,
            })
        }
        AgentOrder::SealedRequest(request) => Down::SealedRequest(sealed_request(request)),
        AgentOrder::RunTask {
            id,
            task,
            arguments,
        } => Down::RunTask(api::RunTask {
            operation_id: id,
            task,
            arguments,
        }),
        AgentOrder::CancelTask { id, task } => Down::CancelTask(api::CancelTask {
            operation_id: id,
            task,
        }),
        AgentOrder::TaskRecorded { id } => {
            Down::TaskRecorded(api::TaskRecorded { operation_id: id })
        }
        AgentOrder::Roster(signed) => Down::Roster(roster(signed)),
        AgentOrder::Reconnect { in_ms } => Down::Reconnect(api::Reconnect {
            reconnect_in_ms: in_ms,
        }),
    };
    api::ControlMessage {
        message: Some(message),
    }
}

fn sealed_request(request: SealedRequest) -> api::SealedRequest {
    let SealedRequest {
        operation_id,
        kind,
        subject,
        one_time_public_key,
        expires_unix_ms,
        signer_key_id,
        signature,
    } = request;
    api::SealedRequest {
        operation_id,
        kind,
        subject,
        one_time_public_key,
        expires_unix_ms,
        signer_key_id,
        signature,
    }
}
