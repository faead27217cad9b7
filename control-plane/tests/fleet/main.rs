//! Enrolment and sessions over real TLS on loopback: real authority, real listeners; records in memory, and once the whole process with its
//! database.

#[path = "../support/client.rs"]
mod client;
mod enrolment;
mod memory;
mod rig;
mod server;
mod sessions;
