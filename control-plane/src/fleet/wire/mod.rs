//! Messages of sessions → events, orders → messages. Text and bytes from outside are bounded here, once; nothing behind this border sees
//! a longer one.

mod agent;
mod node;
mod shared;
#[cfg(test)]
mod tests;

pub use agent::{AgentInput, agent_input, agent_order};
pub use node::{NodeInput, node_input, node_order};
pub use shared::trust_bundle;
