//! The store's secrets at rest: one file, encrypted with a key that only the node holds, replaced whole.
//!
//! Beside the ciphertext lie the two public keys, in clear but authenticated: an agent that starts shows them to its node (`Introduce`)
//! and gets the wrapping key in return.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use secrecy::SecretString;
use shop_plan::StorePlan;
use shop_proto::StoreId;
use zeroize::Zeroizing;

use crate::{
    durable,
    identity::{Credential, CredentialError, KeyError, KeyPair},
};

pub(super) mod file;
mod generate;
#[cfg(test)]
mod tests;

pub use file::PublicKeys;

/// A vault that cannot be opened or changed.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The disk refuses.
    #[error("the vault cannot be read or written")]
    Io(#[from] io::Error),
    /// Not a vault at all.
    #[error("the vault is damaged")]
    Damaged,
    /// Another key, another store, or changed bytes.
    #[error("the vault does not open with this node's key: it is another store's, or damaged")]
    Sealed,
    /// Written by a later release; it is left as it is.
    #[error("the vault has format {found}; this release knows {known}", known = file::FORMAT)]
    NewerFormat {
        /// Its format.
        found: u32,
    },
    /// The system's random source failed.
    #[error("no randomness")]
    Random,
    /// A key inside cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The certificate inside cannot be used.
    #[error(transparent)]
    Credential(#[from] CredentialError),
}

/// Everything a store must keep to itself.
pub struct Vault {
    path: PathBuf,
    store: StoreId,
    wrapping_key: Zeroizing<[u8; 32]>,
    content: Content,
}

/// What is inside. Has no `Debug` and no `Serialize`.
#[derive(Clone)]
pub struct Content {
    /// Grows with every change.
    pub version: u64,
    /// The key that enrols, or that the current certificate certifies.
    pub identity: Arc<KeyPair>,
    /// The current certificate.
    pub credential: Option<Credential>,
    /// X25519 private key that operators seal to.
    pub sealing: Arc<shop_seal::SealingKey>,
    /// Generated secrets by name.
    pub secrets: BTreeMap<String, SecretString>,
    /// Values that are to take the place of those in force.
    pub coming: BTreeMap<String, SecretString>,
}

impl Content {
    /// New keys, nothing else.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn generate() -> Result<Self, VaultError> {
        Ok(Self {
            version: 0,
            identity: Arc::new(KeyPair::generate()?),
            credential: None,
            sealing: Arc::new(shop_seal::SealingKey::generate()),
            secrets: BTreeMap::new(),
            coming: BTreeMap::new(),
        })
    }

    /// What may be seen of it.
    #[must_use]
    pub fn public_keys(&self) -> PublicKeys {
        PublicKeys {
            identity_spki: self.identity.spki_der(),
            sealing: *self.sealing.public_key().as_bytes(),
        }
    }
}

/// Where the vault of this agent lies.
#[must_use]
pub fn path(directory: &Path) -> PathBuf {
    directory.join("vault.json")
}

/// The public keys of an existing vault, which needs no wrapping key.
///
/// # Errors
/// When there is a vault that cannot be read.
pub fn public_keys(directory: &Path) -> Result<Option<PublicKeys>, VaultError> {
    durable::read(&path(directory))?
        .map(|bytes| file::public_keys(&bytes))
        .transpose()
}

impl Vault {
    /// Opens the vault there is.
    ///
    /// # Errors
    /// When there is none, it is damaged, newer, or not for this store and key. It is never overwritten then.
    pub fn open(
        directory: &Path,
        store: StoreId,
        wrapping_key: Zeroizing<[u8; 32]>,
    ) -> Result<Self, VaultError> {
        let path = path(directory);
        let bytes = durable::read(&path)?.ok_or(VaultError::Damaged)?;
        Ok(Self {
            content: file::open(&bytes, &store, &wrapping_key)?,
            path,
            store,
            wrapping_key,
        })
    }

    /// Makes a new vault with this content.
    ///
    /// # Errors
    /// When the disk refuses, or a vault exists.
    pub fn create(
        directory: &Path,
        store: StoreId,
        wrapping_key: Zeroizing<[u8; 32]>,
        content: Content,
    ) -> Result<Self, VaultError> {
        let path = path(directory);
        if path.try_exists()? {
            return Err(VaultError::Io(io::ErrorKind::AlreadyExists.into()));
        }
        let vault = Self {
            path,
            store,
            wrapping_key,
            content,
        };
        vault.write(&vault.content)?;
        Ok(vault)
    }

    /// What is inside.
    #[must_use]
    pub const fn content(&self) -> &Content {
        &self.content
    }

    /// What a lost volume would take with it: secrets and the sealing key, not the agent's identity, which a node can vouch for anew.
    ///
    /// # Errors
    /// Never for a vault that could be written.
    pub fn escrow_content(&self) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        file::escrow_content(&self.content)
    }

    /// Keeps a new certificate and the key it certifies.
    ///
    /// # Errors
    /// When the disk refuses; then nothing has changed.
    pub fn set_credential(&mut self, credential: Credential) -> Result<(), VaultError> {
        self.change(|content| {
            content.identity = credential.key().clone();
            content.credential = Some(credential);
            Ok(true)
        })
    }

    /// Forgets a certificate that is of no use any more; its key remains and may be certified again.
    ///
    /// # Errors
    /// When the disk refuses; then nothing has changed.
    pub fn forget_credential(&mut self) -> Result<(), VaultError> {
        self.change(|content| Ok(content.credential.take().is_some()))
    }

    /// Makes the secrets that the plan names and that are not there yet. Never changes or removes one.
    ///
    /// # Errors
    /// When there is no randomness or the disk refuses; then nothing has changed.
    pub fn ensure_secrets(&mut self, plan: &StorePlan) -> Result<(), VaultError> {
        self.change(|content| {
            let before = content.secrets.len();
            for secret in &plan.secrets {
                if !content.secrets.contains_key(&secret.name) {
                    let value = generate::secret(secret.alphabet, secret.length)?;
                    content.secrets.insert(secret.name.clone(), value);
                }
            }
            Ok(content.secrets.len() != before)
        })
    }

    /// Makes a coming value of each of these secrets of the plan. One that is there already stays.
    ///
    /// # Errors
    /// As [`Vault::ensure_secrets`].
    pub fn stage<'n>(
        &mut self,
        plan: &StorePlan,
        names: impl Iterator<Item = &'n str>,
    ) -> Result<(), VaultError> {
        self.change(|content| {
            let before = content.coming.len();
            for name in names {
                let known = plan.secrets.iter().find(|secret| secret.name == name);
                if let Some(secret) = known.filter(|_| !content.coming.contains_key(name)) {
                    let value = generate::secret(secret.alphabet, secret.length)?;
                    content.coming.insert(name.to_owned(), value);
                }
            }
            Ok(content.coming.len() != before)
        })
    }

    /// Ends with one value of each: the coming one, or the one there was. Repeating it changes nothing.
    ///
    /// # Errors
    /// When the disk refuses; then nothing has changed.
    pub fn settle<'n>(
        &mut self,
        names: impl Iterator<Item = &'n str>,
        keep: bool,
    ) -> Result<(), VaultError> {
        self.change(|content| {
            let mut changed = false;
            for name in names {
                let Some(coming) = content.coming.remove(name) else {
                    continue;
                };
                changed = true;
                if keep {
                    content.secrets.insert(name.to_owned(), coming);
                }
            }
            Ok(changed)
        })
    }

    fn change(
        &mut self,
        change: impl FnOnce(&mut Content) -> Result<bool, VaultError>,
    ) -> Result<(), VaultError> {
        let mut content = self.content.clone();
        if change(&mut content)? {
            content.version += 1;
            self.write(&content)?;
            self.content = content;
        }
        Ok(())
    }

    fn write(&self, content: &Content) -> Result<(), VaultError> {
        let bytes = file::seal(content, &self.store, &self.wrapping_key)?;
        durable::replace(&self.path, &bytes)?;
        Ok(())
    }
}
