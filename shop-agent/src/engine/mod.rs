//! What a shop agent can do to containers: the broker's verbs, as a trait, so that the reconciler is tested without Docker.
//!
//! Every verb is idempotent: "already there" and "already gone" are outcomes. None can name anything outside the store's own plan.

use std::collections::BTreeSet;

use async_trait::async_trait;
use shop_plan::{AllowedImages, ContainerPlan, NetworkName};
use shop_proto::{Digest, Generation, ReplicaKey, ServiceName, Slot};

mod broker;
#[cfg(test)]
pub mod fake;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;

pub use broker::{BrokerEngine, Introduction, introduce};

/// Where a shop agent shows its public keys, and learns whom it serves.
#[async_trait]
pub trait Introduce: Send + Sync + 'static {
    /// Shows them; may be repeated.
    async fn introduce(
        &self,
        identity_spki: Vec<u8>,
        sealing: [u8; 32],
    ) -> Result<Introduction, EngineError>;
}

/// The broker's socket.
#[async_trait]
impl Introduce for std::path::PathBuf {
    async fn introduce(
        &self,
        identity_spki: Vec<u8>,
        sealing: [u8; 32],
    ) -> Result<Introduction, EngineError> {
        introduce(self, identity_spki, sealing).await
    }
}

/// Containers of one store.
#[async_trait]
pub trait StoreEngine: Send + Sync + 'static {
    /// The truth, as of now.
    async fn list(&self) -> Result<Listing, EngineError>;
    /// Makes a container of the plan.
    async fn create(&self, plan: Digest, key: &ReplicaKey) -> Result<(), EngineError>;
    /// Starts it.
    async fn start(&self, plan: Digest, key: &ReplicaKey) -> Result<(), EngineError>;
    /// Asks it to stop and waits until it has, its grace included.
    async fn stop(&self, plan: Digest, key: &ReplicaKey) -> Result<(), EngineError>;
    /// Removes a stopped container.
    async fn remove(&self, plan: Digest, key: &ReplicaKey) -> Result<(), EngineError>;
    /// Asks for its end without waiting, by a signal that it cannot miss: for one that is frozen.
    async fn kill(&self, plan: Digest, key: &ReplicaKey) -> Result<(), EngineError>;
    /// Gives a running container the plan's limits.
    async fn update(&self, plan: Digest, key: &ReplicaKey) -> Result<(), EngineError>;
    /// What buyers were answered in the last seconds, counted at the edge.
    async fn stats(&self, seconds: u32) -> Result<Traffic, EngineError>;
    /// Says who answers for the store's host names.
    async fn serve(&self, plan: Digest, what: &Serve) -> Result<(), EngineError>;
    /// Runs a task to its end; with a known run id, attaches to that run.
    async fn run_task(&self, plan: Digest, run: &TaskRun) -> Result<TaskExit, EngineError>;
    /// Ends a run before its time. One that has ended, or never began, is no error.
    async fn stop_task(&self, task: &ServiceName, run: &str) -> Result<(), EngineError>;
    /// The last lines of a container's output. Secret: shops print what they like.
    async fn logs(&self, of: &LogSource, lines: u32) -> Result<Vec<u8>, EngineError>;
    /// A container's output from its start, without its first bytes; as much as the node gives at once.
    async fn logs_after(&self, of: &LogSource, bytes: u64) -> Result<Vec<u8>, EngineError>;
    /// Waits until something may have changed; an error says that hints are not to be had now.
    async fn changed(&self) -> Result<(), EngineError>;
}

/// Answer of [`StoreEngine::list`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Containers of services.
    pub containers: Vec<Container>,
    /// Plans the node has rendered itself, newest first.
    pub plans: Vec<KnownPlan>,
    /// Who answers for the store's host names.
    pub serving: Serve,
    /// The store's networks.
    pub networks: Vec<Network>,
    /// Volumes that existed and are gone.
    pub lost_volumes: BTreeSet<ServiceName>,
    /// Images that may take the place of a template's own.
    pub allowed_images: AllowedImages,
}

/// A container as the engine sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Which one.
    pub key: ReplicaKey,
    /// What it was made from.
    pub spec_hash: Digest,
    /// What it does.
    pub state: ContainerState,
    /// The limits it has now; none when the node does not say.
    pub limits: Option<Limits>,
}

/// Limits that a running container can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// CPU in thousandths of a core.
    pub cpu_millis: u32,
}

/// What a container does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerState {
    /// Never started.
    Created,
    /// Runs since (Unix milliseconds). The time tells one start from the next.
    Running {
        /// Start time.
        since_unix_ms: i64,
    },
    /// Ended.
    Exited(Exit),
    /// Being removed, or broken beyond starting.
    Going,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Exit code.
    pub code: i32,
    /// The kernel killed it for memory.
    pub oom_killed: bool,
    /// When, in Unix milliseconds.
    pub at_unix_ms: i64,
}

/// A plan that the node has rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownPlan {
    /// Of the spec it was rendered from.
    pub generation: Generation,
    /// The plan's own digest.
    pub plan: Digest,
}

/// A network of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Which one.
    pub name: NetworkName,
    /// First address of its /27.
    pub base: std::net::Ipv4Addr,
}

/// Who answers for the store's host names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Serve {
    /// Nobody.
    #[default]
    None,
    /// A page that says "back soon" (503).
    Maintenance,
    /// A page that says that the shop is paused (503).
    Paused,
    /// These replicas of the edge service.
    Slot {
        /// Slot that serves.
        slot: Slot,
        /// Its replicas.
        replicas: BTreeSet<u8>,
    },
}

/// What buyers were answered, second by second, oldest first; quiet seconds are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traffic {
    /// The seconds.
    pub seconds: Vec<Second>,
    /// False while the node cannot count.
    pub complete: bool,
}

/// What buyers were answered within one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Second {
    /// Unix seconds.
    pub at: i64,
    /// All answers.
    pub requests: u32,
    /// Answers of 500 and above.
    pub errors: u32,
}

/// One run of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRun {
    /// Task of the plan.
    pub task: ServiceName,
    /// The same id is the same run.
    pub run: String,
    /// Typed arguments.
    pub arguments: Vec<String>,
    /// Longest it may take, from the plan.
    pub timeout: std::time::Duration,
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskExit {
    /// Exit code.
    pub code: i32,
    /// The kernel killed it for memory.
    pub oom_killed: bool,
    /// The node ended it when its time was up.
    pub timed_out: bool,
}

/// Whose output is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogSource {
    /// A service's container.
    Replica(ReplicaKey),
    /// A task's container.
    Task {
        /// Task of the plan.
        task: ServiceName,
        /// Its run.
        run: String,
    },
}

/// A verb that did not do its work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The node has not rendered this plan, yet. Try again.
    #[error("the node does not know this plan yet")]
    UnknownPlan,
    /// The image is not on the node.
    #[error("an image is missing on the node: {0}")]
    ImageMissing(String),
    /// The node's allow-list does not hold the image.
    #[error("{0}")]
    ImageNotAllowed(String),
    /// A volume that existed is gone; it is not made anew over what is lost.
    #[error("a volume is lost: {0}")]
    VolumeLost(String),
    /// The node refuses, and will refuse again.
    #[error("the node refused: {0}")]
    Refused(String),
    /// The engine or the node agent is away or failed. Try again.
    #[error("the node could not do it: {0}")]
    Unavailable(String),
    /// No answer within the deadline. It may have happened.
    #[error("no answer within {}", shop_seconds(*.0))]
    TimedOut(std::time::Duration),
}

fn shop_seconds(duration: std::time::Duration) -> String {
    format!("{} s", duration.as_secs())
}

impl EngineError {
    /// Stable reason for reports.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::UnknownPlan => "unknown_plan",
            Self::ImageMissing(_) => "image_missing",
            Self::ImageNotAllowed(_) => "image_not_allowed",
            Self::VolumeLost(_) => "volume_lost",
            Self::Refused(_) => "refused",
            Self::Unavailable(_) => "engine_unavailable",
            Self::TimedOut(_) => "engine_timeout",
        }
    }
}

impl From<&ContainerPlan> for Limits {
    fn from(plan: &ContainerPlan) -> Self {
        Self {
            memory_bytes: plan.memory_bytes,
            cpu_millis: plan.cpu_millis,
        }
    }
}

impl Network {
    /// The address with this host part.
    #[must_use]
    pub fn host(&self, part: u8) -> std::net::Ipv4Addr {
        std::net::Ipv4Addr::from(u32::from(self.base) + u32::from(part))
    }
}
