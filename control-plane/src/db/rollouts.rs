//! Rollouts and the stores that take part in them.

use jiff::Timestamp;
use shop_proto::{NodeId, StoreId};

use super::{
    DbError, IdempotencyRecord, Tx,
    driver::{Row, args, json},
};
use crate::domain::rollout::{Member, MemberState, Rollout, RolloutState};

fn rollout(row: &Row) -> Result<Rollout, DbError> {
    Ok(Rollout {
        id: row.text("id")?,
        wish: row.json("wish")?,
        state: RolloutState::parse(&row.text("state")?)
            .ok_or_else(|| DbError::corrupt("state", "unknown word"))?,
        reason: row.text("reason")?,
        message: row.text("message")?,
        wave: row.count("wave")?,
        forgiven: row.count("forgiven")?,
        goes_back: row.int("goes_back")? != 0,
        requested_by: row.text("requested_by")?,
        requested_reason: row.text("requested_reason")?,
        created_at: row.time("created_at")?,
        ended_at: row.maybe_time("ended_at")?,
    })
}

fn member(row: &Row) -> Result<Member, DbError> {
    Ok(Member {
        store: row.parsed("store_id")?,
        name: row.parsed("store_name")?,
        organisation: row.text("organisation_id")?,
        wave: row.count("wave")?,
        state: MemberState::parse(&row.text("state")?)
            .ok_or_else(|| DbError::corrupt("state", "unknown word"))?,
        operation: row.maybe_text("operation_id")?,
        before: row.count("revision_before")?,
        reason: row.text("reason")?,
        message: row.text("message")?,
    })
}

impl Tx {
    /// A new rollout with its stores.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn insert_rollout(
        &mut self,
        rollout: &Rollout,
        members: &[Member],
    ) -> Result<(), DbError> {
        self.next_change().await?;
        self.execute(
            "INSERT INTO rollouts (id, wish, state, reason, message, wave, forgiven, goes_back, requested_by, requested_reason, \
             created_at, ended_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            args![
                &rollout.id,
                json(&rollout.wish)?,
                rollout.state.as_str(),
                &rollout.reason,
                &rollout.message,
                rollout.wave,
                rollout.forgiven,
                rollout.goes_back,
                &rollout.requested_by,
                &rollout.requested_reason,
                rollout.created_at,
                rollout.ended_at,
            ],
        )
        .await?;
        for (position, member) in members.iter().enumerate() {
            self.execute(
                "INSERT INTO rollout_stores (rollout_id, store_id, position, store_name, organisation_id, wave, state, operation_id, \
                 revision_before, reason, message) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                args![
                    &rollout.id,
                    &member.store,
                    i64::try_from(position).unwrap_or(i64::MAX),
                    &member.name,
                    &member.organisation,
                    member.wave,
                    member.state.as_str(),
                    member.operation.as_ref(),
                    member.before,
                    &member.reason,
                    &member.message,
                ],
            )
            .await?;
        }
        Ok(())
    }

    /// Remembers which rollout an actor asked for under a key.
    ///
    /// # Errors
    /// [`DbError::Taken`] when the key was used.
    pub async fn remember_rollout(
        &mut self,
        actor: &str,
        key: &str,
        record: &IdempotencyRecord,
        now: Timestamp,
    ) -> Result<(), DbError> {
        self.execute(
            "INSERT INTO rollout_keys (actor, key, request, rollout_id, created_at) VALUES ($1, $2, $3, $4, $5)",
            args![actor, key, &record.request, &record.answer, now],
        )
        .await?;
        Ok(())
    }

    /// Writes a rollout's state back.
    ///
    /// # Errors
    /// [`DbError::Stale`] when it is no longer in the state that was read.
    pub async fn save_rollout(
        &mut self,
        rollout: &Rollout,
        was: RolloutState,
    ) -> Result<(), DbError> {
        self.next_change().await?;
        let changed = self
            .execute(
                "UPDATE rollouts SET state = $1, reason = $2, message = $3, wave = $4, forgiven = $5, goes_back = $6, ended_at = $7 \
                 WHERE id = $8 AND state = $9",
                args![
                    rollout.state.as_str(),
                    &rollout.reason,
                    &rollout.message,
                    rollout.wave,
                    rollout.forgiven,
                    rollout.goes_back,
                    rollout.ended_at,
                    &rollout.id,
                    was.as_str(),
                ],
            )
            .await?;
        if changed == 1 {
            Ok(())
        } else {
            Err(DbError::Stale { what: "rollout" })
        }
    }

    /// Writes back how far a store of a rollout is.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn save_member(&mut self, rollout: &str, member: &Member) -> Result<(), DbError> {
        self.next_change().await?;
        self.execute(
            "UPDATE rollout_stores SET state = $1, operation_id = $2, reason = $3, message = $4 WHERE rollout_id = $5 AND store_id = $6",
            args![
                member.state.as_str(),
                member.operation.as_ref(),
                &member.reason,
                &member.message,
                rollout,
                &member.store,
            ],
        )
        .await?;
        Ok(())
    }

    /// A rollout by id.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn rollout(&mut self, id: &str) -> Result<Option<Rollout>, DbError> {
        let row = self
            .row("SELECT * FROM rollouts WHERE id = $1", args![id])
            .await?;
        row.as_ref().map(rollout).transpose()
    }

    /// Rollouts, newest first: those before an id.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list_rollouts(
        &mut self,
        before: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Rollout>, DbError> {
        // Ids are UUIDv7: their order is the order of creation.
        let sql = "SELECT * FROM rollouts WHERE ($1 IS NULL OR id < $1) ORDER BY id DESC LIMIT $2";
        let rows = self.rows(sql, args![before, limit]).await?;
        rows.iter().map(rollout).collect()
    }

    /// Rollouts that somebody has to look after, oldest first: all but those that ended and have nothing under way.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn rollouts_under_way(&mut self) -> Result<Vec<Rollout>, DbError> {
        let sql = "SELECT * FROM rollouts WHERE state <> 'succeeded' AND (state <> 'aborted' OR id IN \
                   (SELECT rollout_id FROM rollout_stores WHERE state = 'updating' OR (state = 'done' AND rollouts.goes_back = 1))) \
                   ORDER BY id";
        self.rows(sql, vec![]).await?.iter().map(rollout).collect()
    }

    /// The stores of a rollout, in their order.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn rollout_members(&mut self, rollout: &str) -> Result<Vec<Member>, DbError> {
        let sql = "SELECT * FROM rollout_stores WHERE rollout_id = $1 ORDER BY position";
        let rows = self.rows(sql, args![rollout]).await?;
        rows.iter().map(member).collect()
    }

    /// Where the stores of a rollout's wave are that wait for their turn.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn rollout_places(
        &mut self,
        rollout: &str,
        wave: u32,
    ) -> Result<Vec<(StoreId, NodeId)>, DbError> {
        let sql = "SELECT rollout_stores.store_id AS store_id, stores.node_id AS node_id FROM rollout_stores \
                   JOIN stores ON stores.id = rollout_stores.store_id \
                   WHERE rollout_id = $1 AND wave = $2 AND state = 'waiting' AND node_id IS NOT NULL";
        let rows = self.rows(sql, args![rollout, wave]).await?;
        rows.iter()
            .map(|row| Ok((row.parsed("store_id")?, row.parsed("node_id")?)))
            .collect()
    }

    /// How many stores of a rollout have each state.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn rollout_counts(
        &mut self,
        rollout: &str,
    ) -> Result<Vec<(MemberState, u32)>, DbError> {
        let sql = "SELECT state, COUNT(*) AS stores FROM rollout_stores WHERE rollout_id = $1 GROUP BY state ORDER BY state";
        self.rows(sql, args![rollout])
            .await?
            .iter()
            .map(|row| {
                let state = MemberState::parse(&row.text("state")?)
                    .ok_or_else(|| DbError::corrupt("state", "unknown word"))?;
                Ok((state, row.count("stores")?))
            })
            .collect()
    }

    /// Forgets rollouts that ended before a time.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_rollouts(&mut self, before: Timestamp) -> Result<u64, DbError> {
        for table in ["rollout_keys", "rollout_stores"] {
            self.execute(
                format!("DELETE FROM {table} WHERE rollout_id IN (SELECT id FROM rollouts WHERE ended_at < $1)"),
                args![before],
            )
            .await?;
        }
        self.execute("DELETE FROM rollouts WHERE ended_at < $1", args![before])
            .await
    }
}
