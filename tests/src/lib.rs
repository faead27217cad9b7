//! What the whole-system stories share: the installed system, its CLI, its Docker, and waiting for conditions.
//!
//! Everything is reached the way an operator or a buyer reaches it: `shopctl`, `curl`, `docker`. No part of the
//! product is linked in, so a story cannot pass by sharing a mistake with the code under test.

pub mod bench;
pub mod chain;
pub mod change;
pub mod cut_proxy;
pub mod docker;
pub mod door;
pub mod engine_proxy;
pub mod events;
pub mod fleet;
pub mod host;
pub mod http;
pub mod lane;
pub mod load;
pub mod orders;
pub mod plane;
pub mod process;
pub mod repository;
pub mod shop;
pub mod traffic;
pub mod visitors;
pub mod wait;
