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
    /// When the bucket would be empty again.
    full_at: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            full_at: Instant::now(),
        }
    }
}

impl Pace {
    /// Ready when another message may be read.
    pub async fn wait(&self) {
        let tolerance = EVERY * BURST;
        if let Some(free_at) = self.full_at.checked_sub(tolerance) {
            tokio::time::sleep_until(free_at).await;
        }
    }

    /// A message was read.
    pub fn count(&mut self) {
        self.full_at = self.full_at.max(Instant::now()) + EVERY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_then_one_at_a_time() {
        let mut pace = Pace::default();
        let start = Instant::now();
        for _ in 0..=BURST {
            pace.wait().await;
            pace.count();
        }
        assert!(start.elapsed() <= EVERY);
        for _ in 0..10 {
            pace.wait().await;
            pace.count();
        }
        assert!(start.elapsed() >= EVERY * 9);
    }
}
