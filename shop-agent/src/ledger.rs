//! What a shop agent accepted last, and what it must not do twice. Written before anything is acknowledged or acted on.
//!
//! Holds no secret. The rule: a lower generation is refused, the same one with other content is refused, a newer one is taken.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use serde::{Deserialize, Serialize};
use shop_proto::{Digest, Generation, ServiceName, Slot, Spec};
use shop_seal::RosterMark;

use crate::{blocking::off_thread, durable};

mod drift;
mod rotation;
mod runs;
mod update;

pub use drift::{Drift, DriftKind, DriftWhat, Drifts};
pub use rotation::Rotating;
pub use runs::{Ending, Run, RunBy, RunOutcome, Runs, Stage, Taken};
pub use update::{Counts, Marks, Move, Phase, Reason, Schema, TakenBack, Update, UpdateFailure};

/// Version of the file's form.
const FORMAT: u32 = 1;
/// Ids of answered sealed requests that are remembered. They expire within minutes; this many cannot be made in that time.
const REMEMBERED_REQUESTS: usize = 512;

/// An order to be a certain store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// Says *newer*.
    pub generation: Generation,
    /// Which rendering to use.
    pub render_version: u32,
    /// Says *what*.
    pub spec: Spec,
}

/// The generation rule's refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Outdated {
    /// We hold a newer one.
    #[error("generation {offered} is older than {held}, which this store has accepted")]
    GenerationOutdated {
        /// What was offered.
        offered: Generation,
        /// What we hold.
        held: Generation,
    },
    /// The same number, other content.
    #[error("generation {0} was accepted with other content")]
    ContentChanged(Generation),
}

/// A ledger that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The disk refuses.
    #[error("the ledger cannot be read or written")]
    Io(#[from] io::Error),
    /// Damaged.
    #[error("the ledger is damaged")]
    Damaged(#[source] serde_json::Error),
    /// Written by a later release; it is left as it is.
    #[error("the ledger has format {found}; this release knows {FORMAT}")]
    NewerFormat {
        /// Its format.
        found: u32,
    },
}

/// What must survive the process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entries {
    format: u32,
    /// Last accepted order.
    pub accepted: Option<Accepted>,
    /// Once-tasks that have ended well.
    pub tasks_done: BTreeSet<ServiceName>,
    /// Runs that were begun and whose end was not seen: attached to after a crash.
    pub open_runs: BTreeMap<ServiceName, String>,
    /// Attempts of each once-task; part of its run id.
    pub attempts: BTreeMap<ServiceName, u32>,
    /// Last restart that was carried out.
    pub restart_seq: u64,
    /// Slot of the plan in force.
    pub slot: Option<Slot>,
    /// The newest roster seen: an older or another one of that version is refused.
    pub roster: Option<RosterMark>,
    /// Not used any more; kept so that what was written is read.
    pub held_back: BTreeSet<Digest>,
    /// The order whose plan is in force: it serves, and is repaired. None before the store has served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<Accepted>,
    /// The update under way, or the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<Update>,
    /// The last order that was tried and taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_back: Option<TakenBack>,
    /// What migrations have made of the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Schema>,
    /// What open runs make of the database, by the plan that began them: another one may be in force when they end.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub run_schemas: BTreeMap<ServiceName, Schema>,
    /// Containers' hashes with limits, and without: see [`Marks`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shapes: BTreeMap<Digest, Digest>,
    /// Sealed requests that were answered.
    pub answered: VecDeque<String>,
    /// Runs of tasks that were asked for or were due.
    #[serde(default, skip_serializing_if = "Runs::is_empty")]
    pub runs: Runs,
    /// Differences that somebody made by hand, while they matter.
    #[serde(default, skip_serializing_if = "Drifts::is_empty")]
    pub drift: Drifts,
    /// A rotation of secrets that is not over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotating: Option<Rotating>,
    /// Of each secret the last rotation that is over, one way or the other.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rotations: BTreeMap<String, u64>,
}

/// The file.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    entries: Entries,
}

impl Accepted {
    /// Judges an order by the generation rule. `true`: it is new and must be recorded; `false`: it is the one we hold.
    ///
    /// # Errors
    /// When the rule refuses it.
    pub fn supersedes(&self, held: Option<&Self>) -> Result<bool, Outdated> {
        let Some(held) = held else { return Ok(true) };
        match self.generation.cmp(&held.generation) {
            std::cmp::Ordering::Less => Err(Outdated::GenerationOutdated {
                offered: self.generation,
                held: held.generation,
            }),
            // The render version is part of the content: it decides the plan.
            std::cmp::Ordering::Equal if self == held => Ok(false),
            std::cmp::Ordering::Equal => Err(Outdated::ContentChanged(self.generation)),
            std::cmp::Ordering::Greater => Ok(true),
        }
    }
}

impl Outdated {
    /// Stable code of the refusal.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::GenerationOutdated { .. } => "generation_outdated",
            Self::ContentChanged(_) => "content_changed",
        }
    }
}

impl Entries {
    /// From the file.
    ///
    /// # Errors
    /// When it is damaged or newer than this release.
    pub fn decode(bytes: &[u8]) -> Result<Self, LedgerError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let head: Head = serde_json::from_slice(bytes).map_err(LedgerError::Damaged)?;
        if head.format != FORMAT {
            return Err(LedgerError::NewerFormat { found: head.format });
        }
        serde_json::from_slice(bytes).map_err(LedgerError::Damaged)
    }

    /// Takes a newer order. What served before a release that remembers it is remembered now.
    pub fn accept(&mut self, accepted: Accepted, served: bool) {
        if served && self.serving.is_none() {
            self.serving.clone_from(&self.accepted);
            self.slot.get_or_insert(Slot::A);
        }
        self.accepted = Some(accepted);
    }

    /// Remembers a sealed request. `false` when it was answered before.
    pub fn remember(&mut self, operation: &str) -> bool {
        if self.answered.iter().any(|known| known == operation) {
            return false;
        }
        if self.answered.len() == REMEMBERED_REQUESTS {
            self.answered.pop_front();
        }
        self.answered.push_back(operation.to_owned());
        true
    }
}

impl Ledger {
    /// Opens the ledger in this directory; empty when there is none.
    ///
    /// # Errors
    /// When it is damaged, newer than this release, or the disk refuses.
    pub fn open(directory: &Path) -> Result<Self, LedgerError> {
        let path = directory.join("ledger.json");
        let entries = match durable::read(&path)? {
            None => Entries {
                format: FORMAT,
                ..Entries::default()
            },
            Some(bytes) => Entries::decode(&bytes)?,
        };
        Ok(Self { path, entries })
    }

    /// What it says.
    #[must_use]
    pub const fn entries(&self) -> &Entries {
        &self.entries
    }

    /// Changes it: on disk first, then in memory. Writes nothing when nothing changes.
    ///
    /// # Errors
    /// When the disk refuses; then nothing has changed.
    pub fn change<T>(&mut self, change: impl FnOnce(&mut Entries) -> T) -> Result<T, LedgerError> {
        let mut entries = self.entries.clone();
        let answer = change(&mut entries);
        if entries != self.entries {
            let bytes = serde_json::to_vec(&entries).map_err(LedgerError::Damaged)?;
            durable::replace(&self.path, &bytes)?;
            self.entries = entries;
        }
        Ok(answer)
    }
}

/// A ledger that several tasks of one process use. Disk work happens on the blocking threads.
#[derive(Debug, Clone)]
pub struct SharedLedger(Arc<Mutex<Ledger>>);

impl SharedLedger {
    /// Shares it.
    #[must_use]
    pub fn new(ledger: Ledger) -> Self {
        Self(Arc::new(Mutex::new(ledger)))
    }

    /// Whether nobody else has it, such as a write that its asker did not wait for.
    #[cfg(test)]
    pub fn is_left(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// A copy of what it says.
    #[must_use]
    pub fn entries(&self) -> Entries {
        lock(&self.0).entries().clone()
    }

    /// As [`Ledger::change`].
    ///
    /// # Errors
    /// When the disk refuses; then nothing has changed.
    pub async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Entries) -> T + Send + 'static,
    ) -> Result<T, LedgerError> {
        let ledger = self.0.clone();
        off_thread(move || lock(&ledger).change(change))
            .await
            .unwrap_or_else(|error| Err(LedgerError::Io(io::Error::other(error))))
    }
}

/// A panic in between cannot leave it half changed: the change is made on a copy.
fn lock(ledger: &Mutex<Ledger>) -> std::sync::MutexGuard<'_, Ledger> {
    ledger
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use shop_proto::{Isolation, Revision, RunState, SPEC_FORMAT};

    use super::*;

    fn order(generation: u64, restart_seq: u64) -> Accepted {
        Accepted {
            generation: Generation::new(generation).unwrap(),
            render_version: 1,
            spec: Spec {
                format: SPEC_FORMAT,
                store_name: "shop".parse().unwrap(),
                revision: Revision {
                    number: 1,
                    template: "refshop".to_owned(),
                    template_digest: Digest::of(b"t"),
                    parameters: BTreeMap::new(),
                    profiles: BTreeMap::new(),
                    images: BTreeMap::new(),
                    resources: BTreeMap::new(),
                    isolation: Isolation::Standard,
                },
                hosts: Vec::new(),
                scale: BTreeMap::new(),
                run_state: RunState::Running,
                restart_seq,
                maintenance: false,
                hold_until_unix_ms: None,
                watch: None,
                rotations: BTreeMap::new(),
            },
        }
    }

    #[test]
    fn the_generation_rule() {
        let held = order(3, 0);
        assert_eq!(order(1, 0).supersedes(None), Ok(true));
        assert_eq!(order(4, 0).supersedes(Some(&held)), Ok(true));
        assert_eq!(order(3, 0).supersedes(Some(&held)), Ok(false));
        assert_eq!(
            order(3, 1).supersedes(Some(&held)).unwrap_err().code(),
            "content_changed"
        );
        assert_eq!(
            order(2, 0).supersedes(Some(&held)).unwrap_err().code(),
            "generation_outdated"
        );
    }

    #[test]
    fn what_was_changed_is_there_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(directory.path()).unwrap();
        ledger
            .change(|entries| entries.accepted = Some(order(7, 1)))
            .unwrap();
        let fresh = ledger.change(|entries| entries.remember("op-1")).unwrap();
        assert!(fresh);
        let mut again = Ledger::open(directory.path()).unwrap();
        assert_eq!(again.entries(), ledger.entries());
        assert!(!again.change(|entries| entries.remember("op-1")).unwrap());
    }

    #[test]
    fn a_newer_format_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.json");
        std::fs::write(&path, br#"{"format":2,"surprise":true}"#).unwrap();
        assert!(matches!(
            Ledger::open(directory.path()),
            Err(LedgerError::NewerFormat { found: 2 })
        ));
        assert_eq!(
            std::fs::read(&path).unwrap(),
            br#"{"format":2,"surprise":true}"#
        );
    }
}
