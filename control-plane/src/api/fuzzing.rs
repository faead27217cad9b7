//! What fuzz targets call: how requests are read.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{guard, request_id};

pub use super::rest::fuzzing::{BODIES, QUERIES, body, conditions, query};

/// Headers of a line each; what can be none is left out.
#[must_use]
pub fn headers(lines: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').take(16) {
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let name = halves.next().map(HeaderName::from_bytes);
        let value = halves.next().map(HeaderValue::from_bytes);
        if let (Some(Ok(name)), Some(Ok(value))) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

/// The token that a request's headers show.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    guard::bearer(headers)
}

/// Whether a request may be called so.
#[must_use]
pub fn request_id(id: &str) -> bool {
    request_id::decent(id)
}
