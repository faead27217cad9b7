//! Signatures of what enrolment needs, being filled in.

use jiff::Timestamp;
use shop_proto::{Digest, Identity, NodeId, StoreId};

use super::{Db, DbError};
use crate::domain::{
    audit::AuditRecord,
    identity::{Certificate, Denied, DenyList, VouchedKey},
    session::RosterBytes,
};

/// A node that wants in.
pub struct JoinAttempt {
    pub token_id: String,
    /// SHA-256 of the token's secret half.
    pub secret: Digest,
    pub spki: Digest,
    pub node_name: String,
    /// Becomes its id, unless this key has joined with this token before.
    pub new_node: NodeId,
    pub now: Timestamp,
}

/// Why a node may not join. For the audit chain; the caller is told none of it.
#[derive(Debug, thiserror::Error)]
pub enum JoinRefusal {
    #[error("no such token")]
    Unknown,
    #[error("wrong secret")]
    Secret,
    #[error("the token has expired")]
    Expired,
    #[error("the token was used by another key or more than five minutes ago")]
    Used,
    #[error(transparent)]
    Db(#[from] DbError),
}

#[allow(clippy::unused_async, unused_variables)]
impl Db {
    /// `sqlite:///path/to/file.db` (or a plain path) or `postgres://…`. Makes the file, 0600; does not migrate.
    pub async fn open(url: &str) -> Result<Self, DbError> {
        unimplemented()
    }
    /// Brings the schema to what this release knows. Says which migrations ran.
    pub async fn migrate(&self) -> Result<Vec<String>, DbError> {
        unimplemented()
    }
    /// Refuses a schema that is newer or older than this release's.
    pub async fn check_schema(&self) -> Result<(), DbError> {
        unimplemented()
    }
    pub async fn ping(&self) -> Result<(), DbError> {
        unimplemented()
    }

    /// Uses up a join token and records the node, in one transaction. The same key within five minutes gets the same node.
    pub async fn join(&self, attempt: JoinAttempt) -> Result<NodeId, JoinRefusal> {
        Err(JoinRefusal::Unknown)
    }
    /// The voucher for a key, if the node that gave it is still the store's node and the store is not deleted. `None`: not vouched (yet).
    pub async fn vouched(
        &self,
        store: &StoreId,
        spki: Digest,
    ) -> Result<Option<VouchedKey>, DbError> {
        unimplemented()
    }
    /// Records a leaf and, for a renewal, which one it replaces.
    pub async fn record_certificate(
        &self,
        certificate: Certificate,
        replaces: Option<&str>,
    ) -> Result<(), DbError> {
        unimplemented()
    }
    pub async fn certificate(&self, serial: &str) -> Result<Option<Certificate>, DbError> {
        unimplemented()
    }
    /// The newest leaf issued to a key since a time, for answers that were lost.
    pub async fn certificate_of_key(
        &self,
        identity: &Identity,
        spki: Digest,
        since: Timestamp,
    ) -> Result<Option<Certificate>, DbError> {
        unimplemented()
    }
    pub async fn deny(&self, denied: Denied, reason: &str, now: Timestamp) -> Result<(), DbError> {
        unimplemented()
    }
    pub async fn deny_list(&self) -> Result<DenyList, DbError> {
        unimplemented()
    }
    /// Whether this identity is a joined node, or a store that is not deleted.
    pub async fn identity_known(&self, identity: &Identity) -> Result<bool, DbError> {
        unimplemented()
    }
    pub async fn roster(&self) -> Result<Option<RosterBytes>, DbError> {
        unimplemented()
    }
    /// One more entry of the audit chain: enrolments, refusals.
    pub async fn audit(&self, record: AuditRecord) -> Result<(), DbError> {
        unimplemented()
    }
}

fn unimplemented<T>() -> Result<T, DbError> {
    Err(DbError::Unreachable(sqlx::Error::PoolClosed))
}
