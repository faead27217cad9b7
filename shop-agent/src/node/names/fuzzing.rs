//! What fuzz targets call: the responder without its sockets and its file.

use std::net::Ipv4Addr;

use http::StatusCode;
use tokio::io;

use super::{NamesFile, ask, dns, file::Table};

/// The answer to a question, by these names.
#[must_use]
pub fn reply(question: &[u8], names: &NamesFile, page: Ipv4Addr) -> Option<Vec<u8>> {
    dns::reply(question, &Table::of(names.clone()), page)
}

/// What a visitor is told over TCP who says all this and hangs up.
///
/// # Errors
/// When there is no runtime.
pub fn talked(said: &[u8], names: &NamesFile, page: Ipv4Addr) -> io::Result<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let (table, mut told) = (Table::of(names.clone()), Vec::new());
    // How it ends is no matter: it always does.
    let _ = runtime.block_on(dns::talk(io::join(said, &mut told), &table, page));
    Ok(told)
}

/// What is answered to questions for certificates, one after the other, where each host name may have so many.
#[must_use]
pub fn certificates(queries: &[&str], names: &NamesFile, limit: Option<u32>) -> Vec<StatusCode> {
    let (table, tries) = (Table::of(names.clone()), limit.map(ask::Tries::new));
    let verdicts = queries.iter();
    verdicts
        .map(|query| ask::verdict(query, &table, tries.as_ref()))
        .collect()
}
