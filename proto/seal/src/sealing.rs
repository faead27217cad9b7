//! HPKE in its base mode: anyone can seal, one key opens. Who sealed is not proven; where it matters, the session says it.

use hpke::{
    Deserializable, HpkeError, OpModeR, OpModeS, Serializable, aead::ChaCha20Poly1305,
    kdf::HkdfSha256, kem::X25519HkdfSha256 as Kem,
};
use zeroize::Zeroizing;

use crate::{Context, SealingKey, SealingPublicKey};

/// Version of the padding and of the contexts' forms.
pub const SEAL_FORMAT: u32 = 1;
/// Plaintexts are padded to a multiple of this many bytes, so that a length says little.
pub const PADDING: usize = 64;
/// Longest plaintext. Bulk data goes over streams of its own.
pub const MAX_PLAINTEXT: usize = 1 << 20;

/// Length of HPKE's encapsulated key for X25519.
const ENC_BYTES: usize = 32;
/// Length of the Poly1305 tag.
const TAG_BYTES: usize = 16;
/// Marks the end of the plaintext; zeros follow.
const PAD_MARK: u8 = 0x80;

/// Something sealed, as on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// HPKE's encapsulated key.
    pub enc: Vec<u8>,
    /// Padded plaintext, encrypted.
    pub ciphertext: Vec<u8>,
}

/// Why something could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// More than [`MAX_PLAINTEXT`].
    #[error("at most {MAX_PLAINTEXT} bytes can be sealed")]
    TooLong,
    /// A public key that no private key belongs to.
    #[error("nothing can be sealed to this public key")]
    Recipient,
    /// Sealed to another key, under another context, or changed on the way.
    #[error("it was sealed to another key or for another purpose, or was changed on the way")]
    Open,
}

/// Seals a plaintext.
///
/// # Errors
/// When it is too long or the public key is none.
pub fn seal(
    to: &SealingPublicKey,
    context: &Context<'_>,
    plaintext: &[u8],
) -> Result<Sealed, SealError> {
    if plaintext.len() > MAX_PLAINTEXT {
        return Err(SealError::TooLong);
    }
    let public = <Kem as hpke::Kem>::PublicKey::from_bytes(to.as_bytes())
        .map_err(|_| SealError::Recipient)?;
    let padded = padded(plaintext);
    let (enc, ciphertext) = hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, Kem>(
        &OpModeS::Base,
        &public,
        context.info(),
        &padded,
        &context.aad(),
    )
    .map_err(|_: HpkeError| SealError::Recipient)?;
    Ok(Sealed {
        enc: enc.to_bytes().to_vec(),
        ciphertext,
    })
}

/// Opens what was sealed under the same context.
///
/// # Errors
/// One error for every reason: it tells an attacker nothing.
pub fn open(
    key: &SealingKey,
    context: &Context<'_>,
    enc: &[u8],
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let longest = MAX_PLAINTEXT + PADDING + TAG_BYTES;
    if enc.len() != ENC_BYTES || ciphertext.len() > longest {
        return Err(SealError::Open);
    }
    let enc = <Kem as hpke::Kem>::EncappedKey::from_bytes(enc).map_err(|_| SealError::Open)?;
    let mut padded = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, Kem>(
        &OpModeR::Base,
        key.hpke(),
        &enc,
        context.info(),
        ciphertext,
        &context.aad(),
    )
    .map(Zeroizing::new)
    .map_err(|_| SealError::Open)?;
    let length = unpadded_length(&padded).ok_or(SealError::Open)?;
    padded.truncate(length);
    Ok(padded)
}

fn padded(plaintext: &[u8]) -> Zeroizing<Vec<u8>> {
    let length = (plaintext.len() + 1).next_multiple_of(PADDING);
    // The capacity is exact: growing would leave a copy behind that nobody wipes.
    let mut padded = Zeroizing::new(Vec::with_capacity(length));
    padded.extend_from_slice(plaintext);
    padded.push(PAD_MARK);
    padded.resize(length, 0);
    padded
}

fn unpadded_length(padded: &[u8]) -> Option<usize> {
    let last = padded.iter().rposition(|byte| *byte != 0)?;
    (padded[last] == PAD_MARK && padded.len() == (last + 1).next_multiple_of(PADDING))
        .then_some(last)
}

#[cfg(test)]
mod tests {
    use shop_proto::StoreId;

    use super::*;

    fn store(text: &str) -> StoreId {
        text.parse().unwrap()
    }

    #[test]
    fn opens_under_the_same_context_only() {
        let key = SealingKey::generate();
        let (one, other) = (store("k3v9q2m8x1aa"), store("k3v9q2m8x1ab"));
        let context = Context::LogText {
            store: &one,
            source: "db",
        };
        let sealed = seal(&key.public_key(), &context, b"line").unwrap();
        assert_eq!(sealed.ciphertext.len(), PADDING + TAG_BYTES);
        let opened = open(&key, &context, &sealed.enc, &sealed.ciphertext).unwrap();
        assert_eq!(opened.as_slice(), b"line");
        for wrong in [
            Context::LogText {
                store: &other,
                source: "db",
            },
            Context::LogText {
                store: &one,
                source: "web",
            },
            Context::Escrow {
                store: &one,
                vault_version: 1,
            },
        ] {
            assert_eq!(
                open(&key, &wrong, &sealed.enc, &sealed.ciphertext),
                Err(SealError::Open)
            );
        }
        let stranger = SealingKey::generate();
        assert_eq!(
            open(&stranger, &context, &sealed.enc, &sealed.ciphertext),
            Err(SealError::Open)
        );
    }

    #[test]
    fn every_length_comes_back() {
        let key = SealingKey::generate();
        let store = store("k3v9q2m8x1aa");
        let context = Context::Escrow {
            store: &store,
            vault_version: 3,
        };
        for length in [0, 1, 62, 63, 64, 65, 1000] {
            let mut plaintext = vec![0; length];
            if let Some(last) = plaintext.last_mut() {
                *last = PAD_MARK;
            }
            let sealed = seal(&key.public_key(), &context, &plaintext).unwrap();
            assert_eq!((sealed.ciphertext.len() - TAG_BYTES) % PADDING, 0);
            let opened = open(&key, &context, &sealed.enc, &sealed.ciphertext).unwrap();
            assert_eq!(*opened, plaintext);
        }
    }

    #[test]
    fn a_key_of_low_order_and_a_long_text_are_refused() {
        let store = store("k3v9q2m8x1aa");
        let context = Context::Escrow {
            store: &store,
            vault_version: 1,
        };
        let zero: SealingPublicKey = [0; 32].as_slice().try_into().unwrap();
        assert_eq!(seal(&zero, &context, b"x"), Err(SealError::Recipient));
        let key = SealingKey::generate();
        let long = vec![0; MAX_PLAINTEXT + 1];
        assert_eq!(
            seal(&key.public_key(), &context, &long),
            Err(SealError::TooLong)
        );
    }
}
