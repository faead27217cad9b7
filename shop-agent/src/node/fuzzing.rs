//! What fuzz targets call: parsers of this role that nobody outside it has to reach.

use std::io::Cursor;

use shop_plan::AllowedImages;
use shop_proto::wire::broker::v1::IntroduceRequest;
use tonic::Status;

use super::{archive, broker, capacity, doors, state::AgentKeys};

pub use super::{
    archive::ArchiveError,
    docker::fuzzing as docker,
    edge::fuzzing as edge,
    firewall::resolvers_of,
    images::Loaded,
    session::readable as order,
    traffic::{Second, read_log},
};

/// The keys that an agent shows.
///
/// # Errors
/// When they are none.
pub fn keys(request: &IntroduceRequest) -> Result<AgentKeys, Status> {
    broker::keys(request)
}

/// Images in an archive that a node without an allow-list of its own would load, by tag, and how long their list is.
///
/// # Errors
/// When it is no archive, or not ours.
pub fn archive(bytes: &[u8]) -> Result<(Vec<String>, usize), ArchiveError> {
    let list = archive::manifest(Cursor::new(bytes))?;
    archive::tags(&list, &AllowedImages::builtin()).map(|tags| (tags, list.len()))
}

/// Connections that nobody has taken yet, by a table of the kernel.
#[must_use]
pub fn queued(table: &str) -> u64 {
    doors::queued(table)
}

/// Bytes of memory, by the kernel's `meminfo`.
#[must_use]
pub fn memory(table: &str) -> Option<u64> {
    capacity::memory(table)
}
