//! What waits to be sent on one session. Nothing queues twice: an order takes the place of the older one it replaces, so the latest wins
//! and a slow reader costs a bounded amount of memory.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use shop_proto::StoreId;
use tokio::sync::Notify;

use super::{AgentOrder, NodeOrder};

/// Different things that may wait at once on one session. A node holds fewer stores than this.
const MOST: usize = 4096;
/// Sealed requests that may wait at once: each is one person looking at something.
const MOST_SEALED: usize = 32;

/// An order that takes the place of an older one in the same slot.
pub trait Slotted: Send + std::fmt::Debug + 'static {
    /// What replaces what.
    type Slot: Ord + Clone + Send + std::fmt::Debug;
    /// The slot of this order.
    fn slot(&self) -> Self::Slot;
    /// How many slots of this order's kind may be taken.
    fn room(&self) -> usize {
        MOST
    }
    /// Whether two slots count against the same room.
    fn same_kind(one: &Self::Slot, other: &Self::Slot) -> bool;
}

/// Slots of a node's session.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeSlot {
    /// Assign or Retire: the later word about a store counts.
    Store(StoreId),
    RetireRecorded(StoreId),
    VouchRecorded(StoreId),
    Roster,
    Reconnect,
}

impl Slotted for NodeOrder {
    type Slot = NodeSlot;

    fn slot(&self) -> NodeSlot {
        match self {
            Self::Assign { store, .. } | Self::Retire { store, .. } => {
                NodeSlot::Store(store.clone())
            }
            Self::RetireRecorded { store } => NodeSlot::RetireRecorded(store.clone()),
            Self::VouchRecorded { store, .. } => NodeSlot::VouchRecorded(store.clone()),
            Self::Roster(_) => NodeSlot::Roster,
            Self::Reconnect { .. } => NodeSlot::Reconnect,
        }
    }

    fn same_kind(one: &NodeSlot, other: &NodeSlot) -> bool {
        std::mem::discriminant(one) == std::mem::discriminant(other)
    }
}

/// Slots of a shop agent's session.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum AgentSlot {
    Desired,
    /// One for each operation: they answer different people.
    Sealed(String),
    /// To run it or to end it: the later word about a run counts.
    Task(String),
    TaskRecorded(String),
    Roster,
    Reconnect,
}

impl Slotted for AgentOrder {
    type Slot = AgentSlot;

    fn slot(&self) -> AgentSlot {
        match self {
            Self::Desired { .. } => AgentSlot::Desired,
            Self::SealedRequest(request) => AgentSlot::Sealed(request.operation_id.clone()),
            Self::RunTask { id, .. } | Self::CancelTask { id, .. } => AgentSlot::Task(id.clone()),
            Self::TaskRecorded { id } => AgentSlot::TaskRecorded(id.clone()),
            Self::Roster(_) => AgentSlot::Roster,
            Self::Reconnect { .. } => AgentSlot::Reconnect,
        }
    }

    fn room(&self) -> usize {
        MOST_SEALED
    }

    fn same_kind(one: &AgentSlot, other: &AgentSlot) -> bool {
        std::mem::discriminant(one) == std::mem::discriminant(other)
    }
}

/// The waiting orders of one session.
#[derive(Debug)]
pub struct Outbox<O: Slotted> {
    waiting: Mutex<Waiting<O>>,
    wake: Notify,
}

#[derive(Debug)]
struct Waiting<O: Slotted> {
    turns: VecDeque<O::Slot>,
    orders: BTreeMap<O::Slot, O>,
}

impl<O: Slotted> Default for Outbox<O> {
    fn default() -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                turns: VecDeque::new(),
                orders: BTreeMap::new(),
            }),
            wake: Notify::new(),
        }
    }
}

impl<O: Slotted> Outbox<O> {
    /// Takes the order, in the place of the one it replaces. False when there is no room.
    pub fn put(&self, order: O) -> bool {
        let slot = order.slot();
        let mut waiting = self.lock();
        if !waiting.orders.contains_key(&slot) {
            let taken = waiting
                .turns
                .iter()
                .filter(|other| O::same_kind(other, &slot))
                .count();
            if taken >= order.room() {
                return false;
            }
            waiting.turns.push_back(slot.clone());
        }
        waiting.orders.insert(slot, order);
        drop(waiting);
        self.wake.notify_one();
        true
    }

    /// The next order, in the order in which slots were first taken. Loses nothing when it is dropped before it is ready.
    pub async fn next(&self) -> O {
        loop {
            if let Some(order) = self.take() {
                return order;
            }
            self.wake.notified().await;
        }
    }

    fn take(&self) -> Option<O> {
        let mut waiting = self.lock();
        let slot = waiting.turns.pop_front()?;
        waiting.orders.remove(&slot)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting<O>> {
        // Every change under the lock is complete when it is released, also by a panic elsewhere.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reconnect(in_ms: u64) -> AgentOrder {
        AgentOrder::Reconnect { in_ms }
    }

    fn sealed(operation: &str) -> AgentOrder {
        AgentOrder::SealedRequest(crate::fleet::SealedRequest {
            operation_id: operation.to_owned(),
            kind: "logs".to_owned(),
            subject: String::new(),
            one_time_public_key: Vec::new(),
            expires_unix_ms: 0,
            signer_key_id: String::new(),
            signature: Vec::new(),
        })
    }

    #[tokio::test]
    async fn the_latest_order_of_a_slot_wins_and_keeps_its_turn() {
        let outbox = Outbox::default();
        assert!(outbox.put(reconnect(1)));
        assert!(outbox.put(sealed("one")));
        assert!(outbox.put(reconnect(2)));
        assert!(matches!(
            outbox.next().await,
            AgentOrder::Reconnect { in_ms: 2 }
        ));
        assert!(matches!(outbox.next().await, AgentOrder::SealedRequest(_)));
    }

    #[tokio::test]
    async fn a_full_kind_refuses_without_crowding_out_another() {
        let outbox = Outbox::default();
        for number in 0..MOST_SEALED {
            assert!(outbox.put(sealed(&number.to_string())));
        }
        assert!(!outbox.put(sealed("one too many")));
        assert!(outbox.put(reconnect(1)));
    }
}
