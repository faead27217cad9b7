//! The node's memory: one record per store, tombstones, the quarantine. Disk first, then memory; whoever reads sees only what is on disk.
//!
//! Methods block on the disk: call them through [`crate::node::tasks::blocking`].

pub mod files;
mod record;
mod tree;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use shop_plan::NetworkName;
use shop_proto::{Digest, Generation, HostName, Spec, StoreId};

pub use record::{
    Accepted, AgentKeys, Intent, NodeRecord, Quarantine, Resting, RosterRecord, Serve, StoreRecord,
    Tombstone,
};

use self::files::{FileError, keep, kept, names, remove};
use super::{
    ipam::{self, Cidr, Exhausted, QUARANTINE_MS, SubnetIndex},
    paths::Paths,
};

/// The memory of one node.
pub struct State {
    paths: Paths,
    pool: Cidr,
    first_uid: u32,
    names_subnet: SubnetIndex,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    stores: BTreeMap<StoreId, Arc<StoreRecord>>,
    tombstones: BTreeMap<StoreId, Arc<Tombstone>>,
    quarantine: Quarantine,
    roster: RosterRecord,
}

/// An assignment that is not taken.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// Older than what is held.
    #[error("generation {held} is held already")]
    GenerationOutdated {
        /// What is held.
        held: Generation,
    },
    /// The same generation said something else before.
    #[error("this generation had another content before")]
    ContentChanged,
    /// The store is being removed here.
    #[error("the store is being removed from this node")]
    Retiring,
    /// Another store's, which buyers would be led away from.
    #[error("buyers of {host} are led to store {holder} on this node already")]
    HostTaken {
        /// Which name.
        host: HostName,
        /// Whose it is.
        holder: StoreId,
    },
    /// No address or uid is left.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// The disk.
    #[error("the node's disk could not be written")]
    File(#[from] FileError),
}

/// A change of a store that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is no such store here, or no longer.
    #[error("the store is not on this node")]
    Unknown,
    /// No address is left.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// The disk.
    #[error("the node's disk could not be written")]
    File(#[from] FileError),
}

/// What an assignment was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// New to us.
    Taken,
    /// We had it.
    Known,
}

/// What addresses depend on besides what is remembered.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Networks that the host routes elsewhere.
    pub host_routes: Vec<Cidr>,
    /// Now, in Unix milliseconds.
    pub unix_ms: i64,
}

/// An assignment after it was checked and rendered.
pub struct Order {
    /// Whose.
    pub store: StoreId,
    /// How new.
    pub generation: Generation,
    /// Which rendering.
    pub render_version: u32,
    /// What the store should be.
    pub spec: Spec,
    /// What it renders to.
    pub plan_digest: Digest,
}

impl State {
    /// Reads everything back.
    ///
    /// # Errors
    /// When a file is damaged or newer than this release: nothing is guessed.
    pub fn load(paths: Paths, node: &NodeRecord, pool: Cidr) -> Result<Self, FileError> {
        let mut inner = Inner {
            quarantine: kept(&paths.quarantine_file())?.unwrap_or_default(),
            roster: kept(&paths.roster_file())?.unwrap_or_default(),
            ..Inner::default()
        };
        for name in names(&paths.tombstones())? {
            if let Some(tombstone) = kept::<Tombstone>(&paths.tombstones().join(name))? {
                inner
                    .tombstones
                    .insert(tombstone.store.clone(), Arc::new(tombstone));
            }
        }
        for name in names(&paths.stores())? {
            let file = paths.stores().join(name);
            let Some(mut record) = kept::<StoreRecord>(&file)? else {
                continue;
            };
            record.fill_in();
            if inner.tombstones.contains_key(&record.store) {
                // The tombstone was written, the crash came before the record went: it holds what remains.
                remove(&file)?;
            } else {
                inner.stores.insert(record.store.clone(), Arc::new(record));
            }
        }
        Ok(Self {
            pool,
            first_uid: node.first_uid,
            names_subnet: node.names_subnet,
            inner: Mutex::new(inner),
            paths,
        })
    }

    /// All stores that belong here.
    #[must_use]
    pub fn stores(&self) -> Vec<Arc<StoreRecord>> {
        self.lock().stores.values().cloned().collect()
    }

    /// One of them.
    #[must_use]
    pub fn store(&self, store: &StoreId) -> Option<Arc<StoreRecord>> {
        self.lock().stores.get(store).cloned()
    }

    /// All stores being removed.
    #[must_use]
    pub fn tombstones(&self) -> Vec<Arc<Tombstone>> {
        self.lock().tombstones.values().cloned().collect()
    }

    /// One of them.
    #[must_use]
    pub fn tombstone(&self, store: &StoreId) -> Option<Arc<Tombstone>> {
        self.lock().tombstones.get(store).cloned()
    }

    /// The newest roster; empty when there is none.
    #[must_use]
    pub fn roster(&self) -> RosterRecord {
        self.lock().roster.clone()
    }

    /// Keeps a roster to hand on.
    ///
    /// # Errors
    /// When the disk says no.
    pub fn keep_roster(&self, roster: RosterRecord) -> Result<(), FileError> {
        let mut inner = self.lock();
        if inner.roster != roster {
            keep(&self.paths.roster_file(), &roster)?;
            inner.roster = roster;
        }
        Ok(())
    }

    /// The generation rule: an older order or another content under the same generation is refused, a newer one is on disk before this returns.
    ///
    /// # Errors
    /// See [`AcceptError`].
    pub fn accept(&self, order: Order, now: &Surroundings) -> Result<Accept, AcceptError> {
        let mut inner = self.lock();
        if inner.tombstones.contains_key(&order.store) {
            return Err(AcceptError::Retiring);
        }
        let spec_digest = order.spec.digest();
        let accepted = Accepted {
            generation: order.generation,
            render_version: order.render_version,
            spec: order.spec,
            spec_digest,
            plan_digest: order.plan_digest,
        };
        let record = match inner.stores.get(&order.store) {
            None => {
                inner.unclaimed(&order.store, &accepted.spec)?;
                let mut record = StoreRecord {
                    uid_base: ipam::next_uid_base(self.first_uid, &inner.uids())?,
                    store: order.store,
                    newest: accepted,
                    serving: None,
                    previous: None,
                    passed: Vec::new(),
                    volumes: BTreeSet::new(),
                    subnets: BTreeMap::new(),
                    serve: Serve::Nothing,
                    agent: None,
                    second_slot: false,
                };
                self.fill(&inner, &mut record, now)?;
                record
            }
            Some(held) if order.generation < held.newest.generation => {
                return Err(AcceptError::GenerationOutdated {
                    held: held.newest.generation,
                });
            }
            Some(held) if order.generation == held.newest.generation => {
                return if held.newest == accepted {
                    Ok(Accept::Known)
                } else {
                    Err(AcceptError::ContentChanged)
                };
            }
            Some(held) => {
                inner.unclaimed(&order.store, &accepted.spec)?;
                let mut record = StoreRecord::clone(held);
                record.renew(accepted);
                record
            }
        };
        self.put(&mut inner, record)?;
        Ok(Accept::Taken)
    }

    /// Gives a store the address ranges it lacks: all of them at once, so that neither firewall nor edge change when the second slot is used.
    ///
    /// # Errors
    /// When the pool is used up.
    pub fn ranges(
        &self,
        store: &StoreId,
        now: &Surroundings,
    ) -> Result<Arc<StoreRecord>, ChangeError> {
        let mut inner = self.lock();
        let held = inner.stores.get(store).ok_or(ChangeError::Unknown)?;
        let mut record = StoreRecord::clone(held);
        self.fill(&inner, &mut record, now)?;
        if record == **held {
            return Ok(held.clone());
        }
        Ok(self.put(&mut inner, record)?)
    }

    /// Changes a store's record.
    ///
    /// # Errors
    /// When it is not here or the disk says no; nothing is changed then.
    pub fn change(
        &self,
        store: &StoreId,
        change: impl FnOnce(&mut StoreRecord),
    ) -> Result<Arc<StoreRecord>, ChangeError> {
        let mut inner = self.lock();
        let held = inner.stores.get(store).ok_or(ChangeError::Unknown)?;
        let mut record = StoreRecord::clone(held);
        change(&mut record);
        if record == **held {
            return Ok(held.clone());
        }
        Ok(self.put(&mut inner, record)?)
    }

    /// Says that a store is to be removed: the tombstone is on disk before anything is torn down.
    ///
    /// # Errors
    /// [`AcceptError::GenerationOutdated`] when a newer assignment is held, [`AcceptError::ContentChanged`] when this generation was an
    /// assignment: whoever orders this comes from a backup and does not know that the store is wanted again.
    pub fn bury(
        &self,
        store: &StoreId,
        generation: Generation,
    ) -> Result<Arc<Tombstone>, AcceptError> {
        let mut inner = self.lock();
        if let Some(held) = inner.tombstones.get(store).cloned() {
            if generation <= held.generation {
                return Ok(held);
            }
            // Ordered once more: the receipt is to name the order it answers.
            let tombstone = Tombstone {
                generation,
                receipt: None,
                ..Tombstone::clone(&held)
            };
            return Ok(self.put_tombstone(&mut inner, tombstone)?);
        }
        let remains = inner.stores.get(store);
        match remains.map(|held| held.newest.generation) {
            Some(held) if generation < held => {
                return Err(AcceptError::GenerationOutdated { held });
            }
            Some(held) if generation == held => return Err(AcceptError::ContentChanged),
            _ => {}
        }
        let remains = remains.map(|record| StoreRecord::clone(record));
        let tombstone = Tombstone::new(store.clone(), generation, remains);
        let tombstone = self.put_tombstone(&mut inner, tombstone)?;
        remove(&self.paths.stores().join(file_name(store)))?;
        inner.stores.remove(store);
        Ok(tombstone)
    }

    /// Remembers what a removal has found and done so far.
    ///
    /// # Errors
    /// When the disk says no.
    pub fn found(
        &self,
        store: &StoreId,
        change: impl FnOnce(&mut Tombstone),
    ) -> Result<Option<Arc<Tombstone>>, FileError> {
        let mut inner = self.lock();
        let Some(held) = inner.tombstones.get(store) else {
            return Ok(None);
        };
        let mut tombstone = Tombstone::clone(held);
        change(&mut tombstone);
        if tombstone == **held {
            return Ok(Some(held.clone()));
        }
        self.put_tombstone(&mut inner, tombstone).map(Some)
    }

    /// Everything of the store is gone: its addresses go into quarantine, the tombstone stays.
    ///
    /// # Errors
    /// When the disk says no.
    pub fn emptied(&self, store: &StoreId, now_unix_ms: i64) -> Result<(), FileError> {
        let mut inner = self.lock();
        let Some(tombstone) = inner.tombstones.get(store) else {
            return Ok(());
        };
        let Some(remains) = &tombstone.remains else {
            return Ok(());
        };
        let mut quarantine = Quarantine {
            resting: inner
                .quarantine
                .resting
                .iter()
                .copied()
                .filter(|resting| resting.until_unix_ms > now_unix_ms)
                .collect(),
        };
        quarantine
            .resting
            .extend(remains.subnets.values().map(|subnet| Resting {
                subnet: *subnet,
                until_unix_ms: now_unix_ms.saturating_add(QUARANTINE_MS),
            }));
        keep(&self.paths.quarantine_file(), &quarantine)?;
        inner.quarantine = quarantine;
        let empty = Tombstone {
            remains: None,
            ..Tombstone::clone(&inner.tombstones[store])
        };
        self.put_tombstone(&mut inner, empty).map(drop)
    }

    /// The control plane has recorded that the store is gone.
    ///
    /// # Errors
    /// When the disk says no.
    pub fn forget(&self, store: &StoreId) -> Result<(), FileError> {
        let mut inner = self.lock();
        let emptied = inner
            .tombstones
            .get(store)
            .is_some_and(|tombstone| tombstone.remains.is_none());
        if emptied {
            remove(&self.paths.tombstones().join(file_name(store)))?;
            inner.tombstones.remove(store);
        }
        Ok(())
    }

    fn fill(
        &self,
        inner: &Inner,
        record: &mut StoreRecord,
        now: &Surroundings,
    ) -> Result<(), Exhausted> {
        let mut taken = inner.subnets(self.names_subnet, now.unix_ms);
        for network in NetworkName::ALL {
            if let Entry::Vacant(lacking) = record.subnets.entry(network) {
                let index = ipam::next_subnet(self.pool, &taken, &now.host_routes)?;
                taken.insert(index);
                lacking.insert(index);
            }
        }
        Ok(())
    }

    fn put(&self, inner: &mut Inner, record: StoreRecord) -> Result<Arc<StoreRecord>, FileError> {
        keep(&self.paths.stores().join(file_name(&record.store)), &record)?;
        let record = Arc::new(record);
        inner.stores.insert(record.store.clone(), record.clone());
        Ok(record)
    }

    fn put_tombstone(
        &self,
        inner: &mut Inner,
        tombstone: Tombstone,
    ) -> Result<Arc<Tombstone>, FileError> {
        let path = self.paths.tombstones().join(file_name(&tombstone.store));
        keep(&path, &tombstone)?;
        let tombstone = Arc::new(tombstone);
        inner
            .tombstones
            .insert(tombstone.store.clone(), tombstone.clone());
        Ok(tombstone)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Memory follows the disk in one assignment, so a panic elsewhere leaves no half state.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn records(&self) -> impl Iterator<Item = &StoreRecord> {
        let buried = self
            .tombstones
            .values()
            .filter_map(|it| it.remains.as_ref());
        self.stores.values().map(AsRef::as_ref).chain(buried)
    }

    /// Whether each host name that a store is to be newly reached by is no other's: whoever has one keeps it.
    fn unclaimed(&self, store: &StoreId, spec: &Spec) -> Result<(), AcceptError> {
        let own = |host: &HostName| {
            let held = self.stores.get(store);
            held.is_some_and(|held| held.routed_hosts().any(|it| it == host))
        };
        for host in record::routed_hosts(spec).filter(|host| !own(host)) {
            let holds = |it: &&Arc<StoreRecord>| it.routed_hosts().any(|held| held == host);
            if let Some(holder) = self.stores.values().find(holds) {
                return Err(AcceptError::HostTaken {
                    host: host.clone(),
                    holder: holder.store.clone(),
                });
            }
        }
        Ok(())
    }

    fn uids(&self) -> BTreeSet<u32> {
        self.records().map(|record| record.uid_base).collect()
    }

    fn subnets(&self, names: SubnetIndex, now_unix_ms: i64) -> BTreeSet<SubnetIndex> {
        let resting = self
            .quarantine
            .resting
            .iter()
            .filter(|resting| resting.until_unix_ms > now_unix_ms)
            .map(|resting| resting.subnet);
        self.records()
            .flat_map(|record| record.subnets.values().copied())
            .chain(resting)
            .chain([names])
            .collect()
    }
}

fn file_name(store: &StoreId) -> String {
    format!("{store}.json")
}

#[cfg(test)]
mod tests;
