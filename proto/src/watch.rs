//! When the minutes after a switch are bad enough to go back.

use serde::{Deserialize, Serialize};

/// What is watched after an update has moved traffic, and when traffic goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// How long the old slot is kept ready, in seconds.
    pub window_seconds: u32,
    /// Deep checks in a row that fail.
    pub failed_checks: u32,
    /// Restarts in the new slot.
    pub restarts: u32,
    /// Answers of 500 and above, in thousandths of all.
    pub error_permille: u32,
    /// How many times the share of the five minutes before.
    pub error_factor: u32,
    /// Fewer requests say nothing.
    pub min_requests: u32,
}

/// A value out of its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be {from} to {to}")]
pub struct WatchError {
    /// Which one.
    pub field: &'static str,
    /// Lowest allowed.
    pub from: u32,
    /// Highest allowed.
    pub to: u32,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            window_seconds: 60,
            failed_checks: 3,
            restarts: 2,
            error_permille: 10,
            error_factor: 3,
            min_requests: 50,
        }
    }
}

impl Watch {
    /// Every value within its range.
    ///
    /// # Errors
    /// Names the first one that is not.
    pub fn check(&self) -> Result<(), WatchError> {
        let ranges = [
            ("window_seconds", self.window_seconds, 1, 3600),
            ("failed_checks", self.failed_checks, 1, 100),
            ("restarts", self.restarts, 1, 100),
            ("error_permille", self.error_permille, 1, 1000),
            ("error_factor", self.error_factor, 1, 1000),
            ("min_requests", self.min_requests, 1, 1_000_000),
        ];
        ranges
            .into_iter()
            .find(|(_, value, from, to)| !(from..=to).contains(&value))
            .map_or(Ok(()), |(field, _, from, to)| {
                Err(WatchError { field, from, to })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_in_range_and_nonsense_is_named() {
        assert_eq!(Watch::default().check(), Ok(()));
        let never = Watch {
            window_seconds: 0,
            ..Watch::default()
        };
        assert_eq!(never.check().unwrap_err().field, "window_seconds");
    }
}
