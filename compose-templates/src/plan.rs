//! What a revision renders to. Named by its digest; never crosses a wire; holds secret *names* only.

mod probe;
mod task;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use shop_proto::{Digest, ReplicaKey, ServiceName, Slot, StoreId};

pub use probe::Probe;
pub use task::{ArgumentCode, ArgumentPlan, ArgumentProblem, CronPlan, TaskPlan};

/// Version of the plan's own form.
pub const PLAN_FORMAT: u32 = 1;

/// Every service, volume, network, task and probe of one revision of one store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorePlan {
    /// [`PLAN_FORMAT`].
    pub format: u32,
    /// Which rendering made it.
    pub render_version: u32,
    /// Whose plan it is.
    pub store: StoreId,
    /// Template name, such as `refshop`.
    pub template: String,
    /// Template version, such as `1.0.0`.
    pub template_version: String,
    /// Digest of the template folder.
    pub template_digest: Digest,
    /// Revision number.
    pub revision: u64,
    /// In start order: a service comes after all it depends on.
    pub services: Vec<ServicePlan>,
    /// Persistent volumes.
    pub volumes: Vec<VolumePlan>,
    /// Secrets to be made by the shop agent.
    pub secrets: Vec<SecretPlan>,
    /// One-shot containers.
    pub tasks: Vec<TaskPlan>,
    /// What runs on a schedule.
    pub cron: Vec<CronPlan>,
    /// What the edge routes to.
    pub edge: EdgePlan,
    /// Logins that an operator may ask for, sealed.
    pub credentials: BTreeMap<String, CredentialPlan>,
    /// How a store gets from an older database schema to this plan's. None: schema 1, and nothing to migrate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<UpdatePlan>,
}

/// The database schema of a plan's code, and the task that brings an older one up to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdatePlan {
    /// The task that migrates. It may be run again, and after a crash half-way.
    pub task: ServiceName,
    /// The schema this plan's code expects, from 1.
    pub schema: u32,
    /// The oldest schema whose code still works on this one.
    pub works_from: u32,
}

/// A service and how it is kept running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServicePlan {
    /// Unique among services and tasks.
    pub name: ServiceName,
    /// Its role.
    pub kind: ServiceKind,
    /// The container.
    pub container: ContainerPlan,
    /// Services that must be ready before it starts.
    pub depends_on: Vec<ServiceName>,
    /// Tasks with `once` that must be done before it starts.
    pub after_tasks: Vec<ServiceName>,
    /// Says that it can serve.
    pub ready: Probe,
    /// Says that the whole store answers through it; on the edge service only.
    pub deep: Option<Probe>,
    /// Digest of everything above that needs a new container when it changes.
    pub spec_hash: Digest,
}

/// A service's role in the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceKind {
    /// Web server, in slots.
    Web,
    /// PHP, in slots.
    PhpFpm,
    /// Background worker, fixed.
    Worker,
    /// Database, fixed.
    Database,
    /// Cache and sessions, fixed.
    Cache,
    /// Search, fixed.
    Search,
}

/// The fields of a container that a template may decide. The node writes all others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerPlan {
    /// Image, such as `shopfleet/mariadb:1`.
    pub image: String,
    /// None keeps the image's command.
    pub command: Option<Vec<String>>,
    /// Never a secret.
    pub env: BTreeMap<String, String>,
    /// Added to the store's uid base; also the gid.
    pub uid_offset: u16,
    /// Networks joined, besides the slot's rules: see [`ContainerPlan::networks_in`].
    pub networks: Vec<NetworkRole>,
    /// Persistent volumes.
    pub mounts: Vec<Mount>,
    /// Memory-backed directories.
    pub tmpfs: Vec<Tmpfs>,
    /// Secrets it may read, at `/run/secrets/<name>`.
    pub secrets: Vec<String>,
    /// Memory limit in bytes; swap is the same, so none is used.
    pub memory_bytes: u64,
    /// CPU limit in thousandths of a core.
    pub cpu_millis: u32,
    /// Processes and threads.
    pub pids: u32,
    /// Read-only root.
    pub read_only: bool,
    /// Signal that asks it to stop gracefully.
    pub stop_signal: StopSignal,
    /// How long it may take to stop before it is killed.
    pub stop_grace: Duration,
    /// The template's image, where an operator's takes its place: only what the node's allow-list holds may run then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_image: Option<String>,
}

/// Signals a plan may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopSignal {
    /// Most daemons: graceful.
    #[serde(rename = "SIGTERM")]
    Term,
    /// nginx, php-fpm: finish what is in flight.
    #[serde(rename = "SIGQUIT")]
    Quit,
    /// Apache: finish what is in flight.
    #[serde(rename = "SIGWINCH")]
    Winch,
    /// Interrupt.
    #[serde(rename = "SIGINT")]
    Int,
}

/// What a compose network is in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkRole {
    /// `app-a` or `app-b`, by the replica's slot.
    App,
    /// `data`.
    Data,
    /// `egress`, where the isolation mode allows it.
    Egress,
}

/// A Docker network of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkName {
    /// Web and php-fpm of slot a.
    AppA,
    /// Web and php-fpm of slot b; made when first needed.
    AppB,
    /// php-fpm and the stateful services.
    Data,
    /// The way out.
    Egress,
}

/// A persistent volume and the service whose uid owns it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumePlan {
    /// Name within the store: a slug.
    pub name: ServiceName,
    /// uid offset of the owner.
    pub uid_offset: u16,
}

/// A persistent volume in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Name of the plan's volume.
    pub volume: ServiceName,
    /// Absolute, normalised path in the container.
    pub path: String,
    /// Read-only.
    pub read_only: bool,
}

/// A memory-backed directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tmpfs {
    /// Absolute, normalised path in the container.
    pub path: String,
    /// Size in bytes.
    pub size_bytes: u64,
}

/// A secret the shop agent makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretPlan {
    /// `[a-z][a-z0-9_]{0,40}`.
    pub name: String,
    /// Its alphabet.
    pub alphabet: SecretAlphabet,
    /// Characters.
    pub length: u16,
}

/// What a generated secret is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretAlphabet {
    /// A-Z a-z 0-9.
    Alnum,
    /// 0-9 a-f.
    Hex,
}

/// What the edge routes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgePlan {
    /// A web service.
    pub service: ServiceName,
    /// Its port.
    pub port: u16,
}

/// A login an operator may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialPlan {
    /// Path under the store's URL.
    pub path: String,
    /// User name.
    pub user: String,
    /// Secret that holds the password.
    pub password_secret: String,
}

impl StorePlan {
    /// Names this plan. Node and shop agent compare it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of_value(self)
    }

    /// The database schema its code expects.
    #[must_use]
    pub fn schema(&self) -> u32 {
        self.update.as_ref().map_or(1, |update| update.schema)
    }

    /// The oldest schema whose code still works on [`StorePlan::schema`].
    #[must_use]
    pub fn works_from(&self) -> u32 {
        self.update.as_ref().map_or(1, |update| update.works_from)
    }

    /// A service by name.
    #[must_use]
    pub fn service(&self, name: &ServiceName) -> Option<&ServicePlan> {
        self.services.iter().find(|service| &service.name == name)
    }

    /// A task by name.
    #[must_use]
    pub fn task(&self, name: &ServiceName) -> Option<&TaskPlan> {
        self.tasks.iter().find(|task| &task.name == name)
    }

    /// Whether a key may exist under this plan: slotted services in `a` or `b`, fixed ones as `fixed-0` only.
    #[must_use]
    pub fn allows(&self, key: &ReplicaKey) -> bool {
        self.service(&key.service)
            .is_some_and(|service| match (service.kind.slotted(), key.slot) {
                (true, Slot::A | Slot::B) => key.replica < ReplicaKey::MAX_REPLICAS,
                (false, Slot::Fixed) => key.replica == 0,
                _ => false,
            })
    }

    /// Consumers of secrets: each has its own secrets volume, named `secrets-<consumer>`. Services, then task sources.
    #[must_use]
    pub fn secret_consumers(&self) -> BTreeMap<ServiceName, &ContainerPlan> {
        let services = self
            .services
            .iter()
            .map(|service| (service.name.clone(), &service.container));
        let tasks = self
            .tasks
            .iter()
            .map(|task| (task.source.clone(), &task.container));
        tasks
            .chain(services)
            .filter(|(_, container)| !container.secrets.is_empty())
            .collect()
    }

    /// Whether a container mounts a volume that another user's container owns, such as the web server the pictures that PHP keeps.
    #[must_use]
    pub fn read_by_others(&self, volume: &VolumePlan) -> bool {
        let services = self.services.iter().map(|service| &service.container);
        let tasks = self.tasks.iter().map(|task| &task.container);
        services
            .chain(tasks)
            .filter(|container| container.uid_offset != volume.uid_offset)
            .flat_map(|container| &container.mounts)
            .any(|mount| mount.volume == volume.name)
    }

    /// Images that take the place of the template's, by service: the template's own, and the one that is to run.
    pub fn overrides(&self) -> impl Iterator<Item = (&ServiceName, &str, &str)> {
        self.services.iter().filter_map(|service| {
            let own = service.container.own_image.as_deref()?;
            Some((&service.name, own, service.container.image.as_str()))
        })
    }

    /// Memory and CPU that a running store reserves: its services with one replica each, and its agent.
    #[must_use]
    pub fn reservation(&self) -> (u64, u32) {
        const AGENT_MEMORY: u64 = 32 << 20;
        const AGENT_CPU_MILLIS: u32 = 50;
        self.services.iter().fold(
            (AGENT_MEMORY, AGENT_CPU_MILLIS),
            |(memory, cpu), service| {
                (
                    memory + service.container.memory_bytes,
                    cpu + service.container.cpu_millis,
                )
            },
        )
    }
}

impl ServiceKind {
    /// Stateless services that an update moves from slot to slot.
    #[must_use]
    pub const fn slotted(self) -> bool {
        matches!(self, Self::Web | Self::PhpFpm)
    }

    /// Services whose image only the template chooses: another program may change their data for good, or not read it.
    #[must_use]
    pub const fn keeps_data(self) -> bool {
        matches!(self, Self::Database | Self::Cache | Self::Search)
    }
}

impl ContainerPlan {
    /// The Docker networks of a replica in a slot. Tasks and fixed services have no app network of their own.
    #[must_use]
    pub fn networks_in(&self, slot: Slot) -> Vec<NetworkName> {
        self.networks
            .iter()
            .map(|role| match (role, slot) {
                (NetworkRole::App, Slot::B) => NetworkName::AppB,
                (NetworkRole::App, Slot::A | Slot::Fixed) => NetworkName::AppA,
                (NetworkRole::Data, _) => NetworkName::Data,
                (NetworkRole::Egress, _) => NetworkName::Egress,
            })
            .collect()
    }
}

impl StopSignal {
    /// As Docker names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Term => "SIGTERM",
            Self::Quit => "SIGQUIT",
            Self::Winch => "SIGWINCH",
            Self::Int => "SIGINT",
        }
    }
}

impl NetworkName {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::AppA, Self::AppB, Self::Data, Self::Egress];

    /// As written in names and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AppA => "app-a",
            Self::AppB => "app-b",
            Self::Data => "data",
            Self::Egress => "egress",
        }
    }

    /// From the written form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.as_str() == text)
    }

    /// Without a route to the outside.
    #[must_use]
    pub const fn internal(self) -> bool {
        !matches!(self, Self::Egress)
    }
}
