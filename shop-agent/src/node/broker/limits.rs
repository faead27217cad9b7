//! How often a shop agent may ask for changes: far more than any sane one does, far less than would slow the others down.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Changes that may come at once: creating and starting everything, twice.
const BURST: f64 = 60.0;
/// Changes per second that may go on for ever.
const PER_SECOND: f64 = 10.0;

/// A token bucket.
pub(super) struct Pace(Mutex<Bucket>);

struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(Bucket {
            tokens: BURST,
            filled: now,
        }))
    }

    /// Whether one more may pass; else how long until it may.
    pub(super) fn pass(&self, now: Instant) -> Result<(), Duration> {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.tokens = (bucket.tokens + passed * PER_SECOND).min(BURST);
        bucket.filled = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            Ok(())
        } else {
            Err(Duration::from_secs_f64((1.0 - bucket.tokens) / PER_SECOND))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_a_flood_does_not() {
        let start = Instant::now();
        let pace = Pace::new(start);
        let passed = (0..1000).filter(|_| pace.pass(start).is_ok()).count();
        assert_eq!(passed, 60);
        assert!(pace.pass(start + Duration::from_millis(50)).is_err());
        assert!(pace.pass(start + Duration::from_millis(200)).is_ok());
    }
}
