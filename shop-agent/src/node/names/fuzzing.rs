//! What fuzz targets call: the responder without its sockets and its file.

use std::net::Ipv4Addr;

use super::{NamesFile, dns, file::Table};

/// The answer to a question, by these names.
#[must_use]
pub fn reply(question: &[u8], names: &NamesFile, page: Ipv4Addr) -> Option<Vec<u8>> {
    dns::reply(question, &Table::of(names.clone()), page)
}
