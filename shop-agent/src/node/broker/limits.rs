//! How often a shop agent may ask: far more than any sane one does, far less than would slow the others down. Changes are refused beyond it,
//! so that the agent backs off; questions wait for their turn.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Semaphore, SemaphorePermit};

/// So many at once, then so many per second for ever.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    burst: f64,
    per_second: f64,
}

/// Creating and starting everything, twice.
pub(super) const CHANGES: Rate = Rate {
    burst: 60.0,
    per_second: 10.0,
};
/// Looking after each hint while a store is being made.
const QUESTIONS: Rate = Rate {
    burst: 60.0,
    per_second: 20.0,
};
/// Reading a log from its first line: the engine goes through all of it, which are many megabytes. Whoever follows a run asks once a
/// second.
const READINGS: Rate = Rate {
    burst: 10.0,
    per_second: 2.0,
};
/// Once for each start of an agent; each is a write on the node's disk and a message to the control plane.
pub(super) const INTRODUCTIONS: Rate = Rate {
    burst: 10.0,
    per_second: 0.5,
};
/// Questions of one store that the engine is asked at the same time.
const AT_ONCE: usize = 4;

/// A token bucket.
pub(super) struct Pace {
    rate: Rate,
    bucket: Mutex<Bucket>,
}

struct Bucket {
    tokens: f64,
    filled: Instant,
}

/// Questions, one after the other once there are many.
pub(super) struct Turns {
    pace: Pace,
    places: Semaphore,
}

impl Pace {
    pub(super) const fn new(rate: Rate, now: Instant) -> Self {
        Self {
            rate,
            bucket: Mutex::new(Bucket {
                tokens: rate.burst,
                filled: now,
            }),
        }
    }

    /// Whether one more may pass; else how long until it may.
    pub(super) fn pass(&self, now: Instant) -> Result<(), Duration> {
        let Rate { burst, per_second } = self.rate;
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.tokens = (bucket.tokens + passed * per_second).min(burst);
        bucket.filled = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            Ok(())
        } else {
            Err(Duration::from_secs_f64((1.0 - bucket.tokens) / per_second))
        }
    }
}

impl Turns {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            pace: Pace::new(QUESTIONS, now),
            places: Semaphore::const_new(AT_ONCE),
        }
    }

    /// Of whole logs: one after the other.
    pub(super) const fn of_readings(now: Instant) -> Self {
        Self {
            pace: Pace::new(READINGS, now),
            places: Semaphore::const_new(1),
        }
    }

    /// Waits until one more question may be asked. `None` never happens: the places are not closed.
    pub(super) async fn next(&self) -> Option<SemaphorePermit<'_>> {
        // The place is held while waiting, so that a flood waits in its own queue.
        let place = self.places.acquire().await.ok()?;
        while let Err(wait) = self.pace.pass(Instant::now()) {
            tokio::time::sleep(wait).await;
        }
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_a_flood_does_not() {
        let start = Instant::now();
        let pace = Pace::new(CHANGES, start);
        let passed = (0..1000).filter(|_| pace.pass(start).is_ok()).count();
        assert_eq!(passed, 60);
        assert!(pace.pass(start + Duration::from_millis(50)).is_err());
        assert!(pace.pass(start + Duration::from_millis(200)).is_ok());
    }

    #[tokio::test]
    async fn no_more_than_a_few_questions_are_asked_at_once() {
        let turns = Turns::new(Instant::now());
        let mut held = Vec::new();
        for _ in 0..AT_ONCE {
            held.push(turns.next().await);
        }
        let waiting = turns.next();
        tokio::pin!(waiting);
        assert!(futures::poll!(&mut waiting).is_pending());
        held.pop();
        assert!(waiting.await.is_some());
    }
}
