//! How far the rotation of secrets is. Names and counters only: values are in the vault.
//!
//! A rotation rides on an update that moves the slots. It is staged when the update begins (`rotating`), *admitted* once the database
//! accepts old and new values, *kept* once the new containers are in force, and over when only one value is accepted any more.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shop_proto::Spec;

use super::Entries;

/// A rotation that is not over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotating {
    /// Secrets, and which rotation of each this is.
    pub secrets: BTreeMap<String, u64>,
    /// The database accepts old and new values.
    #[serde(default)]
    pub admitted: bool,
    /// The new values are in force: containers that never had the old ones serve, and nothing goes back to those that did.
    #[serde(default)]
    pub kept: bool,
}

impl Entries {
    /// Secrets that a spec wants rotated and that are not yet, with the rotation's counter.
    #[must_use]
    pub fn to_rotate(&self, spec: &Spec) -> BTreeMap<String, u64> {
        let mut due = spec.rotations.clone();
        due.retain(|name, counter| !self.has_rotated(name, *counter));
        due
    }

    /// Whether this rotation of a secret is over, or cannot be taken back any more.
    fn has_rotated(&self, name: &str, counter: u64) -> bool {
        let kept = self.rotating.as_ref().filter(|rotating| rotating.kept);
        let kept = kept.and_then(|rotating| rotating.secrets.get(name));
        let over = self.rotations.get(name);
        [kept, over]
            .into_iter()
            .flatten()
            .any(|reached| *reached >= counter)
    }

    /// Whether those who log in are handed new values; `None` while nothing is rotated.
    #[must_use]
    pub fn hands_out_new(&self) -> Option<bool> {
        let rotating = self.rotating.as_ref()?;
        Some(rotating.admitted && (rotating.kept || self.update_rotates()))
    }

    /// Whether the update that is open brings new values.
    #[must_use]
    pub fn update_rotates(&self) -> bool {
        self.open_update()
            .is_some_and(|update| !update.rotates.is_empty())
    }

    /// The database accepts both values.
    pub fn admitted(&mut self) {
        if let Some(rotating) = self.rotating.as_mut() {
            rotating.admitted = true;
        }
    }

    /// One value is accepted again. What was taken back is not tried again until somebody asks anew.
    pub fn rotated(&mut self) {
        let over = self.rotating.take();
        self.reach_rotations(over.into_iter().flat_map(|rotating| rotating.secrets));
    }

    /// An update begins that rotates these. A rotation under way goes on under it, from the start: it may have been about to be taken back,
    /// and its values to be dismissed.
    pub(super) fn begin_rotation(&mut self, secrets: &BTreeMap<String, u64>) {
        if secrets.is_empty() {
            return;
        }
        let rotating = self.rotating.get_or_insert_default();
        if !rotating.kept {
            rotating.admitted = false;
            rotating.secrets.extend(secrets.clone());
        }
    }

    /// The containers that started with the new values are in force.
    pub(super) fn keep_rotation(&mut self) {
        let admitted = self.rotating.as_mut().filter(|rotating| rotating.admitted);
        if let Some(rotating) = admitted {
            rotating.kept = true;
        }
    }

    /// What a spec asks for that comes into force without an update is not rotated: what asked for it was taken back before it began.
    pub(super) fn waive_rotations(&mut self, spec: &Spec) {
        let waived: Vec<(String, u64)> = self.to_rotate(spec).into_iter().collect();
        self.reach_rotations(waived);
    }

    fn reach_rotations(&mut self, reached: impl IntoIterator<Item = (String, u64)>) {
        for (name, counter) in reached {
            let held = self.rotations.entry(name).or_default();
            *held = counter.max(*held);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(counter: u64) -> BTreeMap<String, u64> {
        BTreeMap::from([("db_password".to_owned(), counter)])
    }

    fn due(entries: &Entries, counter: u64) -> bool {
        let wanted = counters(counter);
        let mut left = wanted.clone();
        left.retain(|name, counter| !entries.has_rotated(name, *counter));
        left == wanted
    }

    #[test]
    fn a_rotation_is_over_when_it_is_kept_or_dismissed_and_no_lower_one_is_due_again() {
        let mut entries = Entries::default();
        assert!(due(&entries, 5));
        entries.begin_rotation(&counters(5));
        assert!(due(&entries, 5), "it may still be taken back");
        entries.keep_rotation();
        assert!(due(&entries, 5), "nobody is let in with it yet");
        entries.admitted();
        entries.keep_rotation();
        assert!(!due(&entries, 5));
        assert!(due(&entries, 6));
        entries.rotated();
        assert_eq!(entries.rotating, None);
        assert!(!due(&entries, 5) && !due(&entries, 4) && due(&entries, 6));
        // One that is undone is over as well.
        entries.begin_rotation(&counters(6));
        entries.rotated();
        assert!(!due(&entries, 6));
    }

    #[test]
    fn one_rotation_at_a_time() {
        let mut entries = Entries::default();
        entries.begin_rotation(&counters(5));
        entries.admitted();
        // Its values may have been dismissed: they are made and admitted again.
        entries.begin_rotation(&counters(6));
        let rotating = entries.rotating.as_ref().unwrap();
        assert_eq!(
            (&rotating.secrets, rotating.admitted),
            (&counters(6), false)
        );
        // Of one whose values are in force nothing is left to change.
        entries.admitted();
        entries.keep_rotation();
        entries.begin_rotation(&counters(7));
        let rotating = entries.rotating.unwrap();
        assert_eq!((rotating.secrets, rotating.kept), (counters(6), true));
    }

    #[test]
    fn a_ledger_without_rotations_says_nothing_of_them() {
        let text = serde_json::to_string(&Entries::default()).unwrap();
        assert!(!text.contains("rotat"), "{text}");
    }
}
