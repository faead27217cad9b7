//! What fuzz targets call: page tokens, which callers hand back.

use super::cursor;

/// A page token of two parts, read and written again.
#[must_use]
pub fn page_token(token: &str) -> Option<String> {
    let [key, id] = cursor::decode::<2>(token).ok()?;
    Some(cursor::encode(&[&key, &id]))
}
