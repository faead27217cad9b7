//! How often one address may fail. Bounds guessing and keeps the audit chain from being flooded.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

/// Addresses that are remembered; beyond it the ones that have recovered are forgotten.
const MOST: usize = 10_000;

/// A token bucket for each address.
#[derive(Debug)]
pub struct Limits {
    burst: u32,
    every: Duration,
    full_at: Mutex<BTreeMap<IpAddr, Timestamp>>,
}

impl Limits {
    /// `burst` at once, then one in `every`.
    #[must_use]
    pub const fn new(burst: u32, every: Duration) -> Self {
        Self {
            burst,
            every,
            full_at: Mutex::new(BTreeMap::new()),
        }
    }

    /// Whether this address has any left.
    #[must_use]
    pub fn allows(&self, address: IpAddr, now: Timestamp) -> bool {
        let full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        full_at
            .get(&address)
            .is_none_or(|at| *at < now + self.every * self.burst)
    }

    /// Takes one. False when there was none.
    pub fn take(&self, address: IpAddr, now: Timestamp) -> bool {
        if !self.allows(address, now) {
            return false;
        }
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() >= MOST {
            full_at.retain(|_, at| *at > now);
            if full_at.len() >= MOST {
                return false;
            }
        }
        let at = full_at.entry(address).or_insert(now);
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
        let (one, other) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        assert!((0..3).all(|_| limits.take(one, now)));
        assert!(!limits.take(one, now));
        assert!(limits.take(other, now));
        assert!(limits.take(one, now + Duration::from_secs(2)));
        assert!(!limits.take(one, now + Duration::from_secs(2)));
    }
}
