//! The text form of tokens: a scannable prefix, an id, a secret, and a checksum that catches a truncated paste before any network use.

use std::str::FromStr;

use crate::{Digest, DigestError};

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Lets one node join: `sfj1_<id>_<secret>_<root pin>_<crc32>`.
    Join,
    /// Lets an API user in: `sfk1_<id>_<secret>_<crc32>`.
    Api,
}

/// A token taken apart. Has no `Debug` and no `Display`: it is a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText {
    kind: TokenKind,
    id: String,
    secret: String,
    root_pin: Option<Digest>,
}

/// A text that is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not the form of this kind.
    #[error("this is not a token of the expected kind; it starts with sfj1_ (join) or sfk1_ (API)")]
    Form,
    /// The end does not fit the rest.
    #[error("the token's checksum does not fit: it was cut or mistyped")]
    Checksum,
}

impl From<DigestError> for TokenError {
    fn from(_: DigestError) -> Self {
        Self::Form
    }
}

const ID_LENGTH: usize = 10;
const SECRET_LENGTH: usize = 52;

impl TokenKind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Join => "sfj1",
            Self::Api => "sfk1",
        }
    }
}

impl TokenText {
    /// A join token from its parts: an id of 10 and a secret of 52 lower-case base32 characters.
    ///
    /// # Errors
    /// When a part has another shape.
    pub fn join(id: String, secret: String, root_pin: Digest) -> Result<Self, TokenError> {
        Self {
            kind: TokenKind::Join,
            id,
            secret,
            root_pin: Some(root_pin),
        }
        .checked()
    }

    /// An API token from its parts, as [`TokenText::join`].
    ///
    /// # Errors
    /// When a part has another shape.
    pub fn api(id: String, secret: String) -> Result<Self, TokenError> {
        Self {
            kind: TokenKind::Api,
            id,
            secret,
            root_pin: None,
        }
        .checked()
    }

    /// Which kind it is.
    #[must_use]
    pub const fn kind(&self) -> TokenKind {
        self.kind
    }

    /// The public half: finds the row, is safe to log.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The secret half.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// Digest of the root's SubjectPublicKeyInfo; join tokens only.
    #[must_use]
    pub const fn root_pin(&self) -> Option<Digest> {
        self.root_pin
    }

    /// The one line a person copies.
    #[must_use]
    pub fn reveal(&self) -> String {
        let body = self.body();
        format!("{body}_{:08x}", crc32(body.as_bytes()))
    }

    fn body(&self) -> String {
        let prefix = self.kind.prefix();
        match self.root_pin {
            Some(pin) => format!("{prefix}_{}_{}_{pin}", self.id, self.secret),
            None => format!("{prefix}_{}_{}", self.id, self.secret),
        }
    }

    fn checked(self) -> Result<Self, TokenError> {
        let base32 = |text: &str, length: usize| {
            text.len() == length
                && text
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b))
        };
        if base32(&self.id, ID_LENGTH) && base32(&self.secret, SECRET_LENGTH) {
            Ok(self)
        } else {
            Err(TokenError::Form)
        }
    }
}

impl FromStr for TokenText {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.len() > 256 {
            return Err(TokenError::Form);
        }
        let (body, checksum) = text.rsplit_once('_').ok_or(TokenError::Form)?;
        let parts: Vec<&str> = body.split('_').collect();
        let token = match parts.as_slice() {
            ["sfj1", id, secret, pin] => {
                Self::join((*id).to_owned(), (*secret).to_owned(), pin.parse()?)?
            }
            ["sfk1", id, secret] => Self::api((*id).to_owned(), (*secret).to_owned())?,
            _ => return Err(TokenError::Form),
        };
        if format!("{:08x}", crc32(body.as_bytes())) == checksum {
            Ok(token)
        } else {
            Err(TokenError::Checksum)
        }
    }
}

/// CRC-32 (IEEE 802.3). A checksum against typing errors, not a security measure.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let mask = (crc & 1).wrapping_neg();
            crc = (crc >> 1) ^ (0xEDB8_8320 & mask);
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_crc32() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn round_trip_and_truncation() {
        let token = TokenText::join("a".repeat(10), "b".repeat(52), Digest::of(b"root")).unwrap();
        let text = token.reveal();
        assert!(
            text.parse::<TokenText>()
                .is_ok_and(|parsed| parsed == token)
        );
        let mistyped = text.replacen("aaaa", "aaab", 1);
        assert_eq!(
            mistyped.parse::<TokenText>().err(),
            Some(TokenError::Checksum)
        );
        assert!(text[..text.len() - 3].parse::<TokenText>().is_err());
    }
}
