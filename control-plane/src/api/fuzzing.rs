//! What fuzz targets call: how requests are read.

pub use super::rest::fuzzing::{BODIES, QUERIES, body, query};
