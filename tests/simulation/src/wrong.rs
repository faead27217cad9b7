//! Things that must never be, done on purpose: so that the checks are seen to fail.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use shop_agent::engine::{Serve, StoreEngine as _};
use shop_proto::{Digest, ReplicaKey, Slot, StoreId};

use crate::{engine::Desk, machine::Machine, world::World};

pub mod rotation;

impl World<'_> {
    /// A store's database that runs, and where.
    ///
    /// # Errors
    /// When none does.
    pub fn something_that_runs(&self) -> anyhow::Result<(Arc<Machine>, StoreId, ReplicaKey)> {
        let found = self.machines.iter().find_map(|machine| {
            let stores: Vec<_> = machine.lock().stores.keys().cloned().collect();
            stores.into_iter().find_map(|store| {
                let running = machine.running(&store);
                let key = running.iter().find(|key| key.service.as_str() == "db")?;
                Some((machine.clone(), store.clone(), key.clone()))
            })
        });
        found.context("a store that runs")
    }

    /// A database in which nothing ever was.
    #[must_use]
    pub fn empty_database(&self) -> PathBuf {
        Self::template_database()
    }

    /// A store's agent forgets the newest thing it accepted.
    ///
    /// # Errors
    /// When its ledger cannot be written.
    pub fn set_back(&mut self, machine: &Machine, store: &StoreId) -> anyhow::Result<()> {
        self.pass(Duration::from_secs(1))?;
        self.remember_as_newer(machine.name, store);
        Ok(())
    }

    /// The same store runs on the other host as well.
    pub fn double(&self, machine: &Arc<Machine>, store: &StoreId) {
        for other in self.machines.iter().filter(|it| it.name != machine.name) {
            let mut from = machine.lock();
            let mut to = other.lock();
            if let Some(bench) = from.stores.get_mut(store) {
                to.stores.insert(store.clone(), bench.copy());
            }
        }
    }

    /// A store is there that nobody knows.
    ///
    /// # Errors
    /// Never: its id is one.
    pub fn orphan(&self, machine: &Arc<Machine>, store: &StoreId) -> anyhow::Result<()> {
        let mut inner = machine.lock();
        let copy = inner.stores.get(store).map(crate::machine::Bench::copy);
        inner.stores.extend(
            copy.map(|mut bench| {
                bench.agent = false;
                ("zzzzzzzzzzzz".parse(), bench)
            })
            .and_then(|(id, bench)| id.ok().map(|id| (id, bench))),
        );
        Ok(())
    }

    /// Traffic goes to the slot in which nothing is.
    ///
    /// # Errors
    /// When nothing serves.
    pub fn serve_the_empty_slot(&mut self) -> anyhow::Result<()> {
        let found = self.machines.iter().find_map(|machine| {
            let inner = machine.lock();
            inner.stores.iter().find_map(|(store, bench)| {
                let slot = match bench.serving {
                    Serve::Slot { slot: Slot::A, .. } => Slot::B,
                    Serve::Slot { .. } => Slot::A,
                    Serve::None | Serve::Maintenance | Serve::Paused => return None,
                };
                let plan = bench.plans.first()?.0.plan;
                Some((machine.clone(), store.clone(), slot, plan))
            })
        });
        let (machine, store, slot, plan) = found.context("a store that serves")?;
        let desk = Desk::new(machine, store, Digest::of(b"root"));
        self.sim.client("wrong", async move {
            let what = Serve::Slot {
                slot,
                replicas: [0].into(),
            };
            desk.serve(plan, &what).await?;
            Ok(())
        });
        self.pass(Duration::from_secs(2))
    }
}
