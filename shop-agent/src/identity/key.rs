//! An agent's P-256 key: made here, leaves the process only to be stored.

use rcgen::{
    CertificateParams, DistinguishedName, PKCS_ECDSA_P256_SHA256, PublicKeyData as _,
    SigningKey as _,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use shop_proto::Digest;
use zeroize::Zeroizing;

/// A P-256 key pair. Has no `Debug`.
pub struct KeyPair(rcgen::KeyPair);

/// A key that cannot be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The random source failed.
    #[error("cannot make a key")]
    Generate(#[source] rcgen::Error),
    /// Not a P-256 key in PKCS #8.
    #[error("the stored key is not a P-256 key in PKCS #8")]
    Read(#[source] rcgen::Error),
    /// Signing failed.
    #[error("cannot sign")]
    Sign(#[source] rcgen::Error),
}

impl KeyPair {
    /// A new key.
    ///
    /// # Errors
    /// When the system's random source fails.
    pub fn generate() -> Result<Self, KeyError> {
        rcgen::KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
            .map(Self)
            .map_err(KeyError::Generate)
    }

    /// A stored key.
    ///
    /// # Errors
    /// When the bytes are no P-256 key in PKCS #8.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        rcgen::KeyPair::from_pkcs8_der_and_sign_algo(
            &PrivatePkcs8KeyDer::from(der),
            &PKCS_ECDSA_P256_SHA256,
        )
        .map(Self)
        .map_err(KeyError::Read)
    }

    /// The private key, to be stored encrypted or with mode 0600.
    #[must_use]
    pub fn to_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.serialize_der())
    }

    /// SubjectPublicKeyInfo.
    #[must_use]
    pub fn spki_der(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }

    /// What a voucher names: the digest of the SubjectPublicKeyInfo.
    #[must_use]
    pub fn spki_digest(&self) -> Digest {
        Digest::of(&self.spki_der())
    }

    /// A signing request. It asks for nothing: the issuer takes only the public key from it.
    ///
    /// # Errors
    /// When signing fails.
    pub fn csr_der(&self) -> Result<Vec<u8>, KeyError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .serialize_request(&self.0)
            .map(|csr| csr.der().to_vec())
            .map_err(KeyError::Sign)
    }

    /// ECDSA with SHA-256, ASN.1 form.
    ///
    /// # Errors
    /// When the random source fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.0.sign(message).map_err(KeyError::Sign)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_key_is_the_same_key() {
        let key = KeyPair::generate().unwrap();
        let again = KeyPair::from_pkcs8(&key.to_pkcs8()).unwrap();
        assert_eq!(key.spki_digest(), again.spki_digest());
        assert!(KeyPair::from_pkcs8(b"nonsense").is_err());
    }
}
