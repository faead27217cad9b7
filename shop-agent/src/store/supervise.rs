//! When to start again what ended by itself. Pure: time and randomness are passed in.
//!
//! The first restart is immediate, so a killed database serves again at once; then the wait doubles.
//! A service that ends five times in two minutes is crash-looping until it has been ready for a minute; it is tried at least every 30 s.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

const BASE: Duration = Duration::from_secs(1);
const CAP: Duration = Duration::from_secs(30);
const WINDOW: Duration = Duration::from_secs(120);
const LOOPING: usize = 5;
/// Ready for so long, what ended again and again is forgiven.
pub const STEADY: Duration = Duration::from_secs(60);

/// The ends of one container, or the failures of one task or action.
#[derive(Debug, Clone, Default)]
pub struct Record {
    ends: VecDeque<Instant>,
    /// Ends since it was steady, or since there was none for a whole window.
    streak: u32,
    restarts: u32,
    looping: bool,
}

impl Record {
    /// Notes an end and says when to start again. `unit` is a random number in 0..1.
    pub fn ended(&mut self, now: Instant, unit: f64) -> Instant {
        self.ends.retain(|end| now.duration_since(*end) < WINDOW);
        if self.ends.is_empty() {
            self.streak = 0;
        }
        self.ends.push_back(now);
        if self.ends.len() > LOOPING {
            self.ends.pop_front();
        }
        self.streak = self.streak.saturating_add(1);
        self.restarts = self.restarts.saturating_add(1);
        self.looping |= self.ends.len() >= LOOPING;
        let Some(doublings) = self.streak.checked_sub(2) else {
            return now;
        };
        let bound = BASE.saturating_mul(1 << doublings.min(8)).min(CAP);
        // Half of it at least: a crash loop must not be quick by luck.
        now + bound.mul_f64(0.5 + unit.clamp(0.0, 1.0) / 2.0)
    }

    /// Notes that it has been ready since then.
    pub fn ready(&mut self, since: Instant, now: Instant) {
        if now.duration_since(since) >= STEADY {
            self.looping = false;
            self.ends.clear();
            self.streak = 0;
        }
    }

    /// Whether it ends again and again.
    #[must_use]
    pub const fn looping(&self) -> bool {
        self.looping
    }

    /// How often it was started again.
    #[must_use]
    pub const fn restarts(&self) -> u32 {
        self.restarts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_immediate_then_waits_grow_to_the_cap() {
        let mut record = Record::default();
        let mut now = Instant::now();
        assert_eq!(record.ended(now, 1.0), now);
        let mut last = Duration::ZERO;
        for _ in 0..20 {
            let again = record.ended(now, 1.0);
            let wait = again - now;
            assert!(
                wait >= last.min(CAP) && wait <= CAP,
                "{wait:?} after {last:?}"
            );
            last = wait;
            now = again;
        }
        assert!(last >= CAP / 2);
        assert!(record.looping());
    }

    #[test]
    fn a_steady_minute_forgives() {
        let mut record = Record::default();
        let now = Instant::now();
        for _ in 0..LOOPING {
            record.ended(now, 0.0);
        }
        assert!(record.looping());
        record.ready(now, now + STEADY / 2);
        assert!(record.looping());
        record.ready(now, now + STEADY);
        assert!(!record.looping());
        assert_eq!(record.ended(now + STEADY, 0.5), now + STEADY);
    }

    #[test]
    fn rare_ends_are_no_loop() {
        let mut record = Record::default();
        let now = Instant::now();
        for day in 1..50 {
            let now = now + WINDOW * day;
            assert_eq!(record.ended(now, 0.5), now);
        }
        assert!(!record.looping());
        assert_eq!(record.restarts(), 49);
    }
}
