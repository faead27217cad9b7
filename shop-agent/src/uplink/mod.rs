//! The way to the control plane: dialling with a deadline, coming back with jitter. What is said is each role's own business.

mod backoff;
mod connect;
mod keep;
mod reason;

pub use backoff::Backoff;
pub use connect::{Address, AddressError, Dial, Simulated, Stream, channel, plain_channel};
pub use keep::{Ended, keep};
pub use reason::{coded, reason_of};
