//! What the benchmarks share: a raw HTTP door, a stop watch on a store's deep check, the peers, and the table at the end.
//!
//! A figure here is always a ratio against a peer of the same run, or a size against a stated bound; nothing asserts a time.

pub mod compose;
pub mod deep;
pub mod engine;
// Kept dense by hand: its length is part of what it shows.
#[rustfmt::skip]
pub mod floor;
pub mod footprint;
pub mod ours;
pub mod peer;
mod processors;
pub mod ready;
pub mod repair;
pub mod rollout;
mod scripted;
pub mod stats;
pub mod update;
