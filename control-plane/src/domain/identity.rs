//! What is remembered of enrolments: join tokens, vouched keys, certificates, denials.

use jiff::Timestamp;
use shop_proto::{Digest, Identity, NodeId, StoreId};

/// A join token as it is kept: the secret only as a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinToken {
    pub id: String,
    pub secret: Digest,
    pub created_by: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub used: Option<JoinTokenUse>,
}

/// Who used a join token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinTokenUse {
    pub at: Timestamp,
    /// Key that joined.
    pub spki: Digest,
    /// What it became.
    pub node: NodeId,
}

/// A node's word for a shop agent's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VouchedKey {
    pub store: StoreId,
    pub spki: Digest,
    pub node: NodeId,
    pub sealing_public_key: Vec<u8>,
    pub recorded_at: Timestamp,
}

/// An issued leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Lower-case hex of the serial number.
    pub serial: String,
    pub identity: Identity,
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub spki: Digest,
    pub issued_at: Timestamp,
    pub not_after: Timestamp,
    /// Leaf and intermediate, DER, so that the same key asking again gets the same answer.
    pub chain: Vec<Vec<u8>>,
    /// The renewal that replaced it.
    pub superseded_by: Option<String>,
}

/// What is no longer let in. Read at handshake, at each call and at each stream tick.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DenyList {
    pub serials: std::collections::BTreeSet<String>,
    pub identities: std::collections::BTreeSet<Identity>,
}

/// What to deny.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    Serial(String),
    Identity(Identity),
}
