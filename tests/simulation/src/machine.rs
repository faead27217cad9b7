//! A Docker host in memory: containers, volumes and networks of stores, with the failures of a real engine. It outlives every process on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use shop_agent::engine::{Container, ContainerState, EngineError, Exit, KnownPlan, Network, Serve};
use shop_plan::{NetworkName, StorePlan, address};
use shop_proto::{Digest, NodeId, ReplicaKey, Slot, StoreId};
use tokio::sync::Notify;

use crate::{
    chance::Dice,
    logins::{Logins, Rotations},
    net::Way,
    trace::Trace,
};

/// When a sick release falls ill.
const SICK_AFTER_MS: u64 = 4_000;
/// How long a release has served before it counts as one that works.
const STEADY_MS: u64 = 15_000;
/// Plans that were passed over before they served, and stay known: as many as the real node keeps.
const PASSED: usize = 3;
/// Until an agent that gets no hints knows that a container ended: it asks every five seconds, and the longest of its calls takes six.
const UNHEARD_MS: i64 = 12_000;
/// When a crashing release crashes.
const CRASH_AFTER_MS: u64 = 4_000;

/// One host. Shared by the processes on it and by the run that watches.
pub struct Machine {
    /// For traces.
    pub name: &'static str,
    /// Where the node agent and the shop agents of this host keep their files.
    pub disk: PathBuf,
    /// The host's way to the control plane.
    pub way: Arc<Way>,
    /// What happened.
    pub trace: Trace,
    inner: Mutex<Inner>,
}

/// What is on it.
pub struct Inner {
    /// Decides about latencies and faults.
    pub dice: Dice,
    /// Calls fail, hang and lose their answers.
    pub rough: bool,
    /// The node agent runs: nobody else answers for the engine.
    pub up: bool,
    /// Hints are lost.
    pub silent: bool,
    /// The disk is full: node agent and shop agents write nothing new.
    pub full: bool,
    /// Who the node is, once it has joined.
    pub node: Option<NodeId>,
    /// The node's certificate, encoded.
    pub credential: Option<Vec<u8>>,
    /// Stores by id.
    pub stores: BTreeMap<StoreId, Bench>,
    /// Stores that an operator has asked to delete, whether or not it was acknowledged.
    pub condemned: BTreeSet<StoreId>,
    /// Rotations in stores that were torn down.
    gone: Rotations,
    next_subnet: u32,
}

/// What one store has on a host.
pub struct Bench {
    /// Containers of services.
    pub containers: BTreeMap<ReplicaKey, Held>,
    /// Plans that the node has rendered, newest first.
    pub plans: Vec<(KnownPlan, Arc<StorePlan>)>,
    /// Who answers for the store.
    pub serving: Serve,
    /// The schema that the database has; 0 before it is installed.
    pub schema: u32,
    /// The plan that was served under last, and the one before it: they stay known.
    pub served: Vec<Digest>,
    /// The store's networks.
    pub networks: BTreeMap<NetworkName, Ipv4Addr>,
    /// Data volumes.
    pub volumes: BTreeSet<String>,
    /// Runs of tasks.
    pub runs: BTreeMap<(String, String), Run>,
    /// Who is let in by the database.
    pub logins: Logins,
    /// The shop agent's container is wanted.
    pub agent: bool,
    /// Keys that the agent has shown.
    pub introduced: Option<(Digest, [u8; 32])>,
    /// The control plane has recorded the voucher.
    pub vouched: bool,
    /// Calls that changed something, ever.
    pub changes: u64,
    /// Rung when something changed.
    pub hint: Arc<Notify>,
}

/// A container.
#[derive(Debug, Clone)]
pub struct Held {
    /// As the engine lists it.
    pub container: Container,
    /// When it will answer its probe, in simulated milliseconds.
    pub ready_at: u64,
    /// How it misbehaves, by its environment.
    pub drill: String,
    /// The database schema that its code was written for.
    pub schema: u32,
    /// When it was started last.
    pub started_at: u64,
    /// The database's password, as it was then.
    pub password: Option<String>,
}

/// A run of a task. It goes on whether or not its agent lives.
#[derive(Debug, Clone)]
pub struct Run {
    /// When its work is done, in simulated milliseconds.
    pub ends_at: u64,
    /// The database's schema after it, if it is about that.
    pub makes: Option<u32>,
    /// Its end was seen.
    pub seen: bool,
    /// The database's password, as it was when it began.
    pub password: Option<String>,
}

impl Machine {
    /// Empty, with a disk.
    #[must_use]
    pub fn new(name: &'static str, disk: PathBuf, dice: Dice, trace: Trace) -> Arc<Self> {
        Arc::new(Self {
            name,
            disk,
            way: Arc::default(),
            trace,
            inner: Mutex::new(Inner {
                dice,
                rough: false,
                up: false,
                silent: false,
                full: false,
                node: None,
                credential: None,
                stores: BTreeMap::new(),
                condemned: BTreeSet::new(),
                gone: Rotations::default(),
                next_subnet: 0,
            }),
        })
    }

    /// To look and to change.
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is no room on the disk any more, or there is again.
    pub fn fill(&self, full: bool) {
        self.lock().full = full;
        crate::chance::fill(&self.disk, full);
        self.trace.say(format!("{}: disk full: {full}", self.name));
    }

    /// Directory of a store's agent on this host.
    #[must_use]
    pub fn vault(&self, store: &StoreId) -> PathBuf {
        self.disk.join("vaults").join(store.as_str())
    }

    /// Directory of a store's secrets volumes on this host.
    #[must_use]
    pub fn secrets(&self, store: &StoreId) -> PathBuf {
        self.disk.join("secrets").join(store.as_str())
    }

    /// Something of a store changed.
    pub fn ring(&self, store: &StoreId) {
        let inner = self.lock();
        if let Some(bench) = inner.stores.get(store).filter(|_| !inner.silent) {
            bench.hint.notify_one();
        }
    }

    /// The store's surroundings stand: networks, volumes, the plans it may name, its agent's container.
    pub fn prepare(&self, store: &StoreId, newest: KnownPlan, plan: Arc<StorePlan>) {
        let mut inner = self.lock();
        if !inner.stores.contains_key(store) {
            let first = inner.next_subnet;
            inner.next_subnet += 4;
            let names = [
                NetworkName::AppA,
                NetworkName::AppB,
                NetworkName::Data,
                NetworkName::Egress,
            ];
            let networks = names
                .into_iter()
                .zip(first..)
                .map(|(name, index)| (name, Ipv4Addr::from(0x0ac8_0000 + index * 32)))
                .collect();
            let logins = Logins::new(self.secrets(store));
            inner
                .stores
                .insert(store.clone(), Bench::new(networks, logins));
            self.trace.say(format!("{} makes {store}", self.name));
        }
        let Some(bench) = inner.stores.get_mut(store) else {
            return;
        };
        for volume in &plan.volumes {
            bench.volumes.insert(volume.name.to_string());
        }
        bench.plans.retain(|(known, _)| known.plan != newest.plan);
        bench.plans.insert(0, (newest, plan));
        bench.forget_plans();
        bench.agent = true;
    }

    /// Everything of a store is torn down, its data included. Only under a tombstone, and only when somebody asked for it.
    pub fn tear_down(&self, store: &StoreId, buried: bool) {
        let mut inner = self.lock();
        if !buried {
            self.trace.violated(format!(
                "{}: {store} torn down without a tombstone",
                self.name
            ));
        }
        if !inner.condemned.contains(store) && inner.stores.contains_key(store) {
            self.trace.violated(format!(
                "{}: {store} torn down although nobody asked for it",
                self.name
            ));
        }
        if let Some(bench) = inner.stores.remove(store) {
            inner.gone += bench.logins.rotations;
        }
        drop(inner);
        self.trace.say(format!("{} tears down {store}", self.name));
        // What is not there is gone.
        let _ = std::fs::remove_dir_all(self.vault(store));
        let _ = std::fs::remove_dir_all(self.secrets(store));
    }

    /// Containers that run, of one store.
    #[must_use]
    pub fn running(&self, store: &StoreId) -> BTreeSet<ReplicaKey> {
        let inner = self.lock();
        let bench = inner.stores.get(store);
        bench
            .into_iter()
            .flat_map(|bench| bench.containers.values())
            .filter(|held| held.runs())
            .map(|held| held.container.key.clone())
            .collect()
    }

    /// A container ends by itself.
    pub fn kill(&self, store: &StoreId, key: &ReplicaKey) {
        let now = crate::chance::now_unix_ms();
        if let Some(held) = self
            .lock()
            .stores
            .get_mut(store)
            .and_then(|bench| bench.containers.get_mut(key))
            .filter(|held| held.runs())
        {
            held.container.state = ContainerState::Exited(Exit {
                code: 137,
                oom_killed: false,
                at_unix_ms: now,
            });
            self.trace.say(format!("{} {store} {key} dies", self.name));
        }
        self.ring(store);
    }

    /// What crashes by itself does.
    pub fn drills(&self) {
        let now = u64::try_from(crate::chance::now_unix_ms()).unwrap_or_default();
        let due: Vec<_> = {
            let inner = self.lock();
            let all = inner.stores.iter().flat_map(|(store, bench)| {
                bench.containers.values().map(move |held| (store, held))
            });
            all.filter(|(_, held)| {
                held.drill == "crash" && held.runs() && now >= held.started_at + CRASH_AFTER_MS
            })
            .map(|(store, held)| (store.clone(), held.container.key.clone()))
            .collect()
        };
        for (store, key) in due {
            self.kill(&store, &key);
        }
    }

    /// The host restarts: every container and task ends, what was in memory is gone, the processes are started again by the run.
    pub fn power_cut(&self) {
        let stores: Vec<_> = self.lock().stores.keys().cloned().collect();
        let now = u64::try_from(crate::chance::now_unix_ms()).unwrap_or_default();
        for store in stores {
            for key in self.running(&store) {
                self.kill(&store, &key);
            }
            if let Some(bench) = self.lock().stores.get_mut(&store) {
                bench.runs.retain(|_, run| !run.runs(now));
                bench.logins.forget_files();
            }
        }
    }

    /// Rotations on this host.
    #[must_use]
    pub fn rotations(&self) -> Rotations {
        let inner = self.lock();
        let mut sum = inner.gone;
        for bench in inner.stores.values() {
            sum += bench.logins.rotations;
        }
        sum
    }
}

impl Inner {
    /// How long a call takes.
    pub fn latency(&mut self) -> Duration {
        self.dice
            .between(Duration::from_millis(1), Duration::from_millis(60))
    }

    /// The bench of a store that the node holds.
    ///
    /// # Errors
    /// When it holds none.
    pub fn bench(&mut self, store: &StoreId) -> Result<&mut Bench, EngineError> {
        self.stores
            .get_mut(store)
            .ok_or_else(|| EngineError::Unavailable("no such store here".to_owned()))
    }
}

impl Held {
    /// Whether it runs.
    #[must_use]
    pub const fn runs(&self) -> bool {
        matches!(self.container.state, ContainerState::Running { .. })
    }

    /// Whether it would answer its probe.
    #[must_use]
    pub fn ready(&self, now_ms: u64) -> bool {
        self.runs() && now_ms >= self.ready_at && self.drill != "never-ready"
    }
}

impl Run {
    /// Whether it is at work.
    #[must_use]
    pub const fn runs(&self, now_ms: u64) -> bool {
        !self.seen && now_ms < self.ends_at
    }
}

impl Bench {
    fn new(networks: BTreeMap<NetworkName, Ipv4Addr>, logins: Logins) -> Self {
        Self {
            containers: BTreeMap::new(),
            plans: Vec::new(),
            serving: Serve::None,
            schema: 0,
            served: Vec::new(),
            networks,
            volumes: BTreeSet::new(),
            runs: BTreeMap::new(),
            logins,
            agent: false,
            introduced: None,
            vouched: false,
            changes: 0,
            hint: Arc::default(),
        }
    }

    /// The same once more.
    #[must_use]
    pub fn copy(&self) -> Self {
        let mut copy = Self::new(self.networks.clone(), self.logins.clone());
        copy.containers.clone_from(&self.containers);
        copy.plans.clone_from(&self.plans);
        copy
    }

    /// The plan of a digest.
    ///
    /// # Errors
    /// When the node has not rendered it.
    pub fn plan(&self, digest: Digest) -> Result<Arc<StorePlan>, EngineError> {
        self.plans
            .iter()
            .find(|(known, _)| known.plan == digest)
            .map(|(_, plan)| plan.clone())
            .ok_or(EngineError::UnknownPlan)
    }

    /// Of the plans that are neither the newest nor were served, only so many stay known.
    fn forget_plans(&mut self) {
        let mut left = PASSED;
        let mut first = true;
        self.plans.retain(|(known, _)| {
            if std::mem::take(&mut first) || self.served.contains(&known.plan) {
                return true;
            }
            let keep = left > 0;
            left = left.saturating_sub(1);
            keep
        });
    }

    /// For listings.
    #[must_use]
    pub fn networks(&self) -> Vec<Network> {
        self.networks
            .iter()
            .map(|(name, base)| Network {
                name: *name,
                base: *base,
            })
            .collect()
    }

    /// The container with an address.
    #[must_use]
    pub fn at(&self, wanted: Ipv4Addr) -> Option<&Held> {
        self.containers.values().find(|held| {
            self.plans.iter().any(|(_, plan)| {
                self.networks.iter().any(|(name, base)| {
                    address::replica(plan, &held.container.key, *name)
                        .is_some_and(|part| u32::from(*base) + u32::from(part) == u32::from(wanted))
                })
            })
        })
    }

    /// Whether the whole store answers through a slot: its PHP is up and well, its code fits the database's schema, and it is let in.
    #[must_use]
    pub fn healthy(&self, slot: Slot, now_ms: u64) -> bool {
        let up = |service: &str| {
            self.containers
                .values()
                .find(|held| {
                    held.container.key.service.as_str() == service
                        && matches!(held.container.key.slot, Slot::Fixed)
                            == matches!(service, "db" | "cache")
                        && (held.container.key.slot == slot
                            || held.container.key.slot == Slot::Fixed)
                })
                .filter(|held| held.ready(now_ms))
        };
        let (Some(php), Some(_), Some(_)) = (up("php-fpm"), up("db"), up("cache")) else {
            return false;
        };
        let sick = php.drill == "sick" && now_ms >= php.started_at + SICK_AFTER_MS;
        // Release 3 breaks with what was before; 1 and 2 get along with each other's schema from 2 downwards.
        let fits = match (php.schema, self.schema) {
            (1, 1 | 2) | (2, 2) => true,
            (code, schema) => code == schema,
        };
        fits && !sick && self.lets_in(php)
    }

    /// Whether a release that works has served for a while: longer than any watch, and longer than an illness takes to show.
    #[must_use]
    pub fn steady(&self) -> bool {
        let now = u64::try_from(crate::chance::now_unix_ms()).unwrap_or_default();
        let serves = matches!(self.serving, Serve::Slot { .. });
        let php = |held: &&Held| held.container.key.service.as_str() == "php-fpm";
        let newest = self.plans.first().map(|(known, _)| known.plan);
        serves
            && newest == self.served.first().copied()
            && self.containers.values().filter(php).all(|held| {
                held.runs()
                    && matches!(held.drill.as_str(), "" | "none")
                    && now >= held.started_at + STEADY_MS
            })
    }

    /// Whether a slot has a replica of the edge's service that answers.
    #[must_use]
    pub fn slot_ready(&self, slot: Slot, now_ms: u64) -> bool {
        let Some((_, plan)) = self.plans.first() else {
            return false;
        };
        self.containers.values().any(|held| {
            held.container.key.slot == slot
                && held.container.key.service == plan.edge.service
                && held.ready(now_ms)
        })
    }

    /// Whether something in a slot ended by itself just now, and its agent may not know.
    #[must_use]
    pub fn unheard(&self, slot: Slot, now_ms: u64) -> bool {
        let now = i64::try_from(now_ms).unwrap_or(i64::MAX);
        self.containers.values().any(|held| {
            let ended = match &held.container.state {
                ContainerState::Exited(exit) if exit.code != 0 => Some(exit.at_unix_ms),
                _ => None,
            };
            held.container.key.slot == slot && ended.is_some_and(|at| now - at < UNHEARD_MS)
        })
    }
}
