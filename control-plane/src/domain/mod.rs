//! Pure types and rules of the control plane: what a store, an operation, a node and a token are, and how their states may change.
//! No I/O, no clock, no randomness.

pub mod access;
pub mod amend;
pub mod audit;
pub mod breaker;
pub mod cancel;
pub mod change;
pub mod deletion;
pub mod event;
pub mod explain;
pub mod identity;
pub mod node;
pub mod operation;
pub mod progress;
pub mod receipt;
pub mod refusal;
pub mod revision;
pub mod rollout;
pub mod room;
pub mod selector;
pub mod session;
pub mod store;
pub mod task;
pub mod template;
#[cfg(test)]
mod testing;
pub mod update;
