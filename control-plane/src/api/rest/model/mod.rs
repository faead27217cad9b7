//! What the REST API shows: plain data with a schema each. Made from the use-cases' answers, never read back.

mod access;
mod amend;
mod fleet;
mod store;

pub(super) use access::{AuditLog, NewToken, Token, TokenList};
pub(super) use amend::{Preview, RevisionList};
pub(super) use fleet::{JoinToken, Node, NodeList, Status, Template, TemplateList};
pub(super) use store::{EventList, Operation, OperationList, Store, StoreChange, StoreList};

/// Agents may leave a text empty; here that is `null`.
fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// RFC 3339 of epoch milliseconds; `None` for 0, which agents send for "not known".
fn time(unix_ms: i64) -> Option<String> {
    (unix_ms != 0)
        .then(|| jiff::Timestamp::from_millisecond(unix_ms).ok())
        .flatten()
        .map(|time| time.to_string())
}
