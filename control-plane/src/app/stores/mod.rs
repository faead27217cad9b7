//! Stores: create, see, start, stop, restart, delete and take that back.

mod amend;
mod change;
mod check;
mod copy;
mod create;
mod delete;
mod explain;
mod images;
mod label;
mod preview;
mod read;
mod revisions;
mod room;
mod rotation;
mod target;
mod tasks;

pub(crate) use create::LONGEST_BASE_DOMAIN;
pub(crate) use tasks::KEPT as KEPT_TASK_RUNS;

use jiff::Timestamp;
use shop_proto::Digest;

use super::{App, AppError, OperationView, Problem};
use crate::{
    db::{IdempotencyRecord, Tx},
    domain::{
        access::Caller,
        audit::{AuditRecord, Decision},
    },
};

/// Longest reason an operator may give.
const MAX_REASON: usize = 500;
/// Longest idempotency key.
const MAX_KEY: usize = 128;

fn check_reason(reason: &str, problems: &mut Vec<Problem>) {
    if reason.len() > MAX_REASON || reason.chars().any(char::is_control) {
        problems.push(Problem::at(
            "/reason",
            "text_shape",
            format!("a reason is one line of at most {MAX_REASON} bytes"),
        ));
    }
}

pub(in crate::app) fn check_key(key: Option<&str>, problems: &mut Vec<Problem>) {
    if key.is_some_and(|key| {
        key.is_empty() || key.len() > MAX_KEY || !key.bytes().all(|b| b.is_ascii_graphic())
    }) {
        problems.push(Problem::at(
            "/idempotency_key",
            "text_shape",
            format!("an idempotency key is 1 to {MAX_KEY} visible ASCII characters"),
        ));
    }
}

/// A key that came with another request before.
pub(in crate::app) fn mismatch() -> AppError {
    AppError::conflict(
        "idempotency_mismatch",
        "this idempotency key came with another request before; use a new key for a new request",
    )
}

/// What was asked under a key before, if it was the same.
async fn replay(
    app: &App,
    tx: &mut Tx,
    caller: &Caller,
    key: Option<&str>,
    request: Digest,
) -> Result<Option<OperationView>, AppError> {
    let Some(key) = key else { return Ok(None) };
    let Some(record) = tx.idempotent(&caller.actor, key).await? else {
        return Ok(None);
    };
    if record.request != request.to_string() {
        return Err(mismatch());
    }
    match tx.operation(&record.answer).await? {
        Some(operation) => Ok(Some(app.operation_view(tx, operation).await?)),
        None => Ok(None),
    }
}

async fn remember(
    tx: &mut Tx,
    caller: &Caller,
    key: Option<&str>,
    request: Digest,
    operation: &str,
    now: Timestamp,
) -> Result<(), AppError> {
    if let Some(key) = key {
        let record = IdempotencyRecord {
            request: request.to_string(),
            answer: operation.to_owned(),
        };
        tx.remember(&caller.actor, key, &record, now).await?;
    }
    Ok(())
}

/// What the audit chain says about a use-case that was done.
pub(super) fn allowed(
    caller: &Caller,
    action: &str,
    subject: String,
    reason: &str,
    now: Timestamp,
) -> AuditRecord {
    AuditRecord {
        at: now,
        actor: caller.actor.clone(),
        source: caller.source.clone(),
        request_id: caller.request_id.clone(),
        action: action.to_owned(),
        subject,
        decision: Decision::Allowed,
        reason: reason.to_owned(),
    }
}
