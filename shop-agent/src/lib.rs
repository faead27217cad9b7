//! The node agent, the shop agent and the name responder: one binary, three roles.
//!
//! Arrows inside: `standalone → {store, node} → {uplink, engine, ledger} → identity`. The two roles share nothing else:
//! the store role reaches containers only through [`engine::StoreEngine`], and only `node` knows Docker.
//! Without the feature `node` the store's role and the name responder are there: that is the image `shop-agent`.

pub mod blocking;
pub mod cli;
pub mod durable;
pub mod engine;
pub mod hardening;
pub mod identity;
pub mod ledger;
// Fed by the node role, in whose folder it lies; but it runs from the small image, without that role.
#[path = "node/names/mod.rs"]
pub mod names;
#[cfg(feature = "node")]
pub mod node;
pub mod store;
pub mod telemetry;
pub mod uplink;
