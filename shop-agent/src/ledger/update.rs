//! How far one plan has taken the place of another: every change of it is a [`Move`], applied to the ledger at once or not at all.
//!
//! When to make which move is decided in `store::steps::update`, never here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
pub use shop_plan::Schema;
use shop_plan::StorePlan;
use shop_proto::{Digest, Generation, ServiceName, Slot};

use super::{Accepted, Entries};

/// One plan taking the place of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// What served when it began.
    pub from: Accepted,
    /// What shall serve.
    pub to: Accepted,
    /// Where the new containers are; the serving slot when nothing moves.
    pub slot: Slot,
    /// How far it is.
    pub phase: Phase,
    /// There is no way back once its migration has ended well: buyers see the maintenance page until its window has passed.
    pub closed: bool,
    /// Buyers see the page until it has switched: what was in force before has failed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub page: bool,
    /// Unix milliseconds.
    pub began_unix_ms: i64,
    /// Unix milliseconds; when traffic was to move, or what it moved to was restarted or rested last: its window is counted from then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switched_unix_ms: Option<i64>,
    /// What buyers were answered in the five minutes before; none when nobody counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Counts>,
    /// Why it was taken back or halted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<UpdateFailure>,
    /// Secrets that get new values with it, and which rotation of each this is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rotates: BTreeMap<String, u64>,
}

/// How far an update is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The new containers come up beside those that serve.
    Preparing,
    /// The update task runs.
    Migrating,
    /// The whole store is asked through the new slot.
    Checking,
    /// Traffic goes to the new slot; the old one is kept ready.
    Switched,
    /// The new plan is in force; what is left of the old one goes.
    Draining,
    /// All is done.
    Done,
    /// The old plan serves; what is left of the new one goes.
    RolledBack,
    /// It failed where there was no way back. Buyers see the maintenance page until an operator decides.
    Halted,
}

/// Why an update did not go through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateFailure {
    /// Stable code.
    pub reason: Reason,
    /// One sentence.
    pub message: String,
}

/// Stable code of an update that did not go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The new containers were not ready in time.
    UpdateNotReady,
    /// They were bad once they served.
    UpdateBadMinute,
    /// The update task failed.
    MigrationFailed,
}

/// Answers to buyers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// All.
    pub requests: u64,
    /// Those of 500 and above.
    pub errors: u64,
}

/// An order that was tried and taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakenBack {
    /// Of the order. The same content in a newer order is an operator's word, and tried again.
    pub generation: Generation,
    /// Its spec's digest.
    pub spec: Digest,
    /// Its revision's number.
    pub revision: u64,
    /// Why.
    pub failure: UpdateFailure,
    /// Unix milliseconds.
    pub at_unix_ms: i64,
}

/// What must be remembered of a plan that has come into force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks {
    /// What its code makes of the database.
    pub schema: Schema,
    /// Its containers' hashes, with and without limits: those of a running container are changed without a new one.
    pub shapes: BTreeMap<Digest, Digest>,
}

/// A change of how far an update is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// This order's plan is in force; there was nothing to move.
    Settle(Box<Accepted>, Marks),
    /// An update begins. One that has switched already is in force.
    Begin(Box<Update>, Marks),
    /// The order is newer, its plan the same.
    Retarget {
        /// The newer order.
        to: Box<Accepted>,
        /// Since when, in Unix milliseconds, it has been watched: no window goes on while its containers rest, and a restart begins it anew.
        watched_unix_ms: i64,
    },
    /// The order it was for is no more.
    Abandon,
    /// On to the next phase.
    Enter(Phase),
    /// The update task has ended well, or there is none.
    Migrated(Marks),
    /// Traffic is to move.
    Switch {
        /// When, in Unix milliseconds.
        at_unix_ms: i64,
        /// What buyers were answered until then.
        before: Option<Counts>,
    },
    /// The window has passed.
    Commit(Marks),
    /// It did not go through.
    Fail {
        /// Why.
        failure: UpdateFailure,
        /// When, in Unix milliseconds.
        at_unix_ms: i64,
    },
}

/// As of [`shop_proto::Spec`]: left out while it says nothing.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl Phase {
    /// As written on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Migrating => "migrating",
            Self::Checking => "checking",
            Self::Switched => "switched",
            Self::Draining => "draining",
            Self::Done => "done",
            Self::RolledBack => "rolled_back",
            Self::Halted => "halted",
        }
    }

    /// Whether it may still turn out either way.
    #[must_use]
    pub const fn open(self) -> bool {
        matches!(
            self,
            Self::Preparing | Self::Migrating | Self::Checking | Self::Switched
        )
    }
}

impl Reason {
    /// As written on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UpdateNotReady => "update_not_ready",
            Self::UpdateBadMinute => "update_bad_minute",
            Self::MigrationFailed => "migration_failed",
        }
    }
}

impl Update {
    /// Id of the update task's run: the same after a crash, another one for another order.
    #[must_use]
    pub fn run_id(&self) -> String {
        format!("update-{}", self.to.generation)
    }

    /// Whether its plan is in force already, though it may still turn out badly: there is no way back.
    #[must_use]
    pub const fn past_return(&self) -> bool {
        self.closed && matches!(self.phase, Phase::Checking | Phase::Switched)
    }
}

impl Marks {
    /// Those of a plan.
    #[must_use]
    pub fn of(plan: &StorePlan) -> Self {
        Self {
            schema: Schema::of(plan),
            shapes: plan
                .services
                .iter()
                .map(|service| (service.spec_hash, plan.shape_hash(service)))
                .collect(),
        }
    }
}

impl Move {
    /// Makes it. A move that no longer fits changes nothing.
    pub fn apply(self, entries: &mut Entries) {
        match self {
            Self::Settle(accepted, marks) => {
                entries.remember_plan(marks);
                entries.waive_rotations(&accepted.spec);
                entries.serving = Some(*accepted);
                entries.slot.get_or_insert(Slot::A);
            }
            Self::Begin(update, marks) => {
                let switched = entries
                    .update
                    .take_if(|update| update.phase == Phase::Switched && !update.closed);
                if let Some(switched) = switched {
                    entries.come_into_force(&switched, marks);
                }
                entries.begin_rotation(&update.rotates);
                entries.update = Some(*update);
            }
            Self::Abandon => entries.update = None,
            other => {
                let Some(mut update) = entries.update.take() else {
                    return;
                };
                other.within(entries, &mut update);
                entries.update = Some(update);
            }
        }
    }

    fn within(self, entries: &mut Entries, update: &mut Update) {
        match self {
            Self::Retarget {
                to,
                watched_unix_ms,
            } => {
                update.switched_unix_ms = update.switched_unix_ms.map(|_| watched_unix_ms);
                update.to = *to;
            }
            Self::Enter(phase) => update.phase = phase,
            Self::Migrated(marks) => {
                if update.phase != Phase::Migrating {
                    return;
                }
                update.phase = Phase::Checking;
                if update.closed {
                    entries.come_into_force(update, marks);
                } else {
                    entries.reach(marks.schema);
                }
            }
            Self::Switch { at_unix_ms, before } => {
                update.phase = Phase::Switched;
                update.switched_unix_ms = Some(at_unix_ms);
                update.before = before;
            }
            Self::Commit(marks) => {
                update.phase = Phase::Draining;
                entries.come_into_force(update, marks);
            }
            Self::Fail {
                failure,
                at_unix_ms,
            } => {
                update.phase = if update.past_return() || update.page {
                    Phase::Halted
                } else {
                    Phase::RolledBack
                };
                entries.taken_back = Some(TakenBack {
                    generation: update.to.generation,
                    spec: update.to.spec.digest(),
                    revision: update.to.spec.revision.number,
                    failure: failure.clone(),
                    at_unix_ms,
                });
                update.failure = Some(failure);
            }
            Self::Settle(..) | Self::Begin(..) | Self::Abandon => {}
        }
    }
}

impl Entries {
    /// The update, while it may still turn out either way.
    #[must_use]
    pub fn open_update(&self) -> Option<&Update> {
        self.update.as_ref().filter(|update| update.phase.open())
    }

    /// What the data is, or will be once a migration under way has ended well.
    #[must_use]
    pub fn data_to_come(&self) -> Option<Schema> {
        let open = self.run_schemas.values().copied();
        self.schema
            .into_iter()
            .chain(open)
            .max_by_key(|it| it.schema)
    }

    /// A run begins, with what it makes of the database. One that was begun before stays what it was begun as.
    pub fn run_began(&mut self, task: ServiceName, run: String, makes: Option<Schema>) {
        if self.open_runs.get(&task) == Some(&run) {
            return;
        }
        self.run_schemas.remove(&task);
        self.run_schemas
            .extend(makes.map(|schema| (task.clone(), schema)));
        self.open_runs.insert(task, run);
    }

    /// A run has ended; of one that a release before began, `makes` is what is known.
    pub fn run_ended(&mut self, task: &ServiceName, code: i32, makes: Option<Schema>) {
        self.open_runs.remove(task);
        let begun = self.run_schemas.remove(task);
        if let Some(reached) = begun.or(makes).filter(|_| code == 0) {
            self.reach(reached);
        }
    }

    /// The end of an update task: the next phase, or the way back. Of another update's task it says nothing.
    pub fn migration_ended(&mut self, run: &str, code: i32, marks: Marks, at_unix_ms: i64) {
        let mine = |update: &Update| update.phase == Phase::Migrating && update.run_id() == run;
        if !self.update.as_ref().is_some_and(mine) {
            return;
        }
        let end = if code == 0 {
            Move::Migrated(marks)
        } else {
            Move::Fail {
                failure: UpdateFailure {
                    reason: Reason::MigrationFailed,
                    message: format!("the update task ended with exit code {code}"),
                },
                at_unix_ms,
            }
        };
        end.apply(self);
    }

    /// A restart is done. For an update that has halted it is an operator's word to try and serve again.
    pub fn restarted(&mut self, seq: u64) {
        self.restart_seq = seq;
        if let Some(update) = self.update.as_mut().filter(|it| it.phase == Phase::Halted) {
            update.phase = Phase::Done;
            // It is in force: nothing is held back any more.
            let generation = update.to.generation;
            let held = self.taken_back.take();
            self.taken_back = held.filter(|it| it.generation != generation);
        }
    }

    fn come_into_force(&mut self, update: &Update, marks: Marks) {
        self.remember_plan(marks);
        if self.slot != Some(update.slot) && !update.rotates.is_empty() {
            self.keep_rotation();
        }
        self.serving = Some(update.to.clone());
        self.slot = Some(update.slot);
    }

    fn remember_plan(&mut self, marks: Marks) {
        self.reach(marks.schema);
        // What an update was given up for may still run.
        if self.shapes.len() > MOST_SHAPES {
            self.shapes.clear();
        }
        self.shapes.extend(marks.shapes);
    }

    fn reach(&mut self, reached: Schema) {
        if self.schema.is_none_or(|held| held.schema < reached.schema) {
            self.schema = Some(reached);
        }
    }
}

/// A store has about ten services; forgotten hashes cost a restart of what was limited live, no more.
const MOST_SHAPES: usize = 256;
