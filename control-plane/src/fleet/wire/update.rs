//! What a report says of an update, of what was taken back, and of what somebody else changed.

use shop_proto::wire::{WireError, common::v1 as api};

use super::shared::{SHORT, sentence, text};
use crate::domain::session::{DriftReport, HeldBackReport, UpdateReport};

/// Phases an update can be in.
const PHASES: [&str; 8] = [
    "preparing",
    "migrating",
    "checking",
    "switched",
    "draining",
    "done",
    "rolled_back",
    "halted",
];

/// One revision taking the place of another.
pub fn update(status: api::UpdateStatus) -> Result<UpdateReport, WireError> {
    let api::UpdateStatus {
        from_revision,
        to_revision,
        generation,
        phase,
        slot,
        began_unix_ms,
        switched_unix_ms,
        window_ends_unix_ms,
        reason,
        message,
    } = status;
    if !PHASES.contains(&phase.as_str()) {
        return Err(WireError::at(
            "report.update.phase",
            "is none that is known",
        ));
    }
    Ok(UpdateReport {
        from_revision,
        to_revision,
        generation,
        phase,
        slot: text(slot, SHORT, "report.update.slot")?,
        began_unix_ms,
        switched_unix_ms,
        window_ends_unix_ms,
        reason: text(reason, SHORT, "report.update.reason")?,
        message: sentence(&message),
    })
}

/// A revision that was tried and taken back.
pub fn held_back(status: api::HeldBack) -> Result<HeldBackReport, WireError> {
    let api::HeldBack {
        generation,
        revision,
        reason,
        message,
        at_unix_ms,
    } = status;
    Ok(HeldBackReport {
        generation,
        revision,
        reason: text(reason, SHORT, "report.held_back.reason")?,
        message: sentence(&message),
        at_unix_ms,
    })
}

/// A difference that nobody of ours made.
pub fn drift(status: api::Drift) -> Result<DriftReport, WireError> {
    let api::Drift {
        kind,
        name,
        what,
        seen_unix_ms,
        repaired_unix_ms,
    } = status;
    Ok(DriftReport {
        kind: text(kind, SHORT, "report.drift.kind")?,
        name: text(name, SHORT, "report.drift.name")?,
        what: text(what, SHORT, "report.drift.what")?,
        seen_unix_ms,
        repaired_unix_ms,
    })
}
