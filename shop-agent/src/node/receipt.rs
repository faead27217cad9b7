//! What a node says of a store it took down: what it removed, and what it then looked for and did not find. Signed with the node's own key
//! when it is sent, so that it verifies with the certificate of that session.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use shop_proto::{Generation, NodeId, StoreId};

/// Version of the document's form.
const FORMAT: u32 = 1;
/// Users of one store.
const UIDS: u32 = super::ipam::UIDS_PER_STORE;

/// What was there of a store, gathered before it is removed: over all attempts, whatever was between them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Containers, by name.
    pub containers: BTreeSet<String>,
    /// Networks, by name.
    pub networks: BTreeSet<String>,
    /// Data volumes, by name: their data went with them.
    pub volumes: BTreeSet<String>,
    /// Volumes in memory that held secrets, by name.
    pub secrets_volumes: BTreeSet<String>,
    /// Users of the host that were set apart for it.
    pub uids: Option<Uids>,
    /// Address ranges; they rest before anybody has them again.
    pub subnets: BTreeSet<String>,
}

/// A range of users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uids {
    first: u32,
    count: u32,
}

/// How the services ended before they were removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// In the plan's order, buyers' services first, each with its own grace.
    InOrder,
    /// Killed: the plan that has the order does not render here any more.
    Skipped {
        /// Why.
        reason: String,
    },
}

/// Something that was looked for when all was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Looked {
    /// What for, and how.
    pub r#for: String,
    /// How many there were: always 0, or there is no receipt.
    pub found: usize,
}

#[derive(Serialize)]
struct Document<'a> {
    format: u32,
    store: &'a StoreId,
    node: &'a NodeId,
    generation: Generation,
    stop: &'a Stop,
    removed: &'a Removed,
    looked_for: &'a [Looked],
    at: String,
}

/// What a receipt is about.
pub struct Facts<'a> {
    /// Whose.
    pub store: &'a StoreId,
    /// Who says it.
    pub node: &'a NodeId,
    /// Of the order.
    pub generation: Generation,
    /// How the services ended.
    pub stop: &'a Stop,
    /// What was removed.
    pub removed: &'a Removed,
    /// What was looked for afterwards.
    pub looked_for: &'a [Looked],
    /// When.
    pub at: jiff::Timestamp,
}

/// The document's text.
#[must_use]
pub fn document(facts: &Facts<'_>) -> String {
    let document = Document {
        format: FORMAT,
        store: facts.store,
        node: facts.node,
        generation: facts.generation,
        stop: facts.stop,
        removed: facts.removed,
        looked_for: facts.looked_for,
        at: facts.at.to_string(),
    };
    // Only names and numbers: nothing here fails to be written.
    serde_json::to_string_pretty(&document).unwrap_or_default()
}

impl Uids {
    /// Those of a store.
    #[must_use]
    pub const fn from(first: u32) -> Self {
        Self { first, count: UIDS }
    }
}

impl Removed {
    /// Adds what another look found.
    pub fn merge(&mut self, more: Self) {
        let Self {
            containers,
            networks,
            volumes,
            secrets_volumes,
            uids,
            subnets,
        } = more;
        self.containers.extend(containers);
        self.networks.extend(networks);
        self.volumes.extend(volumes);
        self.secrets_volumes.extend(secrets_volumes);
        self.subnets.extend(subnets);
        self.uids = self.uids.or(uids);
    }

    /// Whether there was nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_reads_as_agreed() {
        let mut removed = Removed::default();
        assert!(removed.is_empty());
        let set = |name: &str| BTreeSet::from([name.to_owned()]);
        removed.merge(Removed {
            containers: set("sf-node01-aaaaaaaaaaa1-db-fixed-0"),
            volumes: set("sf-node01-aaaaaaaaaaa1-db-data"),
            uids: Some(Uids::from(200_064)),
            ..Removed::default()
        });
        // A second attempt finds less, and nothing is forgotten.
        removed.merge(Removed {
            subnets: set("10.200.0.32/27"),
            ..Removed::default()
        });
        let text = document(&Facts {
            store: &"aaaaaaaaaaa1".parse().unwrap(),
            node: &"node01".parse().unwrap(),
            generation: Generation::new(7).unwrap(),
            stop: &Stop::InOrder,
            removed: &removed,
            looked_for: &[Looked {
                r#for: "containers labelled with the store".to_owned(),
                found: 0,
            }],
            at: "2026-01-02T03:04:05Z".parse().unwrap(),
        });
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = serde_json::json!({
            "format": 1,
            "store": "aaaaaaaaaaa1",
            "node": "node01",
            "generation": 7,
            "stop": "in_order",
            "removed": {
                "containers": ["sf-node01-aaaaaaaaaaa1-db-fixed-0"],
                "networks": [],
                "volumes": ["sf-node01-aaaaaaaaaaa1-db-data"],
                "secrets_volumes": [],
                "uids": {"first": 200_064, "count": 64},
                "subnets": ["10.200.0.32/27"],
            },
            "looked_for": [{"for": "containers labelled with the store", "found": 0}],
            "at": "2026-01-02T03:04:05Z",
        });
        assert_eq!(read, expected);
    }
}
