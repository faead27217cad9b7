//! Stores, their host names and revisions.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shop_proto::{Generation, HostName, Identity, NodeId, RunState, StoreId};

use super::{
    DbError, Tx,
    driver::{Arg, Row, args, json},
};
use crate::domain::{
    identity::Denied,
    room::Room,
    store::{AgentProgress, Lifecycle, NodeProgress, Placement, Reservation, Store, StoreStatus},
};

/// Order of a list of stores. Ties are broken by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreSort {
    pub by_creation: bool,
    pub descending: bool,
}

/// Part of a list of stores.
#[derive(Debug, Clone)]
pub struct StoreFilter {
    pub status: Option<StoreStatus>,
    pub sort: StoreSort,
    /// Sort key and id of the last store of the page before.
    pub after: Option<(String, StoreId)>,
    pub limit: u32,
}

/// What is placed on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeLoad {
    pub node: NodeId,
    pub reserved: Reservation,
    pub stores: u32,
    /// Of those, on their way up.
    pub starting: u32,
}

/// [`Room`] as it is kept: with the generation it is about. A release that does not know it makes others without it.
#[derive(Serialize, Deserialize)]
struct RoomRow {
    generation: Generation,
    room: Room,
}

fn room(row: &Row, generation: Generation) -> Result<Option<Room>, DbError> {
    let Some(text) = row.maybe_text("room")? else {
        return Ok(None);
    };
    let kept: RoomRow =
        serde_json::from_str(&text).map_err(|error| DbError::corrupt("room", error.to_string()))?;
    Ok((kept.generation == generation).then_some(kept.room))
}

fn store(row: &Row) -> Result<Store, DbError> {
    let generation = Generation::new(row.count("generation")?)
        .ok_or_else(|| DbError::corrupt("generation", "zero"))?;
    let corrupt = |column| move || DbError::corrupt(column, "unknown word");
    let placement = match row.maybe_parsed("node_id")? {
        Some(node) => Some(Placement {
            node,
            at: row.time("placed_at")?,
        }),
        None => None,
    };
    Ok(Store {
        id: row.parsed("id")?,
        organisation: row.text("organisation_id")?,
        project: row.text("project_id")?,
        name: row.parsed("name")?,
        display_name: row.text("display_name")?,
        environment: row.parsed("environment")?,
        labels: row.json("labels")?,
        generation,
        room: room(row, generation)?,
        spec: row.json("spec")?,
        template_version: row.text("template_version")?,
        admin_path: row.text("admin_path")?,
        render_version: row.count("render_version")?,
        lifecycle: lifecycle(row)?,
        pinned_node: row.maybe_parsed("pinned_node")?,
        placement,
        reserved: Reservation {
            memory_bytes: row.count("reserved_memory")?,
            cpu_millis: row.count("reserved_cpu")?,
        },
        on_node: NodeProgress {
            generation: row.count("node_generation")?,
            state: row.text("node_state")?,
            code: row.text("node_code")?,
            message: row.text("node_message")?,
            plan_digest: row.maybe_parsed("node_plan_digest")?,
        },
        on_agent: AgentProgress {
            generation: row.count("agent_generation")?,
            refused_generation: row.count("agent_refused")?,
            refused_code: row.text("agent_refused_code")?,
            sealing_public_key: row.bytes("sealing_public_key")?,
            enrolled: row.int("agent_enrolled")? != 0,
        },
        report: row
            .maybe_text("report")?
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|error| DbError::corrupt("report", error.to_string()))?,
        status: StoreStatus::parse(&row.text("status")?).ok_or_else(corrupt("status"))?,
        reason: row.text("reason")?,
        message: row.text("message")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        change_seq: row.count("change_seq")?,
    })
}

fn lifecycle(row: &Row) -> Result<Lifecycle, DbError> {
    let back = row.maybe_text("grace_back")?;
    let grace = back
        .as_deref()
        .and_then(RunState::parse)
        .zip(row.maybe_time("grace_until")?);
    Lifecycle::parse(&row.text("lifecycle")?, grace)
        .ok_or_else(|| DbError::corrupt("lifecycle", "unknown word"))
}

/// What may change in a store's life, in the order of the statements below.
fn changeable(store: &Store) -> Result<Vec<Arg>, DbError> {
    let report = store.report.as_ref().map(json).transpose()?;
    let room = store.room.clone().map(|room| RoomRow {
        generation: store.generation,
        room,
    });
    let room = room.as_ref().map(json).transpose()?;
    let (back, until) = match store.lifecycle {
        Lifecycle::Grace { back, until } => (Some(back.as_str()), Some(until)),
        _ => (None, None),
    };
    Ok(args![
        &store.display_name,
        json(&store.labels)?,
        store.generation,
        json(&store.spec)?,
        &store.template_version,
        &store.admin_path,
        store.render_version,
        store.lifecycle.as_str(),
        store.pinned_node.as_ref(),
        store.placement.as_ref().map(|placement| &placement.node),
        store.placement.as_ref().map(|placement| placement.at),
        store.reserved.memory_bytes,
        store.reserved.cpu_millis,
        store.on_node.generation,
        &store.on_node.state,
        &store.on_node.code,
        &store.on_node.message,
        store.on_node.plan_digest.as_ref(),
        store.on_agent.generation,
        store.on_agent.refused_generation,
        &store.on_agent.refused_code,
        store.on_agent.enrolled,
        store.on_agent.sealing_public_key.as_slice(),
        report,
        store.status.as_str(),
        &store.reason,
        &store.message,
        store.updated_at,
        store.change_seq,
        back,
        until,
        room,
    ])
}

impl Tx {
    /// A new store with its host names. Sets its `change_seq`.
    ///
    /// # Errors
    /// [`DbError::Taken`] when the name or a host name is another store's.
    pub async fn insert_store(&mut self, store: &mut Store) -> Result<(), DbError> {
        store.change_seq = self.next_change().await?;
        let mut values = changeable(store)?;
        values.extend(args![
            &store.id,
            &store.organisation,
            &store.project,
            &store.name,
            store.environment.as_str(),
            store.created_at,
        ]);
        self.execute(
            "INSERT INTO stores (display_name, labels, generation, spec, template_version, admin_path, render_version, lifecycle, \
             pinned_node, node_id, placed_at, reserved_memory, reserved_cpu, node_generation, node_state, node_code, node_message, \
             node_plan_digest, agent_generation, agent_refused, agent_refused_code, agent_enrolled, sealing_public_key, report, status, \
             reason, message, updated_at, change_seq, grace_back, grace_until, room, id, organisation_id, project_id, name, environment, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, \
             $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38)",
            values,
        )
        .await?;
        for host in &store.spec.hosts {
            self.execute(
                "INSERT INTO store_hosts (name, store_id) VALUES ($1, $2)",
                args![host.name.as_str(), &store.id],
            )
            .await?;
        }
        Ok(())
    }

    /// Writes a store back and moves its `change_seq` on.
    ///
    /// # Errors
    /// [`DbError::Stale`] when it is no longer as it was read: nothing of the change may stay.
    pub async fn save_store(&mut self, store: &mut Store, now: Timestamp) -> Result<(), DbError> {
        let read_at = store.change_seq;
        store.change_seq = self.next_change().await?;
        store.updated_at = now;
        let mut values = changeable(store)?;
        values.extend(args![&store.id, read_at]);
        let changed = self
            .execute(
                "UPDATE stores SET display_name = $1, labels = $2, generation = $3, spec = $4, template_version = $5, admin_path = $6, \
                 render_version = $7, lifecycle = $8, pinned_node = $9, node_id = $10, placed_at = $11, reserved_memory = $12, \
                 reserved_cpu = $13, node_generation = $14, node_state = $15, node_code = $16, node_message = $17, \
                 node_plan_digest = $18, agent_generation = $19, agent_refused = $20, agent_refused_code = $21, agent_enrolled = $22, \
                 sealing_public_key = $23, report = $24, status = $25, reason = $26, message = $27, updated_at = $28, change_seq = $29, \
                 grace_back = $30, grace_until = $31, room = $32 WHERE id = $33 AND change_seq = $34 AND lifecycle <> 'deleted' AND generation <= $3",
                values,
            )
            .await?;
        if changed != 1 {
            return Err(DbError::Stale { what: "store" });
        }
        if store.lifecycle == Lifecycle::Deleted {
            self.execute(
                "DELETE FROM store_hosts WHERE store_id = $1",
                args![&store.id],
            )
            .await?;
            // Its agent's certificate outlives it, and must not open anything.
            let agent = Identity::StoreAgent(store.id.clone());
            self.deny(&Denied::Identity(agent), "deleted", now).await?;
        }
        Ok(())
    }

    /// Any store, deleted ones too.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn store(&mut self, id: &StoreId) -> Result<Option<Store>, DbError> {
        let row = self
            .row("SELECT * FROM stores WHERE id = $1", args![id])
            .await?;
        row.as_ref().map(store).transpose()
    }

    /// A store that is not deleted, by name in any project or by id.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn find_store(&mut self, name_or_id: &str) -> Result<Option<Store>, DbError> {
        let sql = "SELECT * FROM stores WHERE (name = $1 OR id = $1) AND lifecycle <> 'deleted' \
                   ORDER BY CASE WHEN name = $1 THEN 0 ELSE 1 END LIMIT 1";
        let row = self.row(sql, args![name_or_id]).await?;
        row.as_ref().map(store).transpose()
    }

    /// Whether a name is in use in a project.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn name_taken(&mut self, project: &str, name: &str) -> Result<bool, DbError> {
        let sql =
            "SELECT id FROM stores WHERE project_id = $1 AND name = $2 AND lifecycle <> 'deleted'";
        Ok(self.row(sql, args![project, name]).await?.is_some())
    }

    /// The project's organisation, or none when there is no such project.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn organisation_of(&mut self, project: &str) -> Result<Option<String>, DbError> {
        let sql = "SELECT organisation_id FROM projects WHERE id = $1";
        let row = self.row(sql, args![project]).await?;
        row.map(|row| row.text("organisation_id")).transpose()
    }

    /// Whether a host name is a store's.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn host_taken(&mut self, host: &HostName) -> Result<bool, DbError> {
        let sql = "SELECT store_id FROM store_hosts WHERE name = $1";
        Ok(self.row(sql, args![host.as_str()]).await?.is_some())
    }

    /// One page.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list_stores(&mut self, filter: &StoreFilter) -> Result<Vec<Store>, DbError> {
        let StoreSort {
            by_creation,
            descending,
        } = filter.sort;
        let column = if by_creation { "created_at" } else { "name" };
        let (compare, direction) = if descending {
            ("<", "DESC")
        } else {
            (">", "ASC")
        };
        let status = filter.status.map(|status| status.as_str().to_owned());
        let (key, id) = match &filter.after {
            Some((key, id)) => (Some(key.clone()), Some(id.to_string())),
            None => (None, None),
        };
        let key = if by_creation {
            Arg::Int(key.and_then(|key| key.parse().ok()))
        } else {
            Arg::Text(key)
        };
        let sql = format!(
            "SELECT * FROM stores WHERE lifecycle <> 'deleted' AND ($1 IS NULL OR status = $1) \
             AND ($2 IS NULL OR ({column}, id) {compare} ($2, $3)) \
             ORDER BY {column} {direction}, id {direction} LIMIT $4"
        );
        let values = vec![Arg::Text(status), key, Arg::Text(id), filter.limit.into()];
        self.rows(sql, values).await?.iter().map(store).collect()
    }

    /// Changes after a change_seq, in order; deleted stores too, except from 0, which is the present state.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn stores_changed_after(
        &mut self,
        seq: u64,
        only: Option<&StoreId>,
        limit: u32,
    ) -> Result<Vec<Store>, DbError> {
        let sql = "SELECT * FROM stores WHERE change_seq > $1 AND ($2 IS NULL OR id = $2) \
                   AND ($1 > 0 OR lifecycle <> 'deleted') ORDER BY change_seq LIMIT $3";
        let values = args![seq, only, limit];
        self.rows(sql, values).await?.iter().map(store).collect()
    }

    /// Stores that should run somewhere and have no node yet, oldest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn unplaced_stores(&mut self, limit: u32) -> Result<Vec<Store>, DbError> {
        let sql = "SELECT * FROM stores WHERE node_id IS NULL AND lifecycle = 'running' ORDER BY created_at, id LIMIT $1";
        let rows = self.rows(sql, args![limit]).await?;
        rows.iter().map(store).collect()
    }

    /// Stores that were woken and wait for room on their node, oldest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn stores_without_room(&mut self, limit: u32) -> Result<Vec<Store>, DbError> {
        let sql = "SELECT * FROM stores WHERE reserved_memory = 0 AND lifecycle = 'running' AND node_id IS NOT NULL \
                   ORDER BY created_at, id LIMIT $1";
        let rows = self.rows(sql, args![limit]).await?;
        rows.iter().map(store).collect()
    }

    /// Stores with a change that waits for room on their node, oldest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn stores_awaiting_room(&mut self, limit: u32) -> Result<Vec<Store>, DbError> {
        let sql = "SELECT * FROM stores WHERE room LIKE '%{\"awaited\":%' AND lifecycle <> 'deleted' AND node_id IS NOT NULL \
                   ORDER BY created_at, id LIMIT $1";
        let rows = self.rows(sql, args![limit]).await?;
        let mut stores: Vec<Store> = rows.iter().map(store).collect::<Result<_, _>>()?;
        stores.retain(|store| store.room_awaited().is_some());
        Ok(stores)
    }

    /// Stores with a change under way that holds more room than they take in the end.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn stores_holding_room(&mut self) -> Result<Vec<Store>, DbError> {
        let sql = "SELECT * FROM stores WHERE room LIKE '%{\"held\":%' AND lifecycle <> 'deleted' AND node_id IS NOT NULL";
        let rows = self.rows(sql, vec![]).await?;
        rows.iter().map(store).collect()
    }

    /// Stores whose node or agent has not yet acknowledged what they should be.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn undispatched_stores(&mut self) -> Result<Vec<Store>, DbError> {
        let sql = "SELECT * FROM stores WHERE node_id IS NOT NULL AND (lifecycle = 'deleting' OR (lifecycle <> 'deleted' \
                   AND (node_generation < generation OR agent_generation < generation)))";
        self.rows(sql, vec![]).await?.iter().map(store).collect()
    }

    /// Stores whose time of grace is over.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn stores_to_delete(&mut self, now: Timestamp) -> Result<Vec<StoreId>, DbError> {
        let sql = "SELECT id FROM stores WHERE lifecycle = 'grace' AND grace_until <= $1";
        let rows = self.rows(sql, args![now]).await?;
        rows.iter().map(|row| row.parsed("id")).collect()
    }

    /// All stores of a node that are not deleted.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn stores_on(&mut self, node: &NodeId) -> Result<Vec<Store>, DbError> {
        let sql = "SELECT * FROM stores WHERE node_id = $1 AND lifecycle <> 'deleted'";
        let rows = self.rows(sql, args![node]).await?;
        rows.iter().map(store).collect()
    }

    /// What the stores of each node reserve, how many there are, and how many are on their way up.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn node_loads(&mut self) -> Result<Vec<NodeLoad>, DbError> {
        let sql = "SELECT node_id, CAST(SUM(reserved_memory) AS BIGINT) AS memory, CAST(SUM(reserved_cpu) AS BIGINT) AS cpu, \
                   COUNT(*) AS stores, CAST(SUM(CASE WHEN status IN ('pending', 'provisioning') THEN 1 ELSE 0 END) AS BIGINT) AS starting \
                   FROM stores WHERE node_id IS NOT NULL AND lifecycle <> 'deleted' GROUP BY node_id";
        self.rows(sql, vec![])
            .await?
            .iter()
            .map(|row| {
                let reserved = Reservation {
                    memory_bytes: row.count("memory")?,
                    cpu_millis: row.count("cpu")?,
                };
                Ok(NodeLoad {
                    node: row.parsed("node_id")?,
                    reserved,
                    stores: row.count("stores")?,
                    starting: row.count("starting")?,
                })
            })
            .collect()
    }

    /// How many stores have each status.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn count_stores(&mut self) -> Result<Vec<(StoreStatus, u32)>, DbError> {
        let sql = "SELECT status, COUNT(*) AS stores FROM stores WHERE lifecycle <> 'deleted' GROUP BY status";
        self.rows(sql, vec![])
            .await?
            .iter()
            .map(|row| {
                let status = StoreStatus::parse(&row.text("status")?)
                    .ok_or_else(|| DbError::corrupt("status", "unknown word"))?;
                Ok((status, row.count("stores")?))
            })
            .collect()
    }
}
