//! What an API user can ask for: one use-case a method, with typed input, output and error. REST and gRPC are thin over these.
//!
//! Who may ask is decided before, centrally, by route and role; what is asked is decided here.

mod access;
mod amend;
mod audit;
mod cancel;
mod cursor;
mod durations;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod input;
mod nodes;
mod operations;
mod rollouts;
mod sealed;
mod status;
mod stores;
mod tasks;
mod templates;
mod view;
mod world;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use shop_plan::Catalogue;
use shop_proto::{Digest, NodeId, StoreId};

use crate::{db::Db, domain::session::Orders, operations::Limits};
use access::DenialSampler;

pub use amend::*;
pub use error::{AppError, Problem};
pub use input::*;
pub(crate) use rollouts::update_of as rollout_update;
pub use sealed::SealedWaiters;
pub(crate) use sealed::waiter_key;
pub(crate) use stores::{KEPT_TASK_RUNS, LONGEST_BASE_DOMAIN};
pub use tasks::*;
pub use view::*;
pub use world::{RandomIds, SystemClock};

/// The control plane's use-cases. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Context>);

/// What use-cases and background tasks work with.
pub struct Context {
    pub db: Db,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn Ids>,
    pub orders: Arc<dyn Orders>,
    pub catalogue: &'static Catalogue,
    pub settings: Settings,
    pub sealed: SealedWaiters,
    pub(crate) denials: DenialSampler,
    pub started_at: Timestamp,
}

/// What the configuration decides about use-cases.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Stores get `<name>-<suffix>.<base domain>`. One label, such as `localhost`, is allowed.
    pub base_domain: String,
    /// From placement to serving.
    pub provision_deadline: Duration,
    /// Stores that may be provisioning on one node at once; the others queue.
    pub provisioning_per_node: u32,
    /// CPU reservations may add up to so many times the CPUs there are.
    pub cpu_overcommit: u32,
    /// From the request to delete a store until its data goes.
    pub delete_grace: Duration,
    /// How long a node may be away before its stores are called unreachable.
    pub unreachable_after: Duration,
    /// Pin in join tokens: SHA-256 of the root's SubjectPublicKeyInfo.
    pub root_pin: Digest,
    /// `host:port` that nodes are told to enrol at.
    pub enroll_addresses: Vec<String>,
    /// `host:port` that agents are told to open sessions at.
    pub agent_addresses: Vec<String>,
}

impl Settings {
    /// Defaults around what has none.
    #[must_use]
    pub fn new(base_domain: String, root_pin: Digest) -> Self {
        Self {
            base_domain,
            provision_deadline: Duration::from_secs(600),
            provisioning_per_node: 4,
            cpu_overcommit: 40,
            delete_grace: Duration::from_secs(24 * 3600),
            unreachable_after: Duration::from_secs(30),
            root_pin,
            enroll_addresses: Vec::new(),
            agent_addresses: Vec::new(),
        }
    }
}

impl App {
    /// With the system's clock and randomness and the built-in templates.
    #[must_use]
    pub fn new(db: Db, orders: Arc<dyn Orders>, settings: Settings) -> Self {
        Self::with(
            db,
            orders,
            settings,
            Arc::new(SystemClock),
            Arc::new(RandomIds),
        )
    }

    /// With another clock and other ids.
    #[must_use]
    pub fn with(
        db: Db,
        orders: Arc<dyn Orders>,
        settings: Settings,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Self {
        Self(Arc::new(Context {
            db,
            started_at: clock.now(),
            clock,
            ids,
            orders,
            catalogue: Catalogue::builtin(),
            settings,
            sealed: SealedWaiters::default(),
            denials: DenialSampler::default(),
        }))
    }

    pub(crate) fn limits(&self) -> Limits {
        let settings = &self.0.settings;
        Limits {
            provision_deadline: settings.provision_deadline,
            unreachable_after: settings.unreachable_after,
        }
    }

    /// What it works with.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.0
    }
}

/// Tells the time; passed in so that tests can.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

/// Makes ids and secrets; passed in so that tests can.
pub trait Ids: Send + Sync {
    fn store(&self) -> StoreId;
    fn node(&self) -> NodeId;
    /// UUIDv7 text.
    fn operation(&self) -> String;
    /// `length` characters a-z and 2-7, unguessable.
    fn base32(&self, length: usize) -> String;
}
