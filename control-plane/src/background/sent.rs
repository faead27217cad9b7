//! What was sent lately, so that a change elsewhere does not send everything again. A hint: losing it costs a repeated order.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use shop_proto::{NodeId, StoreId};
use tokio::{sync::Notify, time::Instant};

/// An order that is not acknowledged is repeated after so long.
const REPEAT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Target {
    Node(NodeId, StoreId),
    Agent(StoreId),
}

#[derive(Default)]
pub(super) struct Sent {
    last: Mutex<HashMap<Target, (u64, Instant)>>,
    /// A session came up: what it missed is to be sent now.
    woken: Notify,
}

impl Sent {
    /// Whether an order of this generation is due.
    pub(super) fn due(&self, target: &Target, generation: u64) -> bool {
        self.last.lock().is_ok_and(|last| {
            last.get(target)
                .is_none_or(|(sent, at)| *sent != generation || at.elapsed() >= REPEAT)
        })
    }

    pub(super) fn record(&self, target: Target, generation: u64) {
        if let Ok(mut last) = self.last.lock() {
            last.insert(target, (generation, Instant::now()));
        }
    }

    /// Entries that say nothing any more.
    pub(super) fn prune(&self) {
        if let Ok(mut last) = self.last.lock() {
            last.retain(|_, (_, at)| at.elapsed() < REPEAT);
        }
    }

    pub(super) fn forget_node(&self, node: &NodeId) {
        if let Ok(mut last) = self.last.lock() {
            last.retain(|target, _| !matches!(target, Target::Node(other, _) if other == node));
        }
        self.woken.notify_one();
    }

    pub(super) fn forget_agent(&self, store: &StoreId) {
        if let Ok(mut last) = self.last.lock() {
            last.remove(&Target::Agent(store.clone()));
        }
        self.woken.notify_one();
    }

    pub(super) async fn woken(&self) {
        self.woken.notified().await;
    }
}
