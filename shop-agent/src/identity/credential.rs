//! A certificate chain with its key, and when to renew it.

use std::{sync::Arc, time::Duration};

use data_encoding::BASE64;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{KeyError, KeyPair};

/// Version of the stored form.
const FORMAT: u32 = 1;
/// Part of the lifetime around half of it in which renewal starts, so that agents do not renew together.
const RENEWAL_SPREAD: f64 = 0.2;

/// A leaf with its intermediates, the key it certifies, and the roots that came with it.
#[derive(Clone)]
pub struct Credential {
    chain: Vec<CertificateDer<'static>>,
    roots: Vec<CertificateDer<'static>>,
    key: Arc<KeyPair>,
    not_before: Timestamp,
    not_after: Timestamp,
    identity: String,
}

/// A chain that is not ours or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// No certificate at all.
    #[error("the chain is empty")]
    Empty,
    /// Not a certificate.
    #[error("the leaf cannot be read as a certificate")]
    Certificate,
    /// It certifies another key.
    #[error("the leaf does not certify our key")]
    OtherKey,
    /// It must have exactly one URI name.
    #[error("the leaf does not carry exactly one identity")]
    Identity,
    /// The stored form is damaged.
    #[error("the stored credential cannot be read")]
    Stored,
    /// Written by a later release.
    #[error("the stored credential has format {found}; this release knows {FORMAT}")]
    NewerFormat {
        /// Its format.
        found: u32,
    },
    /// The key inside cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct Stored {
    format: u32,
    chain: Vec<String>,
    roots: Vec<String>,
    key: String,
}

impl Credential {
    /// Checks that the leaf certifies `key` and names exactly one identity.
    ///
    /// # Errors
    /// When it does not.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        roots: Vec<CertificateDer<'static>>,
        key: Arc<KeyPair>,
    ) -> Result<Self, CredentialError> {
        let leaf = chain.first().ok_or(CredentialError::Empty)?;
        let (_, parsed) =
            X509Certificate::from_der(leaf).map_err(|_| CredentialError::Certificate)?;
        if parsed.public_key().raw != key.spki_der() {
            return Err(CredentialError::OtherKey);
        }
        let names = parsed
            .subject_alternative_name()
            .map_err(|_| CredentialError::Identity)?
            .ok_or(CredentialError::Identity)?;
        let [GeneralName::URI(identity)] = names.value.general_names.as_slice() else {
            return Err(CredentialError::Identity);
        };
        let time =
            |seconds| Timestamp::from_second(seconds).map_err(|_| CredentialError::Certificate);
        Ok(Self {
            identity: (*identity).to_owned(),
            not_before: time(parsed.validity().not_before.timestamp())?,
            not_after: time(parsed.validity().not_after.timestamp())?,
            chain,
            roots,
            key,
        })
    }

    /// Leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// Roots of the trust bundle that came with it.
    #[must_use]
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// The certified key.
    #[must_use]
    pub const fn key(&self) -> &Arc<KeyPair> {
        &self.key
    }

    /// The one URI name.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// End of its validity.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whether a session may be opened with it.
    #[must_use]
    pub fn valid_at(&self, now: Timestamp) -> bool {
        now < self.not_after
    }

    /// Time until renewal is due: half-life ± 10 %, placed by `unit` in 0..1. Zero when it is due already.
    #[must_use]
    pub fn renew_in(&self, now: Timestamp, unit: f64) -> Duration {
        let seconds = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64();
        let part = 0.5 + (unit.clamp(0.0, 1.0) - 0.5) * RENEWAL_SPREAD;
        let due = seconds(self.not_before, self.not_after) * part;
        Duration::from_secs_f64((due - seconds(self.not_before, now)).max(0.0))
    }

    /// The form to store: holds the private key.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let texts =
            |certs: &[CertificateDer<'_>]| certs.iter().map(|cert| BASE64.encode(cert)).collect();
        let stored = Stored {
            format: FORMAT,
            chain: texts(&self.chain),
            roots: texts(&self.roots),
            key: BASE64.encode(&self.key.to_pkcs8()),
        };
        Zeroizing::new(serde_json::to_vec(&stored).unwrap_or_default())
    }

    /// From the stored form.
    ///
    /// # Errors
    /// When it is damaged or newer than this release.
    pub fn decode(bytes: &[u8]) -> Result<Self, CredentialError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let head: Head = serde_json::from_slice(bytes).map_err(|_| CredentialError::Stored)?;
        if head.format != FORMAT {
            return Err(CredentialError::NewerFormat { found: head.format });
        }
        let stored: Stored = serde_json::from_slice(bytes).map_err(|_| CredentialError::Stored)?;
        let certs = |texts: &[String]| {
            texts
                .iter()
                .map(|text| BASE64.decode(text.as_bytes()).map(CertificateDer::from))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| CredentialError::Stored)
        };
        let key = Zeroizing::new(
            BASE64
                .decode(stored.key.as_bytes())
                .map_err(|_| CredentialError::Stored)?,
        );
        Self::new(
            certs(&stored.chain)?,
            certs(&stored.roots)?,
            Arc::new(KeyPair::from_pkcs8(&key)?),
        )
    }
}
