//! What is only kept and passed on: rosters and escrows. Opaque here.

use jiff::Timestamp;
use shop_proto::StoreId;

use super::{Db, DbError, Tx, driver::args};
use crate::domain::session::{Escrow, RosterBytes};

impl Tx {
    /// The newest roster.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn roster(&mut self) -> Result<Option<RosterBytes>, DbError> {
        let sql = "SELECT document, signature FROM rosters ORDER BY seq DESC LIMIT 1";
        self.row(sql, vec![])
            .await?
            .map(|row| {
                Ok(RosterBytes {
                    document: row.bytes("document")?,
                    signature: row.bytes("signature")?,
                })
            })
            .transpose()
    }

    /// A newer roster. The older ones stay: they say who was a signer when.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn insert_roster(
        &mut self,
        roster: &RosterBytes,
        by: &str,
        now: Timestamp,
    ) -> Result<(), DbError> {
        self.execute(
            "INSERT INTO rosters (seq, document, signature, put_by, at) \
             VALUES ((SELECT COALESCE(MAX(seq), 0) + 1 FROM rosters), $1, $2, $3, $4)",
            args![
                roster.document.as_slice(),
                roster.signature.as_slice(),
                by,
                now
            ],
        )
        .await?;
        Ok(())
    }

    /// A store's sealed vault. Keeps the newest versions only.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn insert_escrow(
        &mut self,
        store: &StoreId,
        escrow: &Escrow,
        keep: u32,
        now: Timestamp,
    ) -> Result<(), DbError> {
        self.execute(
            "INSERT INTO escrows (store_id, vault_version, recipient_key_id, enc, ciphertext, at) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (store_id, vault_version) DO UPDATE SET recipient_key_id = excluded.recipient_key_id, enc = excluded.enc, \
             ciphertext = excluded.ciphertext, at = excluded.at",
            args![
                store,
                escrow.vault_version,
                &escrow.recipient_key_id,
                escrow.enc.as_slice(),
                escrow.ciphertext.as_slice(),
                now,
            ],
        )
        .await?;
        self.execute(
            "DELETE FROM escrows WHERE store_id = $1 AND vault_version NOT IN \
             (SELECT vault_version FROM escrows WHERE store_id = $1 ORDER BY vault_version DESC LIMIT $2)",
            args![store, keep],
        )
        .await?;
        Ok(())
    }

    /// The newest sealed vault of a store.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn escrow(&mut self, store: &StoreId) -> Result<Option<Escrow>, DbError> {
        let sql = "SELECT * FROM escrows WHERE store_id = $1 ORDER BY vault_version DESC LIMIT 1";
        self.row(sql, args![store])
            .await?
            .map(|row| {
                Ok(Escrow {
                    vault_version: row.count("vault_version")?,
                    recipient_key_id: row.text("recipient_key_id")?,
                    enc: row.bytes("enc")?,
                    ciphertext: row.bytes("ciphertext")?,
                })
            })
            .transpose()
    }
}

impl Db {
    /// The newest roster.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn roster(&self) -> Result<Option<RosterBytes>, DbError> {
        self.read().await?.roster().await
    }
}
