//! Why a store is as it is.

use crate::{
    app::{App, AppError},
    domain::{
        explain::{Explanation, Facts, Room, explain},
        node::{DiskUse, Link},
        store::Reservation,
    },
    policy::placement::Candidate,
};

/// Operations that may say who asked for what; older ones say nothing about today.
const OPERATIONS: u32 = 50;

impl App {
    /// Causes, evidence, and what to type next.
    ///
    /// # Errors
    /// When there is no such store.
    pub async fn explain_store(&self, store: &str) -> Result<Explanation, AppError> {
        let context = self.context();
        let mut tx = context.db.read().await?;
        let store = self.found(&mut tx, store).await?;
        let operations = tx
            .list_operations(Some(&store.id), None, None, OPERATIONS)
            .await?;
        let nodes = tx.list_nodes().await?;
        let loads = tx.node_loads().await?;
        drop(tx);
        let rooms: Vec<Room> = nodes
            .iter()
            .map(|node| {
                let load = loads.iter().find(|load| load.node == node.id);
                let reserved = load.map_or_else(Reservation::default, |load| load.reserved);
                let overcommit = context.settings.cpu_overcommit;
                let free = Candidate::of(node, reserved, 0, overcommit, context.clock.now());
                Room {
                    node: node.name.clone(),
                    connected: matches!(node.link, Link::Up { .. }),
                    free: Reservation {
                        memory_bytes: free.free_memory,
                        cpu_millis: u32::try_from(free.free_cpu).unwrap_or(u32::MAX),
                    },
                    disk: DiskUse::of(&node.capacity),
                }
            })
            .collect();
        let node = store
            .placement
            .as_ref()
            .and_then(|placement| nodes.iter().find(|node| node.id == placement.node));
        Ok(explain(&Facts {
            node,
            rooms: &rooms,
            operations: &operations,
            agent_connected: context.orders.connected().stores.contains_key(&store.id),
            now: context.clock.now(),
            store: &store,
        }))
    }
}
