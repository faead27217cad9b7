//! What nodes signed about stores that they took down, and the certificates that signatures are checked against.

use shop_proto::{Identity, StoreId};

use super::{
    DbError, Tx,
    driver::{Row, args},
    enrolment::{certificate, kept},
};
use crate::domain::{identity::Certificate, receipt::Receipt};

fn receipt(row: &Row) -> Result<Receipt, DbError> {
    Ok(Receipt {
        store: row.parsed("store_id")?,
        node: row.parsed("node_id")?,
        document: row.text("document")?,
        signature: row.bytes("signature")?,
        certificate: row.text("certificate")?,
        at: row.time("at")?,
    })
}

impl Tx {
    /// Keeps a receipt. The first one of a store stays.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn insert_receipt(&mut self, receipt: &Receipt) -> Result<(), DbError> {
        self.execute(
            "INSERT INTO receipts (store_id, node_id, document, signature, certificate, at) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (store_id) DO NOTHING",
            args![
                &receipt.store,
                &receipt.node,
                &receipt.document,
                receipt.signature.as_slice(),
                &receipt.certificate,
                receipt.at,
            ],
        )
        .await?;
        Ok(())
    }

    /// The receipt of a store by its id, or of the last one of a name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn receipt(&mut self, name_or_id: &str) -> Result<Option<Receipt>, DbError> {
        let sql = "SELECT receipts.* FROM receipts JOIN stores ON stores.id = receipts.store_id \
                   WHERE stores.id = $1 OR stores.name = $1 \
                   ORDER BY CASE WHEN stores.id = $1 THEN 0 ELSE 1 END, receipts.at DESC LIMIT 1";
        let row = self.row(sql, args![name_or_id]).await?;
        row.as_ref().map(receipt).transpose()
    }

    /// A deleted store by its id, or the last one of a name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn deleted_store(&mut self, name_or_id: &str) -> Result<Option<StoreId>, DbError> {
        let sql = "SELECT id FROM stores WHERE (id = $1 OR name = $1) AND lifecycle = 'deleted' ORDER BY updated_at DESC LIMIT 1";
        let row = self.row(sql, args![name_or_id]).await?;
        row.map(|row| row.parsed("id")).transpose()
    }

    /// All leaves that were issued to an identity and are remembered, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn certificates_of(
        &mut self,
        identity: &Identity,
    ) -> Result<Vec<Certificate>, DbError> {
        let sql = "SELECT * FROM certificates WHERE identity = $1 ORDER BY issued_at DESC";
        let rows = self.rows(sql, args![kept(identity)]).await?;
        rows.iter().map(certificate).collect()
    }
}
