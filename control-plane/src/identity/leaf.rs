//! Reading certificates and requests from outside: whom a leaf names, and the public key of a request. Nothing else is taken from either.

use std::fmt;

use jiff::Timestamp;
use rcgen::{CertificateSigningRequestParams, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls_pki_types::CertificateSigningRequestDer;
use shop_proto::{Digest, Identity, TrustDomain};
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, oid_registry::OID_EC_P256,
    prelude::FromDer,
};

use super::error::{CsrError, LeafError};

/// Longest request that is looked at. Ours are about 400 bytes.
const MAX_CSR_BYTES: usize = 4096;
/// Longest certificate that is looked at. Ours are about 700 bytes.
const MAX_LEAF_BYTES: usize = 8192;

/// Serial number of a certificate: lower-case hex without leading zero bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(String);

impl Serial {
    /// From the bytes of the certificate, big endian.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let first = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len());
        Self(data_encoding::HEXLOWER.encode(&bytes[first..]))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a leaf certificate says, once somebody else has checked its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    pub identity: Identity,
    pub serial: Serial,
    /// Digest of its SubjectPublicKeyInfo.
    pub spki: Digest,
    pub not_after: Timestamp,
    public_point: Vec<u8>,
}

impl Leaf {
    /// Reads the one URI name strictly: one URI, no other name, no authority, a P-256 key.
    ///
    /// # Errors
    /// For every certificate that this control plane would not have issued.
    pub fn parse(der: &[u8], domain: &TrustDomain) -> Result<Self, LeafError> {
        let certificate = parse_whole(der)?;
        if certificate.is_ca() {
            return Err(LeafError::Authority);
        }
        let names = certificate
            .subject_alternative_name()
            .ok()
            .flatten()
            .ok_or(LeafError::Names)?;
        let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else {
            return Err(LeafError::Names);
        };
        let key = certificate.public_key();
        let curve = key
            .algorithm
            .parameters
            .as_ref()
            .and_then(|parameters| parameters.as_oid().ok());
        if curve != Some(OID_EC_P256) {
            return Err(LeafError::Key);
        }
        let not_after = certificate.validity().not_after.timestamp();
        Ok(Self {
            identity: Identity::parse(uri, domain)?,
            serial: Serial::from_bytes(certificate.raw_serial()),
            spki: Digest::of(key.raw),
            not_after: Timestamp::from_second(not_after).map_err(|_| LeafError::Malformed)?,
            public_point: key.subject_public_key.data.to_vec(),
        })
    }

    /// Whom it names, for logs.
    #[must_use]
    pub fn identity_text(&self) -> String {
        match &self.identity {
            Identity::Node(node) => format!("node {node}"),
            Identity::StoreAgent(store) => format!("store {store}"),
        }
    }

    /// Whether `signature` over `message` was made with this leaf's key.
    #[must_use]
    pub fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        verify_p256(&self.public_point, message, signature)
    }
}

/// Whether `signature` over `message` was made with the key of a certificate, given in DER. Whose certificate it is somebody else knows.
#[must_use]
pub fn signed_by(certificate: &[u8], message: &[u8], signature: &[u8]) -> bool {
    parse_whole(certificate).is_ok_and(|certificate| {
        let point = &certificate.public_key().subject_public_key.data;
        verify_p256(point, message, signature)
    })
}

/// Whether the certificate carries a signature by the key whose uncompressed point is given.
///
/// # Errors
/// When it does not, or is no certificate.
pub fn check_issuer(der: &[u8], issuer_point: &[u8]) -> Result<(), LeafError> {
    let certificate = parse_whole(der)?;
    let signed = verify_p256(
        issuer_point,
        certificate.tbs_certificate.as_ref(),
        &certificate.signature_value.data,
    );
    signed.then_some(()).ok_or(LeafError::Issuer)
}

fn parse_whole(der: &[u8]) -> Result<X509Certificate<'_>, LeafError> {
    if der.len() > MAX_LEAF_BYTES {
        return Err(LeafError::Malformed);
    }
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(LeafError::Malformed),
    }
}

fn verify_p256(point: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
        .verify(message, signature)
        .is_ok()
}

/// The public key of a request: all that is ever taken from it. Names, usages and constraints that it asks for are not even kept.
#[derive(Debug, Clone)]
pub struct RequestedKey {
    key: rcgen::PublicKey,
    /// Digest of its SubjectPublicKeyInfo.
    pub spki: Digest,
}

impl RequestedKey {
    /// Checks that the request is signed by the key it carries (proof of possession) and that the key is P-256.
    ///
    /// # Errors
    /// When it is not.
    pub fn from_csr(der: &[u8]) -> Result<Self, CsrError> {
        if der.len() > MAX_CSR_BYTES {
            return Err(CsrError::Malformed);
        }
        let request =
            CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(der))
                .map_err(|_| CsrError::Malformed)?;
        let key = request.public_key;
        if key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(CsrError::Key);
        }
        let spki = Digest::of(&key.subject_public_key_info());
        Ok(Self { key, spki })
    }

    pub(super) fn key(&self) -> &rcgen::PublicKey {
        &self.key
    }
}
