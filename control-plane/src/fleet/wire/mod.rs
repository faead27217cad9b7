//! Messages of sessions → events, orders → messages. Text and bytes from outside are bounded here, once; nothing behind this border sees
//! a longer one.

mod agent;
mod node;
mod shared;
mod tasks;
#[cfg(test)]
mod tests;
mod update;

pub use agent::{agent_input, agent_order};
pub use node::{node_input, node_order};
pub use shared::trust_bundle;

use super::FleetEvent;

/// A message of a session, checked.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "taken apart where it is made; a box would cost more than the move"
)]
pub enum Input<Hello> {
    /// Starts the session.
    Hello(Hello),
    /// Everything after.
    Event(FleetEvent),
    /// From a newer release; nothing to do.
    Unknown,
}
