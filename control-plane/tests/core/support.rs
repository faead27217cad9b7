//! What tests of the core begin with, say and wait for, beyond one message or one look.

use control_plane::domain::{
    operation::Operation,
    session::{AssignmentStatus, FleetEvent, InventoryItem},
    store::Store,
};
use shop_proto::{NodeId, StoreId};

use crate::harness::*;

impl Rig {
    /// Asks for a store.
    pub async fn create(&self, name: &str) -> Operation {
        let created = self.app.create_store(&owner(), new_store(name)).await;
        created.unwrap().operation
    }

    /// A node, and a store on it that serves.
    pub async fn running(&self, name: &str) -> (StoreId, NodeId) {
        let node = self.node("one").await;
        self.create(name).await;
        (self.bring_up(name).await, node)
    }

    /// A store as it is shown.
    pub async fn store(&self, name: &str) -> Store {
        self.app.get_store(name).await.unwrap().store
    }

    pub async fn until_store(&self, name: &str, what: &str, fits: impl Fn(&Store) -> bool) {
        self.until(what, || async {
            let store = self.store(name).await;
            match fits(&store) {
                true => Ok(()),
                false => Err(format!("{store:?}")),
            }
        })
        .await;
    }

    pub async fn until_gone(&self, name: &str) {
        self.until(&format!("{name} is gone"), || async {
            match self.app.get_store(name).await {
                Err(_) => Ok(()),
                Ok(view) => Err(format!("{view:?}")),
            }
        })
        .await;
    }

    /// Ends a node's session.
    pub async fn down(&self, node: &NodeId) {
        let away = node.clone();
        self.say(FleetEvent::NodeDown { node: away }).await;
        self.until("its session is over", || async {
            let view = self.app.get_node(node).await.unwrap();
            match view.status.as_str() {
                "unreachable" => Ok(()),
                seen => Err(seen.to_owned()),
            }
        })
        .await;
    }

    /// A node's session, in which it says that it holds a store at a generation.
    pub async fn up_with(&self, node: &NodeId, store: &StoreId, generation: u64) {
        let mut hello = hello();
        hello.inventory = vec![InventoryItem {
            store: store.clone(),
            generation,
            spec_digest: None,
            retiring: false,
        }];
        let node = node.clone();
        self.say(FleetEvent::NodeUp { node, hello }).await;
    }

    /// What a node answers to the first generation of a store: a state, and why.
    pub async fn assigned(&self, node: &NodeId, store: &StoreId, (state, code): (&str, &str)) {
        self.say(FleetEvent::Assignment {
            node: node.clone(),
            status: AssignmentStatus {
                store: store.clone(),
                generation: 1,
                plan_digest: None,
                state: state.to_owned(),
                code: code.to_owned(),
                message: code.replace('_', " "),
            },
        })
        .await;
    }

    /// Forgets what was ordered until now.
    pub fn forget_orders(&self) {
        self.orders.nodes.lock().unwrap().clear();
        self.orders.agents.lock().unwrap().clear();
    }
}
