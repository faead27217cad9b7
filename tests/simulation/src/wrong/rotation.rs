//! A rotation in which one thing goes wrong that must not.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use shop_agent::engine::StoreEngine as _;
use shop_proto::{Digest, ReplicaKey, Slot, StoreId};

use crate::{
    engine::Desk,
    logins::{DATABASE, Flaw, Logins},
    machine::Machine,
    operator::Want,
    world::World,
};

/// Longest time until two passwords count after a rotation was asked for.
const BEGINS: Duration = Duration::from_secs(30);

/// A store in which two passwords count.
pub struct OnTrial {
    machine: Arc<Machine>,
    store: StoreId,
}

impl OnTrial {
    fn logins<T>(&self, change: impl FnOnce(&mut Logins) -> T) -> anyhow::Result<T> {
        let mut inner = self.machine.lock();
        let bench = inner.stores.get_mut(&self.store);
        bench.map(|it| change(&mut it.logins)).context("a store")
    }

    /// The password that counted alone is not let in any more.
    ///
    /// # Errors
    /// When the store is gone.
    pub fn drop_the_old(&self) -> anyhow::Result<()> {
        self.logins(|logins| {
            let old = logins.before();
            logins.tamper().retain(|it| Some(it) != old.as_ref());
        })
    }

    /// A password counts that nobody knows of.
    ///
    /// # Errors
    /// When the store is gone.
    pub fn let_in_a_stranger(&self) -> anyhow::Result<()> {
        self.logins(|logins| logins.tamper().insert("stranger".to_owned()))?;
        Ok(())
    }

    /// The database does not do as it is told.
    ///
    /// # Errors
    /// When the store is gone.
    pub fn flawed(&self, flaw: Flaw) -> anyhow::Result<()> {
        self.logins(|logins| logins.flaw = Some(flaw))
    }

    /// The database is started anew, and one of the two is not in its files.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn lose_the_coming(&self) -> anyhow::Result<()> {
        let files = self.machine.secrets(&self.store).join(DATABASE);
        std::fs::remove_file(files.join("db_password.next"))?;
        self.machine.kill(&self.store, &database()?);
        Ok(())
    }

    /// PHP is handed what nobody made.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn hand_out_nonsense(&self) -> anyhow::Result<()> {
        let file = self
            .machine
            .secrets(&self.store)
            .join("php-fpm/db_password");
        std::fs::remove_file(&file)?;
        Ok(std::fs::write(file, "nonsense")?)
    }

    /// What became of the rotation is forgotten, as if it had never been carried through.
    ///
    /// # Errors
    /// When the store is gone.
    pub fn forget(&self) -> anyhow::Result<()> {
        self.logins(|logins| logins.over.clear())
    }
}

fn database() -> anyhow::Result<ReplicaKey> {
    Ok(ReplicaKey {
        service: DATABASE.parse()?,
        slot: Slot::Fixed,
        replica: 0,
    })
}

impl World<'_> {
    /// A store that serves is asked for a rotation, until two passwords count.
    ///
    /// # Errors
    /// When they never do.
    pub fn something_on_trial(&mut self) -> anyhow::Result<OnTrial> {
        self.operator.insist(Want::Rotate);
        let until = self.elapsed() + BEGINS;
        while self.elapsed() < until {
            self.step()?;
            let found = self.machines.iter().find_map(|machine| {
                let inner = machine.lock();
                let mut stores = inner.stores.iter();
                let two = stores.find(|(_, bench)| bench.logins.accepted().len() == 2)?;
                Some((machine.clone(), two.0.clone()))
            });
            if let Some((machine, store)) = found {
                return Ok(OnTrial { machine, store });
            }
        }
        bail!("two passwords never count")
    }

    /// The revision before is asked for again.
    pub fn take_back(&mut self) {
        self.operator.insist(Want::Rollback);
    }

    /// An agent stops the database while it rotates its password.
    ///
    /// # Errors
    /// As [`World::step`].
    pub fn stop_the_database(&mut self, of: &OnTrial) -> anyhow::Result<()> {
        let key = database()?;
        let desk = Desk::new(of.machine.clone(), of.store.clone(), Digest::of(b"root"));
        self.sim.client("wrong", async move {
            desk.stop(Digest::of(b"any"), &key).await?;
            Ok(())
        });
        self.pass(Duration::from_secs(2))
    }
}
