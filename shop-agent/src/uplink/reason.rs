//! Typed reasons in gRPC statuses: a stable code such as `unknown_plan` in metadata, a sentence for people as the message.

use tonic::{Code, Status, metadata::MetadataValue};

const KEY: &str = "shopfleet-code";

/// A status that carries a stable code.
#[must_use]
pub fn coded(code: Code, reason: &'static str, message: impl Into<String>) -> Status {
    let mut status = Status::new(code, message);
    status
        .metadata_mut()
        .insert(KEY, MetadataValue::from_static(reason));
    status
}

/// The stable code of a status; empty when it has none.
#[must_use]
pub fn reason_of(status: &Status) -> &str {
    status
        .metadata()
        .get(KEY)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}
