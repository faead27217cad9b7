//! Drift: differences between what was asked and what is, that nobody here made. Somebody stopped, removed or changed something by hand.
//! Noted when it is seen, told for a while after it was repaired. Pure: time is passed in.

use serde::{Deserialize, Serialize};
use shop_proto::ReplicaKey;

/// How long a repaired difference is still told, in milliseconds.
const TOLD_MS: i64 = 10 * 60 * 1000;
/// Differences remembered at once; a store has fewer parts.
const REMEMBERED: usize = 64;

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftKind {
    /// A container.
    Container,
    /// Its limits.
    Limits,
}

/// What was done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftWhat {
    /// It was asked to stop.
    Stopped,
    /// It is not there.
    Removed,
    /// It is another than was made.
    Changed,
    /// Its process was killed.
    Killed,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drift {
    /// What differs.
    pub kind: DriftKind,
    /// Which replica, in its written form.
    pub name: String,
    /// What was done to it.
    pub what: DriftWhat,
    /// When it was seen, in Unix milliseconds.
    pub seen_unix_ms: i64,
    /// When it was right again, in Unix milliseconds; 0 while it is not.
    #[serde(default)]
    pub repaired_unix_ms: i64,
}

/// All differences that matter, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Drifts(Vec<Drift>);

impl DriftKind {
    /// As the contract has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Limits => "limits",
        }
    }
}

impl DriftWhat {
    /// As the contract has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::Killed => "killed",
        }
    }

    /// Code of the event that tells it.
    #[must_use]
    pub const fn event(self) -> &'static str {
        match self {
            Self::Stopped => "drift_stopped",
            Self::Removed => "drift_removed",
            Self::Changed => "drift_changed",
            Self::Killed => "drift_killed",
        }
    }
}

impl Drift {
    /// Whether it is still so.
    #[must_use]
    pub const fn open(&self) -> bool {
        self.repaired_unix_ms == 0
    }

    /// Whether it is about this replica.
    #[must_use]
    pub fn is_of(&self, key: &ReplicaKey) -> bool {
        self.name == key.to_string()
    }
}

impl Drifts {
    /// Whether there is nothing to tell.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Drift> {
        self.0.iter()
    }

    /// What is still so with a replica.
    #[must_use]
    pub fn open(&self, kind: DriftKind, key: &ReplicaKey) -> Option<&Drift> {
        self.0
            .iter()
            .find(|drift| drift.kind == kind && drift.open() && drift.is_of(key))
    }

    /// Those that are still so: what a restart of the agent must not forget.
    #[must_use]
    pub fn unrepaired(&self) -> Self {
        Self(self.0.iter().filter(|it| it.open()).cloned().collect())
    }

    /// Notes a difference. `true`: it was not known; what else was known of it is replaced.
    pub fn note(&mut self, kind: DriftKind, key: &ReplicaKey, what: DriftWhat, now: i64) -> bool {
        if self.open(kind, key).is_some_and(|known| known.what == what) {
            return false;
        }
        self.0
            .retain(|known| known.kind != kind || !known.is_of(key));
        if self.0.len() == REMEMBERED {
            self.0.remove(0);
        }
        self.0.push(Drift {
            kind,
            name: key.to_string(),
            what,
            seen_unix_ms: now,
            repaired_unix_ms: 0,
        });
        true
    }

    /// Notes which differences are no more, as `right` says of each open one, and lets those go that were told for long enough.
    /// Returns what is right again.
    pub fn settle(&mut self, now: i64, right: impl Fn(&Drift) -> bool) -> Vec<Drift> {
        let mut repaired = Vec::new();
        for drift in self.0.iter_mut().filter(|drift| drift.open()) {
            if right(drift) {
                drift.repaired_unix_ms = now.max(drift.seen_unix_ms);
                repaired.push(drift.clone());
            }
        }
        self.0
            .retain(|drift| drift.open() || now - drift.repaired_unix_ms < TOLD_MS);
        repaired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_new_once_and_told_for_a_while_after_it_was_repaired() {
        let key = ReplicaKey::parse("web", "a", 0).unwrap();
        let mut drifts = Drifts::default();
        assert!(drifts.note(DriftKind::Container, &key, DriftWhat::Stopped, 5));
        assert!(!drifts.note(DriftKind::Container, &key, DriftWhat::Stopped, 6));
        assert!(drifts.note(DriftKind::Container, &key, DriftWhat::Removed, 7));
        assert_eq!(drifts.iter().count(), 1);
        assert!(drifts.settle(8, |_| false).is_empty());
        assert_eq!(drifts.settle(9, |_| true).len(), 1);
        assert!(drifts.unrepaired().is_empty());
        assert!(!drifts.is_empty());
        drifts.settle(9 + TOLD_MS, |_| true);
        assert!(drifts.is_empty());
    }
}
