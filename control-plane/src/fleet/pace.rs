//! How fast one session may speak. Over the pace it is read more slowly; HTTP/2 flow control then pushes back. Nothing is dropped.

use std::time::Duration;

use tokio::time::Instant;

/// Messages a session may send at once.
const BURST: u32 = 200;
/// After that, one in this time. An agent that provisions sends about ten a second.
const EVERY: Duration = Duration::from_millis(20);

/// Generic cell rate: one instant says it all.
#[derive(Debug)]
pub struct Pace {
    /// When all that was read so far is paid for.
    paid_at: Instant,
}

impl Pace {
    /// Nothing read yet.
    pub const fn new(now: Instant) -> Self {
        Self { paid_at: now }
    }

    /// When another message may be read.
    pub fn free_at(&self) -> Instant {
        self.paid_at
            .checked_sub(EVERY * BURST)
            .unwrap_or(self.paid_at)
    }

    /// A message was read.
    pub fn count(&mut self, now: Instant) {
        self.charge(1, now);
    }

    /// A message that was read is worth this many more.
    pub fn charge(&mut self, more: u32, now: Instant) {
        self.paid_at = self.paid_at.max(now) + EVERY * more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_at_a_time() {
        let now = Instant::now() + Duration::from_secs(3600);
        let mut pace = Pace::new(now);
        for _ in 0..BURST {
            assert!(pace.free_at() <= now);
            pace.count(now);
        }
        pace.count(now);
        assert_eq!(pace.free_at(), now + EVERY);
        pace.charge(BURST, now);
        assert_eq!(
            pace.free_at(),
            now + EVERY * (BURST + 1),
            "dear ones wait longer"
        );
        let later = now + EVERY * BURST * 4;
        pace.count(later);
        assert!(pace.free_at() < later, "what was not used comes back");
    }
}
