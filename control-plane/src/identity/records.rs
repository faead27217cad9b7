//! What identity needs remembered. The database implements it; tests have it in memory.

use async_trait::async_trait;
use jiff::Timestamp;
use shop_proto::{Digest, Identity, NodeId, StoreId};

use crate::{
    db::{Db, DbError, JoinAttempt, JoinRefusal},
    domain::{
        audit::AuditRecord,
        identity::{Certificate, Denied, DenyList},
    },
};

/// The records do not answer now. Nothing was changed; ask again.
#[derive(Debug, thiserror::Error)]
#[error("the identity records are unavailable")]
pub struct RecordsError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A join token that a key wants to use.
#[derive(Debug, Clone)]
pub struct TokenUse {
    pub id: String,
    /// Digest of the secret half.
    pub secret: Digest,
    pub spki: Digest,
    /// Becomes the node's id when the token is used for the first time.
    pub fresh: NodeId,
    /// Shown to people only.
    pub node_name: String,
    pub at: Timestamp,
}

/// Whether a certificate may open a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// It is the one in use now; the older ones of its identity are superseded.
    Current,
    /// A newer one of its identity was in use before.
    Superseded,
    /// It was never recorded here, although we signed it: this control plane is behind, from a backup.
    Unknown,
}

/// What is known about a shop agent's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Voucher {
    /// The store's node vouched for exactly this key.
    ThisKey,
    /// It vouched for another one.
    OtherKey,
    /// For none, so far.
    None,
}

/// What is remembered of enrolments.
#[async_trait]
pub trait Records: Send + Sync {
    /// Uses a token, atomically: the first key gets it; the same key gets the same node for `REPEAT`; `None` for everything else.
    async fn use_join_token(&self, token: TokenUse) -> Result<Option<NodeId>, RecordsError>;
    /// Whether there is a token with this public half that has not ended, used or not.
    async fn gave_out_join_token(&self, id: &str, now: Timestamp) -> Result<bool, RecordsError>;
    /// Whether the store's node vouched for this key.
    async fn voucher(&self, store: &StoreId, spki: Digest) -> Result<Voucher, RecordsError>;
    /// An issued certificate, by serial.
    async fn certificate(&self, serial: &str) -> Result<Option<Certificate>, RecordsError>;
    /// The newest certificate of this identity over this key that was issued since.
    async fn newest(
        &self,
        identity: &Identity,
        spki: Digest,
        since: Timestamp,
    ) -> Result<Option<Certificate>, RecordsError>;
    /// Remembers a certificate before it is handed out.
    async fn record(&self, certificate: Certificate) -> Result<(), RecordsError>;
    /// A certificate was used for a session: it is current, the others of its identity are superseded.
    async fn activate(&self, identity: &Identity, serial: &str)
    -> Result<Activation, RecordsError>;
    /// Turns an identity or a serial away for good.
    async fn deny(&self, what: Denied, reason: &str, at: Timestamp) -> Result<(), RecordsError>;
    /// Who is turned away.
    async fn denied(&self) -> Result<DenyList, RecordsError>;
    /// Appends to the audit chain.
    async fn audit(&self, record: AuditRecord) -> Result<(), RecordsError>;
}

impl From<DbError> for RecordsError {
    fn from(error: DbError) -> Self {
        Self(Box::new(error))
    }
}

#[async_trait]
impl Records for Db {
    async fn use_join_token(&self, token: TokenUse) -> Result<Option<NodeId>, RecordsError> {
        let TokenUse {
            id,
            secret,
            spki,
            fresh,
            node_name,
            at,
        } = token;
        let attempt = JoinAttempt {
            token_id: id,
            secret,
            spki,
            node_name,
            new_node: fresh,
            now: at,
        };
        match self.join(attempt).await {
            Ok(node) => Ok(Some(node)),
            Err(JoinRefusal::Db(error)) => Err(error.into()),
            Err(refusal) => {
                tracing::info!(%refusal, "a join token was refused");
                Ok(None)
            }
        }
    }

    async fn gave_out_join_token(&self, id: &str, now: Timestamp) -> Result<bool, RecordsError> {
        let token = self.read().await?.join_token(id).await?;
        Ok(token.is_some_and(|token| now < token.expires_at))
    }

    async fn voucher(&self, store: &StoreId, spki: Digest) -> Result<Voucher, RecordsError> {
        if self.vouched(store, spki).await?.is_some() {
            return Ok(Voucher::ThisKey);
        }
        Ok(match self.newest_voucher(store).await? {
            Some(_) => Voucher::OtherKey,
            None => Voucher::None,
        })
    }

    async fn certificate(&self, serial: &str) -> Result<Option<Certificate>, RecordsError> {
        Ok(Self::certificate(self, serial).await?)
    }

    async fn newest(
        &self,
        identity: &Identity,
        spki: Digest,
        since: Timestamp,
    ) -> Result<Option<Certificate>, RecordsError> {
        Ok(self.certificate_of_key(identity, spki, since).await?)
    }

    async fn record(&self, certificate: Certificate) -> Result<(), RecordsError> {
        Ok(self.record_certificate(certificate, None).await?)
    }

    async fn activate(
        &self,
        identity: &Identity,
        serial: &str,
    ) -> Result<Activation, RecordsError> {
        Ok(match self.activate_certificate(identity, serial).await? {
            Some(true) => Activation::Current,
            Some(false) => Activation::Superseded,
            None => Activation::Unknown,
        })
    }

    async fn deny(&self, what: Denied, reason: &str, at: Timestamp) -> Result<(), RecordsError> {
        Ok(Self::deny(self, what, reason, at).await?)
    }

    async fn denied(&self) -> Result<DenyList, RecordsError> {
        Ok(self.deny_list().await?)
    }

    async fn audit(&self, record: AuditRecord) -> Result<(), RecordsError> {
        Ok(Self::audit(self, record).await?)
    }
}
