//! What the control plane is to hear. The latest word about each thing is kept and said again in every new session; events are said once.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use shop_proto::{Digest, Generation, StoreId};
use tokio::sync::Notify;

/// Events kept for a control plane that is away; older ones go first.
const EVENTS: usize = 256;

/// How far a store's assignment is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Whose.
    pub store: StoreId,
    /// Of the assignment.
    pub generation: Generation,
    /// What it renders to here.
    pub plan_digest: Option<Digest>,
    /// How far.
    pub progress: Progress,
}

/// How far an assignment is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// On disk.
    Accepted,
    /// Networks, volumes and the agent are being made.
    Preparing,
    /// The agent runs.
    Prepared,
    /// It will not be done.
    Refused(Reason),
    /// It is tried again.
    Error(Reason),
}

/// Why something is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Stable.
    pub code: &'static str,
    /// A sentence for people.
    pub message: String,
}

/// How far a removal is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retirement {
    /// Whose.
    pub store: StoreId,
    /// Of the order.
    pub generation: Generation,
    /// How far.
    pub stage: Stage,
    /// A sentence for people, where there is something to say.
    pub message: String,
    /// For what is gone: the document that says so.
    pub receipt: Option<String>,
}

/// How far a removal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// On disk.
    Tombstoned,
    /// Containers are being stopped.
    Stopping,
    /// Containers, networks and volumes are being removed.
    Removing,
    /// Nothing is left, and that was looked up.
    Gone,
    /// Something does not go; it is tried again.
    Blocked,
    /// Not done: a newer assignment is held.
    Refused,
}

/// A shop agent's key that we have seen on its own socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouch {
    /// Whose.
    pub store: StoreId,
    /// Digest of the key's SubjectPublicKeyInfo.
    pub spki: Digest,
    /// X25519.
    pub sealing: Vec<u8>,
}

/// Something worth telling a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Of the node itself when `None`.
    pub store: Option<StoreId>,
    /// Stable.
    pub code: &'static str,
    /// How bad.
    pub severity: Severity,
    /// A sentence.
    pub message: String,
    /// When.
    pub at_unix_ms: i64,
}

/// How bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Look at it.
    Warning,
    /// Do something.
    Error,
}

/// One thing to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// About an assignment.
    Status(Status),
    /// About a removal.
    Retirement(Retirement),
    /// About a key.
    Vouch(Vouch),
    /// About anything.
    Note(Note),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    Status(StoreId),
    Retirement(StoreId),
    Vouch(StoreId),
}

/// What is to be said.
#[derive(Default)]
pub struct Outbox {
    inner: Mutex<Inner>,
    rung: Notify,
}

#[derive(Default)]
struct Inner {
    latest: BTreeMap<Topic, Word>,
    unsaid: BTreeSet<Topic>,
    notes: VecDeque<Note>,
}

impl Outbox {
    /// The latest word about an assignment.
    pub fn status(&self, status: Status) {
        self.put(Topic::Status(status.store.clone()), Word::Status(status));
    }

    /// What was said last about a store's assignment.
    #[must_use]
    pub fn said(&self, store: &StoreId) -> Option<Status> {
        match self.lock().latest.get(&Topic::Status(store.clone())) {
            Some(Word::Status(status)) => Some(status.clone()),
            _ => None,
        }
    }

    /// The latest word about a removal; the assignment and the key are no topics any more.
    pub fn retirement(&self, retirement: Retirement) {
        let store = retirement.store.clone();
        if retirement.stage != Stage::Refused {
            let mut inner = self.lock();
            for topic in [Topic::Status(store.clone()), Topic::Vouch(store.clone())] {
                inner.latest.remove(&topic);
                inner.unsaid.remove(&topic);
            }
        }
        self.put(Topic::Retirement(store), Word::Retirement(retirement));
    }

    /// The latest word about a key.
    pub fn vouch(&self, vouch: Vouch) {
        self.put(Topic::Vouch(vouch.store.clone()), Word::Vouch(vouch));
    }

    /// An event.
    pub fn note(&self, note: Note) {
        let mut inner = self.lock();
        if inner.notes.len() == EVENTS {
            inner.notes.pop_front();
        }
        inner.notes.push_back(note);
        drop(inner);
        self.rung.notify_one();
    }

    /// Nothing is to be said about this store any more.
    pub fn forget(&self, store: &StoreId) {
        let mut inner = self.lock();
        for topic in [
            Topic::Status(store.clone()),
            Topic::Retirement(store.clone()),
            Topic::Vouch(store.clone()),
        ] {
            inner.latest.remove(&topic);
            inner.unsaid.remove(&topic);
        }
    }

    /// A new session: everything is to be said again.
    pub fn all_unsaid(&self) {
        let mut inner = self.lock();
        inner.unsaid = inner.latest.keys().cloned().collect();
        drop(inner);
        self.rung.notify_one();
    }

    /// Waits for something to say. Cancel-safe: a word is taken only when it is returned.
    pub async fn next(&self) -> Word {
        loop {
            if let Some(word) = self.take() {
                return word;
            }
            self.rung.notified().await;
        }
    }

    fn take(&self) -> Option<Word> {
        let mut inner = self.lock();
        while let Some(topic) = inner.unsaid.pop_first() {
            if let Some(word) = inner.latest.get(&topic) {
                return Some(word.clone());
            }
        }
        inner.notes.pop_front().map(Word::Note)
    }

    fn put(&self, topic: Topic, word: Word) {
        let mut inner = self.lock();
        if inner.latest.get(&topic) == Some(&word) {
            return;
        }
        inner.latest.insert(topic.clone(), word);
        inner.unsaid.insert(topic);
        drop(inner);
        self.rung.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(progress: Progress) -> Status {
        Status {
            store: "k3v9q2m8x1aa".parse().unwrap(),
            generation: Generation::FIRST,
            plan_digest: None,
            progress,
        }
    }

    #[tokio::test]
    async fn only_the_latest_word_is_said_and_a_new_session_hears_it_again() {
        let outbox = Outbox::default();
        outbox.status(status(Progress::Accepted));
        outbox.status(status(Progress::Prepared));
        let last = Word::Status(status(Progress::Prepared));
        assert_eq!(outbox.next().await, last);
        outbox.status(status(Progress::Prepared));
        assert_eq!(outbox.take(), None);
        outbox.all_unsaid();
        assert_eq!(outbox.take(), Some(last));
    }

    #[test]
    fn events_are_bounded_and_said_once() {
        let outbox = Outbox::default();
        for at_unix_ms in 0..300 {
            outbox.note(Note {
                store: None,
                code: "test",
                severity: Severity::Info,
                message: String::new(),
                at_unix_ms,
            });
        }
        let said: Vec<Word> = std::iter::from_fn(|| outbox.take()).collect();
        assert_eq!(said.len(), EVENTS);
        outbox.all_unsaid();
        assert_eq!(outbox.take(), None);
    }
}
