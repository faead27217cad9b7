//! A circuit breaker per node: a node on which one new store after the other fails gets no further ones for a while, then one on trial.

use jiff::{SignedDuration, Timestamp};

/// Failures in a row that open it. One may be the store's fault, and two.
pub const FAILURES: u32 = 3;
/// How long it stays open.
pub const PAUSE: SignedDuration = SignedDuration::from_mins(5);

/// What is remembered of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Breaker {
    /// New stores that failed there in a row.
    pub failures: u32,
    /// No new stores before this time; `None` while it is closed.
    pub until: Option<Timestamp>,
}

/// Whether new stores may go to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    Free,
    /// One at a time, to see whether it is better.
    OnTrial,
    /// None.
    Closed,
}

impl Breaker {
    /// After a new store failed there.
    #[must_use]
    pub fn failed(self, now: Timestamp) -> Self {
        let failures = self.failures.saturating_add(1);
        let until =
            (failures >= FAILURES).then(|| now.saturating_add(PAUSE).unwrap_or(Timestamp::MAX));
        Self { failures, until }
    }

    /// After a new store came up there.
    #[must_use]
    pub const fn succeeded(self) -> Self {
        Self {
            failures: 0,
            until: None,
        }
    }

    /// Whether new stores may go there now.
    #[must_use]
    pub fn admission(self, now: Timestamp) -> Admission {
        match self.until {
            None => Admission::Free,
            Some(until) if now >= until => Admission::OnTrial,
            Some(_) => Admission::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn it_opens_after_three_in_a_row_and_one_good_one_closes_it() {
        let mut breaker = Breaker::default();
        for _ in 1..FAILURES {
            breaker = breaker.failed(at(0));
            assert_eq!(breaker.admission(at(0)), Admission::Free);
        }
        assert_eq!(
            breaker.succeeded().failed(at(0)).admission(at(0)),
            Admission::Free
        );
        breaker = breaker.failed(at(0));
        assert_eq!(breaker.admission(at(1)), Admission::Closed);
        assert_eq!(breaker.admission(at(300)), Admission::OnTrial);
        assert_eq!(
            breaker.failed(at(300)).admission(at(301)),
            Admission::Closed
        );
        assert_eq!(breaker.succeeded().admission(at(301)), Admission::Free);
    }
}
