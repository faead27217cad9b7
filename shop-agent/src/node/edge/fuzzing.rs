//! What fuzz targets call: what is remembered of the edges, and the kernel's word on who is connected to them.

use super::drain;

pub use super::side::Meant;

/// Whether a table of the kernel has a connection that came in at one of the ports.
#[must_use]
pub fn connected(table: &str, ports: [u16; 2]) -> bool {
    drain::connected(table, ports)
}
