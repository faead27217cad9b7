//! The vault's form on disk: a JSON envelope around ChaCha20-Poly1305. Store, format and public keys are authenticated.

use std::{collections::BTreeMap, sync::Arc};

use data_encoding::BASE64;
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom as _, SystemRandom},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use shop_proto::StoreId;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{Content, VaultError};
use crate::identity::{Credential, KeyPair};

/// Version of the envelope and of what is inside.
pub const FORMAT: u32 = 1;
/// Room for the plain text, so that growing it leaves no copies behind in freed memory.
const PLAIN_TEXT_ROOM: usize = 64 << 10;

/// Public keys of a vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKeys {
    /// SubjectPublicKeyInfo of the identity key.
    pub identity_spki: Vec<u8>,
    /// X25519.
    pub sealing: [u8; 32],
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    format: u32,
    identity_spki: String,
    sealing_public: String,
    nonce: String,
    ciphertext: String,
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct PlainText {
    version: u64,
    identity: String,
    credential: Option<String>,
    sealing: String,
    secrets: Vec<NamedSecret>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    coming: Vec<NamedSecret>,
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct NamedSecret {
    name: String,
    value: String,
}

pub fn public_keys(bytes: &[u8]) -> Result<PublicKeys, VaultError> {
    envelope(bytes)?.public_keys()
}

pub fn seal(content: &Content, store: &StoreId, key: &[u8; 32]) -> Result<Vec<u8>, VaultError> {
    let public = content.public_keys();
    let mut buffer = plain_text(content)?;
    let mut nonce = [0; NONCE_LEN];
    // 96 random bits: a vault changes some thousand times in its life.
    SystemRandom::new()
        .fill(&mut nonce)
        .map_err(|_| VaultError::Random)?;
    sealing_key(key)?
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(associated(store, &public)),
            &mut *buffer,
        )
        .map_err(|_| VaultError::Sealed)?;
    let envelope = Envelope {
        format: FORMAT,
        identity_spki: BASE64.encode(&public.identity_spki),
        sealing_public: BASE64.encode(&public.sealing),
        nonce: BASE64.encode(&nonce),
        ciphertext: BASE64.encode(&buffer),
    };
    serde_json::to_vec(&envelope).map_err(|_| VaultError::Damaged)
}

pub fn open(bytes: &[u8], store: &StoreId, key: &[u8; 32]) -> Result<Content, VaultError> {
    let envelope = envelope(bytes)?;
    let public = envelope.public_keys()?;
    let nonce: [u8; NONCE_LEN] = decoded(&envelope.nonce)?
        .as_slice()
        .try_into()
        .map_err(|_| VaultError::Damaged)?;
    let mut buffer = decoded(&envelope.ciphertext)?;
    let plain = sealing_key(key)?
        .open_in_place(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(associated(store, &public)),
            &mut buffer,
        )
        .map_err(|_| VaultError::Sealed)?;
    opened(plain)
}

/// What was sealed, once it is in clear.
pub fn opened(plain: &[u8]) -> Result<Content, VaultError> {
    let plain: PlainText = serde_json::from_slice(plain).map_err(|_| VaultError::Damaged)?;
    content(&plain)
}

#[derive(Serialize, Zeroize, ZeroizeOnDrop)]
struct EscrowContent {
    format: u32,
    sealing: String,
    secrets: Vec<NamedSecret>,
}

pub fn escrow_content(content: &Content) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let escrow = EscrowContent {
        format: FORMAT,
        sealing: BASE64.encode(content.sealing.to_secret_bytes().as_slice()),
        secrets: named(&content.secrets),
    };
    let mut buffer = Zeroizing::new(Vec::with_capacity(PLAIN_TEXT_ROOM));
    serde_json::to_writer(&mut *buffer, &escrow).map_err(|_| VaultError::Damaged)?;
    Ok(buffer)
}

fn named(secrets: &BTreeMap<String, SecretString>) -> Vec<NamedSecret> {
    secrets
        .iter()
        .map(|(name, value)| NamedSecret {
            name: name.clone(),
            value: value.expose_secret().to_owned(),
        })
        .collect()
}

fn envelope(bytes: &[u8]) -> Result<Envelope, VaultError> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    let head: Head = serde_json::from_slice(bytes).map_err(|_| VaultError::Damaged)?;
    if head.format != FORMAT {
        return Err(VaultError::NewerFormat { found: head.format });
    }
    serde_json::from_slice(bytes).map_err(|_| VaultError::Damaged)
}

impl Envelope {
    fn public_keys(&self) -> Result<PublicKeys, VaultError> {
        Ok(PublicKeys {
            identity_spki: decoded(&self.identity_spki)?.to_vec(),
            sealing: decoded(&self.sealing_public)?
                .as_slice()
                .try_into()
                .map_err(|_| VaultError::Damaged)?,
        })
    }
}

/// What must be the same when it is opened. Every part but the last has a fixed length.
fn associated(store: &StoreId, public: &PublicKeys) -> Vec<u8> {
    let mut bytes = b"shopfleet/vault".to_vec();
    bytes.extend_from_slice(&FORMAT.to_be_bytes());
    bytes.extend_from_slice(store.as_str().as_bytes());
    bytes.extend_from_slice(&public.sealing);
    bytes.extend_from_slice(&public.identity_spki);
    bytes
}

fn sealing_key(key: &[u8; 32]) -> Result<LessSafeKey, VaultError> {
    UnboundKey::new(&CHACHA20_POLY1305, key)
        .map(LessSafeKey::new)
        .map_err(|_| VaultError::Sealed)
}

fn decoded(text: &str) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    BASE64
        .decode(text.as_bytes())
        .map(Zeroizing::new)
        .map_err(|_| VaultError::Damaged)
}

pub fn plain_text(content: &Content) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let plain = PlainText {
        version: content.version,
        identity: BASE64.encode(&content.identity.to_pkcs8()),
        credential: content
            .credential
            .as_ref()
            .map(|credential| BASE64.encode(&credential.encode())),
        sealing: BASE64.encode(content.sealing.to_secret_bytes().as_slice()),
        secrets: named(&content.secrets),
        coming: named(&content.coming),
    };
    let mut buffer = Zeroizing::new(Vec::with_capacity(PLAIN_TEXT_ROOM));
    serde_json::to_writer(&mut *buffer, &plain).map_err(|_| VaultError::Damaged)?;
    Ok(buffer)
}

fn content(plain: &PlainText) -> Result<Content, VaultError> {
    let sealing: Zeroizing<[u8; 32]> = Zeroizing::new(
        decoded(&plain.sealing)?
            .as_slice()
            .try_into()
            .map_err(|_| VaultError::Damaged)?,
    );
    let credential = match &plain.credential {
        Some(text) => Some(Credential::decode(&decoded(text)?)?),
        None => None,
    };
    Ok(Content {
        version: plain.version,
        identity: Arc::new(KeyPair::from_pkcs8(&decoded(&plain.identity)?)?),
        credential,
        sealing: Arc::new(
            shop_seal::SealingKey::from_secret_bytes(sealing.as_slice())
                .map_err(|_| VaultError::Damaged)?,
        ),
        secrets: by_name(&plain.secrets),
        coming: by_name(&plain.coming),
    })
}

fn by_name(secrets: &[NamedSecret]) -> BTreeMap<String, SecretString> {
    secrets
        .iter()
        .map(|secret| {
            (
                secret.name.clone(),
                SecretString::from(secret.value.clone()),
            )
        })
        .collect()
}
