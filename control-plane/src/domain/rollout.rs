//! A rollout: one update for many stores, wave after wave. What it is and how its state changes; which store is next is `policy::rollout`'s.

use std::{collections::BTreeMap, fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shop_proto::{StoreId, StoreName};

use super::operation::{Operation, OperationState};

/// One update for many stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// UUIDv7 text.
    pub id: String,
    pub wish: Wish,
    pub state: RolloutState,
    /// Why it halted, such as `too_many_failures`; empty when all is well.
    pub reason: String,
    /// One sentence for an operator.
    pub message: String,
    /// The wave that is under way, the canary's is 0.
    pub wave: u32,
    /// Failures that an operator has seen and gone on from.
    pub forgiven: u32,
    /// Stores that were updated go back, since it was aborted so.
    pub goes_back: bool,
    pub requested_by: String,
    pub requested_reason: String,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
}

/// What is asked of every store. Kept as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    pub selector: String,
    /// `refshop@2`; empty keeps each store's.
    #[serde(default)]
    pub template: String,
    /// `None` goes back to the template's default.
    #[serde(default)]
    pub parameters: BTreeMap<String, Option<String>>,
    #[serde(default)]
    pub profiles: BTreeMap<String, String>,
    #[serde(default)]
    pub watch: WishedWatch,
    #[serde(default)]
    pub allow_irreversible: bool,
    pub canary: u32,
    pub batch: Batch,
    /// Stores of one wave that may fail.
    pub max_failures: u32,
    /// The same as a share of the wave, 1 to 100; 0: [`Self::max_failures`] counts.
    #[serde(default, skip_serializing_if = "none")]
    pub max_failures_percent: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
const fn none(percent: &u32) -> bool {
    *percent == 0
}

impl Wish {
    /// Stores of a wave of this size that may fail. Of the canaries none may: they are there to find out.
    #[must_use]
    pub fn may_fail(&self, wave: u32, size: usize) -> usize {
        if wave == 0 && self.canary > 0 {
            return 0;
        }
        match self.max_failures_percent {
            0 => self.max_failures as usize,
            // Rounded down: a small wave has none to spare.
            share => size * share as usize / 100,
        }
    }
}

/// When an update is taken back; 0 keeps what each store has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WishedWatch {
    pub window_seconds: u32,
    pub failed_checks: u32,
    pub restarts: u32,
    pub error_permille: u32,
    pub error_factor: u32,
    pub min_requests: u32,
}

/// How many stores are in a wave after the canary's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Batch {
    /// 1 to 100 of all stores that take part, rounded up.
    Percent(u32),
    Count(u32),
}

/// A text that is no batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a batch is a share such as 10% or a number such as 25, above 0")]
pub struct BatchError;

impl Default for Batch {
    fn default() -> Self {
        Self::Percent(10)
    }
}

impl FromStr for Batch {
    type Err = BatchError;

    fn from_str(text: &str) -> Result<Self, BatchError> {
        let (number, percent) = match text.strip_suffix('%') {
            Some(number) => (number, true),
            None => (text, false),
        };
        match (number.parse(), percent) {
            (Ok(share @ 1..=100), true) => Ok(Self::Percent(share)),
            (Ok(count @ 1..=100_000), false) => Ok(Self::Count(count)),
            _ => Err(BatchError),
        }
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(share) => write!(f, "{share}%"),
            Self::Count(count) => write!(f, "{count}"),
        }
    }
}

/// Where it stands. Changes only through [`RolloutState::next`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RolloutState {
    Running,
    /// An operator stopped it; stores that are being updated come to their end.
    Paused,
    /// It stopped itself: too many stores failed.
    Halted,
    /// Every store that takes part was updated, or failed within what is allowed.
    Succeeded,
    Aborted,
}

/// What can happen to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutEvent {
    Pause,
    /// Also goes on after a halt, and forgives what failed until then.
    Resume,
    Abort,
    /// More stores failed than may.
    TooManyFailures,
    /// Nothing is left to do.
    Finish,
}

/// What a rollout's state does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the rollout is {}", .0.as_str())]
pub struct RolloutIs(pub RolloutState);

impl RolloutState {
    /// All.
    pub const ALL: [Self; 5] = [
        Self::Running,
        Self::Paused,
        Self::Halted,
        Self::Succeeded,
        Self::Aborted,
    ];

    /// The one way a state changes.
    ///
    /// # Errors
    /// When the event has no place in this state.
    pub const fn next(self, event: RolloutEvent) -> Result<Self, RolloutIs> {
        match (self, event) {
            (Self::Running | Self::Paused, RolloutEvent::Pause) => Ok(Self::Paused),
            (Self::Running | Self::Paused | Self::Halted, RolloutEvent::Resume) => {
                Ok(Self::Running)
            }
            (Self::Running | Self::Paused | Self::Halted | Self::Aborted, RolloutEvent::Abort) => {
                Ok(Self::Aborted)
            }
            (Self::Running, RolloutEvent::TooManyFailures) => Ok(Self::Halted),
            (Self::Running, RolloutEvent::Finish) => Ok(Self::Succeeded),
            _ => Err(RolloutIs(self)),
        }
    }

    /// Nothing more happens to it.
    #[must_use]
    pub const fn ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Aborted)
    }

    /// As written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Halted => "halted",
            Self::Succeeded => "succeeded",
            Self::Aborted => "aborted",
        }
    }

    /// From the written form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// A store that was selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub store: StoreId,
    pub name: StoreName,
    pub organisation: String,
    pub wave: u32,
    pub state: MemberState,
    /// The update of this store, or what took it back.
    pub operation: Option<String>,
    /// Revision it had before; where it goes back to.
    pub before: u64,
    pub reason: String,
    pub message: String,
}

/// How far a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberState {
    Waiting,
    Updating,
    Done,
    Failed,
    /// It takes no part, or no longer: stopped, paused, held, there already, gone, overtaken by an operator's own request.
    Skipped,
    /// Asked to go back after an abort.
    WentBack,
}

impl MemberState {
    const ALL: [Self; 6] = [
        Self::Waiting,
        Self::Updating,
        Self::Done,
        Self::Failed,
        Self::Skipped,
        Self::WentBack,
    ];

    /// As written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Updating => "updating",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::WentBack => "went_back",
        }
    }

    /// From the written form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

impl Member {
    /// What its operation makes of a store that is being updated: its end, and what it waits for until it begins. False: nothing changed.
    pub fn follow(&mut self, operation: &Operation) -> bool {
        let state = match operation.state {
            OperationState::Pending => return self.waits(&operation.reason, &operation.message),
            OperationState::Running => return self.waits("", ""),
            OperationState::Succeeded => MemberState::Done,
            OperationState::Failed => MemberState::Failed,
            OperationState::Cancelled => MemberState::Skipped,
        };
        if self.state != MemberState::Updating {
            return false;
        }
        self.state = state;
        self.reason = match state {
            MemberState::Skipped => "overtaken".to_owned(),
            _ => operation.reason.clone(),
        };
        self.message.clone_from(&operation.message);
        true
    }

    fn waits(&mut self, reason: &str, message: &str) -> bool {
        if self.state != MemberState::Updating || (self.reason == reason && self.message == message)
        {
            return false;
        }
        reason.clone_into(&mut self.reason);
        message.clone_into(&mut self.message);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_shares_or_numbers() {
        assert_eq!("10%".parse(), Ok(Batch::Percent(10)));
        assert_eq!("25".parse(), Ok(Batch::Count(25)));
        for wrong in ["", "0", "0%", "101%", "-1", "ten", "%", "1.5%"] {
            assert_eq!(wrong.parse::<Batch>(), Err(BatchError), "{wrong}");
        }
        assert_eq!(Batch::Percent(10).to_string(), "10%");
    }

    #[test]
    fn canaries_may_not_fail_and_later_waves_as_many_as_was_said() {
        let mut wish = Wish {
            canary: 1,
            max_failures: 2,
            ..Wish::default()
        };
        assert_eq!((wish.may_fail(0, 1), wish.may_fail(1, 40)), (0, 2));
        wish.max_failures_percent = 10;
        assert_eq!((wish.may_fail(0, 40), wish.may_fail(1, 40)), (0, 4));
        assert_eq!(wish.may_fail(1, 9), 0);
        // Without canaries the first wave is one like the others.
        wish.canary = 0;
        assert_eq!(wish.may_fail(0, 40), 4);
    }

    #[test]
    fn a_wish_of_the_release_before_is_read_and_written_as_it_was() {
        let text = r#"{"selector":"","template":"","parameters":{},"profiles":{},"watch":{"window_seconds":0,"failed_checks":0,"restarts":0,"error_permille":0,"error_factor":0,"min_requests":0},"allow_irreversible":false,"canary":1,"batch":{"percent":10},"max_failures":3}"#;
        let wish: Wish = serde_json::from_str(text).unwrap();
        assert_eq!((wish.max_failures, wish.max_failures_percent), (3, 0));
        assert_eq!(serde_json::to_string(&wish).unwrap(), text);
    }

    #[test]
    fn what_has_ended_stays_and_a_halt_is_left_by_an_operator_only() {
        use RolloutEvent::{Abort, Finish, Pause, Resume, TooManyFailures};
        let events = [Pause, Resume, Abort, TooManyFailures, Finish];
        for state in RolloutState::ALL {
            for event in events {
                let next = state.next(event);
                if state.ended() {
                    assert!(next.is_err() || next == Ok(state), "{state:?} {event:?}");
                }
                if state == RolloutState::Halted && next.is_ok() {
                    assert!(matches!(event, Resume | Abort), "{event:?}");
                }
                if matches!(event, TooManyFailures | Finish) && next.is_ok() {
                    assert_eq!(state, RolloutState::Running);
                }
            }
            assert_eq!(RolloutState::parse(state.as_str()), Some(state));
        }
    }
}
