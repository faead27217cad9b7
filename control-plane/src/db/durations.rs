//! How long stores took from the request to serving, as a histogram over all finished creations.

use std::time::Duration;

use super::{DbError, Tx};
use crate::domain::operation::{PROVISIONING_BOUNDS_SECONDS, ProvisioningTimes};

impl Tx {
    /// Creations that succeeded, by the time they took.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn provisioning_times(&mut self) -> Result<ProvisioningTimes, DbError> {
        let sql = "SELECT CAST((ended_at - created_at) / 1000 AS BIGINT) AS seconds, CAST(COUNT(*) AS BIGINT) AS times, \
                   CAST(SUM(ended_at - created_at) AS BIGINT) AS millis \
                   FROM operations WHERE kind = 'create' AND state = 'succeeded' AND ended_at IS NOT NULL \
                   GROUP BY CAST((ended_at - created_at) / 1000 AS BIGINT)";
        let mut times = ProvisioningTimes::default();
        for row in self.rows(sql, vec![]).await? {
            // Whole seconds, so a bound counts what took less than it.
            let (seconds, count): (u32, u64) = (row.count("seconds")?, row.count("times")?);
            times.count += count;
            times.total += Duration::from_millis(row.count("millis")?);
            for (at_most, bound) in times.at_most.iter_mut().zip(PROVISIONING_BOUNDS_SECONDS) {
                if seconds < bound {
                    *at_most += count;
                }
            }
        }
        Ok(times)
    }
}
