//! Pure types and rules of the control plane: what a store, an operation, a node and a token are, and how their states may change.
//! No I/O, no clock, no randomness.

pub mod access;
pub mod audit;
pub mod change;
pub mod event;
pub mod identity;
pub mod node;
pub mod operation;
pub mod progress;
pub mod selector;
pub mod session;
pub mod store;
pub mod template;
#[cfg(test)]
mod testing;
