//! Reports and orders, to and from the contract's messages. No decision is made here.

use shop_proto::{
    Generation, PROTOCOL, Spec,
    wire::{WireError, agent::v1 as api, common::v1 as common, required},
};

use shop_seal::{SEAL_FORMAT, Sealed};

use super::{
    order::Refusal,
    reconcile::{Event, Notice},
    report::{ReplicaReport, Report, State, StepReport, StepState, changes::UpdateReport},
    sealed::{Asked, SealedTo},
};
use crate::ledger::{Accepted, Drift, Entries, TakenBack};

/// Who we are, at the start of a session.
pub fn hello(
    entries: &Entries,
    boot_id: &str,
    sealing_public_key: [u8; 32],
    receipt: &[u8],
) -> api::AgentMessage {
    let accepted = entries.accepted.as_ref();
    message(api::agent_message::Message::Hello(api::Hello {
        protocol: PROTOCOL,
        render_versions: shop_plan::RENDER_VERSIONS.to_vec(),
        generation: accepted.map_or(0, |accepted| accepted.generation.get()),
        spec_digest: accepted
            .map_or_else(String::new, |accepted| accepted.spec.digest().to_string()),
        boot_id: boot_id.to_owned(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        sealing_public_key: sealing_public_key.to_vec(),
        receipt: receipt.to_vec(),
        capabilities: vec!["reveal".to_owned(), "logs".to_owned()],
    }))
}

/// What to be.
pub fn accepted(desired: api::Desired) -> Result<Accepted, WireError> {
    let spec: Spec = required(desired.spec, "spec")?.try_into()?;
    // The digest says what the sender meant; a difference means that one of us lost something on the way.
    if desired.spec_digest != spec.digest().to_string() {
        return Err(WireError::at("spec_digest", "does not fit the spec"));
    }
    Ok(Accepted {
        generation: Generation::new(desired.generation)
            .ok_or_else(|| WireError::at("generation", "starts at 1"))?,
        render_version: desired.render_version,
        spec,
    })
}

/// A report.
pub fn report(report: &Report) -> api::AgentMessage {
    let (generation, spec_digest) = report
        .order
        .map_or((0, String::new()), |(generation, spec)| {
            (generation.get(), spec.to_string())
        });
    let changes = &report.changes;
    message(api::agent_message::Message::Report(common::StoreReport {
        generation,
        spec_digest,
        plan_digest: report
            .plan
            .map_or_else(String::new, |plan| plan.to_string()),
        state: state(report.state).to_owned(),
        reason: report.reason.to_owned(),
        message: report.message.clone(),
        replicas: report.replicas.iter().map(replica).collect(),
        steps: report.steps.iter().map(step).collect(),
        serving_slot: report
            .serving
            .map_or_else(String::new, |slot| slot.to_string()),
        restart_seq: report.restart_seq,
        serving_revision: changes.serving_revision.unwrap_or(0),
        update: changes.update.as_ref().map(update),
        held_back: changes.taken_back.as_ref().map(held_back),
        maintenance: changes.maintenance,
        schema: changes.schema.map_or(0, |data| data.schema),
        schema_works_from: changes.schema.map_or(0, |data| data.works_from),
        drift: report.drift.iter().map(drift).collect(),
        lost_volumes: report
            .lost_volumes
            .iter()
            .map(ToString::to_string)
            .collect(),
    }))
}

/// Something worth telling.
pub fn notice(notice: Notice) -> api::AgentMessage {
    match notice {
        Notice::Event(event) => self::event(event),
        Notice::Refusal(refusal) => self::refusal(refusal),
    }
}

/// An order that we do not take.
pub fn refusal(refusal: Refusal) -> api::AgentMessage {
    message(api::agent_message::Message::Refusal(api::Refusal {
        generation: refusal.generation,
        code: refusal.code.to_owned(),
        message: refusal.message,
    }))
}

/// Wraps any of them.
pub fn message(message: api::agent_message::Message) -> api::AgentMessage {
    api::AgentMessage {
        message: Some(message),
    }
}

/// A sealed request, as it came.
pub fn asked(request: api::SealedRequest) -> Asked {
    let api::SealedRequest {
        operation_id,
        kind,
        subject,
        one_time_public_key,
        expires_unix_ms,
        signer_key_id,
        signature,
    } = request;
    Asked {
        operation_id,
        kind,
        subject,
        one_time_public_key,
        expires_unix_ms,
        signer_key_id,
        signature,
    }
}

/// Its answer.
pub fn sealed_result(
    operation_id: String,
    answer: Result<Sealed, &'static str>,
) -> api::AgentMessage {
    let (code, enc, ciphertext) = match answer {
        Ok(sealed) => ("ok", sealed.enc, sealed.ciphertext),
        Err(code) => (code, Vec::new(), Vec::new()),
    };
    message(api::agent_message::Message::SealedResult(
        api::SealedResult {
            operation_id,
            code: code.to_owned(),
            enc,
            ciphertext,
        },
    ))
}

/// The vault, sealed.
pub fn escrow(vault_version: u64, escrow: SealedTo) -> api::AgentMessage {
    message(api::agent_message::Message::Escrow(api::Escrow {
        vault_version,
        recipient_key_id: escrow.recipient.as_str().to_owned(),
        enc: escrow.sealed.enc,
        ciphertext: escrow.sealed.ciphertext,
    }))
}

fn event(event: Event) -> api::AgentMessage {
    message(api::agent_message::Message::Event(common::Event {
        code: event.code.to_owned(),
        severity: event.severity.to_owned(),
        message: event.message,
        at_unix_ms: event.at_unix_ms,
        service: event
            .service
            .map_or_else(String::new, |service| service.to_string()),
    }))
}

fn update(of: &UpdateReport) -> common::UpdateStatus {
    let update = &of.update;
    let failure = update.failure.as_ref();
    common::UpdateStatus {
        from_revision: update.from.spec.revision.number,
        to_revision: update.to.spec.revision.number,
        generation: update.to.generation.get(),
        phase: update.phase.as_str().to_owned(),
        slot: update.slot.to_string(),
        began_unix_ms: update.began_unix_ms,
        switched_unix_ms: update.switched_unix_ms.unwrap_or(0),
        window_ends_unix_ms: of.window_ends_unix_ms.unwrap_or(0),
        reason: failure.map_or_else(String::new, |it| it.reason.as_str().to_owned()),
        message: failure.map_or_else(String::new, |it| it.message.clone()),
    }
}

fn held_back(of: &TakenBack) -> common::HeldBack {
    common::HeldBack {
        generation: of.generation.get(),
        revision: of.revision,
        reason: of.failure.reason.as_str().to_owned(),
        message: of.failure.message.clone(),
        at_unix_ms: of.at_unix_ms,
    }
}

fn drift(drift: &Drift) -> common::Drift {
    common::Drift {
        kind: drift.kind.as_str().to_owned(),
        name: drift.name.clone(),
        what: drift.what.as_str().to_owned(),
        seen_unix_ms: drift.seen_unix_ms,
        repaired_unix_ms: drift.repaired_unix_ms,
    }
}

const fn state(state: State) -> &'static str {
    match state {
        State::Waiting => "waiting",
        State::Starting => "starting",
        State::Running => "running",
        State::Degraded => "degraded",
        State::Stopping => "stopping",
        State::Stopped => "stopped",
        State::Failed => "failed",
    }
}

fn replica(replica: &ReplicaReport) -> common::ReplicaStatus {
    let exit = replica.exit.as_ref();
    common::ReplicaStatus {
        key: Some((&replica.key).into()),
        phase: replica.phase.to_owned(),
        reason: replica.reason.to_owned(),
        has_exit_code: exit.is_some(),
        exit_code: exit.map_or(0, |exit| exit.code),
        oom_killed: exit.is_some_and(|exit| exit.oom_killed),
        restarts: replica.restarts,
        since_unix_ms: replica.since_unix_ms,
        last_log: replica.last_words.as_ref().map(sealed_text),
    }
}

fn sealed_text(text: &SealedTo) -> common::SealedText {
    common::SealedText {
        format: SEAL_FORMAT,
        recipient_key_id: text.recipient.as_str().to_owned(),
        enc: text.sealed.enc.clone(),
        ciphertext: text.sealed.ciphertext.clone(),
    }
}

fn step(step: &StepReport) -> common::StepStatus {
    let state = match step.state {
        StepState::Pending => "pending",
        StepState::Running => "running",
        StepState::Done => "done",
        StepState::Failed => "failed",
    };
    common::StepStatus {
        name: step.name.clone(),
        state: state.to_owned(),
        started_unix_ms: step.started_unix_ms,
        ended_unix_ms: step.ended_unix_ms,
    }
}
