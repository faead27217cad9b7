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
};
use crate::fleet::{AgentHello, AgentOrder, Escrow, FleetEvent, Note, SealedRequest, SealedResult};

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
        // How a run stands is not recorded yet.
        None | Some(Up::TaskStatus(_)) => return Ok(Input::Unknown),
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
        Some(Up::TaskResult(message)) => FleetEvent::AgentNote {
            store,
            note: task_note(message)?,
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

/// Tasks are run by the agent on its own schedule; their ends are events.
fn task_note(result: api::TaskResult) -> Result<Note, WireError> {
    let api::TaskResult {
        operation_id: _,
        task,
        outcome,
        exit_code,
        output: _,
    } = result;
    let task = text(task, SHORT, "task_result.task")?;
    let outcome = text(outcome, SHORT, "task_result.outcome")?;
    Ok(Note {
        code: format!("task_{outcome}"),
        severity: if outcome == "done" { "info" } else { "warning" }.to_owned(),
        message: format!("task {task} ended: {outcome}, exit code {exit_code}"),
        at_unix_ms: jiff::Timestamp::now().as_millisecond(),
        service: task,
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
