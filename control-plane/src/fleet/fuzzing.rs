//! What fuzz targets call: how messages of sessions are checked.

pub use super::wire::{Input, agent_input, node_input};
