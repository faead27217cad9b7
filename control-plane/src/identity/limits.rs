//! How often one address, or one token, may fail. Bounds guessing and keeps the audit chain from being flooded.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

/// Keys that are remembered; beyond it the ones that have recovered are forgotten.
const MOST: usize = 10_000;

/// A token bucket for each key.
#[derive(Debug)]
pub struct Limits<K> {
    burst: u32,
    every: Duration,
    full_at: Mutex<BTreeMap<K, Timestamp>>,
}

impl<K: Ord> Limits<K> {
    /// `burst` at once, then one in `every`.
    #[must_use]
    pub const fn new(burst: u32, every: Duration) -> Self {
        Self {
            burst,
            every,
            full_at: Mutex::new(BTreeMap::new()),
        }
    }

    /// Whether this key has any left.
    #[must_use]
    pub fn allows(&self, key: &K, now: Timestamp) -> bool {
        let full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        full_at
            .get(key)
            .is_none_or(|at| *at < now + self.every * self.burst)
    }

    /// Takes one. False when there was none.
    pub fn take(&self, key: K, now: Timestamp) -> bool {
        if !self.allows(&key, now) {
            return false;
        }
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() >= MOST {
            full_at.retain(|_, at| *at > now);
            if full_at.len() >= MOST {
                return false;
            }
        }
        let at = full_at.entry(key).or_insert(now);
        *at = (*at).max(now) + self.every;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_one_at_a_time_and_others_are_not_touched() {
        let limits = Limits::new(3, Duration::from_secs(2));
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let (one, other) = ("one", "other");
        assert!((0..3).all(|_| limits.take(one, now)));
        assert!(!limits.take(one, now));
        assert!(limits.take(other, now));
        assert!(limits.take(one, now + Duration::from_secs(2)));
        assert!(!limits.take(one, now + Duration::from_secs(2)));
    }
}
