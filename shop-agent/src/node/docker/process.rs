//! A container's own process, as the host numbers it.

use bollard::query_parameters::InspectContainerOptions;

use super::engine::{Engine, EngineError, READ, within};

impl Engine {
    /// The process that a container's end is the end of; `None` when it does not run.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn main_process(&self, name: &str) -> Result<Option<u32>, EngineError> {
        let call = self
            .docker
            .inspect_container(name, None::<InspectContainerOptions>);
        match within("inspect a container", READ, call).await {
            Ok(found) => Ok(found
                .state
                .and_then(|state| state.pid)
                .and_then(|pid| u32::try_from(pid).ok())
                .filter(|pid| *pid > 0)),
            Err(EngineError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
