//! Keys. Private ones have no `Debug`, no `Serialize`, no `Clone`, and are wiped when dropped.

use std::{fmt, str::FromStr};

use data_encoding::HEXLOWER;
use hpke::{Deserializable, Kem as _, Serializable, kem::X25519HkdfSha256 as Kem};
use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use shop_proto::Digest;
use zeroize::Zeroizing;

/// Length of every key of ours.
pub(crate) const KEY_BYTES: usize = 32;

/// Why bytes are no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Another length, or no lower-case hex.
    #[error("a key is 32 bytes, written as 64 lower-case hexadecimal characters")]
    Form,
    /// The operating system gave no randomness.
    #[error("the operating system gave no random bytes")]
    Random,
    /// A signature does not fit.
    #[error("the signature does not fit the content and the key")]
    Signature,
}

/// Names a public key: the first 16 hex characters of its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

/// What is signed: a signature of one kind is never one of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// A roster, by the operator root.
    Roster,
    /// A request, by a signer.
    Request,
}

/// An Ed25519 signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

/// An Ed25519 public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifyingKey([u8; KEY_BYTES]);

/// An Ed25519 private key.
pub struct SigningKey {
    seed: Zeroizing<[u8; KEY_BYTES]>,
    pair: Ed25519KeyPair,
}

/// An X25519 public key that something is sealed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SealingPublicKey([u8; KEY_BYTES]);

/// An X25519 private key that opens what was sealed to its public half.
pub struct SealingKey {
    private: <Kem as hpke::Kem>::PrivateKey,
    public: SealingPublicKey,
}

impl KeyId {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn of(public: &[u8; KEY_BYTES]) -> Self {
        let mut id = Digest::of(public).to_string();
        id.truncate(16);
        Self(id)
    }
}

impl Domain {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Roster => "shopfleet roster 1",
            Self::Request => "shopfleet sealed request 1",
        }
    }

    fn signed(self, content: &[u8]) -> Vec<u8> {
        crate::encoding::Fields::new(self.as_str())
            .bytes(content)
            .finish()
    }
}

impl Signature {
    /// The bytes on the wire.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.0.to_vec()
    }
}

impl TryFrom<&[u8]> for Signature {
    type Error = KeyError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self).map_err(|_| KeyError::Signature)
    }
}

impl SigningKey {
    /// A new one.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = Zeroizing::new([0; KEY_BYTES]);
        SystemRandom::new()
            .fill(seed.as_mut_slice())
            .map_err(|_| KeyError::Random)?;
        Self::from_seed(seed)
    }

    pub(crate) fn from_seed(seed: Zeroizing<[u8; KEY_BYTES]>) -> Result<Self, KeyError> {
        let pair =
            Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).map_err(|_| KeyError::Form)?;
        Ok(Self { seed, pair })
    }

    pub(crate) fn seed(&self) -> &Zeroizing<[u8; KEY_BYTES]> {
        &self.seed
    }

    /// The public half.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        let mut bytes = [0; KEY_BYTES];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        VerifyingKey(bytes)
    }

    /// Signs content of one kind.
    #[must_use]
    pub fn sign(&self, domain: Domain, content: &[u8]) -> Signature {
        let mut bytes = [0; 64];
        bytes.copy_from_slice(self.pair.sign(&domain.signed(content)).as_ref());
        Signature(bytes)
    }
}

impl VerifyingKey {
    /// Checks a signature over content of one kind.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn verify(
        &self,
        domain: Domain,
        content: &[u8],
        signature: &Signature,
    ) -> Result<(), KeyError> {
        UnparsedPublicKey::new(&ED25519, self.0)
            .verify(&domain.signed(content), &signature.0)
            .map_err(|_| KeyError::Signature)
    }

    /// What a pin of this key is: the SHA-256 of its 32 bytes.
    #[must_use]
    pub fn pin(&self) -> Digest {
        Digest::of(&self.0)
    }
}

impl SealingKey {
    /// A new one.
    ///
    /// # Panics
    /// When the operating system gives no randomness.
    #[must_use]
    pub fn generate() -> Self {
        let (private, public) = Kem::gen_keypair();
        Self::with_public(private, &public)
    }

    /// From what [`SealingKey::to_secret_bytes`] gave.
    ///
    /// # Errors
    /// When it is not 32 bytes.
    pub fn from_secret_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let private =
            <Kem as hpke::Kem>::PrivateKey::from_bytes(bytes).map_err(|_| KeyError::Form)?;
        let public = Kem::sk_to_pk(&private);
        Ok(Self::with_public(private, &public))
    }

    fn with_public(
        private: <Kem as hpke::Kem>::PrivateKey,
        public: &<Kem as hpke::Kem>::PublicKey,
    ) -> Self {
        let mut bytes = [0; KEY_BYTES];
        bytes.copy_from_slice(&public.to_bytes());
        Self {
            private,
            public: SealingPublicKey(bytes),
        }
    }

    /// The private bytes, for a vault or a key file.
    #[must_use]
    pub fn to_secret_bytes(&self) -> Zeroizing<[u8; KEY_BYTES]> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        self.private.write_exact(bytes.as_mut_slice());
        bytes
    }

    /// The public half.
    #[must_use]
    pub const fn public_key(&self) -> SealingPublicKey {
        self.public
    }

    pub(crate) const fn hpke(&self) -> &<Kem as hpke::Kem>::PrivateKey {
        &self.private
    }
}

/// What both kinds of public keys can do.
macro_rules! public_key {
    ($name:ident) => {
        impl $name {
            /// The 32 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; KEY_BYTES] {
                &self.0
            }

            /// Its name.
            #[must_use]
            pub fn id(&self) -> KeyId {
                KeyId::of(&self.0)
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = KeyError;

            fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
                bytes.try_into().map(Self).map_err(|_| KeyError::Form)
            }
        }

        impl FromStr for $name {
            type Err = KeyError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let bytes = HEXLOWER
                    .decode(text.as_bytes())
                    .map_err(|_| KeyError::Form)?;
                bytes.as_slice().try_into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?
                    .parse()
                    .map_err(de::Error::custom)
            }
        }
    };
}

public_key!(VerifyingKey);
public_key!(SealingPublicKey);

impl FromStr for KeyId {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (text.len() == 16 && text.bytes().all(hex))
            .then(|| Self(text.to_owned()))
            .ok_or(KeyError::Form)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_of_one_kind_is_none_of_another() {
        let key = SigningKey::generate().unwrap();
        let signature = key.sign(Domain::Roster, b"content");
        let public = key.verifying_key();
        assert_eq!(
            public.verify(Domain::Roster, b"content", &signature),
            Ok(())
        );
        assert_eq!(
            public.verify(Domain::Request, b"content", &signature),
            Err(KeyError::Signature)
        );
        assert_eq!(
            public.verify(Domain::Roster, b"contenT", &signature),
            Err(KeyError::Signature)
        );
        let other = SigningKey::generate().unwrap().verifying_key();
        assert_eq!(
            other.verify(Domain::Roster, b"content", &signature),
            Err(KeyError::Signature)
        );
    }

    #[test]
    fn public_keys_round_trip() {
        let key = SealingKey::generate();
        let again = SealingKey::from_secret_bytes(key.to_secret_bytes().as_slice()).unwrap();
        assert_eq!(again.public_key(), key.public_key());
        assert_eq!(key.public_key().to_string().parse(), Ok(key.public_key()));
        assert_eq!(
            key.public_key().id().to_string().parse(),
            Ok(key.public_key().id())
        );
        assert!("zz".parse::<SealingPublicKey>().is_err());
        assert!(SealingKey::from_secret_bytes(&[0; 31]).is_err());
    }
}
