//! What fuzz targets call: how the node's answers are read.

use shop_proto::wire::broker::v1 as api;

use super::{Introduction, Listing, broker};

/// An answer to `Introduce`.
#[must_use]
pub fn introduction(answer: api::IntroduceResponse) -> Option<Introduction> {
    broker::introduction(answer)
}

/// An answer to `List`.
#[must_use]
pub fn listing(answer: api::ListResponse) -> Option<Listing> {
    broker::listing(answer)
}
