//! Exponential backoff with full jitter. Pure: the random number is passed in.

use std::time::Duration;

/// First longest wait.
const BASE: Duration = Duration::from_millis(200);
/// Longest wait ever.
const CAP: Duration = Duration::from_secs(30);
/// A connection that lived this long was healthy: start again from the base.
pub const HEALTHY: Duration = Duration::from_secs(60);

/// How long to wait before the next attempt: uniform between 0 and a bound that doubles.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The next wait; `unit` is a random number in 0..1.
    pub fn next(&mut self, unit: f64) -> Duration {
        let bound = BASE.saturating_mul(1 << self.attempts.min(16)).min(CAP);
        self.attempts = self.attempts.saturating_add(1);
        bound.mul_f64(unit.clamp(0.0, 1.0))
    }

    /// Says how long the last connection lived.
    pub fn lived(&mut self, lifetime: Duration) {
        if lifetime >= HEALTHY {
            self.attempts = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_start_again_after_a_healthy_minute() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next(1.0), BASE);
        assert_eq!(backoff.next(1.0), BASE * 2);
        assert_eq!(backoff.next(0.0), Duration::ZERO);
        for _ in 0..40 {
            assert!(backoff.next(1.0) <= CAP);
        }
        backoff.lived(Duration::from_secs(59));
        assert_eq!(backoff.next(1.0), CAP);
        backoff.lived(HEALTHY);
        assert_eq!(backoff.next(1.0), BASE);
    }
}
