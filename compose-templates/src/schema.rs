//! What a store's data is, and which code can run on it. The one answer to every way back, for control plane and shop agent. Pure.

use serde::{Deserialize, Serialize};

use crate::StorePlan;

/// What migrations have made of a store's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// Its number.
    pub schema: u32,
    /// Oldest schema whose code works on it.
    pub works_from: u32,
}

impl Schema {
    /// What a plan's code makes of the data.
    #[must_use]
    pub fn of(plan: &StorePlan) -> Self {
        Self {
            schema: plan.schema(),
            works_from: plan.works_from(),
        }
    }

    /// Whether a plan's code can run on it: as it is, or once its own migration has run.
    #[must_use]
    pub fn carries(self, plan: &StorePlan) -> bool {
        self.carries_schema(plan.schema())
    }

    const fn carries_schema(self, code: u32) -> bool {
        code >= self.schema || code >= self.works_from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_runs_on_its_own_schema_on_older_ones_and_on_those_that_still_work_with_it() {
        let grown = Schema {
            schema: 3,
            works_from: 2,
        };
        let runs: Vec<bool> = (1..5).map(|code| grown.carries_schema(code)).collect();
        assert_eq!(runs, [false, true, true, true]);
        // A template that promises nothing about code older than its own, and one that claims too much.
        let broken = Schema {
            schema: 3,
            works_from: 3,
        };
        assert!(!broken.carries_schema(2) && broken.carries_schema(3));
        let odd = Schema {
            schema: 3,
            works_from: 7,
        };
        assert!(odd.carries_schema(3) && !odd.carries_schema(2));
    }
}
