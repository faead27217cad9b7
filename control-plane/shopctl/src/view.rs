//! What the control plane tells, as this tool prints and judges it; the field names are those of the REST API.

mod amend;
mod explain;
mod fleet;
mod rollout;
mod store;
mod tasks;

pub(crate) use amend::{FieldPreview, Preview, Revision, ServicePreview, resources};
pub(crate) use explain::Explanation;
#[cfg(test)]
pub(crate) use explain::{Cause, NextCommand};
pub(crate) use fleet::{AuditEntry, AuditPage, JoinToken, Node, Status, Template, Token};
pub(crate) use rollout::{Rollout, RolloutStore};
pub(crate) use store::{Event, NewStore, Operation, OperationState, Receipt, Replica, Store};
#[cfg(test)]
pub(crate) use store::{SealedLog, Step};

#[cfg(test)]
pub(crate) use tasks::TaskArgument;
pub(crate) use tasks::{TaskOffer, TaskRun, Tasks};

use jiff::Timestamp;

/// Proto has no absent strings; here there are.
fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// RFC 3339 of epoch milliseconds; `None` for 0, which on the wire means "not known".
fn time(unix_ms: i64) -> Option<String> {
    (unix_ms != 0)
        .then(|| Timestamp::from_millisecond(unix_ms).ok())
        .flatten()
        .map(|time| time.to_string())
}
