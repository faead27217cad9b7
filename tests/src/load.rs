//! Buyers at a constant rate: an open loop, so that a shop that answers late is not spared the requests that come meanwhile.
//!
//! Latency counts from the moment a request was due, not from when it could be sent. Nothing that was sent is ever tried again.

pub mod arrivals;
pub mod client;
mod elsewhere;
pub mod journey;
pub mod record;

pub use arrivals::{Load, Rates};
pub use record::{Books, Failure};
