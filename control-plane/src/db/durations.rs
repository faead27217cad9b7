//! How long stores took from the request to serving, as a histogram over all finished creations.

use super::{DbError, Tx};
use crate::domain::operation::{PROVISIONING_BOUNDS_SECONDS, ProvisioningTimes};

impl Tx {
    /// Creations that succeeded, by the time they took.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn provisioning_times(&mut self) -> Result<ProvisioningTimes, DbError> {
        let sql = "SELECT CAST((ended_at - created_at) / 1000 AS BIGINT) AS seconds, CAST(COUNT(*) AS BIGINT) AS times \
                   FROM operations WHERE kind = 'create' AND state = 'succeeded' AND ended_at IS NOT NULL \
                   GROUP BY CAST((ended_at - created_at) / 1000 AS BIGINT)";
        let mut times = ProvisioningTimes::default();
        for row in self.rows(sql, vec![]).await? {
            // Whole seconds, so a bound counts what took less than it.
            let (seconds, count) = (row.count("seconds")?, u64::from(row.count("times")?));
            times.count += count;
            times.sum_seconds += u64::from(seconds) * count;
            for (at_most, bound) in times.at_most.iter_mut().zip(PROVISIONING_BOUNDS_SECONDS) {
                if seconds < bound {
                    *at_most += count;
                }
            }
        }
        Ok(times)
    }
}
