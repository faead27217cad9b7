//! Page tokens: opaque to callers, a few texts to us.

use data_encoding::BASE64URL_NOPAD;

use super::{AppError, Problem};

const SEPARATOR: char = '\u{1f}';

pub(super) fn encode(parts: &[&str]) -> String {
    BASE64URL_NOPAD.encode(parts.join(&SEPARATOR.to_string()).as_bytes())
}

pub(super) fn decode<const N: usize>(token: &str) -> Result<[String; N], AppError> {
    let bytes = BASE64URL_NOPAD
        .decode(token.as_bytes())
        .map_err(|_| wrong())?;
    let text = String::from_utf8(bytes).map_err(|_| wrong())?;
    let parts: Vec<String> = text.split(SEPARATOR).map(ToOwned::to_owned).collect();
    parts.try_into().map_err(|_| wrong())
}

pub(super) fn wrong() -> AppError {
    AppError::Invalid {
        problems: vec![Problem::at(
            "/page_token",
            "page_token",
            "this page token is not one of ours; start from the first page",
        )],
    }
}
