//! Sealing, signing and rosters: what lets operators and shop agents exchange secrets through a control plane that can read none of them.
//!
//! Linked by `shopctl`, `shop-agent` and tests; never by the control plane, which relays bytes.
//!
//! - [`SealingKey`], [`seal`] and [`open`]: HPKE (RFC 9180: X25519, HKDF-SHA256, ChaCha20-Poly1305), bound to a typed [`Context`], padded.
//! - [`SigningKey`] and [`VerifyingKey`]: Ed25519, each signature under a [`Domain`].
//! - [`Roster`]: who may ask for what, signed by an offline operator root.
//! - [`Request`]: a signed question whose answer only the asker can read.
//! - [`KeyFile`]: how a person keeps a key.

mod context;
mod encoding;
mod key_file;
mod keys;
mod request;
mod roster;
mod sealing;
mod time;

pub use context::Context;
pub use key_file::{KEY_FILE_FORMAT, KeyFile, KeyFileError, KeyPurpose, PrivateKey};
pub use keys::{
    Domain, KeyError, KeyId, SealingKey, SealingPublicKey, Signature, SigningKey, VerifyingKey,
};
pub use request::{MAX_VALIDITY, Question, Request, RequestError, RequestKind, RequestParts};
pub use roster::{
    MAX_ROSTER_BYTES, ROSTER_FORMAT, Role, Roster, RosterError, RosterMark, SignedRoster, Signer,
    SignerError,
};
pub use sealing::{MAX_PLAINTEXT, PADDING, SEAL_FORMAT, SealError, Sealed, open, seal};
pub use time::UnixMillis;
