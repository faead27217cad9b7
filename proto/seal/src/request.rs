//! Sealed requests: a signer asks a store's agent for something; only the asker's one-time key opens the answer.
//!
//! The control plane relays both. It can drop or repeat a request, not make or change one: agents remember operation ids until they expire.

use std::time::Duration;

use shop_proto::StoreId;
use zeroize::Zeroizing;

use crate::{
    Context, Domain, KeyId, Role, Roster, SealError, Sealed, SealingKey, SealingPublicKey,
    Signature, SignerError, SigningKey, UnixMillis, VerifyingKey, encoding::Fields, open, seal,
};

/// Longest time a request may be good for; how long an agent must remember operation ids.
pub const MAX_VALIDITY: Duration = Duration::from_secs(600);

/// A request, without its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub(crate) store: StoreId,
    pub(crate) operation_id: String,
    pub(crate) kind: RequestKind,
    pub(crate) subject: String,
    one_time_key: SealingPublicKey,
    expires: UnixMillis,
    signer: KeyId,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// A login; the subject is its name.
    Reveal,
    /// The last log lines; the subject is a service.
    Logs,
    /// A dump of the database.
    Dump,
}

/// What is asked for, and about what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question<'a> {
    /// What is asked for.
    pub kind: RequestKind,
    /// See [`RequestKind`].
    pub subject: &'a str,
}

/// A request as it is on the wire, and the store that it came to.
#[derive(Debug, Clone, Copy)]
pub struct RequestParts<'a> {
    /// The store's own id: never taken from a message.
    pub store: &'a StoreId,
    /// Unique, made by the asker.
    pub operation_id: &'a str,
    /// `reveal`, `logs` or `dump`.
    pub kind: &'a str,
    /// See [`RequestKind`].
    pub subject: &'a str,
    /// 32 bytes.
    pub one_time_public_key: &'a [u8],
    /// Milliseconds since 1970.
    pub expires_unix_ms: i64,
    /// Whose key signed.
    pub signer_key_id: &'a str,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A field has not its form.
    #[error("a field of the request has not the form it must have")]
    Form,
    /// The roster knows no such signer, or no longer.
    #[error("the request is signed by nobody whom the roster knows today")]
    UnknownSigner,
    /// The signature does not fit: another store, another field, another key.
    #[error("the request's signature does not fit")]
    BadSignature,
    /// Too late, or good for longer than [`MAX_VALIDITY`].
    #[error("the request has expired, or would be good for too long")]
    Expired,
    /// The signer may not ask for this.
    #[error("the roster does not let this signer ask for that")]
    RoleMissing,
}

impl RequestKind {
    /// As on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reveal => "reveal",
            Self::Logs => "logs",
            Self::Dump => "dump",
        }
    }

    /// Who may ask.
    #[must_use]
    pub const fn role(self) -> Role {
        match self {
            Self::Reveal => Role::Reveal,
            Self::Logs => Role::Logs,
            Self::Dump => Role::Dump,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Reveal, Self::Logs, Self::Dump]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

impl RequestError {
    /// Code of a `SealedResult`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Form => "malformed",
            Self::UnknownSigner => "unknown_signer",
            Self::BadSignature => "bad_signature",
            Self::Expired => "expired",
            Self::RoleMissing => "role_missing",
        }
    }
}

impl Request {
    /// A new request of a signer.
    ///
    /// # Errors
    /// When the operation id or the subject has not its form.
    pub fn new(
        store: &StoreId,
        operation_id: &str,
        question: Question<'_>,
        one_time_key: SealingPublicKey,
        expires: UnixMillis,
        signer: &VerifyingKey,
    ) -> Result<Self, RequestError> {
        if !word(operation_id, 64) || operation_id.is_empty() || !word(question.subject, 64) {
            return Err(RequestError::Form);
        }
        Ok(Self {
            store: store.clone(),
            operation_id: operation_id.to_owned(),
            kind: question.kind,
            subject: question.subject.to_owned(),
            one_time_key,
            expires,
            signer: signer.id(),
        })
    }

    /// Reads a request from the wire. It is not believed before [`Request::verify`].
    ///
    /// # Errors
    /// When a field has not its form.
    pub fn parse(parts: &RequestParts<'_>) -> Result<Self, RequestError> {
        let form = |_| RequestError::Form;
        if !word(parts.operation_id, 64)
            || parts.operation_id.is_empty()
            || !word(parts.subject, 64)
        {
            return Err(RequestError::Form);
        }
        Ok(Self {
            store: parts.store.clone(),
            operation_id: parts.operation_id.to_owned(),
            kind: RequestKind::parse(parts.kind).ok_or(RequestError::Form)?,
            subject: parts.subject.to_owned(),
            one_time_key: parts.one_time_public_key.try_into().map_err(form)?,
            expires: UnixMillis::new(parts.expires_unix_ms),
            signer: parts.signer_key_id.parse().map_err(form)?,
        })
    }

    /// Unique; an agent answers each once.
    #[must_use]
    pub fn operation_id(&self) -> &str {
        &self.operation_id
    }

    /// What is asked for.
    #[must_use]
    pub const fn kind(&self) -> RequestKind {
        self.kind
    }

    /// See [`RequestKind`].
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The only key that opens the answer.
    #[must_use]
    pub const fn one_time_key(&self) -> &SealingPublicKey {
        &self.one_time_key
    }

    /// When it ends.
    #[must_use]
    pub const fn expires(&self) -> UnixMillis {
        self.expires
    }

    /// Whose key signs.
    #[must_use]
    pub const fn signer(&self) -> &KeyId {
        &self.signer
    }

    /// Signs it.
    ///
    /// # Errors
    /// When the key is not the signer's.
    pub fn sign(&self, key: &SigningKey) -> Result<Signature, RequestError> {
        if key.verifying_key().id() != self.signer {
            return Err(RequestError::UnknownSigner);
        }
        Ok(key.sign(Domain::Request, &self.canonical()))
    }

    /// Judges it by the roster. Replays are the caller's to refuse: it remembers operation ids for [`MAX_VALIDITY`].
    ///
    /// # Errors
    /// When nobody who may has signed exactly this.
    pub fn verify(
        &self,
        signature: &[u8],
        roster: &Roster,
        now: UnixMillis,
    ) -> Result<(), RequestError> {
        let known = roster
            .find(&self.signer)
            .ok_or(RequestError::UnknownSigner)?;
        let signature = Signature::try_from(signature).map_err(|_| RequestError::BadSignature)?;
        known
            .public_key
            .verify(Domain::Request, &self.canonical(), &signature)
            .map_err(|_| RequestError::BadSignature)?;
        if self.expires <= now || self.expires > now.after(MAX_VALIDITY) {
            return Err(RequestError::Expired);
        }
        match roster.signer(&self.signer, self.kind.role(), now) {
            Ok(_) => Ok(()),
            Err(SignerError::Role) => Err(RequestError::RoleMissing),
            Err(SignerError::Unknown | SignerError::Expired) => Err(RequestError::UnknownSigner),
        }
    }

    /// Seals the answer.
    ///
    /// # Errors
    /// When it is too long or the one-time key is none.
    pub fn seal_reply(&self, answer: &[u8]) -> Result<Sealed, SealError> {
        seal(&self.one_time_key, &Context::Reply(self), answer)
    }

    /// Opens the answer.
    ///
    /// # Errors
    /// When it is no answer to this request.
    pub fn open_reply(
        &self,
        one_time_key: &SealingKey,
        enc: &[u8],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        open(one_time_key, &Context::Reply(self), enc, ciphertext)
    }

    /// The bytes that are signed.
    fn canonical(&self) -> Vec<u8> {
        Fields::new("request")
            .text(self.store.as_str())
            .text(&self.operation_id)
            .text(self.kind.as_str())
            .text(&self.subject)
            .bytes(self.one_time_key.as_bytes())
            .number(self.expires.get())
            .text(self.signer.as_str())
            .finish()
    }
}

/// Letters, digits, `-`, `_` and `.`.
fn word(text: &str, longest: usize) -> bool {
    text.len() <= longest
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}
