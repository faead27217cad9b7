//! Sessions of nodes and shop agents: the accept loop, a handle to send orders, and one event channel. Transport: it decides nothing.

mod accept;
mod enrolment;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod outbox;
mod pace;
mod registry;
mod serve;
mod services;
mod session;
mod status;
mod types;
mod wire;

pub use accept::{Connection, Gate, Limits, Listen, Peer, Seen, Socket, bind};
pub use serve::{Fleet, serve_agents, serve_enrolment};
pub use types::*;
