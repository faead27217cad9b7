//! The whole fleet in one process: the real control plane and the real shop agents, over a simulated network, with one seed that decides
//! about everything. A failure is one number.
//!
//! Real: sessions with their TLS, the accept loop, dispatch, ingest, the database, the shop agent's reconciler, ledger and vault, the node's
//! memory. Made up: the network, the clock, Docker ([`machine`]), who is let in by databases ([`logins`]) and the part of the node agent that
//! drives it all ([`node`]).

pub mod chance;
mod engine;
pub mod logins;
mod look;
pub mod machine;
mod net;
mod node;
mod operator;
mod plane;
pub mod story;
mod trace;
pub mod world;
pub mod wrong;
