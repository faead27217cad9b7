//! Nodes: see, let join, remove.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use shop_proto::{Digest, Identity, NodeId, TokenText};

use super::{
    App, AppError, CreateJoinToken, NewJoinToken, NodeView, Problem, RemoveNode, stores::allowed,
};
use crate::{
    db::Tx,
    domain::{
        access::Caller,
        identity::{Denied, JoinToken},
        node::Node,
        store::{LifecycleEvent, Reservation},
    },
    operations::settle,
};

const DEFAULT_TTL_SECONDS: u32 = 900;
const TTL_SECONDS: std::ops::RangeInclusive<u32> = 60..=86_400;
/// Lengths of the halves of a token's text; see `shop_proto::TokenText`.
const ID_LENGTH: usize = 10;
const SECRET_LENGTH: usize = 52;

impl App {
    /// All nodes, with what is placed on them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list_nodes(&self) -> Result<Vec<NodeView>, AppError> {
        let mut tx = self.context().db.read().await?;
        let loads = loads(&mut tx).await?;
        let now = self.context().clock.now();
        let nodes = tx.list_nodes().await?;
        Ok(nodes
            .into_iter()
            .map(|node| view(node, &loads, now))
            .collect())
    }

    /// A node.
    ///
    /// # Errors
    /// When there is none.
    pub async fn get_node(&self, node: &NodeId) -> Result<NodeView, AppError> {
        let mut tx = self.context().db.read().await?;
        let loads = loads(&mut tx).await?;
        let now = self.context().clock.now();
        let node = tx.node(node).await?.ok_or_else(|| unknown(node))?;
        Ok(view(node, &loads, now))
    }

    /// Takes a node out of the fleet for good; its identity is denied from now on. Stores that were to be deleted there count as gone.
    ///
    /// # Errors
    /// When stores live on it.
    pub async fn remove_node(&self, caller: &Caller, input: RemoveNode) -> Result<(), AppError> {
        let context = self.context();
        let now = context.clock.now();
        let mut tx = context.db.write().await?;
        let node = tx
            .node(&input.node)
            .await?
            .ok_or_else(|| unknown(&input.node))?;
        let stores = tx.stores_on(&node.id).await?;
        let live = stores
            .iter()
            .filter(|store| store.lifecycle.wanted().is_some())
            .count();
        if live > 0 {
            return Err(AppError::conflict(
                "node_has_stores",
                format!(
                    "{live} stores live on node {}; delete them first, then remove the node",
                    node.name
                ),
            ));
        }
        for before in stores {
            let mut store = before.clone();
            if let Ok(gone) = store.lifecycle.next(LifecycleEvent::Retired) {
                store.lifecycle = gone;
            }
            settle(&mut tx, &mut store, &before, self.limits(), now).await?;
        }
        tx.remove_node(&node.id, now).await?;
        let identity = Identity::Node(node.id.clone());
        tx.deny(&Denied::Identity(identity), "removed", now).await?;
        let subject = format!("node:{}", node.id);
        tx.audit(allowed(caller, "node.remove", subject, &input.reason, now))
            .await?;
        Ok(tx.commit().await?)
    }

    /// A token that lets one node join. Its text is in the answer and nowhere else.
    ///
    /// # Errors
    /// When its life is out of range.
    pub async fn create_join_token(
        &self,
        caller: &Caller,
        input: CreateJoinToken,
    ) -> Result<NewJoinToken, AppError> {
        let context = self.context();
        let seconds = match input.ttl_seconds {
            0 => DEFAULT_TTL_SECONDS,
            seconds => seconds,
        };
        if !TTL_SECONDS.contains(&seconds) {
            return Err(AppError::Invalid {
                problems: vec![Problem::at(
                    "/ttl_seconds",
                    "out_of_range",
                    "a join token lives 60 to 86400 seconds",
                )],
            });
        }
        let now = context.clock.now();
        let secret = context.ids.base32(SECRET_LENGTH);
        let token = JoinToken {
            id: context.ids.base32(ID_LENGTH),
            secret: Digest::of(secret.as_bytes()),
            created_by: caller.actor.clone(),
            created_at: now,
            expires_at: now
                .saturating_add(SignedDuration::from_secs(i64::from(seconds)))
                .unwrap_or(Timestamp::MAX),
            used: None,
        };
        let settings = &context.settings;
        let text = TokenText::join(token.id.clone(), secret, settings.root_pin)
            .map_err(|error| self.internal("a token's text", &error))?;
        let mut tx = context.db.write().await?;
        tx.insert_join_token(&token).await?;
        let subject = format!("join-token:{}", token.id);
        tx.audit(allowed(caller, "join_token.create", subject, "", now))
            .await?;
        tx.commit().await?;
        Ok(NewJoinToken {
            id: token.id,
            token: SecretString::from(text.reveal()),
            expires_at: token.expires_at,
            root_pin: settings.root_pin,
            enroll_addresses: settings.enroll_addresses.clone(),
            agent_addresses: settings.agent_addresses.clone(),
        })
    }
}

fn unknown(node: &NodeId) -> AppError {
    AppError::NotFound {
        what: "node",
        name: node.to_string(),
    }
}

async fn loads(tx: &mut Tx) -> Result<BTreeMap<NodeId, (Reservation, u32)>, AppError> {
    let loads = tx.node_loads().await?;
    Ok(loads
        .into_iter()
        .map(|load| (load.node, (load.reserved, load.stores)))
        .collect())
}

fn view(node: Node, loads: &BTreeMap<NodeId, (Reservation, u32)>, now: Timestamp) -> NodeView {
    let (reserved, stores) = loads.get(&node.id).copied().unwrap_or_default();
    NodeView {
        status: node.status(),
        reserved,
        stores,
        last_seen_at: node.last_seen(now),
        edge_url: node.url("localhost"),
        node,
    }
}
