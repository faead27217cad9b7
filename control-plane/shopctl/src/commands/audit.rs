//! `audit …`: reading the log, and proving that nobody changed it.

use std::fmt;

use serde::Serialize;
use shop_proto::Digest;

use super::Session;
use crate::{
    cli::AuditCommand,
    client::Client,
    failure::Failure,
    output::{Table, plain},
    view::AuditEntry,
};

pub(super) async fn run(session: &Session, command: AuditCommand) -> anyhow::Result<()> {
    let client = session.client().await?;
    match command {
        AuditCommand::List { limit } => {
            let entries = last(&client, limit).await?;
            session
                .printer
                .list(&entries, "The audit log is empty.", |entries| {
                    let mut table = Table::new(&[
                        "SEQ", "AT", "ACTOR", "SOURCE", "ACTION", "SUBJECT", "DECISION", "REASON",
                    ]);
                    for entry in entries {
                        table.row(vec![
                            entry.seq.to_string(),
                            entry.at.clone(),
                            entry.actor.clone(),
                            entry.source.clone(),
                            entry.action.clone(),
                            entry.subject.clone(),
                            entry.decision.clone(),
                            entry.reason.clone(),
                        ]);
                    }
                    table
                })
        }
        AuditCommand::Verify => verify(session, &client).await,
    }
}

/// The entries before the head; the head is asked for first.
async fn last(client: &Client, limit: u64) -> Result<Vec<AuditEntry>, Failure> {
    let head = client.list_audit(0).await?.head_seq;
    let mut after = head.saturating_sub(limit);
    let mut entries = Vec::new();
    loop {
        let page = client.list_audit(after).await?;
        let Some(end) = page.entries.last().map(|entry| entry.seq) else {
            return Ok(entries);
        };
        entries.extend(page.entries);
        if end >= head || end <= after {
            return Ok(entries);
        }
        after = end;
    }
}

#[derive(Serialize)]
struct Verified {
    entries: u64,
    head_seq: u64,
    head_hash: String,
}

async fn verify(session: &Session, client: &Client) -> anyhow::Result<()> {
    let first = client.list_audit(0).await?;
    let (head_seq, head_hash) = (first.head_seq, first.head_hash.clone());
    let mut chain = Chain::default();
    let mut page = first;
    while chain.seq < head_seq {
        if page.entries.is_empty() {
            return Err(broken(chain.seq + 1, &Break::Missing).into());
        }
        for entry in page
            .entries
            .iter()
            .take_while(|entry| entry.seq <= head_seq)
        {
            chain
                .extend(entry)
                .map_err(|problem| broken(entry.seq, &problem))?;
        }
        page = client.list_audit(chain.seq).await?;
    }
    if chain.hash.to_string() != head_hash {
        return Err(broken(head_seq, &Break::Head).into());
    }
    let verified = Verified {
        entries: chain.seq,
        head_seq,
        head_hash,
    };
    session.printer.result(&verified, || {
        format!(
            "{} entries, unbroken. Head: {} {}\nKeep this line elsewhere: later it proves that nothing before it was changed.\n",
            verified.entries,
            verified.head_seq,
            plain(&verified.head_hash)
        )
    })
}

fn broken(seq: u64, problem: &Break) -> Failure {
    Failure::Failed(format!(
        "the audit chain is broken at entry {seq}: {problem}. Somebody changed the log, or the database is damaged; \
         compare with a backup and with head lines kept elsewhere"
    ))
}

/// How an entry does not follow the one before.
#[derive(Debug, PartialEq, Eq)]
enum Break {
    Missing,
    Order,
    Previous,
    Content,
    Head,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "it is missing",
            Self::Order => "its number does not follow the one before",
            Self::Previous => "it does not name the hash of the one before",
            Self::Content => "its content does not fit its hash",
            Self::Head => "its hash is not the one the control plane says",
        })
    }
}

/// Follows a log from its first entry: how many entries follow each other.
#[cfg(feature = "fuzzing")]
pub(crate) fn follow(entries: &[AuditEntry]) -> u64 {
    let mut chain = Chain::default();
    for entry in entries {
        if chain.extend(entry).is_err() {
            break;
        }
    }
    chain.seq
}

/// What is proven so far.
struct Chain {
    seq: u64,
    hash: Digest,
}

impl Default for Chain {
    fn default() -> Self {
        Self {
            seq: 0,
            hash: Digest::from_bytes([0; 32]),
        }
    }
}

/// The canonical form that is hashed (docs/api.md): these fields, in this order, as JSON without spaces.
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

impl Chain {
    /// hash = SHA-256(0x01 || previous hash || SHA-256(canonical JSON)).
    fn extend(&mut self, entry: &AuditEntry) -> Result<(), Break> {
        if entry.seq != self.seq + 1 {
            return Err(Break::Order);
        }
        if entry.previous_hash != self.hash.to_string() {
            return Err(Break::Previous);
        }
        let content = Digest::of_value(&Canonical {
            seq: entry.seq,
            at_unix_ms: entry.at_unix_ms,
            actor: &entry.actor,
            source: &entry.source,
            request_id: &entry.request_id,
            action: &entry.action,
            subject: &entry.subject,
            decision: &entry.decision,
            reason: &entry.reason,
        });
        let mut bytes = vec![0x01];
        bytes.extend_from_slice(self.hash.as_bytes());
        bytes.extend_from_slice(content.as_bytes());
        let hash = Digest::of(&bytes);
        if entry.hash != hash.to_string() {
            return Err(Break::Content);
        }
        self.seq = entry.seq;
        self.hash = hash;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(chain: &Chain, reason: &str) -> AuditEntry {
        let mut entry = AuditEntry {
            seq: chain.seq + 1,
            at: String::new(),
            at_unix_ms: 1_700_000_000_000,
            actor: "token:abcdefghij".to_owned(),
            source: "127.0.0.1".to_owned(),
            request_id: "r1".to_owned(),
            action: "store.create".to_owned(),
            subject: "store:k3v9q2m8x1aa".to_owned(),
            decision: "allowed".to_owned(),
            reason: reason.to_owned(),
            previous_hash: chain.hash.to_string(),
            hash: String::new(),
        };
        let canonical = format!(
            concat!(
                r#"{{"seq":{},"at_unix_ms":1700000000000,"actor":"token:abcdefghij","source":"127.0.0.1","request_id":"r1","#,
                r#""action":"store.create","subject":"store:k3v9q2m8x1aa","decision":"allowed","reason":"{}"}}"#
            ),
            entry.seq, reason
        );
        let mut bytes = vec![1_u8];
        bytes.extend(chain.hash.as_bytes());
        bytes.extend(Digest::of(canonical.as_bytes()).as_bytes());
        entry.hash = Digest::of(&bytes).to_string();
        entry
    }

    #[test]
    fn every_change_breaks_the_chain() {
        let mut chain = Chain::default();
        let first = entry(&chain, "first");
        chain.extend(&first).unwrap();
        let second = entry(&chain, "second");

        let tampered = [
            (
                AuditEntry {
                    actor: "token:b".to_owned(),
                    ..second.clone()
                },
                Break::Content,
            ),
            (
                AuditEntry {
                    reason: "other".to_owned(),
                    ..second.clone()
                },
                Break::Content,
            ),
            (
                AuditEntry {
                    at_unix_ms: 1,
                    ..second.clone()
                },
                Break::Content,
            ),
            (
                AuditEntry {
                    decision: "denied".to_owned(),
                    ..second.clone()
                },
                Break::Content,
            ),
            (
                AuditEntry {
                    previous_hash: second.hash.clone(),
                    ..second.clone()
                },
                Break::Previous,
            ),
            (
                AuditEntry {
                    seq: 3,
                    ..second.clone()
                },
                Break::Order,
            ),
            (first, Break::Order),
        ];
        for (tampered, expected) in tampered {
            assert_eq!(chain.extend(&tampered), Err(expected), "{tampered:?}");
        }
        chain.extend(&second).unwrap();
        assert_eq!(chain.seq, 2);
    }
}
