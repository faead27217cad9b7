//! What both sessions carry, and the bounds of everything that comes from outside.

use shop_plan::Schema;
use shop_proto::{
    Digest, ReplicaKey, Spec, StoreId,
    wire::{
        WireError, agent::v1 as agent, common::v1 as api, enrollment::v1 as enrollment, required,
    },
};

use crate::{
    fleet::{Note, ReplicaReport, RosterBytes, SealedText, StepReport, StoreReport},
    identity::Bundle,
};

/// Codes, states, names, versions.
pub const SHORT: usize = 128;
/// Sentences for people.
pub const SENTENCE: usize = 1024;
/// Sealed content and signatures.
pub const SEALED: usize = 768 * 1024;
/// Sealed log text of one replica.
const SEALED_LOG: usize = 64 * 1024;
/// Replicas or steps of one store.
const ITEMS: usize = 256;

/// A text of at most `most` bytes without control characters.
pub fn text(value: String, most: usize, field: &'static str) -> Result<String, WireError> {
    if value.len() > most {
        return Err(WireError::at(field, format!("is longer than {most} bytes")));
    }
    if value.chars().any(char::is_control) {
        return Err(WireError::at(field, "contains control characters"));
    }
    Ok(value)
}

/// A sentence for people: cut and cleaned, never a reason to drop the message that carries it.
pub fn sentence(value: &str) -> String {
    let mut cut = String::with_capacity(value.len().min(SENTENCE));
    for character in value.chars() {
        if cut.len() + character.len_utf8() > SENTENCE {
            break;
        }
        cut.push(if character.is_control() {
            ' '
        } else {
            character
        });
    }
    cut
}

/// Bytes of at most `most`.
pub fn bytes(value: Vec<u8>, most: usize, field: &'static str) -> Result<Vec<u8>, WireError> {
    if value.len() > most {
        return Err(WireError::at(field, format!("is longer than {most} bytes")));
    }
    Ok(value)
}

/// A list of at most `most`.
pub fn items<T>(value: Vec<T>, most: usize, field: &'static str) -> Result<Vec<T>, WireError> {
    if value.len() > most {
        return Err(WireError::at(field, format!("has more than {most} items")));
    }
    Ok(value)
}

/// A store id.
pub fn store(value: &str, field: &'static str) -> Result<StoreId, WireError> {
    value.parse().map_err(|error| WireError::at(field, error))
}

/// A digest; empty means none.
pub fn optional_digest(value: &str, field: &'static str) -> Result<Option<Digest>, WireError> {
    if value.is_empty() {
        return Ok(None);
    }
    digest(value, field).map(Some)
}

/// A digest.
pub fn digest(value: &str, field: &'static str) -> Result<Digest, WireError> {
    value.parse().map_err(|error| WireError::at(field, error))
}

/// An event, cleaned.
pub fn note(event: api::Event) -> Result<Note, WireError> {
    let api::Event {
        code,
        severity,
        message,
        at_unix_ms,
        service,
    } = event;
    Ok(Note {
        code: text(code, SHORT, "event.code")?,
        severity: match severity.as_str() {
            "info" | "warning" | "error" => severity,
            _ => {
                return Err(WireError::at(
                    "event.severity",
                    "must be info, warning or error",
                ));
            }
        },
        message: sentence(&message),
        at_unix_ms,
        service: text(service, SHORT, "event.service")?,
    })
}

/// A store's report, checked field by field.
pub fn report(report: api::StoreReport) -> Result<StoreReport, WireError> {
    let api::StoreReport {
        generation,
        spec_digest,
        plan_digest,
        state,
        reason,
        message,
        replicas,
        steps,
        serving_slot,
        restart_seq,
        serving_revision,
        update,
        held_back,
        drift,
        lost_volumes,
        maintenance,
        schema,
        schema_works_from,
    } = report;
    Ok(StoreReport {
        generation,
        spec_digest: text(spec_digest, SHORT, "report.spec_digest")?,
        plan_digest: text(plan_digest, SHORT, "report.plan_digest")?,
        state: match state.as_str() {
            "waiting" | "starting" | "running" | "degraded" | "stopping" | "stopped" | "failed" => {
                state
            }
            _ => return Err(WireError::at("report.state", "is none that is known")),
        },
        reason: text(reason, SHORT, "report.reason")?,
        message: sentence(&message),
        replicas: items(replicas, ITEMS, "report.replicas")?
            .into_iter()
            .map(replica)
            .collect::<Result<_, _>>()?,
        steps: items(steps, ITEMS, "report.steps")?
            .into_iter()
            .map(step)
            .collect::<Result<_, _>>()?,
        serving_slot: match serving_slot.as_str() {
            "" | "a" | "b" => serving_slot,
            _ => {
                return Err(WireError::at(
                    "report.serving_slot",
                    "must be a, b or empty",
                ));
            }
        },
        restart_seq,
        serving_revision,
        update: update.map(super::update::update).transpose()?,
        held_back: held_back.map(super::update::held_back).transpose()?,
        drift: items(drift, ITEMS, "report.drift")?
            .into_iter()
            .map(super::update::drift)
            .collect::<Result<_, _>>()?,
        lost_volumes: items(lost_volumes, ITEMS, "report.lost_volumes")?
            .into_iter()
            .map(|volume| text(volume, SHORT, "report.lost_volumes"))
            .collect::<Result<_, _>>()?,
        maintenance,
        data: (schema != 0).then_some(Schema {
            schema,
            works_from: schema_works_from,
        }),
    })
}

fn replica(status: api::ReplicaStatus) -> Result<ReplicaReport, WireError> {
    let api::ReplicaStatus {
        key,
        phase,
        reason,
        has_exit_code,
        exit_code,
        oom_killed,
        restarts,
        since_unix_ms,
        last_log,
    } = status;
    Ok(ReplicaReport {
        key: ReplicaKey::try_from(required(key, "report.replicas.key")?)?,
        phase: text(phase, SHORT, "report.replicas.phase")?,
        reason: text(reason, SENTENCE, "report.replicas.reason")?,
        exit_code: has_exit_code.then_some(exit_code),
        oom_killed,
        restarts,
        since_unix_ms,
        last_log: last_log.map(sealed_text).transpose()?,
    })
}

fn sealed_text(sealed: api::SealedText) -> Result<SealedText, WireError> {
    let api::SealedText {
        format,
        recipient_key_id,
        enc,
        ciphertext,
    } = sealed;
    Ok(SealedText {
        format,
        recipient_key_id: text(recipient_key_id, SHORT, "last_log.recipient_key_id")?,
        enc: bytes(enc, SHORT, "last_log.enc")?,
        ciphertext: bytes(ciphertext, SEALED_LOG, "last_log.ciphertext")?,
    })
}

fn step(status: api::StepStatus) -> Result<StepReport, WireError> {
    let api::StepStatus {
        name,
        state,
        started_unix_ms,
        ended_unix_ms,
    } = status;
    Ok(StepReport {
        name: text(name, SHORT, "report.steps.name")?,
        state: match state.as_str() {
            "pending" | "running" | "done" | "failed" => state,
            _ => return Err(WireError::at("report.steps.state", "is none that is known")),
        },
        started_unix_ms,
        ended_unix_ms,
    })
}

/// A spec and the digest of exactly that spec.
pub fn spec(spec: &Spec) -> (Option<api::Spec>, String) {
    (Some(spec.into()), spec.digest().to_string())
}

/// The roster, as signed.
pub fn roster(roster: RosterBytes) -> agent::Roster {
    let RosterBytes {
        document,
        signature,
    } = roster;
    agent::Roster {
        document,
        signature,
    }
}

/// The roots to trust.
#[must_use]
pub fn trust_bundle(bundle: &Bundle) -> enrollment::TrustBundle {
    enrollment::TrustBundle {
        version: bundle.version,
        roots_der: bundle.roots.iter().map(|root| root.to_vec()).collect(),
    }
}
