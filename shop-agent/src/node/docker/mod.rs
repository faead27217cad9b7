//! The container engine as the node needs it: typed calls with deadlines, where "already there" and "already gone" are outcomes.
//!
//! The only place that names bollard. What a container looks like is decided elsewhere (`node::render`); here it becomes a request body
//! and nothing of it is optional. Engine texts may name other stores' objects: they go to the log, never into an answer to a shop agent.

mod body;
mod connections;
mod containers;
mod engine;
mod events;
mod forgotten;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod http;
mod images;
mod logs;
mod networks;
mod process;
mod spec;
mod starts;
mod volumes;

pub use connections::Connected;
pub use containers::{Created, Removed, Started};
pub use engine::{Engine, EngineError};
pub use http::{UnixHttpError, unix_request};
pub use networks::NetworkSpec;
pub use spec::{
    Attachment, ContainerSpec, ContainerState, MountSpec, Networking, Observed, Restart, Scope,
};
pub use starts::Urgency;
pub use volumes::{VolumeKind, VolumeSpec};

/// The create request as JSON, for tests of what is rendered.
#[cfg(test)]
#[must_use]
pub fn body_for_tests(spec: &ContainerSpec, cores: u32) -> serde_json::Value {
    serde_json::to_value(body::create_body(spec, cores)).unwrap()
}
