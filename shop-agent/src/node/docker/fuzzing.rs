//! What fuzz targets call: how the engine's answers and the kernel's tables are read.

use bollard::models::{ContainerInspectResponse, EventMessage};
use shop_proto::StoreId;

use super::{Observed, containers, engine, events, forgotten};

pub use super::forgotten::Part;

/// Whom an event of the engine concerns.
///
/// # Errors
/// When it is no event.
pub fn event(prefix: &str, json: &[u8]) -> Result<Option<Option<StoreId>>, serde_json::Error> {
    serde_json::from_slice::<EventMessage>(json).map(|event| events::hint(prefix, event))
}

/// What there is to know of a container that the engine describes.
///
/// # Errors
/// When it is no description.
pub fn container(json: &[u8]) -> Result<Observed, serde_json::Error> {
    serde_json::from_slice::<ContainerInspectResponse>(json).map(containers::observed)
}

/// The version spoken with an engine that understands `min` to `max`.
#[must_use]
pub fn version(min: &str, max: &str) -> Option<(u32, u32)> {
    engine::choose(min, max)
}

/// What a process is to a container, by its `stat`, `cgroup` and `cmdline`.
#[must_use]
pub fn process(files: [&[u8]; 3], id: &str) -> Option<Part> {
    forgotten::part(files, id)
}
