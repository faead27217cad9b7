//! Events of stores and nodes.

use shop_proto::{NodeId, StoreId};

use super::{
    DbError, Tx,
    driver::{Row, args},
};
use crate::domain::event::{Severity, StoreEvent};

fn event(row: &Row) -> Result<StoreEvent, DbError> {
    Ok(StoreEvent {
        seq: row.count("seq")?,
        store: row.maybe_parsed("store_id")?,
        node: row.maybe_parsed("node_id")?,
        code: row.text("code")?,
        severity: Severity::parse(&row.text("severity")?),
        message: row.text("message")?,
        service: row.text("service")?,
        at: row.time("at")?,
    })
}

impl Tx {
    /// Keeps an event.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn insert_event(&mut self, event: &StoreEvent) -> Result<(), DbError> {
        let seq = self.next("event").await?;
        self.execute(
            "INSERT INTO events (seq, store_id, node_id, code, severity, message, service, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            args![
                seq,
                event.store.as_ref(),
                event.node.as_ref(),
                &event.code,
                event.severity.as_str(),
                &event.message,
                &event.service,
                event.at,
            ],
        )
        .await?;
        Ok(())
    }

    /// Events of a store, newest first, before a number.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list_events(
        &mut self,
        store: &StoreId,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<StoreEvent>, DbError> {
        let sql =
            "SELECT * FROM events WHERE store_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3";
        let values = args![store, before.unwrap_or(u64::MAX), limit];
        self.rows(sql, values).await?.iter().map(event).collect()
    }

    /// Whether this was said about this store on this node before.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn event_known(
        &mut self,
        code: &str,
        store: Option<&StoreId>,
        node: Option<&NodeId>,
    ) -> Result<bool, DbError> {
        let sql = "SELECT seq FROM events WHERE code = $1 AND ($2 IS NULL OR store_id = $2) AND ($3 IS NULL OR node_id = $3) LIMIT 1";
        Ok(self.row(sql, args![code, store, node]).await?.is_some())
    }

    /// Forgets all but the newest events of every store.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn prune_events(&mut self, keep: u32) -> Result<u64, DbError> {
        let sql = "DELETE FROM events WHERE seq IN (SELECT seq FROM (SELECT seq, ROW_NUMBER() OVER \
                   (PARTITION BY store_id, node_id ORDER BY seq DESC) AS place FROM events) AS ranked WHERE place > $1)";
        self.execute(sql, args![keep]).await
    }
}
