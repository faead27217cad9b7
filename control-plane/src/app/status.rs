//! The fleet at a glance, and whether we can work at all.

use shop_proto::NodeId;

use super::{App, AppError, FleetStatus};
use crate::domain::node::{DISK_ALARM_PERCENT, NodeStatus, disk_used_percent};

impl App {
    /// Counts and warnings.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn status(&self) -> Result<FleetStatus, AppError> {
        let context = self.context();
        let mut tx = context.db.read().await?;
        let stores = tx.count_stores().await?;
        let nodes = tx.list_nodes().await?;
        let (operations_pending, operations_running) = tx.count_operations().await?;
        let has_roster = tx.roster().await?.is_some();
        let mut warnings = Vec::new();
        if nodes.is_empty() {
            warnings.push("no node has joined yet; run `shopctl node join`".to_owned());
        }
        if !has_roster {
            warnings.push(
                "no roster of signers is known; run `shopctl trust init`, or nobody can read a store's credentials"
                    .to_owned(),
            );
        }
        for node in &nodes {
            let used = disk_used_percent(&node.capacity);
            if !node.orphans.is_empty() {
                let stores: Vec<String> = node.orphans.iter().map(ToString::to_string).collect();
                warnings.push(format!(
                    "node {} holds stores that this control plane has not placed there, perhaps because it came from a backup: {}",
                    node.name,
                    stores.join(", ")
                ));
            }
            match node.status() {
                NodeStatus::Unreachable => {
                    warnings.push(format!("node {} has no session", node.name));
                }
                _ if used >= DISK_ALARM_PERCENT => warnings.push(format!(
                    "the disk of node {} is {used} % full: make room now",
                    node.name
                )),
                NodeStatus::DiskPressure => warnings.push(format!(
                    "the disk of node {} is {used} % full: no new stores are placed there",
                    node.name
                )),
                NodeStatus::Ready => {}
            }
        }
        let known = |id: &NodeId| nodes.iter().any(|node| node.id == *id);
        for id in context.orders.connected().nodes {
            if !known(&id) {
                warnings.push(format!(
                    "node {id} has a session and is not known here, perhaps because this control plane came from a backup; its stores go on as they were"
                ));
            }
        }
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let ready = nodes
            .iter()
            .filter(|node| node.status() == NodeStatus::Ready);
        Ok(FleetStatus {
            version: env!("CARGO_PKG_VERSION"),
            database: context.db.engine().as_str(),
            stores_by_status: stores
                .into_iter()
                .map(|(status, count)| (status.as_str(), count))
                .collect(),
            nodes_ready: count(ready.count()),
            nodes_total: count(nodes.len()),
            operations_pending,
            operations_running,
            warnings,
            started_at: context.started_at,
            base_domain: context.settings.base_domain.clone(),
        })
    }

    /// The database answers and takes writes.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ready(&self) -> Result<(), AppError> {
        Ok(self.context().db.ping().await?)
    }
}
