//! The runner of operations: after anything about a store changed, brings its status and its operation to what follows from it.
//!
//! Steps are not commands here. What an operation needs done is in the store's desired state; nodes and agents do it, level-triggered, and
//! every step is derived from what they report. So an operation resumes by itself after any crash, and every step may be seen twice.

mod breaker;
mod settle;

pub use settle::{Limits, Settled, settle};
