//! An operation: the durable record of one thing an operator asked for, with a linear list of steps.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shop_proto::{Generation, StoreId, StoreName};

/// One thing an operator asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// UUIDv7 text.
    pub id: String,
    pub kind: OperationKind,
    pub organisation: String,
    pub store: StoreId,
    pub store_name: StoreName,
    /// Generation it made.
    pub generation: Generation,
    pub state: OperationState,
    /// Why it waits or failed, such as `no_capacity`; empty when all is well.
    pub reason: String,
    /// One sentence for an operator.
    pub message: String,
    pub steps: Vec<Step>,
    pub requested_by: String,
    pub requested_reason: String,
    pub request_id: String,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub deadline: Deadline,
    pub change_seq: u64,
}

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OperationKind {
    Create,
    Start,
    Stop,
    Restart,
    Delete,
    /// Takes a deletion back while its time of grace lasts.
    Undelete,
    /// Another revision.
    Update,
    /// A revision that was there before.
    Rollback,
    /// New values of generated secrets.
    Rotate,
    Scale,
    /// The maintenance page, on or off.
    Maintenance,
    Pause,
    Wake,
    /// Drift is shown, not repaired.
    Hold,
    /// Ends a hold.
    Release,
    /// Settings that concern no container.
    Configure,
    /// A task of the store, beside whatever else is asked of it.
    Task,
}

impl OperationKind {
    const ALL: [Self; 17] = [
        Self::Create,
        Self::Start,
        Self::Stop,
        Self::Restart,
        Self::Delete,
        Self::Undelete,
        Self::Update,
        Self::Rollback,
        Self::Rotate,
        Self::Scale,
        Self::Maintenance,
        Self::Pause,
        Self::Wake,
        Self::Hold,
        Self::Release,
        Self::Configure,
        Self::Task,
    ];

    /// As written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Delete => "delete",
            Self::Undelete => "undelete",
            Self::Update => "update",
            Self::Rollback => "rollback",
            Self::Rotate => "rotate",
            Self::Scale => "scale",
            Self::Maintenance => "maintenance",
            Self::Pause => "pause",
            Self::Wake => "wake",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Configure => "configure",
            Self::Task => "task",
        }
    }

    /// From the written form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Ends with the store serving, and has a deadline for it.
    #[must_use]
    pub const fn ends_serving(self) -> bool {
        matches!(
            self,
            Self::Create | Self::Start | Self::Restart | Self::Wake | Self::Undelete
        )
    }
}

impl OperationKind {
    /// Changes a store that goes on serving meanwhile.
    #[must_use]
    pub const fn keeps_serving(self) -> bool {
        matches!(
            self,
            Self::Update
                | Self::Rollback
                | Self::Rotate
                | Self::Scale
                | Self::Maintenance
                | Self::Hold
                | Self::Release
                | Self::Configure
        )
    }

    /// Waits until its store's node has room for all that runs meanwhile. What goes back, or takes away, never does.
    #[must_use]
    pub const fn may_wait_for_room(self) -> bool {
        matches!(self, Self::Update | Self::Rotate | Self::Scale)
    }

    /// Brings another revision.
    #[must_use]
    pub const fn brings_revision(self) -> bool {
        matches!(self, Self::Update | Self::Rollback | Self::Rotate)
    }
}

impl fmt::Display for OperationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where it stands. Changes only through [`OperationState::next`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OperationState {
    /// Waits for something outside, such as room on a node.
    Pending,
    Running,
    Succeeded,
    Failed,
    /// A newer operation on the same store took its place.
    Cancelled,
}

/// An operation that has ended stays as it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operation has ended")]
pub struct OperationEnded;

impl OperationState {
    /// All.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The one way a state changes.
    ///
    /// # Errors
    /// When it has ended in another state.
    pub fn next(self, wanted: Self) -> Result<Self, OperationEnded> {
        if self.ended() && wanted != self {
            Err(OperationEnded)
        } else {
            Ok(wanted)
        }
    }

    /// Nothing more happens to it.
    #[must_use]
    pub const fn ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// As written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// From the written form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// One step. Times are epoch milliseconds, as they are stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub name: String,
    pub state: StepState,
    pub message: String,
    pub started_ms: Option<i64>,
    pub ended_ms: Option<i64>,
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepState {
    Pending,
    Running,
    Done,
    Failed,
}

impl StepState {
    /// As written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// When an operation is given up. The clock starts at placement and stops while the store awaits secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// Not placed yet, or a kind without one.
    None,
    Until(Timestamp),
    /// Stopped with so much left.
    Paused {
        left_ms: i64,
    },
}

/// Upper bounds of the provisioning histogram, in seconds.
pub const PROVISIONING_BOUNDS_SECONDS: [u32; 10] = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600];

/// How long finished creations took, from the request to serving.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProvisioningTimes {
    /// Creations within each of [`PROVISIONING_BOUNDS_SECONDS`], cumulative.
    pub at_most: [u64; PROVISIONING_BOUNDS_SECONDS.len()],
    /// All of them.
    pub count: u64,
    /// Their times together.
    pub total: std::time::Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_stays() {
        for from in OperationState::ALL {
            for to in OperationState::ALL {
                let allowed = from.next(to).is_ok();
                assert_eq!(allowed, !from.ended() || from == to, "{from:?} {to:?}");
            }
        }
    }
}
