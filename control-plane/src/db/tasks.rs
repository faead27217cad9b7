//! Runs of tasks.

use shop_proto::StoreId;

use super::{
    DbError, Tx,
    driver::{Arg, Row, args, json},
};
use crate::domain::task::{TaskRun, TaskState};

fn run(row: &Row) -> Result<TaskRun, DbError> {
    let exit_code = row.maybe_int("exit_code")?.map(i32::try_from).transpose();
    Ok(TaskRun {
        store: row.parsed("store_id")?,
        id: row.text("id")?,
        task: row.text("task")?,
        arguments: row.json("arguments")?,
        scheduled: row.int("scheduled")? != 0,
        requested_by: row.text("requested_by")?,
        state: TaskState::parse(&row.text("state")?)
            .ok_or_else(|| DbError::corrupt("state", "unknown word"))?,
        cancel: row.int("cancel")? != 0,
        exit_code: exit_code.map_err(|_| DbError::corrupt("exit_code", "too large"))?,
        message: row.text("message")?,
        created_at: row.time("created_at")?,
        started_at: row.maybe_time("started_at")?,
        ended_at: row.maybe_time("ended_at")?,
    })
}

fn changeable(run: &TaskRun) -> Vec<Arg> {
    args![
        run.state.as_str(),
        run.cancel,
        run.exit_code.map(i64::from),
        &run.message,
        run.started_at,
        run.ended_at,
    ]
}

impl Tx {
    /// A new run. Of those of its store that have ended, only the newest `keep` stay. So of those that no operator asked for, ended or not:
    /// an agent that makes runs up fills nothing.
    ///
    /// # Errors
    /// [`DbError::Taken`] when there is one with this id.
    pub async fn insert_task_run(&mut self, run: &TaskRun, keep: u32) -> Result<(), DbError> {
        let mut values = changeable(run);
        values.extend(args![
            &run.store,
            &run.id,
            &run.task,
            json(&run.arguments)?,
            run.scheduled,
            &run.requested_by,
            run.created_at,
        ]);
        self.execute(
            "INSERT INTO task_runs (state, cancel, exit_code, message, started_at, ended_at, store_id, id, task, arguments, scheduled, \
             requested_by, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
            values,
        )
        .await?;
        self.execute(
            "DELETE FROM task_runs WHERE store_id = $1 AND (requested_by = '' OR state NOT IN ('pending', 'queued', 'running')) AND id NOT IN \
             (SELECT id FROM task_runs WHERE store_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2)",
            args![&run.store, keep],
        )
        .await?;
        Ok(())
    }

    /// Writes back how a run stands.
    ///
    /// # Errors
    /// When it has ended otherwise, or the database does not answer.
    pub async fn save_task_run(&mut self, run: &TaskRun) -> Result<(), DbError> {
        let mut values = changeable(run);
        values.extend(args![&run.store, &run.id]);
        self.execute(
            "UPDATE task_runs SET state = $1, cancel = $2, exit_code = $3, message = $4, started_at = $5, ended_at = $6 \
             WHERE store_id = $7 AND id = $8",
            values,
        )
        .await?;
        Ok(())
    }

    /// A run of a store.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn task_run(
        &mut self,
        store: &StoreId,
        id: &str,
    ) -> Result<Option<TaskRun>, DbError> {
        let sql = "SELECT * FROM task_runs WHERE store_id = $1 AND id = $2";
        let row = self.row(sql, args![store, id]).await?;
        row.as_ref().map(run).transpose()
    }

    /// Runs of a store, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn task_runs(
        &mut self,
        store: &StoreId,
        limit: u32,
    ) -> Result<Vec<TaskRun>, DbError> {
        let sql = "SELECT * FROM task_runs WHERE store_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2";
        let rows = self.rows(sql, args![store, limit]).await?;
        rows.iter().map(run).collect()
    }

    /// Runs of operators that have not ended, oldest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn open_task_runs(&mut self) -> Result<Vec<TaskRun>, DbError> {
        let sql = "SELECT * FROM task_runs WHERE state IN ('pending', 'queued', 'running') AND scheduled = 0 ORDER BY created_at, id";
        let rows = self.rows(sql, vec![]).await?;
        rows.iter().map(run).collect()
    }
}
