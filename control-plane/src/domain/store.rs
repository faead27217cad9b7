//! A store as the control plane keeps it, and the lifecycle that every change of it goes through.

use std::{collections::BTreeMap, fmt, str::FromStr};

use jiff::Timestamp;
use shop_proto::{Digest, Generation, NodeId, RunState, Spec, StoreId, StoreName};

use super::session::StoreReport;

/// One shop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    pub id: StoreId,
    pub organisation: String,
    pub project: String,
    pub name: StoreName,
    pub display_name: String,
    pub environment: Environment,
    pub labels: BTreeMap<String, String>,
    pub generation: Generation,
    pub spec: Spec,
    /// Version of the template the revision names by digest.
    pub template_version: String,
    /// Path of the shop's admin under its URL; empty when it has none.
    pub admin_path: String,
    /// Rendering that node and agent are asked for.
    pub render_version: u32,
    pub lifecycle: Lifecycle,
    /// Node an operator chose.
    pub pinned_node: Option<NodeId>,
    pub placement: Option<Placement>,
    pub reserved: Reservation,
    /// What the node acknowledged last.
    pub on_node: NodeProgress,
    /// What the shop agent acknowledged last.
    pub on_agent: AgentProgress,
    /// The agent's last word.
    pub report: Option<StoreReport>,
    pub status: StoreStatus,
    /// Typed reason, empty when all is well.
    pub reason: String,
    /// One sentence for an operator.
    pub message: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub change_seq: u64,
}

impl Store {
    /// The newest generation that anybody is known to hold.
    #[must_use]
    pub fn newest_held(&self) -> Generation {
        let held = self.on_node.generation.max(self.on_agent.generation);
        Generation::new(held).map_or(self.generation, |held| held.max(self.generation))
    }
}

/// Where it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    pub node: NodeId,
    pub at: Timestamp,
}

/// What it takes of a node, running or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reservation {
    pub memory_bytes: u64,
    pub cpu_millis: u32,
}

/// How far the node is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeProgress {
    /// Generation it holds; 0 for none.
    pub generation: u64,
    /// `accepted`, `preparing`, `prepared`, `refused`, `error`; while deleting `tombstoned`, `stopping`, `removing`, `blocked`.
    pub state: String,
    pub code: String,
    pub message: String,
    pub plan_digest: Option<Digest>,
}

/// How far the shop agent is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentProgress {
    /// Generation it holds; 0 for none.
    pub generation: u64,
    /// Generation it would not take, with the code; 0 for none.
    pub refused_generation: u64,
    pub refused_code: String,
    /// From its vouched key; empty until a node vouched.
    pub sealing_public_key: Vec<u8>,
    /// Whether it ever had a session.
    pub enrolled: bool,
}

/// What a store is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Environment {
    Production,
    Staging,
    Preview,
    Development,
}

/// A text that is no environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an environment is production, staging, preview or development")]
pub struct EnvironmentError;

impl Environment {
    const ALL: [Self; 4] = [
        Self::Production,
        Self::Staging,
        Self::Preview,
        Self::Development,
    ];

    /// As written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Staging => "staging",
            Self::Preview => "preview",
            Self::Development => "development",
        }
    }
}

impl FromStr for Environment {
    type Err = EnvironmentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|environment| environment.as_str() == text)
            .ok_or(EnvironmentError)
    }
}

/// What the operator wants of a store. Changes only through [`Lifecycle::next`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifecycle {
    /// Wanted, running or stopped.
    Live(RunState),
    /// To be taken down, volumes included. There is no way back.
    Deleting,
    /// Gone from its node; kept so that its id and history are known.
    Deleted,
}

/// What can happen to a lifecycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifecycleEvent {
    Start,
    Stop,
    Restart,
    Delete,
    /// The node says that nothing is left.
    Retired,
}

/// What a lifecycle does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IllegalTransition {
    #[error("the store is being deleted")]
    Deleting,
    #[error("the store is deleted")]
    Deleted,
    #[error("the store is stopped")]
    Stopped,
    #[error("the store was not asked to be deleted")]
    Live,
}

impl Lifecycle {
    /// The one way a lifecycle changes. Asking again for what is wanted already is allowed and changes nothing.
    ///
    /// # Errors
    /// When the event has no place in this state.
    pub const fn next(self, event: LifecycleEvent) -> Result<Self, IllegalTransition> {
        match (self, event) {
            (Self::Live(_), LifecycleEvent::Start)
            | (Self::Live(RunState::Running), LifecycleEvent::Restart) => {
                Ok(Self::Live(RunState::Running))
            }
            (Self::Live(_), LifecycleEvent::Stop) => Ok(Self::Live(RunState::Stopped)),
            (Self::Live(RunState::Stopped | RunState::Paused), LifecycleEvent::Restart) => {
                Err(IllegalTransition::Stopped)
            }
            (Self::Live(_) | Self::Deleting, LifecycleEvent::Delete) => Ok(Self::Deleting),
            (Self::Live(_), LifecycleEvent::Retired) => Err(IllegalTransition::Live),
            (Self::Deleting | Self::Deleted, LifecycleEvent::Retired) => Ok(Self::Deleted),
            (Self::Deleting, _) => Err(IllegalTransition::Deleting),
            (Self::Deleted, _) => Err(IllegalTransition::Deleted),
        }
    }

    /// As written: `running`, `stopped`, `deleting`, `deleted`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live(run_state) => run_state.as_str(),
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
        }
    }

    /// From the written form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Live(RunState::Running),
            Self::Live(RunState::Stopped),
            Self::Live(RunState::Paused),
            Self::Deleting,
            Self::Deleted,
        ]
        .into_iter()
        .find(|lifecycle| lifecycle.as_str() == text)
    }
}

/// What operators see. Derived, never set by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StoreStatus {
    Pending,
    Provisioning,
    Running,
    Degraded,
    Stopping,
    Stopped,
    Paused,
    Failed,
    Deleting,
    AwaitingSecrets,
    Unreachable,
    Deleted,
}

impl StoreStatus {
    /// All that a listed store can have.
    pub const LISTED: [Self; 11] = [
        Self::Pending,
        Self::Provisioning,
        Self::Running,
        Self::Degraded,
        Self::Stopping,
        Self::Stopped,
        Self::Paused,
        Self::Failed,
        Self::Deleting,
        Self::AwaitingSecrets,
        Self::Unreachable,
    ];

    /// As written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Provisioning => "provisioning",
            Self::Running => "running",
            Self::Degraded => "degraded",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Paused => "paused",
            Self::Failed => "failed",
            Self::Deleting => "deleting",
            Self::AwaitingSecrets => "awaiting_secrets",
            Self::Unreachable => "unreachable",
            Self::Deleted => "deleted",
        }
    }

    /// From the written form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::LISTED
            .into_iter()
            .chain([Self::Deleted])
            .find(|status| status.as_str() == text)
    }
}

impl fmt::Display for StoreStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [LifecycleEvent; 5] = [
        LifecycleEvent::Start,
        LifecycleEvent::Stop,
        LifecycleEvent::Restart,
        LifecycleEvent::Delete,
        LifecycleEvent::Retired,
    ];

    #[test]
    fn deleting_has_no_way_back() {
        for event in EVENTS {
            match Lifecycle::Deleting.next(event) {
                Ok(next) => assert!(
                    matches!(next, Lifecycle::Deleting | Lifecycle::Deleted),
                    "{event:?}"
                ),
                Err(error) => assert_eq!(error, IllegalTransition::Deleting),
            }
            if let Ok(next) = Lifecycle::Deleted.next(event) {
                assert_eq!(next, Lifecycle::Deleted, "{event:?}");
            }
        }
    }

    #[test]
    fn a_live_store_is_never_deleted_by_a_node() {
        for run_state in [RunState::Running, RunState::Stopped] {
            assert_eq!(
                Lifecycle::Live(run_state).next(LifecycleEvent::Retired),
                Err(IllegalTransition::Live)
            );
        }
    }

    #[test]
    fn written_forms_round_trip() {
        for status in StoreStatus::LISTED {
            assert_eq!(StoreStatus::parse(status.as_str()), Some(status));
        }
        assert_eq!(Lifecycle::parse("deleting"), Some(Lifecycle::Deleting));
        assert_eq!(Lifecycle::parse("gone"), None);
    }
}
