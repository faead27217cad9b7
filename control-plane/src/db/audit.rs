//! The audit chain.

use shop_proto::Digest;

use super::{
    Db, DbError, Tx,
    driver::{Row, args},
};
use crate::domain::audit::{AuditEntry, AuditRecord, Decision, GENESIS};

fn entry(row: &Row) -> Result<AuditEntry, DbError> {
    Ok(AuditEntry {
        seq: row.count("seq")?,
        record: AuditRecord {
            at: row.time("at")?,
            actor: row.text("actor")?,
            source: row.text("source")?,
            request_id: row.text("request_id")?,
            action: row.text("action")?,
            subject: row.text("subject")?,
            decision: if row.text("decision")? == Decision::Allowed.as_str() {
                Decision::Allowed
            } else {
                Decision::Denied
            },
            reason: row.text("reason")?,
        },
        previous: row.parsed("previous")?,
        hash: row.parsed("hash")?,
    })
}

impl Tx {
    /// Number and hash of the newest entry.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn audit_head(&mut self) -> Result<(u64, Digest), DbError> {
        let sql = "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1";
        match self.row(sql, vec![]).await? {
            Some(row) => Ok((row.count("seq")?, row.parsed("hash")?)),
            None => Ok((0, GENESIS)),
        }
    }

    /// Adds an entry to the chain.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn audit(&mut self, record: AuditRecord) -> Result<(), DbError> {
        let (seq, hash) = self.audit_head().await?;
        let entry = AuditEntry::after(seq, hash, record);
        self.execute(
            "INSERT INTO audit (seq, at, actor, source, request_id, action, subject, decision, reason, previous, hash) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            args![
                entry.seq,
                entry.record.at,
                &entry.record.actor,
                &entry.record.source,
                &entry.record.request_id,
                &entry.record.action,
                &entry.record.subject,
                entry.record.decision.as_str(),
                &entry.record.reason,
                &entry.previous,
                &entry.hash,
            ],
        )
        .await?;
        Ok(())
    }

    /// Entries after a number, in order.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn audit_after(&mut self, seq: u64, limit: u32) -> Result<Vec<AuditEntry>, DbError> {
        let sql = "SELECT * FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2";
        let rows = self.rows(sql, args![seq, limit]).await?;
        rows.iter().map(entry).collect()
    }
}

impl Db {
    /// One more entry of the audit chain, in a transaction of its own: enrolments, refusals.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn audit(&self, record: AuditRecord) -> Result<(), DbError> {
        let mut tx = self.write().await?;
        tx.audit(record).await?;
        tx.commit().await
    }
}
