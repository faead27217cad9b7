//! The node agent, the shop agent and the name responder: one binary, three roles.
//!
//! Arrows inside: `standalone → {store, node} → {uplink, engine, ledger} → identity`. The two roles share nothing else:
//! the store role reaches containers only through [`engine::StoreEngine`], and only `node` knows Docker.
//! Without the feature `node` only the store's role is there: that is the binary that runs inside a store.

pub mod cli;
pub mod durable;
pub mod engine;
pub mod identity;
pub mod ledger;
#[cfg(feature = "node")]
pub mod node;
pub mod store;
pub mod telemetry;
pub mod uplink;
