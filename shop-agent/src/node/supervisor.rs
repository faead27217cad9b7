//! Listens to the engine: its events ring the stores concerned. An engine that went away is noticed, and everything is looked at again.

use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;

use super::context::Node;

/// Without an event for so long everything is looked at: an event stream can go silent without ending.
const QUIET: Duration = Duration::from_secs(10);
/// Before the events are asked for again.
const AGAIN: Duration = Duration::from_millis(300);

/// Runs until its task ends.
pub async fn watch(node: Arc<Node>) {
    loop {
        let mut events = node.engine.events(&node.id);
        // What happened before the stream stood was not heard.
        ring_all(&node);
        loop {
            match tokio::time::timeout(QUIET, events.next()).await {
                Ok(Some(Some(store))) => node.ring(&store),
                Ok(Some(None)) => node.routing.notify_one(),
                Ok(None) => break,
                // Nothing happened, or nothing is told any more: only looking tells which.
                Err(_) if node.engine.ping().await.is_ok() => ring_all(&node),
                Err(_) => break,
            }
        }
        tracing::warn!("the container engine's events ended; looking at everything again");
        tokio::time::sleep(AGAIN).await;
        while node.engine.ping().await.is_err() {
            tokio::time::sleep(AGAIN).await;
        }
    }
}

fn ring_all(node: &Node) {
    for store in node.stores.all() {
        store.hint();
        store.wake.notify_one();
    }
    node.routing.notify_one();
}
