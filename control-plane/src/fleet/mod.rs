//! Sessions of nodes and shop agents: the accept loop, a handle to send orders, and one event channel.

mod types;

pub use types::*;
