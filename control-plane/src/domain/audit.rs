//! The audit chain: every entry's hash covers the one before it, so nothing can be changed or taken out unnoticed by who knows the head.

use jiff::Timestamp;
use serde::Serialize;
use shop_proto::Digest;

/// What is recorded of one action. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    pub at: Timestamp,
    /// Who: `token:<id>`, `node:<id>`, `store:<id>`, `system`, `anonymous`.
    pub actor: String,
    /// Where from.
    pub source: String,
    pub request_id: String,
    /// Such as `store.create`.
    pub action: String,
    /// What it was done to, such as `store:<id>`.
    pub subject: String,
    pub decision: Decision,
    /// Why: the operator's words, or the code of a denial.
    pub reason: String,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Allowed,
    Denied,
}

impl Decision {
    /// As written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
        }
    }
}

/// A record in its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// From 1, without gaps.
    pub seq: u64,
    pub record: AuditRecord,
    /// Hash of the entry before; zeros before the first.
    pub previous: Digest,
    pub hash: Digest,
}

/// Hash before the first entry.
pub const GENESIS: Digest = Digest::from_bytes([0; 32]);

/// The canonical form that is hashed: these fields, in this order, as JSON without spaces.
#[derive(Serialize)]
struct Canonical<'a> {
    seq: u64,
    at_unix_ms: i64,
    actor: &'a str,
    source: &'a str,
    request_id: &'a str,
    action: &'a str,
    subject: &'a str,
    decision: &'a str,
    reason: &'a str,
}

impl AuditEntry {
    /// The next entry after a head.
    #[must_use]
    pub fn after(previous_seq: u64, previous: Digest, record: AuditRecord) -> Self {
        let seq = previous_seq + 1;
        let hash = hash(seq, previous, &record);
        Self {
            seq,
            record,
            previous,
            hash,
        }
    }

    /// Whether it is what it was when it was written, and follows a head.
    #[must_use]
    pub fn follows(&self, previous_seq: u64, previous: Digest) -> bool {
        self.seq == previous_seq + 1
            && self.previous == previous
            && self.hash == hash(self.seq, previous, &self.record)
    }
}

/// SHA-256(0x01 || previous hash || SHA-256(canonical JSON)).
fn hash(seq: u64, previous: Digest, record: &AuditRecord) -> Digest {
    let content = Digest::of_value(&Canonical {
        seq,
        at_unix_ms: record.at.as_millisecond(),
        actor: &record.actor,
        source: &record.source,
        request_id: &record.request_id,
        action: &record.action,
        subject: &record.subject,
        decision: record.decision.as_str(),
        reason: &record.reason,
    });
    let mut bytes = Vec::with_capacity(65);
    bytes.push(0x01);
    bytes.extend_from_slice(previous.as_bytes());
    bytes.extend_from_slice(content.as_bytes());
    Digest::of(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(reason: &str) -> AuditRecord {
        AuditRecord {
            at: Timestamp::from_millisecond(1_700_000_000_000).unwrap(),
            actor: "token:abcdefghij".to_owned(),
            source: "127.0.0.1".to_owned(),
            request_id: "r1".to_owned(),
            action: "store.create".to_owned(),
            subject: "store:k3v9q2m8x1aa".to_owned(),
            decision: Decision::Allowed,
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn a_changed_entry_does_not_follow() {
        let first = AuditEntry::after(0, GENESIS, record("first"));
        let second = AuditEntry::after(first.seq, first.hash, record("second"));
        assert!(first.follows(0, GENESIS));
        assert!(second.follows(first.seq, first.hash));
        assert!(!second.follows(0, GENESIS), "an entry was taken out");
        let mut changed = first.clone();
        changed.record.actor = "token:bbbbbbbbbb".to_owned();
        assert!(!changed.follows(0, GENESIS));
        let mut renumbered = second;
        renumbered.seq = 3;
        assert!(!renumbered.follows(2, first.hash));
    }

    /// The published form: a verifier written elsewhere must come to the same.
    #[test]
    fn the_first_hash_is_frozen() {
        let entry = AuditEntry::after(0, GENESIS, record("first"));
        let canonical = concat!(
            r#"{"seq":1,"at_unix_ms":1700000000000,"actor":"token:abcdefghij","source":"127.0.0.1","request_id":"r1","#,
            r#""action":"store.create","subject":"store:k3v9q2m8x1aa","decision":"allowed","reason":"first"}"#
        );
        let mut bytes = vec![1_u8];
        bytes.extend([0_u8; 32]);
        bytes.extend(Digest::of(canonical.as_bytes()).as_bytes());
        assert_eq!(entry.hash, Digest::of(&bytes));
    }
}
