//! API tokens and the audit chain.

use secrecy::ExposeSecret as _;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::{AuditPage, NewApiToken},
    domain::{access::ApiToken, audit},
};

/// An API token; its secret is shown only when it is made.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api::rest) struct Token {
    pub id: String,
    pub name: String,
    /// `owner`, `admin`, `developer` or `viewer`.
    pub role: String,
    /// The scannable first characters of its text.
    pub prefix: String,
    #[schema(format = DateTime)]
    pub created_at: String,
    #[schema(format = DateTime)]
    pub expires_at: String,
    #[schema(format = DateTime)]
    pub last_used_at: Option<String>,
    #[schema(format = DateTime)]
    pub revoked_at: Option<String>,
}

/// All API tokens.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api::rest) struct TokenList {
    pub tokens: Vec<Token>,
}

/// A new API token. Has no `Debug`: it holds a secret.
#[derive(Serialize, ToSchema)]
pub(in crate::api::rest) struct NewToken {
    pub token: Token,
    /// Shown once.
    pub secret: String,
}

/// Part of the audit chain, oldest first, and where its head is.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api::rest) struct AuditLog {
    pub entries: Vec<AuditEntry>,
    pub head_seq: u64,
    pub head_hash: String,
}

/// One entry. `hash` is SHA-256(0x01, previous hash, SHA-256(canonical JSON of the fields above)).
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api::rest) struct AuditEntry {
    pub seq: u64,
    #[schema(format = DateTime)]
    pub at: String,
    pub at_unix_ms: i64,
    pub actor: String,
    pub source: String,
    pub request_id: String,
    pub action: String,
    pub subject: String,
    /// `allowed` or `denied`.
    pub decision: String,
    pub reason: String,
    pub previous_hash: String,
    pub hash: String,
}

impl From<ApiToken> for Token {
    fn from(token: ApiToken) -> Self {
        Self {
            prefix: token.prefix(),
            id: token.id,
            name: token.name,
            role: token.role.as_str().to_owned(),
            created_at: token.created_at.to_string(),
            expires_at: token.expires_at.to_string(),
            last_used_at: token.last_used_at.map(|time| time.to_string()),
            revoked_at: token.revoked_at.map(|time| time.to_string()),
        }
    }
}

impl From<NewApiToken> for NewToken {
    fn from(new: NewApiToken) -> Self {
        Self {
            token: Token::from(new.token),
            secret: new.secret.expose_secret().to_owned(),
        }
    }
}

impl From<AuditPage> for AuditLog {
    fn from(page: AuditPage) -> Self {
        Self {
            entries: page.entries.into_iter().map(AuditEntry::from).collect(),
            head_seq: page.head_seq,
            head_hash: page.head_hash.to_string(),
        }
    }
}

impl From<audit::AuditEntry> for AuditEntry {
    fn from(entry: audit::AuditEntry) -> Self {
        let record = entry.record;
        Self {
            seq: entry.seq,
            at: record.at.to_string(),
            at_unix_ms: record.at.as_millisecond(),
            actor: record.actor,
            source: record.source,
            request_id: record.request_id,
            action: record.action,
            subject: record.subject,
            decision: record.decision.as_str().to_owned(),
            reason: record.reason,
            previous_hash: entry.previous.to_string(),
            hash: entry.hash.to_string(),
        }
    }
}
