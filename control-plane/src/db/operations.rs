//! Operations and the idempotency keys that point at them.

use jiff::Timestamp;
use shop_proto::{Generation, StoreId};

use super::{
    DbError, Tx,
    driver::{Arg, Row, args, json},
};
use crate::domain::operation::{Deadline, Operation, OperationKind, OperationState};

/// What was asked under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyRecord {
    /// Digest of the request, as text.
    pub request: String,
    /// Id of the operation that is the answer, or of the rollout.
    pub answer: String,
}

fn operation(row: &Row) -> Result<Operation, DbError> {
    let corrupt = |column| move || DbError::corrupt(column, "unknown word");
    Ok(Operation {
        id: row.text("id")?,
        kind: OperationKind::parse(&row.text("kind")?).ok_or_else(corrupt("kind"))?,
        organisation: row.text("organisation_id")?,
        store: row.parsed("store_id")?,
        store_name: row.parsed("store_name")?,
        generation: Generation::new(row.count("generation")?)
            .ok_or_else(|| DbError::corrupt("generation", "zero"))?,
        state: OperationState::parse(&row.text("state")?).ok_or_else(corrupt("state"))?,
        reason: row.text("reason")?,
        message: row.text("message")?,
        steps: row.json("steps")?,
        requested_by: row.text("requested_by")?,
        requested_reason: row.text("requested_reason")?,
        request_id: row.text("request_id")?,
        created_at: row.time("created_at")?,
        started_at: row.maybe_time("started_at")?,
        ended_at: row.maybe_time("ended_at")?,
        deadline: match (
            row.maybe_time("deadline_at")?,
            row.maybe_int("deadline_left")?,
        ) {
            (Some(until), _) => Deadline::Until(until),
            (None, Some(left_ms)) => Deadline::Paused { left_ms },
            (None, None) => Deadline::None,
        },
        change_seq: row.count("change_seq")?,
    })
}

fn changeable(operation: &Operation) -> Result<Vec<Arg>, DbError> {
    let (until, left): (Option<Timestamp>, Option<i64>) = match operation.deadline {
        Deadline::None => (None, None),
        Deadline::Until(until) => (Some(until), None),
        Deadline::Paused { left_ms } => (None, Some(left_ms)),
    };
    Ok(args![
        operation.state.as_str(),
        &operation.reason,
        &operation.message,
        json(&operation.steps)?,
        operation.started_at,
        operation.ended_at,
        until,
        left,
        operation.change_seq,
    ])
}

impl Tx {
    /// A new operation. Sets its `change_seq`.
    ///
    /// # Errors
    /// [`DbError::Taken`] when the store has one under way.
    pub async fn insert_operation(&mut self, operation: &mut Operation) -> Result<(), DbError> {
        operation.change_seq = self.next_change().await?;
        let mut values = changeable(operation)?;
        values.extend(args![
            &operation.id,
            operation.kind.as_str(),
            &operation.organisation,
            &operation.store,
            &operation.store_name,
            operation.generation,
            &operation.requested_by,
            &operation.requested_reason,
            &operation.request_id,
            operation.created_at,
        ]);
        self.execute(
            "INSERT INTO operations (state, reason, message, steps, started_at, ended_at, deadline_at, deadline_left, change_seq, id, \
             kind, organisation_id, store_id, store_name, generation, requested_by, requested_reason, request_id, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
            values,
        )
        .await?;
        Ok(())
    }

    /// Writes an operation back and moves its `change_seq` on.
    ///
    /// # Errors
    /// [`DbError::Stale`] when it has ended or is no longer as it was read.
    pub async fn save_operation(&mut self, operation: &mut Operation) -> Result<(), DbError> {
        let read_at = operation.change_seq;
        operation.change_seq = self.next_change().await?;
        let mut values = changeable(operation)?;
        values.extend(args![&operation.id, read_at]);
        let changed = self
            .execute(
                "UPDATE operations SET state = $1, reason = $2, message = $3, steps = $4, started_at = $5, ended_at = $6, \
                 deadline_at = $7, deadline_left = $8, change_seq = $9 \
                 WHERE id = $10 AND change_seq = $11 AND state IN ('pending', 'running')",
                values,
            )
            .await?;
        if changed == 1 {
            Ok(())
        } else {
            Err(DbError::Stale { what: "operation" })
        }
    }

    /// An operation by id.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn operation(&mut self, id: &str) -> Result<Option<Operation>, DbError> {
        let row = self
            .row("SELECT * FROM operations WHERE id = $1", args![id])
            .await?;
        row.as_ref().map(operation).transpose()
    }

    /// The operation of a store that is under way, or else its newest.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn latest_operation(
        &mut self,
        store: &StoreId,
    ) -> Result<Option<Operation>, DbError> {
        let sql = "SELECT * FROM operations WHERE store_id = $1 AND kind <> 'task' \
                   ORDER BY CASE WHEN state IN ('pending', 'running') THEN 0 ELSE 1 END, generation DESC, created_at DESC, id DESC LIMIT 1";
        let row = self.row(sql, args![store]).await?;
        row.as_ref().map(operation).transpose()
    }

    /// Newest first: those before an id, optionally of one store and in one state.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list_operations(
        &mut self,
        store: Option<&StoreId>,
        state: Option<OperationState>,
        before: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Operation>, DbError> {
        // Ids are UUIDv7: their order is the order of creation.
        let sql = "SELECT * FROM operations WHERE ($1 IS NULL OR store_id = $1) AND ($2 IS NULL OR state = $2) \
                   AND ($3 IS NULL OR id < $3) ORDER BY id DESC LIMIT $4";
        let state = state.map(|state| state.as_str().to_owned());
        let values = args![store, state, before, limit];
        self.rows(sql, values)
            .await?
            .iter()
            .map(operation)
            .collect()
    }

    /// Stores whose operation's deadline has come.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn stores_overdue(&mut self, now: Timestamp) -> Result<Vec<StoreId>, DbError> {
        let sql = "SELECT store_id FROM operations WHERE state IN ('pending', 'running') AND deadline_at <= $1";
        let rows = self.rows(sql, args![now]).await?;
        rows.iter().map(|row| row.parsed("store_id")).collect()
    }

    /// Operations waiting and under way.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn count_operations(&mut self) -> Result<(u32, u32), DbError> {
        let sql = "SELECT CAST(COALESCE(SUM(CASE WHEN state = 'pending' THEN 1 ELSE 0 END), 0) AS BIGINT) AS pending, \
                   CAST(COALESCE(SUM(CASE WHEN state = 'running' THEN 1 ELSE 0 END), 0) AS BIGINT) AS running \
                   FROM operations WHERE state IN ('pending', 'running')";
        match self.row(sql, vec![]).await? {
            Some(row) => Ok((row.count("pending")?, row.count("running")?)),
            None => Ok((0, 0)),
        }
    }

    /// What an actor asked under a key.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn idempotent(
        &mut self,
        actor: &str,
        key: &str,
    ) -> Result<Option<IdempotencyRecord>, DbError> {
        let sql = "SELECT request, operation_id AS answer FROM idempotency WHERE actor = $1 AND key = $2 \
                   UNION ALL SELECT request, rollout_id FROM rollout_keys WHERE actor = $1 AND key = $2";
        self.row(sql, args![actor, key])
            .await?
            .map(|row| {
                Ok(IdempotencyRecord {
                    request: row.text("request")?,
                    answer: row.text("answer")?,
                })
            })
            .transpose()
    }

    /// Remembers what an actor asked under a key.
    ///
    /// # Errors
    /// [`DbError::Taken`] when the key was used.
    pub async fn remember(
        &mut self,
        actor: &str,
        key: &str,
        record: &IdempotencyRecord,
        now: Timestamp,
    ) -> Result<(), DbError> {
        self.execute(
            "INSERT INTO idempotency (actor, key, request, operation_id, created_at) VALUES ($1, $2, $3, $4, $5)",
            args![actor, key, &record.request, &record.answer, now],
        )
        .await?;
        Ok(())
    }

    /// Forgets keys from before a time.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_keys(&mut self, before: Timestamp) -> Result<u64, DbError> {
        let operations = self
            .execute(
                "DELETE FROM idempotency WHERE created_at < $1",
                args![before],
            )
            .await?;
        let rollouts = self
            .execute(
                "DELETE FROM rollout_keys WHERE created_at < $1",
                args![before],
            )
            .await?;
        Ok(operations + rollouts)
    }
}
