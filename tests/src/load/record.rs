//! What buyers got, and what they were promised.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A request that was not answered as it should have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Since the load began.
    pub at: Duration,
    /// From the moment it was due.
    pub took: Duration,
    /// 0 when no answer came.
    pub status: u16,
    /// The answer said when to come back.
    pub announced: bool,
    pub what: String,
}

/// Everything that is kept of a load; cheap to share.
#[derive(Debug, Clone)]
pub struct Recorder {
    began: Instant,
    pages: Arc<Mutex<Pages>>,
}

#[derive(Debug, Default)]
struct Pages {
    // Due at, took.
    answered: Vec<(Duration, Duration)>,
    books: Books,
}

/// The result.
#[derive(Debug, Default, Clone)]
pub struct Books {
    pub requests: u64,
    pub failures: Vec<Failure>,
    /// Numbers of orders that buyers were told.
    pub confirmed: BTreeSet<String>,
    /// Checkouts whose answer never came: the shop may or may not have taken the order.
    pub unsure: u64,
    /// Carts that were filled and found empty later.
    pub lost_carts: u64,
    /// Assets of a page that answered 404.
    pub missing_assets: BTreeMap<String, u64>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            pages: Arc::default(),
        }
    }
}

impl Recorder {
    /// Since the load began.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// A request that was answered as it should.
    pub fn answered(&self, due: Instant) {
        let at = due.saturating_duration_since(self.began);
        self.with(|pages| {
            pages.books.requests += 1;
            pages.answered.push((at, due.elapsed()));
        });
    }

    /// A request that was not.
    pub fn failed(&self, due: Instant, status: u16, announced: bool, what: String) {
        let (at, took) = (self.now(), due.elapsed());
        self.with(|pages| {
            pages.books.requests += 1;
            pages.books.failures.push(Failure {
                at,
                took,
                status,
                announced,
                what,
            });
        });
    }

    /// Something else to remember.
    pub fn note(&self, change: impl FnOnce(&mut Books)) {
        self.with(|pages| change(&mut pages.books));
    }

    /// All so far.
    #[must_use]
    pub fn books(&self) -> Books {
        self.with(|pages| pages.books.clone())
    }

    /// The slowest of the fastest 99 % of requests that were due in a span of the load.
    #[must_use]
    pub fn p99(&self, from: Duration, until: Duration) -> Option<Duration> {
        let mut took: Vec<Duration> = self.with(|pages| {
            pages
                .answered
                .iter()
                .filter(|(due, _)| (from..until).contains(due))
                .map(|(_, took)| *took)
                .collect()
        });
        took.sort_unstable();
        let rank = (took.len() * 99).div_ceil(100).checked_sub(1)?;
        took.get(rank).copied()
    }

    fn with<T>(&self, work: impl FnOnce(&mut Pages) -> T) -> T {
        // Plain data: a panic elsewhere cannot have left it half changed.
        work(&mut self.pages.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_99th_of_a_hundred() {
        let recorder = Recorder::default();
        recorder.with(|pages| {
            pages.answered = (1..=100)
                .map(|ms| (Duration::from_secs(1), Duration::from_millis(ms)))
                .collect();
        });
        let span =
            |from, until| recorder.p99(Duration::from_secs(from), Duration::from_secs(until));
        assert_eq!(span(0, 2), Some(Duration::from_millis(99)));
        assert_eq!(span(2, 3), None);
    }
}
