//! The roster: the only source of signers. An offline operator root signs it; the control plane relays it and cannot add to it.
//!
//! The signed bytes are the document itself, in one canonical form: parsing it and writing it again gives the same bytes.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use shop_proto::Digest;

use crate::{Domain, KeyId, SealingPublicKey, Signature, SigningKey, UnixMillis, VerifyingKey};

/// Version of the document's form.
pub const ROSTER_FORMAT: u32 = 1;
/// Largest document.
pub const MAX_ROSTER_BYTES: usize = 64 << 10;
/// Most signers.
const MAX_SIGNERS: usize = 200;
/// Most log keys.
const MAX_LOG_KEYS: usize = 16;

/// Who may ask for what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roster {
    /// [`ROSTER_FORMAT`].
    pub format: u32,
    /// Grows with every change.
    pub version: u64,
    /// Who signs it; nodes pin its digest.
    pub operator_root: VerifyingKey,
    /// When it was made.
    pub issued_at: UnixMillis,
    /// Who may sign requests.
    pub signers: Vec<Signer>,
    /// What vaults are escrowed to; its private half is kept offline.
    pub recovery_key: Option<SealingPublicKey>,
    /// What log text is sealed to: the first; the others may open what was sealed before.
    pub log_keys: Vec<SealingPublicKey>,
}

/// A key that may sign requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signer {
    /// Name of the key.
    pub key_id: KeyId,
    /// The key.
    pub public_key: VerifyingKey,
    /// What it may sign.
    pub roles: BTreeSet<Role>,
    /// When it ends.
    pub not_after: UnixMillis,
}

/// What a signer may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Ask for a login.
    Reveal,
    /// Ask for log text.
    Logs,
    /// Ask for a dump.
    Dump,
    /// Bring secrets.
    Secrets,
}

/// A roster as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRoster {
    /// The canonical JSON.
    pub document: Vec<u8>,
    /// By the operator root.
    pub signature: Vec<u8>,
}

/// Which roster is known already: what an agent keeps in its ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RosterMark {
    /// Its version.
    pub version: u64,
    /// Digest of its document.
    pub digest: Digest,
}

/// Why a roster is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// Larger than [`MAX_ROSTER_BYTES`], or with too many keys.
    #[error("the roster is too large")]
    TooLarge,
    /// No roster, or not in its canonical form.
    #[error("the roster is not in its canonical form")]
    Form,
    /// Of a newer release.
    #[error("the roster has format {0}; upgrade to read it")]
    Format(u32),
    /// Its root is not the pinned one.
    #[error("the roster is of another operator root than the pinned one")]
    OtherRoot,
    /// Not signed by its root.
    #[error("the roster's signature does not fit")]
    Signature,
    /// A signer's key id is not its key's, or a key stands there twice.
    #[error("the roster's keys do not fit their ids, or one of them stands there twice")]
    Keys,
    /// Older than the one known.
    #[error("the roster has version {offered}, and version {known} is known")]
    Outdated {
        /// Version of the one offered.
        offered: u64,
        /// Version of the one known.
        known: u64,
    },
    /// The same version as the one known, with other content.
    #[error("the roster has the version of the one known, with other content")]
    ContentChanged,
}

/// Why nobody may sign this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignerError {
    /// Not in the roster.
    #[error("the roster knows no such signer")]
    Unknown,
    /// No longer.
    #[error("the signer's time in the roster has ended")]
    Expired,
    /// Not for this.
    #[error("the roster does not give the signer this role")]
    Role,
}

impl Roster {
    /// Writes and signs it.
    ///
    /// # Errors
    /// When it could not be verified: it names another root, is too large, or its keys do not fit.
    pub fn sign(&self, root: &SigningKey) -> Result<SignedRoster, RosterError> {
        if self.operator_root != root.verifying_key() {
            return Err(RosterError::OtherRoot);
        }
        let document = self.document()?;
        let signed = SignedRoster {
            signature: root.sign(Domain::Roster, &document).to_vec(),
            document,
        };
        Self::verify(
            &signed.document,
            &signed.signature,
            &self.operator_root.pin(),
        )?;
        Ok(signed)
    }

    /// Reads one that was signed by the pinned operator root.
    ///
    /// # Errors
    /// When anything about it is not as it must be. Says nothing about what is known already: see [`Roster::succeeds`].
    pub fn verify(
        document: &[u8],
        signature: &[u8],
        root_pin: &Digest,
    ) -> Result<Self, RosterError> {
        if document.len() > MAX_ROSTER_BYTES {
            return Err(RosterError::TooLarge);
        }
        let roster: Self = match serde_json::from_slice(document) {
            Ok(roster) => roster,
            Err(_) => return Err(unreadable(document)),
        };
        if roster.operator_root.pin() != *root_pin {
            return Err(RosterError::OtherRoot);
        }
        let signature = Signature::try_from(signature).map_err(|_| RosterError::Signature)?;
        roster
            .operator_root
            .verify(Domain::Roster, document, &signature)
            .map_err(|_| RosterError::Signature)?;
        if roster.format != ROSTER_FORMAT {
            return Err(RosterError::Format(roster.format));
        }
        if roster.document()? != document {
            return Err(RosterError::Form);
        }
        roster.check_keys()?;
        Ok(roster)
    }

    /// As [`Roster::verify`], and never older than, or different from, the one known.
    ///
    /// # Errors
    /// As [`Roster::verify`] and [`Roster::succeeds`].
    pub fn verify_newer(
        document: &[u8],
        signature: &[u8],
        root_pin: &Digest,
        known: Option<&RosterMark>,
    ) -> Result<Self, RosterError> {
        let roster = Self::verify(document, signature, root_pin)?;
        roster.succeeds(known)?;
        Ok(roster)
    }

    /// Whether it may take the place of the one known.
    ///
    /// # Errors
    /// When it is older, or has the same version and other content.
    pub fn succeeds(&self, known: Option<&RosterMark>) -> Result<(), RosterError> {
        match known {
            Some(known) if self.version < known.version => Err(RosterError::Outdated {
                offered: self.version,
                known: known.version,
            }),
            Some(known) if self.version == known.version && self.mark()?.digest != known.digest => {
                Err(RosterError::ContentChanged)
            }
            _ => Ok(()),
        }
    }

    /// What to remember of it.
    ///
    /// # Errors
    /// Never for a roster that was verified.
    pub fn mark(&self) -> Result<RosterMark, RosterError> {
        Ok(RosterMark {
            version: self.version,
            digest: Digest::of(&self.document()?),
        })
    }

    /// The signer of this key id, if it may sign for this role now.
    ///
    /// # Errors
    /// When it is unknown, its time has ended, or it has not the role.
    pub fn signer(
        &self,
        key_id: &KeyId,
        role: Role,
        now: UnixMillis,
    ) -> Result<&Signer, SignerError> {
        let signer = self.find(key_id).ok_or(SignerError::Unknown)?;
        if signer.not_after <= now {
            return Err(SignerError::Expired);
        }
        if !signer.roles.contains(&role) {
            return Err(SignerError::Role);
        }
        Ok(signer)
    }

    /// What log text is sealed to now.
    #[must_use]
    pub fn log_key(&self) -> Option<&SealingPublicKey> {
        self.log_keys.first()
    }

    pub(crate) fn find(&self, key_id: &KeyId) -> Option<&Signer> {
        self.signers.iter().find(|signer| &signer.key_id == key_id)
    }

    fn document(&self) -> Result<Vec<u8>, RosterError> {
        let document = serde_json::to_vec(self).map_err(|_| RosterError::Form)?;
        if document.len() > MAX_ROSTER_BYTES {
            return Err(RosterError::TooLarge);
        }
        Ok(document)
    }

    fn check_keys(&self) -> Result<(), RosterError> {
        if self.signers.len() > MAX_SIGNERS || self.log_keys.len() > MAX_LOG_KEYS {
            return Err(RosterError::TooLarge);
        }
        let ids: BTreeSet<&KeyId> = self.signers.iter().map(|signer| &signer.key_id).collect();
        let logs: BTreeSet<&SealingPublicKey> = self.log_keys.iter().collect();
        let fit = self
            .signers
            .iter()
            .all(|signer| signer.public_key.id() == signer.key_id);
        if fit && ids.len() == self.signers.len() && logs.len() == self.log_keys.len() {
            Ok(())
        } else {
            Err(RosterError::Keys)
        }
    }
}

impl Signer {
    /// A signer from its key.
    #[must_use]
    pub fn new(
        public_key: VerifyingKey,
        roles: impl IntoIterator<Item = Role>,
        not_after: UnixMillis,
    ) -> Self {
        Self {
            key_id: public_key.id(),
            public_key,
            roles: roles.into_iter().collect(),
            not_after,
        }
    }
}

/// A document of a newer format may have fields that this release does not know.
fn unreadable(document: &[u8]) -> RosterError {
    #[derive(Deserialize)]
    struct OnlyFormat {
        format: u32,
    }
    match serde_json::from_slice::<OnlyFormat>(document) {
        Ok(OnlyFormat { format }) if format > ROSTER_FORMAT => RosterError::Format(format),
        _ => RosterError::Form,
    }
}
