//! One worker per store: prepares it, keeps its agent running, removes it. Level-triggered; woken by a change, an engine event or a timer.

use std::{sync::Arc, time::Duration};

use shop_proto::{Generation, StoreId};
use tokio::time::Instant;

use super::{
    context::{Node, Store},
    outbox::{Note, Progress, Severity, Stage},
    prepare::{self, PrepareError, STEADY},
    repair, retire,
    state::Tombstone,
};
use crate::uplink::Backoff;

/// An agent that ran this long was healthy.
const HEALTHY: Duration = Duration::from_secs(60);
/// Sockets and tasks of a store end fast: they only wait for others.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sees that the store has a worker, and that it looks.
pub fn ensure(node: &Arc<Node>, store: &StoreId) {
    if let Some(new) = node.stores.add(store, &node.tasks) {
        node.tasks.spawn("store", work(node.clone(), new));
    } else {
        node.ring(store);
    }
}

/// What a worker knows between two looks.
struct Worker {
    node: Arc<Node>,
    store: Arc<Store>,
    doors: bool,
    /// The order whose receipt was written.
    gone: Option<Generation>,
    prepared: Option<Generation>,
    trouble: Backoff,
    agent: Backoff,
    started: Option<Instant>,
}

async fn work(node: Arc<Node>, store: Arc<Store>) {
    let mut worker = Worker {
        node,
        store,
        doors: false,
        gone: None,
        prepared: None,
        trouble: Backoff::default(),
        agent: Backoff::default(),
        started: None,
    };
    loop {
        let pause = match worker.look().await {
            Some(pause) => pause,
            None => return,
        };
        tokio::select! {
            () = worker.store.wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

impl Worker {
    /// One look; gives how long to wait for the next, `None` when there is nothing to look after any more.
    async fn look(&mut self) -> Option<Duration> {
        let (node, id) = (self.node.clone(), self.store.id.clone());
        if let Some(tombstone) = node.state.tombstone(&id) {
            return Some(self.retire(&tombstone).await);
        }
        if node.state.store(&id).is_none() {
            // Retired, and the control plane knows.
            node.stores.remove(&id);
            node.outbox.forget(&id);
            return None;
        }
        Some(match self.prepare().await {
            Ok(()) => {
                self.trouble = Backoff::default();
                STEADY.mul_f64(0.9 + 0.2 * rand::random::<f64>())
            }
            Err(error) => {
                // The next look starts from the beginning.
                self.prepared = None;
                self.report(&error);
                self.trouble.next(0.5 + 0.5 * rand::random::<f64>())
            }
        })
    }

    async fn prepare(&mut self) -> Result<(), PrepareError> {
        let (node, store) = (&self.node, &self.store);
        let Some(record) = node.state.store(&store.id) else {
            return Ok(());
        };
        if !self.doors {
            prepare::open_doors(node, store, &record).await?;
            self.doors = true;
        }
        if self.prepared == Some(record.newest.generation) {
            if prepare::agent_runs(node, store).await? {
                if repair::look(node, store).await? {
                    store.hint();
                }
                return Ok(());
            }
            self.revive().await;
        }
        let prepared = prepare::surroundings(&self.node, &self.store).await?;
        self.prepared = Some(prepared.generation);
        self.started.get_or_insert_with(Instant::now);
        // What the agent could not know before: a plan, a network.
        self.store.hint();
        Ok(())
    }

    /// The agent ended. It is started again, after a while if it keeps ending.
    async fn revive(&mut self) {
        let lived = self
            .started
            .take()
            .map_or(Duration::ZERO, |at| at.elapsed());
        if lived >= HEALTHY {
            self.agent = Backoff::default();
        }
        let wait = self.agent.next(rand::random());
        self.node.outbox.note(Note {
            store: Some(self.store.id.clone()),
            code: "agent_restarted",
            severity: Severity::Warning,
            message: "the shop agent had ended and is started again; services ran on".to_owned(),
            at_unix_ms: super::context::now_unix_ms(),
        });
        tokio::time::sleep(wait).await;
    }

    fn report(&self, error: &PrepareError) {
        let reason = error.reason();
        tracing::warn!(%error, store = %self.store.id, code = reason.code, "a store could not be prepared; trying again");
        if let Some(record) = self.node.state.store(&self.store.id) {
            let progress = Progress::Error(reason);
            self.node
                .outbox
                .status(prepare::status(&record, &[], progress));
        }
    }

    async fn retire(&mut self, tombstone: &Tombstone) -> Duration {
        if self.gone == Some(tombstone.generation) {
            // Waiting for the control plane to record it.
            return STEADY;
        }
        // Nobody of the store is heard from here on.
        self.store.tasks.end(PATIENCE).await;
        self.node.routing.notify_one();
        match retire::retire(&self.node, tombstone).await {
            Ok(()) => {
                self.gone = Some(tombstone.generation);
                STEADY
            }
            Err(error) => {
                tracing::warn!(%error, store = %self.store.id, "a store could not be removed; trying again");
                let blocked = retire::word(tombstone, Stage::Blocked, error.to_string());
                self.node.outbox.retirement(blocked);
                self.trouble.next(0.5 + 0.5 * rand::random::<f64>())
            }
        }
    }
}
