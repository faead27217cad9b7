//! What enrolment needs to remember: join tokens, vouched keys, certificates, denials.

use jiff::{SignedDuration, Timestamp};
use shop_proto::{Digest, Identity, NodeId, StoreId};

use super::{
    Db, DbError, Tx,
    driver::{Row, args, json},
};
use crate::domain::{
    breaker::Breaker,
    identity::{Certificate, Denied, DenyList, JoinToken, JoinTokenUse, VouchedKey},
    node::{Link, Node},
    session::Capacity,
};

/// How long the same key asking again gets the same answer: an answer may be lost on the way.
pub const SAME_ANSWER: SignedDuration = SignedDuration::from_mins(5);

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

/// Identities are kept without the trust domain: the table is one fleet's.
pub(super) fn kept(identity: &Identity) -> String {
    match identity {
        Identity::StoreAgent(store) => format!("store/{store}"),
        Identity::Node(node) => format!("node/{node}"),
    }
}

fn parse_kept(text: &str) -> Result<Identity, DbError> {
    let bad = || DbError::corrupt("identity", "unknown form");
    let (kind, id) = text.split_once('/').ok_or_else(bad)?;
    match kind {
        "store" => Ok(Identity::StoreAgent(id.parse().map_err(|_| bad())?)),
        "node" => Ok(Identity::Node(id.parse().map_err(|_| bad())?)),
        _ => Err(bad()),
    }
}

fn join_token(row: &Row) -> Result<JoinToken, DbError> {
    let used = match row.maybe_time("used_at")? {
        Some(at) => Some(JoinTokenUse {
            at,
            spki: row.parsed("used_spki")?,
            node: row.parsed("node_id")?,
        }),
        None => None,
    };
    Ok(JoinToken {
        id: row.text("id")?,
        secret: row.parsed("secret")?,
        created_by: row.text("created_by")?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
        used,
    })
}

pub(super) fn certificate(row: &Row) -> Result<Certificate, DbError> {
    let chain: Vec<String> = row.json("chain")?;
    let chain = chain
        .iter()
        .map(|der| data_encoding::BASE64.decode(der.as_bytes()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| DbError::corrupt("chain", error.to_string()))?;
    Ok(Certificate {
        serial: row.text("serial")?,
        identity: parse_kept(&row.text("identity")?)?,
        spki: row.parsed("spki")?,
        issued_at: row.time("issued_at")?,
        not_after: row.time("not_after")?,
        chain,
        superseded_by: row.maybe_text("superseded_by")?,
    })
}

fn vouched_key(row: &Row) -> Result<VouchedKey, DbError> {
    Ok(VouchedKey {
        store: row.parsed("store_id")?,
        spki: row.parsed("spki")?,
        node: row.parsed("node_id")?,
        sealing_public_key: row.bytes("sealing_public_key")?,
        recorded_at: row.time("recorded_at")?,
    })
}

impl Tx {
    /// A new join token.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn insert_join_token(&mut self, token: &JoinToken) -> Result<(), DbError> {
        self.execute(
            "INSERT INTO join_tokens (id, secret, created_by, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
            args![
                &token.id,
                &token.secret,
                &token.created_by,
                token.created_at,
                token.expires_at
            ],
        )
        .await?;
        Ok(())
    }

    /// A join token by id.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn join_token(&mut self, id: &str) -> Result<Option<JoinToken>, DbError> {
        let row = self
            .row("SELECT * FROM join_tokens WHERE id = $1", args![id])
            .await?;
        row.as_ref().map(join_token).transpose()
    }

    /// Forgets join tokens that expired before a time.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_join_tokens(&mut self, before: Timestamp) -> Result<u64, DbError> {
        let sql = "DELETE FROM join_tokens WHERE expires_at < $1";
        self.execute(sql, args![before]).await
    }

    /// A node's word for a key.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn record_vouch(&mut self, vouch: &VouchedKey) -> Result<(), DbError> {
        self.execute(
            "INSERT INTO vouches (store_id, spki, node_id, sealing_public_key, recorded_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (store_id, spki) DO UPDATE SET node_id = excluded.node_id, \
             sealing_public_key = excluded.sealing_public_key, recorded_at = excluded.recorded_at",
            args![
                &vouch.store,
                &vouch.spki,
                &vouch.node,
                vouch.sealing_public_key.as_slice(),
                vouch.recorded_at
            ],
        )
        .await?;
        Ok(())
    }

    /// Lets a serial or an identity in no more.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn deny(
        &mut self,
        denied: &Denied,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), DbError> {
        let (kind, subject) = match denied {
            Denied::Serial(serial) => ("serial", serial.clone()),
            Denied::Identity(identity) => ("identity", kept(identity)),
        };
        self.execute(
            "INSERT INTO denials (kind, subject, reason, at) VALUES ($1, $2, $3, $4) ON CONFLICT (kind, subject) DO NOTHING",
            args![kind, &subject, reason, now],
        )
        .await?;
        // Whoever keeps a copy of the deny list reads it again on a change.
        self.next_change().await?;
        Ok(())
    }

    /// Forgets certificates that nobody could renew any more.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_certificates(&mut self, before: Timestamp) -> Result<u64, DbError> {
        let sql = "DELETE FROM certificates WHERE not_after < $1";
        self.execute(sql, args![before]).await
    }
}

impl Db {
    /// Uses up a join token and records the node, in one transaction. The same key within five minutes gets the same node.
    ///
    /// # Errors
    /// Why not, for the audit chain.
    pub async fn join(&self, attempt: JoinAttempt) -> Result<NodeId, JoinRefusal> {
        let mut tx = self.write().await?;
        let Some(token) = tx.join_token(&attempt.token_id).await? else {
            return Err(JoinRefusal::Unknown);
        };
        // Digests of secrets: how long a comparison takes tells nothing about the secret itself.
        if token.secret != attempt.secret {
            return Err(JoinRefusal::Secret);
        }
        match token.used {
            Some(used)
                if used.spki == attempt.spki
                    && attempt.now.duration_since(used.at) <= SAME_ANSWER =>
            {
                return Ok(used.node);
            }
            Some(_) => return Err(JoinRefusal::Used),
            None if attempt.now >= token.expires_at => return Err(JoinRefusal::Expired),
            None => {}
        }
        let used = tx
            .execute(
                "UPDATE join_tokens SET used_at = $1, used_spki = $2, node_id = $3 WHERE id = $4 AND used_at IS NULL",
                args![
                    attempt.now,
                    &attempt.spki,
                    &attempt.new_node,
                    &attempt.token_id
                ],
            )
            .await?;
        if used != 1 {
            return Err(JoinRefusal::Used);
        }
        tx.insert_node(&Node {
            id: attempt.new_node.clone(),
            name: attempt.node_name,
            capacity: Capacity::default(),
            agent_version: String::new(),
            engine_version: String::new(),
            boot_id: String::new(),
            render_versions: Vec::new(),
            joined_at: attempt.now,
            link: Link::Never,
            orphans: Vec::new(),
            breaker: Breaker::default(),
        })
        .await?;
        tx.commit().await?;
        Ok(attempt.new_node)
    }

    /// The voucher for a key, if the node that gave it is still the store's node and the store is not deleted. `None`: not vouched (yet).
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn vouched(
        &self,
        store: &StoreId,
        spki: Digest,
    ) -> Result<Option<VouchedKey>, DbError> {
        let sql = "SELECT vouches.* FROM vouches JOIN stores ON stores.id = vouches.store_id AND stores.node_id = vouches.node_id \
                   WHERE vouches.store_id = $1 AND vouches.spki = $2 AND stores.lifecycle <> 'deleted'";
        let mut tx = self.read().await?;
        let row = tx.row(sql, args![store, &spki]).await?;
        row.as_ref().map(vouched_key).transpose()
    }

    /// Records a leaf and, for a renewal, which one it replaces.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn record_certificate(
        &self,
        certificate: Certificate,
        replaces: Option<&str>,
    ) -> Result<(), DbError> {
        let chain: Vec<String> = certificate
            .chain
            .iter()
            .map(|der| data_encoding::BASE64.encode(der))
            .collect();
        let mut tx = self.write().await?;
        tx.execute(
            "INSERT INTO certificates (serial, identity, spki, issued_at, not_after, chain, superseded_by) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            args![
                &certificate.serial,
                kept(&certificate.identity),
                &certificate.spki,
                certificate.issued_at,
                certificate.not_after,
                json(&chain)?,
                certificate.superseded_by.as_ref(),
            ],
        )
        .await?;
        if let Some(replaced) = replaces {
            tx.execute(
                "UPDATE certificates SET superseded_by = $1 WHERE serial = $2 AND superseded_by IS NULL",
                args![&certificate.serial, replaced],
            )
            .await?;
        }
        tx.commit().await
    }

    /// A leaf by serial. `None` means that another control plane, or a later one, issued it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn certificate(&self, serial: &str) -> Result<Option<Certificate>, DbError> {
        let sql = "SELECT * FROM certificates WHERE serial = $1";
        let row = self.read().await?.row(sql, args![serial]).await?;
        row.as_ref().map(certificate).transpose()
    }

    /// The newest leaf issued to a key since a time, for answers that were lost.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn certificate_of_key(
        &self,
        identity: &Identity,
        spki: Digest,
        since: Timestamp,
    ) -> Result<Option<Certificate>, DbError> {
        let sql = "SELECT * FROM certificates WHERE identity = $1 AND spki = $2 AND issued_at >= $3 ORDER BY issued_at DESC LIMIT 1";
        let values = args![kept(identity), &spki, since];
        let row = self.read().await?.row(sql, values).await?;
        row.as_ref().map(certificate).transpose()
    }

    /// The newest voucher of a store's present node, for whatever key.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn newest_voucher(&self, store: &StoreId) -> Result<Option<VouchedKey>, DbError> {
        let sql = "SELECT vouches.* FROM vouches JOIN stores ON stores.id = vouches.store_id AND stores.node_id = vouches.node_id \
                   WHERE vouches.store_id = $1 AND stores.lifecycle <> 'deleted' ORDER BY vouches.recorded_at DESC LIMIT 1";
        let row = self.read().await?.row(sql, args![store]).await?;
        row.as_ref().map(vouched_key).transpose()
    }

    /// A leaf was used: those of its identity that were issued before it are superseded. False when it is superseded itself, `None`
    /// when it was never recorded here.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn activate_certificate(
        &self,
        identity: &Identity,
        serial: &str,
    ) -> Result<Option<bool>, DbError> {
        let Some(leaf) = self.certificate(serial).await? else {
            return Ok(None);
        };
        if leaf.identity != *identity {
            return Ok(None);
        }
        if leaf.superseded_by.is_some() {
            return Ok(Some(false));
        }
        let older = "SELECT serial FROM certificates WHERE identity = $1 AND serial <> $2 AND issued_at <= $3 AND superseded_by IS NULL";
        let values = args![kept(identity), serial, leaf.issued_at];
        if self.read().await?.rows(older, values).await?.is_empty() {
            return Ok(Some(true));
        }
        let mut tx = self.write().await?;
        tx.execute(
            "UPDATE certificates SET superseded_by = $2 WHERE identity = $1 AND serial <> $2 AND issued_at <= $3 AND superseded_by IS NULL",
            args![kept(identity), serial, leaf.issued_at],
        )
        .await?;
        tx.commit().await?;
        Ok(Some(true))
    }

    /// Lets a serial or an identity in no more.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn deny(&self, denied: Denied, reason: &str, now: Timestamp) -> Result<(), DbError> {
        let mut tx = self.write().await?;
        tx.deny(&denied, reason, now).await?;
        tx.commit().await
    }

    /// All that is denied.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn deny_list(&self) -> Result<DenyList, DbError> {
        let rows = self
            .read()
            .await?
            .rows("SELECT kind, subject FROM denials", vec![])
            .await?;
        let mut list = DenyList::default();
        for row in rows {
            let subject = row.text("subject")?;
            if row.text("kind")? == "serial" {
                list.serials.insert(subject);
            } else {
                list.identities.insert(parse_kept(&subject)?);
            }
        }
        Ok(list)
    }

    /// Whether this identity is a joined node, or a store that is not deleted.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn identity_known(&self, identity: &Identity) -> Result<bool, DbError> {
        let mut tx = self.read().await?;
        Ok(match identity {
            Identity::Node(node) => tx.node(node).await?.is_some(),
            Identity::StoreAgent(store) => tx
                .store(store)
                .await?
                .is_some_and(|store| store.lifecycle != crate::domain::store::Lifecycle::Deleted),
        })
    }
}
