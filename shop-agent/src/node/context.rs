//! What every part of the node role is handed: who we are, the engine, the memory, the stores that are up.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use shop_plan::{StorePlan, render as render_plan, verify};
use shop_proto::{Digest, Generation, NodeId, StoreId, TrustDomain};
use tokio::sync::{Notify, Semaphore, watch};

use super::{
    docker::Engine,
    doors::Doors,
    edge::Standing,
    firewall::Firewall,
    ipam::{self, Cidr},
    outbox::Outbox,
    paths::Paths,
    render::Place,
    settings::NodeArgs,
    state::{Accepted, NodeRecord, State, StoreRecord, Surroundings},
    tasks::Tasks,
    traffic::Traffic,
};
use crate::identity::{Credential, Trust};

/// The running node.
pub struct Node {
    /// Our id.
    pub id: NodeId,
    /// What was fixed at joining.
    pub record: NodeRecord,
    /// The command line.
    pub args: NodeArgs,
    /// Where things are kept.
    pub paths: Paths,
    /// Where addresses come from.
    pub pool: Cidr,
    /// First label of every identity.
    pub trust_domain: TrustDomain,
    /// Docker.
    pub engine: Engine,
    /// What is remembered.
    pub state: Arc<State>,
    /// What the control plane is to hear.
    pub outbox: Outbox,
    /// Whom we trust.
    pub trust: Trust,
    /// Key and certificate; replaced when renewed.
    pub credential: ArcSwap<Credential>,
    /// Rung when the certificate was renewed: the session is opened anew with it.
    pub renewed: Notify,
    /// Whether a session with the control plane stands.
    pub connected: watch::Sender<bool>,
    /// Stores that have a worker.
    pub stores: Stores,
    /// Rung when names, edge or firewall may have to change.
    pub routing: Notify,
    /// One writer of the names file at a time.
    pub publishing: Semaphore,
    /// Turns of stores whose agent is replaced. There are none until the edge was looked after: every buyer waits for that.
    pub replacing: Semaphore,
    /// Which edge gets new connections.
    pub edge: Arc<Standing>,
    /// The firewall table as it was loaded.
    pub firewall: Firewall,
    /// Doors of containers that end.
    pub doors: Doors,
    /// What buyers were answered.
    pub traffic: Traffic,
    /// Content ids of images, as seen last.
    pub images: Images,
    /// Changes at every boot of the host.
    pub boot_id: String,
    /// Held, never read: keeps a second node agent away from our state.
    pub _lock: std::fs::File,
    /// All background work.
    pub tasks: Tasks,
}

/// Content ids of images, by reference.
#[derive(Default)]
pub struct Images(Mutex<BTreeMap<String, String>>);

impl Images {
    /// The id that was seen last.
    #[must_use]
    pub fn known(&self, image: &str) -> Option<String> {
        let images = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        images.get(image).cloned()
    }

    /// Remembers an id.
    pub fn learn(&self, image: &str, id: String) {
        let mut images = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        images.insert(image.to_owned(), id);
    }
}

/// Stores that have a worker, by id.
#[derive(Default)]
pub struct Stores(Mutex<BTreeMap<StoreId, Arc<Store>>>);

/// A store that has a worker.
pub struct Store {
    /// Which one.
    pub id: StoreId,
    /// Rings its worker.
    pub wake: Notify,
    /// Counts what may have changed, for its agent's `Watch`.
    pub hints: watch::Sender<u64>,
    /// The key that the control plane has recorded as vouched for.
    pub vouched: watch::Sender<Option<Digest>>,
    /// Everything that runs for it.
    pub tasks: Tasks,
    plans: Mutex<Vec<Rendered>>,
    gates: Mutex<BTreeMap<String, Arc<Semaphore>>>,
}

/// A plan that this node has rendered itself.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// Of the spec it was rendered from.
    pub generation: Generation,
    /// The spec's digest.
    pub spec_digest: Digest,
    /// The plan's digest.
    pub digest: Digest,
    /// The plan.
    pub plan: Arc<StorePlan>,
}

/// A spec that cannot be rendered here.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The template is not one we trust.
    #[error(transparent)]
    Untrusted(#[from] shop_plan::Untrusted),
    /// It does not render.
    #[error(transparent)]
    Render(#[from] shop_plan::RenderError),
}

/// The verifying and rendering step. Pure.
///
/// # Errors
/// When the template is not trusted or the spec does not fit it.
pub fn plan_of(
    store: &StoreId,
    spec: &shop_proto::Spec,
    render_version: u32,
) -> Result<StorePlan, PlanError> {
    let template = verify(&spec.revision.template_digest)?;
    Ok(render_plan(
        store,
        &spec.revision,
        template,
        render_version,
    )?)
}

impl Node {
    /// For rendering a store's containers.
    #[must_use]
    pub fn place<'a>(&'a self, record: &'a StoreRecord) -> Place<'a> {
        Place {
            node: &self.id,
            paths: &self.paths,
            pool: self.pool,
            record,
        }
    }

    /// What addresses depend on, now.
    #[must_use]
    pub fn surroundings(&self) -> Surroundings {
        Surroundings {
            host_routes: host_routes(&self.id),
            unix_ms: now_unix_ms(),
        }
    }

    /// Something of a store changed: its agent and its worker look again.
    pub fn ring(&self, store: &StoreId) {
        if let Some(store) = self.stores.get(store) {
            store.hint();
            store.wake.notify_one();
        }
    }
}

/// Networks that the host routes, without the bridges of this node. Unreadable counts as none: the engine refuses overlaps too.
#[must_use]
pub fn host_routes(node: &NodeId) -> Vec<Cidr> {
    std::fs::read_to_string("/proc/net/route")
        .map(|table| ipam::host_routes(&table, &format!("sf{node}-")))
        .unwrap_or_default()
}

/// Changes at every boot of the host; empty where the kernel does not say.
#[must_use]
pub fn boot_id() -> String {
    std::fs::read_to_string(Path::new("/proc/sys/kernel/random/boot_id"))
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

/// Now, in Unix milliseconds.
#[must_use]
pub fn now_unix_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

impl Stores {
    /// One of them.
    #[must_use]
    pub fn get(&self, store: &StoreId) -> Option<Arc<Store>> {
        self.lock().get(store).cloned()
    }

    /// All.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Store>> {
        self.lock().values().cloned().collect()
    }

    /// Adds one; `None` when it is there already.
    #[must_use]
    pub fn add(&self, store: &StoreId, tasks: &Tasks) -> Option<Arc<Store>> {
        let mut stores = self.lock();
        if stores.contains_key(store) {
            return None;
        }
        let new = Arc::new(Store {
            id: store.clone(),
            wake: Notify::new(),
            hints: watch::Sender::new(0),
            vouched: watch::Sender::new(None),
            tasks: tasks.child(),
            plans: Mutex::default(),
            gates: Mutex::default(),
        });
        stores.insert(store.clone(), new.clone());
        Some(new)
    }

    /// Takes one out.
    pub fn remove(&self, store: &StoreId) {
        self.lock().remove(store);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<StoreId, Arc<Store>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Something may have changed.
    pub fn hint(&self) {
        self.hints
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// The plans of a record, newest first, rendered once.
    ///
    /// # Errors
    /// When one does not render: a newer release wrote the record.
    pub fn plans(&self, record: &StoreRecord) -> Result<Vec<Rendered>, PlanError> {
        let mut held = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let plans = record
            .known()
            .into_iter()
            .map(|accepted| {
                held.iter()
                    .find(|rendered| rendered.is(accepted))
                    .cloned()
                    .map_or_else(|| Rendered::new(&record.store, accepted), Ok)
            })
            .collect::<Result<Vec<_>, _>>()?;
        held.clone_from(&plans);
        Ok(plans)
    }

    /// One change of one container at a time: an engine that is still creating a name neither has it nor lets it be made.
    pub fn gate(&self, name: &str) -> Arc<Semaphore> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody holds or waits for.
        gates.retain(|_, gate| Arc::strong_count(gate) > 1);
        gates
            .entry(name.to_owned())
            .or_insert_with(|| Arc::new(Semaphore::new(1)))
            .clone()
    }
}

impl Rendered {
    fn new(store: &StoreId, accepted: &Accepted) -> Result<Self, PlanError> {
        let plan = plan_of(store, &accepted.spec, accepted.render_version)?;
        Ok(Self {
            generation: accepted.generation,
            spec_digest: accepted.spec_digest,
            digest: plan.digest(),
            plan: Arc::new(plan),
        })
    }

    fn is(&self, accepted: &Accepted) -> bool {
        self.generation == accepted.generation && self.spec_digest == accepted.spec_digest
    }
}
