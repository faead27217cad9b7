//! How long provisioning takes, for metrics.

use super::{App, AppError};
use crate::domain::operation::ProvisioningTimes;

impl App {
    /// All finished creations, as a histogram.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn provisioning_times(&self) -> Result<ProvisioningTimes, AppError> {
        Ok(self.context().db.read().await?.provisioning_times().await?)
    }
}
