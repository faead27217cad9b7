//! A store as the control plane keeps it, and the lifecycle that every change of it goes through.

use std::{collections::BTreeMap, fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shop_proto::{Digest, Generation, NodeId, RunState, Spec, StoreId, StoreName};

use super::{room::Room, session::StoreReport};

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
    /// What is reserved for all that may run of it now, the second slot included.
    pub reserved: Reservation,
    /// What its last change has to do with room; none once that is over.
    pub room: Option<Room>,
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

/// More changes of one store than any backup misses. Who claims to hold more lies, and must not use numbers up: a store whose generation
/// cannot grow any more could be neither stopped nor deleted.
const FURTHEST_AHEAD: u64 = 1 << 32;

impl Store {
    /// The newest generation that anybody is known to hold.
    #[must_use]
    pub fn newest_held(&self) -> Generation {
        let furthest = self.generation.get().saturating_add(FURTHEST_AHEAD);
        [self.on_node.generation, self.on_agent.generation]
            .into_iter()
            .filter(|held| *held <= furthest)
            .filter_map(Generation::new)
            .fold(self.generation, Ord::max)
    }

    /// Whether node or agent holds something newer than is known here: this control plane comes from a backup, and does nothing by itself.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.newest_held() > self.generation
    }
}

impl Store {
    /// It was paused, should run again, and nothing is reserved for it yet.
    #[must_use]
    pub fn waits_for_room(&self) -> bool {
        self.lifecycle == Lifecycle::Live(RunState::Running)
            && self.placement.is_some()
            && self.reserved == Reservation::default()
    }
}

/// Where it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    pub node: NodeId,
    pub at: Timestamp,
}

/// What it takes of a node, running or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    pub memory_bytes: u64,
    pub cpu_millis: u32,
}

/// How far the node is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeProgress {
    /// Generation it holds; 0 for none.
    pub generation: u64,
    /// `accepted`, `preparing`, `prepared`, `refused`, `error`; while deleting `tombstoned`, `stopping`, `removing`, `blocked`, [`UNPROVEN`].
    pub state: String,
    pub code: String,
    pub message: String,
    pub plan_digest: Option<Digest>,
}

/// State of a node that says a store is gone with a receipt that does not hold.
pub const UNPROVEN: &str = "unproven";

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

/// What the operator wants of a store. Changes only through [`Lifecycle::next`]; the database refuses what has no place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifecycle {
    /// Wanted, running, stopped or paused.
    Live(RunState),
    /// To be deleted at a time, stopped until then. Until that time there is a way back.
    Grace {
        /// What it was before, and becomes again when the deletion is taken back.
        back: RunState,
        until: Timestamp,
    },
    /// To be taken down, volumes included. There is no way back.
    Deleting,
    /// Gone from its node, or forgotten; kept so that its id and history are known.
    Deleted,
}

/// What can happen to a lifecycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifecycleEvent {
    /// Also wakes a paused store.
    Start,
    Stop,
    Pause,
    Restart,
    /// At once: somebody said so, or the time of grace is over.
    Delete,
    /// Stopped now, deleted then.
    DeleteLater {
        until: Timestamp,
    },
    /// Taken back while that is possible.
    Undelete,
    /// The node says that nothing is left.
    Retired,
    /// The operator gave up on a node that does not come back.
    Forgotten,
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
    #[error("the store is paused")]
    Paused,
    #[error("the store is stopped and waits for its deletion")]
    Grace,
    #[error("the store was not asked to be deleted")]
    Live,
}

impl Lifecycle {
    /// The one way a lifecycle changes. Asking again for what is wanted already is allowed and changes nothing.
    ///
    /// # Errors
    /// When the event has no place in this state.
    pub const fn next(self, event: LifecycleEvent) -> Result<Self, IllegalTransition> {
        use LifecycleEvent::{
            Delete, DeleteLater, Forgotten, Pause, Restart, Retired, Start, Stop, Undelete,
        };
        match (self, event) {
            (Self::Live(_), Start) | (Self::Live(RunState::Running), Restart) => {
                Ok(Self::Live(RunState::Running))
            }
            (Self::Live(_), Stop) => Ok(Self::Live(RunState::Stopped)),
            (Self::Live(_), Pause) => Ok(Self::Live(RunState::Paused)),
            (Self::Live(RunState::Stopped), Restart) => Err(IllegalTransition::Stopped),
            (Self::Live(RunState::Paused), Restart) => Err(IllegalTransition::Paused),
            (Self::Live(back), DeleteLater { until })
            | (Self::Grace { back, .. }, DeleteLater { until }) => Ok(Self::Grace { back, until }),
            (Self::Live(_) | Self::Grace { .. } | Self::Deleting, Delete)
            | (Self::Deleting, DeleteLater { .. }) => Ok(Self::Deleting),
            (Self::Grace { back, .. }, Undelete) => Ok(Self::Live(back)),
            (Self::Live(_), Undelete | Retired | Forgotten) => Err(IllegalTransition::Live),
            (Self::Deleting | Self::Deleted, Retired | Forgotten) => Ok(Self::Deleted),
            (Self::Grace { .. }, Start | Stop | Pause | Restart | Retired | Forgotten) => {
                Err(IllegalTransition::Grace)
            }
            (Self::Deleting, Start | Stop | Pause | Restart | Undelete) => {
                Err(IllegalTransition::Deleting)
            }
            (
                Self::Deleted,
                Start | Stop | Pause | Restart | Delete | DeleteLater { .. } | Undelete,
            ) => Err(IllegalTransition::Deleted),
        }
    }

    /// What its containers should be, until it is taken down.
    #[must_use]
    pub const fn wanted(self) -> Option<RunState> {
        match self {
            Self::Live(run_state) => Some(run_state),
            Self::Grace { .. } => Some(RunState::Stopped),
            Self::Deleting | Self::Deleted => None,
        }
    }

    /// What a store that is to stay should be.
    ///
    /// # Errors
    /// When it is to go, or gone.
    pub const fn live(self) -> Result<RunState, IllegalTransition> {
        match self {
            Self::Live(run_state) => Ok(run_state),
            Self::Grace { .. } => Err(IllegalTransition::Grace),
            Self::Deleting => Err(IllegalTransition::Deleting),
            Self::Deleted => Err(IllegalTransition::Deleted),
        }
    }

    /// As written: `running`, `stopped`, `paused`, `grace`, `deleting`, `deleted`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live(run_state) => run_state.as_str(),
            Self::Grace { .. } => "grace",
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
        }
    }

    /// From the written form; `grace` says beside it what the store was and until when.
    #[must_use]
    pub fn parse(text: &str, grace: Option<(RunState, Timestamp)>) -> Option<Self> {
        match text {
            "grace" => grace.map(|(back, until)| Self::Grace { back, until }),
            "deleting" => Some(Self::Deleting),
            "deleted" => Some(Self::Deleted),
            live => RunState::parse(live).map(Self::Live),
        }
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

    const UNTIL: Timestamp = Timestamp::UNIX_EPOCH;
    const EVENTS: [LifecycleEvent; 9] = [
        LifecycleEvent::Start,
        LifecycleEvent::Stop,
        LifecycleEvent::Pause,
        LifecycleEvent::Restart,
        LifecycleEvent::Delete,
        LifecycleEvent::DeleteLater { until: UNTIL },
        LifecycleEvent::Undelete,
        LifecycleEvent::Retired,
        LifecycleEvent::Forgotten,
    ];

    const STATES: [Lifecycle; 8] = [
        Lifecycle::Live(RunState::Running),
        Lifecycle::Live(RunState::Stopped),
        Lifecycle::Live(RunState::Paused),
        Lifecycle::Grace {
            back: RunState::Running,
            until: UNTIL,
        },
        Lifecycle::Grace {
            back: RunState::Stopped,
            until: UNTIL,
        },
        Lifecycle::Grace {
            back: RunState::Paused,
            until: UNTIL,
        },
        Lifecycle::Deleting,
        Lifecycle::Deleted,
    ];

    /// The table of docs/lifecycle.md, written a second time: what each state answers to each event, in the order of `EVENTS`.
    #[test]
    fn every_pair_of_state_and_event_is_as_documented() {
        let table: [(&str, [&str; 9]); 6] = [
            (
                "running",
                [
                    "running", "stopped", "paused", "running", "deleting", "grace", "-", "-", "-",
                ],
            ),
            (
                "stopped",
                [
                    "running", "stopped", "paused", "-", "deleting", "grace", "-", "-", "-",
                ],
            ),
            (
                "paused",
                [
                    "running", "stopped", "paused", "-", "deleting", "grace", "-", "-", "-",
                ],
            ),
            (
                "grace",
                ["-", "-", "-", "-", "deleting", "grace", "back", "-", "-"],
            ),
            (
                "deleting",
                [
                    "-", "-", "-", "-", "deleting", "deleting", "-", "deleted", "deleted",
                ],
            ),
            (
                "deleted",
                ["-", "-", "-", "-", "-", "-", "-", "deleted", "deleted"],
            ),
        ];
        for state in STATES {
            let (_, row) = table
                .iter()
                .find(|(name, _)| *name == state.as_str())
                .unwrap();
            for (event, wanted) in EVENTS.into_iter().zip(row) {
                let seen = match (state.next(event), state) {
                    (Err(_), _) => "-",
                    (Ok(Lifecycle::Live(now)), Lifecycle::Grace { back, .. }) if now == back => {
                        "back"
                    }
                    (Ok(next), _) => next.as_str(),
                };
                assert_eq!(seen, *wanted, "{state:?} {event:?}");
            }
        }
    }

    #[test]
    fn deleting_has_no_way_back() {
        for event in EVENTS {
            for state in [Lifecycle::Deleting, Lifecycle::Deleted] {
                if let Ok(next) = state.next(event) {
                    assert!(
                        matches!(next, Lifecycle::Deleting | Lifecycle::Deleted),
                        "{event:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_live_store_is_never_deleted_by_a_node() {
        for run_state in [RunState::Running, RunState::Stopped, RunState::Paused] {
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
        for state in STATES {
            let grace = match state {
                Lifecycle::Grace { back, until } => Some((back, until)),
                _ => None,
            };
            assert_eq!(Lifecycle::parse(state.as_str(), grace), Some(state));
        }
        assert_eq!(Lifecycle::parse("gone", None), None);
        assert_eq!(Lifecycle::parse("grace", None), None);
    }
}
