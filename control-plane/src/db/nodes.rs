//! Joined nodes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shop_proto::{NodeId, StoreId};

use super::{
    DbError, Tx,
    driver::{Row, args, json},
};
use crate::domain::{
    breaker::Breaker,
    node::{Link, Node},
    session::Capacity,
};

/// [`Capacity`] as it is kept.
#[derive(Serialize, Deserialize)]
struct CapacityRow {
    memory_bytes: u64,
    cpu_millis: u32,
    disk_total_bytes: u64,
    disk_free_bytes: u64,
    /// Absent in what the release before wrote: never said.
    #[serde(default, skip_serializing_if = "is_zero")]
    disk_limit_percent: u32,
    edge_scheme: String,
    edge_port: u16,
    images: Vec<String>,
    /// Absent in what the release before wrote: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    allowed_images: Vec<String>,
}

const fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl From<&Capacity> for CapacityRow {
    fn from(capacity: &Capacity) -> Self {
        Self {
            memory_bytes: capacity.memory_bytes,
            cpu_millis: capacity.cpu_millis,
            disk_total_bytes: capacity.disk_total_bytes,
            disk_free_bytes: capacity.disk_free_bytes,
            disk_limit_percent: capacity.disk_limit_percent,
            edge_scheme: capacity.edge_scheme.clone(),
            edge_port: capacity.edge_port,
            images: capacity.images.clone(),
            allowed_images: capacity.allowed_images.clone(),
        }
    }
}

impl From<CapacityRow> for Capacity {
    fn from(row: CapacityRow) -> Self {
        Self {
            memory_bytes: row.memory_bytes,
            cpu_millis: row.cpu_millis,
            disk_total_bytes: row.disk_total_bytes,
            disk_free_bytes: row.disk_free_bytes,
            disk_limit_percent: row.disk_limit_percent,
            edge_scheme: row.edge_scheme,
            edge_port: row.edge_port,
            images: row.images,
            allowed_images: row.allowed_images,
        }
    }
}

const fn link_words(link: Link, joined: Timestamp) -> (&'static str, Timestamp) {
    match link {
        Link::Never => ("never", joined),
        Link::Up { since } => ("up", since),
        Link::Down { since } => ("down", since),
    }
}

fn node(row: &Row) -> Result<Node, DbError> {
    let since = row.time("link_since")?;
    Ok(Node {
        id: row.parsed("id")?,
        name: row.text("name")?,
        capacity: row.json::<CapacityRow>("capacity")?.into(),
        agent_version: row.text("agent_version")?,
        engine_version: row.text("engine_version")?,
        boot_id: row.text("boot_id")?,
        render_versions: row.json("render_versions")?,
        joined_at: row.time("joined_at")?,
        orphans: row.json("orphans")?,
        breaker: Breaker {
            failures: row.count("failures")?,
            until: row.maybe_time("tripped_until")?,
        },
        link: match row.text("link")?.as_str() {
            "up" => Link::Up { since },
            "down" => Link::Down { since },
            _ => Link::Never,
        },
    })
}

impl Tx {
    /// A node that joined.
    ///
    /// # Errors
    /// [`DbError::Taken`] when the id is in use.
    pub async fn insert_node(&mut self, node: &Node) -> Result<(), DbError> {
        let (link, since) = link_words(node.link, node.joined_at);
        self.execute(
            "INSERT INTO nodes (id, name, capacity, agent_version, engine_version, boot_id, render_versions, joined_at, link, link_since, \
             orphans) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            args![
                &node.id,
                &node.name,
                json(&CapacityRow::from(&node.capacity))?,
                &node.agent_version,
                &node.engine_version,
                &node.boot_id,
                json(&node.render_versions)?,
                node.joined_at,
                link,
                since,
                json(&node.orphans)?,
            ],
        )
        .await?;
        Ok(())
    }

    /// What a node says about itself, and its link.
    ///
    /// # Errors
    /// [`DbError::Stale`] when it was removed.
    pub async fn save_node(&mut self, node: &Node) -> Result<(), DbError> {
        let (link, since) = link_words(node.link, node.joined_at);
        let changed = self
            .execute(
                "UPDATE nodes SET capacity = $1, agent_version = $2, engine_version = $3, boot_id = $4, render_versions = $5, link = $6, \
                 link_since = $7, orphans = $8, failures = $9, tripped_until = $10 WHERE id = $11 AND removed_at IS NULL",
                args![
                    json(&CapacityRow::from(&node.capacity))?,
                    &node.agent_version,
                    &node.engine_version,
                    &node.boot_id,
                    json(&node.render_versions)?,
                    link,
                    since,
                    json(&node.orphans)?,
                    node.breaker.failures,
                    node.breaker.until,
                    &node.id,
                ],
            )
            .await?;
        if changed != 1 {
            return Err(DbError::Stale { what: "node" });
        }
        // Whoever waits for room looks again.
        self.next_change().await?;
        Ok(())
    }

    /// A node that was not removed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn node(&mut self, id: &NodeId) -> Result<Option<Node>, DbError> {
        let sql = "SELECT * FROM nodes WHERE id = $1 AND removed_at IS NULL";
        let row = self.row(sql, args![id]).await?;
        row.as_ref().map(node).transpose()
    }

    /// All nodes that were not removed, by name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list_nodes(&mut self) -> Result<Vec<Node>, DbError> {
        let sql = "SELECT * FROM nodes WHERE removed_at IS NULL ORDER BY name, id";
        self.rows(sql, vec![]).await?.iter().map(node).collect()
    }

    /// Takes a node out. Its row stays: its id is never reused.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn remove_node(&mut self, id: &NodeId, now: Timestamp) -> Result<(), DbError> {
        self.execute(
            "UPDATE nodes SET removed_at = $1 WHERE id = $2 AND removed_at IS NULL",
            args![now, id],
        )
        .await?;
        Ok(())
    }

    /// No session outlives the process that held it: those that were up before a start are down since then.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn nodes_down_since_before(&mut self, start: Timestamp) -> Result<u64, DbError> {
        let sql =
            "UPDATE nodes SET link = 'down', link_since = $1 WHERE link = 'up' AND link_since < $1";
        self.execute(sql, args![start]).await
    }

    /// Stores on nodes that have been away since before a time, and that do not say so yet.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn stores_cut_off(&mut self, before: Timestamp) -> Result<Vec<StoreId>, DbError> {
        let sql = "SELECT stores.id AS id FROM stores JOIN nodes ON nodes.id = stores.node_id \
                   WHERE nodes.link = 'down' AND nodes.link_since <= $1 AND stores.lifecycle NOT IN ('deleted', 'grace') \
                   AND stores.reason <> 'node_unreachable'";
        let rows = self.rows(sql, args![before]).await?;
        rows.iter().map(|row| row.parsed("id")).collect()
    }
}
