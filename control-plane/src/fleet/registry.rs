//! Which sessions are open. The newest session of an identity is the one that counts: it supersedes the one before it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    FleetEvent,
    outbox::{Outbox, Slotted},
};

/// Open sessions of one kind of identity.
#[derive(Debug)]
pub struct Registry<I, O: Slotted> {
    open: Mutex<BTreeMap<I, Open<O>>>,
    numbers: AtomicU64,
    events: mpsc::Sender<FleetEvent>,
}

#[derive(Debug)]
struct Open<O: Slotted> {
    number: u64,
    generation: u64,
    outbox: Arc<Outbox<O>>,
    superseded: CancellationToken,
}

/// One session's own end of its registration.
#[derive(Debug)]
pub struct Ticket<O: Slotted> {
    number: u64,
    /// Orders to send.
    pub outbox: Arc<Outbox<O>>,
    /// Cancelled when a newer session took over.
    pub superseded: CancellationToken,
}

/// Nobody consumes events any more: the process is going down.
#[derive(Debug, thiserror::Error)]
#[error("the control plane is shutting down")]
pub struct Closing;

impl<I: Ord + Clone, O: Slotted> Registry<I, O> {
    /// Empty; events go to this channel.
    pub fn new(events: mpsc::Sender<FleetEvent>) -> Self {
        Self {
            open: Mutex::new(BTreeMap::new()),
            numbers: AtomicU64::new(1),
            events,
        }
    }

    /// Registers a session and says so. The order of events is the order of registrations: the event is sent under the same lock, on a
    /// place in the channel that was reserved before.
    ///
    /// # Errors
    /// When nobody consumes events any more.
    pub async fn open(
        &self,
        identity: I,
        generation: u64,
        up: FleetEvent,
    ) -> Result<Ticket<O>, Closing> {
        let place = self.events.reserve().await.map_err(|_| Closing)?;
        let ticket = Ticket {
            number: self.numbers.fetch_add(1, Ordering::Relaxed),
            outbox: Arc::default(),
            superseded: CancellationToken::new(),
        };
        let mut open = self.lock();
        let before = open.insert(
            identity,
            Open {
                number: ticket.number,
                generation,
                outbox: ticket.outbox.clone(),
                superseded: ticket.superseded.clone(),
            },
        );
        if let Some(before) = before {
            before.superseded.cancel();
        }
        place.send(up);
        Ok(ticket)
    }

    /// Takes a session off, and says so, unless a newer one has taken over.
    pub async fn close(&self, identity: &I, ticket: &Ticket<O>, down: FleetEvent) {
        let place = self.events.reserve().await;
        let mut open = self.lock();
        let current = open
            .get(identity)
            .is_some_and(|session| session.number == ticket.number);
        if !current {
            return;
        }
        open.remove(identity);
        if let Ok(place) = place {
            place.send(down);
        }
    }

    /// Hands an order to the open session. False when there is none or it has no room.
    pub fn send(&self, identity: &I, order: O) -> bool {
        self.lock()
            .get(identity)
            .is_some_and(|session| session.outbox.put(order))
    }

    /// Hands an order to every open session.
    pub fn send_all(&self, mut order: impl FnMut() -> O) {
        for session in self.lock().values() {
            // A session without room for it ends with its connection anyway.
            session.outbox.put(order());
        }
    }

    /// Who is connected, with the generation each said it holds.
    pub fn connected(&self) -> BTreeMap<I, u64> {
        self.lock()
            .iter()
            .map(|(identity, session)| (identity.clone(), session.generation))
            .collect()
    }

    /// How many are connected.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<I, Open<O>>> {
        // Every change under the lock is complete when it is released, also by a panic elsewhere.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
