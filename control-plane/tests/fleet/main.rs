//! Enrolment and sessions over real TLS on loopback: real authority, real listeners, records in memory.

mod client;
mod enrolment;
mod memory;
mod rig;
mod sessions;
