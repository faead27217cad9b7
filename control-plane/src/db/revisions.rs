//! Revisions of stores.

use jiff::Timestamp;
use shop_proto::{Generation, StoreId};

use super::{
    DbError, Tx,
    driver::{Row, args, json},
};
use crate::domain::revision::{KeptRevision, REVISIONS_KEPT, RevisionState};

fn revision(row: &Row) -> Result<KeptRevision, DbError> {
    Ok(KeptRevision {
        content: row.json("content")?,
        template_version: row.text("template_version")?,
        plan_digest: row.parsed("plan_digest")?,
        created_by: row.text("created_by")?,
        created_at: row.time("created_at")?,
        reason: row.text("reason")?,
        state: RevisionState::parse(
            &row.text("state")?,
            row.text("held_reason")?,
            row.text("held_message")?,
        )
        .ok_or_else(|| DbError::corrupt("state", "unknown word"))?,
        asked: Generation::new(row.count("asked_generation")?)
            .ok_or_else(|| DbError::corrupt("asked_generation", "zero"))?,
    })
}

impl Tx {
    /// Keeps what a store is to render from.
    ///
    /// # Errors
    /// When the database does not answer, or the number is in use.
    pub async fn insert_revision(
        &mut self,
        store: &StoreId,
        kept: &KeptRevision,
    ) -> Result<(), DbError> {
        self.execute(
            "INSERT INTO revisions (store_id, number, content, plan_digest, created_by, created_at, template_version, reason, state, \
             asked_generation) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            args![
                store,
                kept.content.number,
                json(&kept.content)?,
                &kept.plan_digest,
                &kept.created_by,
                kept.created_at,
                &kept.template_version,
                &kept.reason,
                kept.state.as_str(),
                kept.asked,
            ],
        )
        .await?;
        Ok(())
    }

    /// All that are kept, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn revisions(&mut self, store: &StoreId) -> Result<Vec<KeptRevision>, DbError> {
        let sql = "SELECT * FROM revisions WHERE store_id = $1 ORDER BY number DESC";
        let rows = self.rows(sql, args![store]).await?;
        rows.iter().map(revision).collect()
    }

    /// One by its number.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn revision(
        &mut self,
        store: &StoreId,
        number: u64,
    ) -> Result<Option<KeptRevision>, DbError> {
        let sql = "SELECT * FROM revisions WHERE store_id = $1 AND number = $2";
        let row = self.row(sql, args![store, number]).await?;
        row.as_ref().map(revision).transpose()
    }

    /// An operator asks for a kept revision again.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn revision_asked(
        &mut self,
        store: &StoreId,
        number: u64,
        generation: Generation,
    ) -> Result<(), DbError> {
        self.execute(
            "UPDATE revisions SET asked_generation = $3 WHERE store_id = $1 AND number = $2",
            args![store, number, generation],
        )
        .await?;
        Ok(())
    }

    /// A revision serves; the one that did before no longer does.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn revision_serves(&mut self, store: &StoreId, number: u64) -> Result<(), DbError> {
        let sql = "UPDATE revisions SET state = 'superseded' WHERE store_id = $1 AND number <> $2 AND state = 'serving'";
        self.execute(sql, args![store, number]).await?;
        let sql = "UPDATE revisions SET state = 'serving', held_reason = '', held_message = '' \
                   WHERE store_id = $1 AND number = $2 AND state <> 'serving'";
        self.execute(sql, args![store, number]).await?;
        Ok(())
    }

    /// A revision was tried and taken back.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn revision_held_back(
        &mut self,
        store: &StoreId,
        number: u64,
        reason: &str,
        message: &str,
    ) -> Result<(), DbError> {
        self.execute(
            "UPDATE revisions SET state = 'held_back', held_reason = $3, held_message = $4 WHERE store_id = $1 AND number = $2",
            args![store, number, reason, message],
        )
        .await?;
        Ok(())
    }

    /// Forgets what is too old to go back to. What serves and what is `wanted` stays.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn prune_revisions(&mut self, store: &StoreId, wanted: u64) -> Result<u64, DbError> {
        let sql = "DELETE FROM revisions WHERE store_id = $1 AND number <> $2 AND state <> 'serving' AND number NOT IN \
                   (SELECT number FROM revisions WHERE store_id = $1 ORDER BY number DESC LIMIT $3)";
        self.execute(sql, args![store, wanted, REVISIONS_KEPT])
            .await
    }

    /// When and why an operation of a kind was last asked for on a store.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn last_asked(
        &mut self,
        store: &StoreId,
        kind: crate::domain::operation::OperationKind,
    ) -> Result<Option<(Timestamp, String, String)>, DbError> {
        let sql = "SELECT created_at, requested_by, requested_reason FROM operations WHERE store_id = $1 AND kind = $2 \
                   ORDER BY id DESC LIMIT 1";
        self.row(sql, args![store, kind.as_str()])
            .await?
            .map(|row| {
                Ok((
                    row.time("created_at")?,
                    row.text("requested_by")?,
                    row.text("requested_reason")?,
                ))
            })
            .transpose()
    }
}
