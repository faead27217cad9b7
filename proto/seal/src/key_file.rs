//! How a person keeps a key: one JSON file for each, readable by its owner only.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{
    KeyId, SealingKey, SigningKey,
    keys::{KEY_BYTES, KeyError},
};

/// Version of the file's form.
pub const KEY_FILE_FORMAT: u32 = 1;
/// A key file is some hundred bytes.
const MAX_FILE_BYTES: u64 = 4096;

/// A private key and what it is for.
pub struct KeyFile {
    purpose: KeyPurpose,
    key: PrivateKey,
}

/// What a key is for. Decides what kind of key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyPurpose {
    /// Signs rosters; kept offline.
    OperatorRoot,
    /// Signs requests.
    Signer,
    /// Opens escrowed vaults; kept offline.
    Recovery,
    /// Opens log text.
    Logs,
}

/// A private key.
pub enum PrivateKey {
    /// Ed25519.
    Signing(SigningKey),
    /// X25519.
    Sealing(SealingKey),
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file itself.
    #[error("the key file cannot be read or written")]
    Io(#[source] io::Error),
    /// There is one already: a key is never overwritten.
    #[error("the key file exists already; nothing was changed")]
    Exists,
    /// Others can read it.
    #[error(
        "the key file can be read by others; run `chmod 600` on it, and consider the key known"
    )]
    Permissions,
    /// No key file, or its parts do not fit each other.
    #[error("this is no key file, or it was changed")]
    Form,
    /// Of a newer release.
    #[error("the key file has format {0}; upgrade to read it")]
    Format(u32),
    /// For something else.
    #[error("the key file is for {found:?}, not for {wanted:?}")]
    Purpose {
        /// What it was to be used for.
        wanted: KeyPurpose,
        /// What it is for.
        found: KeyPurpose,
    },
}

/// The file's content. Wiped when dropped.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct Content {
    format: u32,
    #[zeroize(skip)]
    purpose: KeyPurpose,
    key_id: String,
    public_key: String,
    private_key: String,
}

impl KeyPurpose {
    const fn signs(self) -> bool {
        matches!(self, Self::OperatorRoot | Self::Signer)
    }
}

impl From<KeyError> for KeyFileError {
    fn from(_: KeyError) -> Self {
        Self::Form
    }
}

impl KeyFile {
    /// A new key of the kind that the purpose needs.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate(purpose: KeyPurpose) -> Result<Self, KeyError> {
        let key = if purpose.signs() {
            PrivateKey::Signing(SigningKey::generate()?)
        } else {
            PrivateKey::Sealing(SealingKey::generate())
        };
        Ok(Self { purpose, key })
    }

    /// What it is for.
    #[must_use]
    pub const fn purpose(&self) -> KeyPurpose {
        self.purpose
    }

    /// Name of the public key.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        match &self.key {
            PrivateKey::Signing(key) => key.verifying_key().id(),
            PrivateKey::Sealing(key) => key.public_key().id(),
        }
    }

    /// The signing key, if the file is for this purpose.
    ///
    /// # Errors
    /// When it is for another.
    pub fn into_signing(self, wanted: KeyPurpose) -> Result<SigningKey, KeyFileError> {
        match self.key {
            PrivateKey::Signing(key) if self.purpose == wanted => Ok(key),
            _ => Err(KeyFileError::Purpose {
                wanted,
                found: self.purpose,
            }),
        }
    }

    /// The sealing key, if the file is for this purpose.
    ///
    /// # Errors
    /// When it is for another.
    pub fn into_sealing(self, wanted: KeyPurpose) -> Result<SealingKey, KeyFileError> {
        match self.key {
            PrivateKey::Sealing(key) if self.purpose == wanted => Ok(key),
            _ => Err(KeyFileError::Purpose {
                wanted,
                found: self.purpose,
            }),
        }
    }

    /// The file's text.
    ///
    /// # Errors
    /// Never for a key that exists.
    pub fn to_json(&self) -> Result<Zeroizing<String>, KeyFileError> {
        let (public_key, private) = match &self.key {
            PrivateKey::Signing(key) => (key.verifying_key().to_string(), key.seed().clone()),
            PrivateKey::Sealing(key) => (key.public_key().to_string(), key.to_secret_bytes()),
        };
        let content = Content {
            format: KEY_FILE_FORMAT,
            purpose: self.purpose,
            key_id: self.key_id().to_string(),
            public_key,
            private_key: HEXLOWER.encode(private.as_slice()),
        };
        let mut text = serde_json::to_string_pretty(&content).map_err(|_| KeyFileError::Form)?;
        text.push('\n');
        Ok(Zeroizing::new(text))
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// When it is no key file, of a newer format, or its parts do not fit each other.
    pub fn from_json(text: &str) -> Result<Self, KeyFileError> {
        #[derive(Deserialize)]
        struct OnlyFormat {
            format: u32,
        }
        let OnlyFormat { format } = serde_json::from_str(text).map_err(|_| KeyFileError::Form)?;
        if format != KEY_FILE_FORMAT {
            return Err(KeyFileError::Format(format));
        }
        let content: Content = serde_json::from_str(text).map_err(|_| KeyFileError::Form)?;
        let bytes = HEXLOWER
            .decode(content.private_key.as_bytes())
            .map(Zeroizing::new)
            .map_err(|_| KeyFileError::Form)?;
        let bytes: Zeroizing<[u8; KEY_BYTES]> = Zeroizing::new(
            bytes
                .as_slice()
                .try_into()
                .map_err(|_| KeyFileError::Form)?,
        );
        let key = if content.purpose.signs() {
            PrivateKey::Signing(SigningKey::from_seed(bytes)?)
        } else {
            PrivateKey::Sealing(SealingKey::from_secret_bytes(bytes.as_slice())?)
        };
        let file = Self {
            purpose: content.purpose,
            key,
        };
        let public = match &file.key {
            PrivateKey::Signing(key) => key.verifying_key().to_string(),
            PrivateKey::Sealing(key) => key.public_key().to_string(),
        };
        if public == content.public_key && file.key_id().as_str() == content.key_id {
            Ok(file)
        } else {
            Err(KeyFileError::Form)
        }
    }

    /// Writes a new file, readable by its owner only, and makes it durable.
    ///
    /// # Errors
    /// When there is one already, or it cannot be written.
    pub fn write_new(&self, path: &Path) -> Result<(), KeyFileError> {
        let text = self.to_json()?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => KeyFileError::Exists,
                _ => KeyFileError::Io(error),
            })?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(KeyFileError::Io)
    }

    /// Reads a file that only its owner can read.
    ///
    /// # Errors
    /// When it cannot be read, others can read it, or it is no key file.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        let file = fs::File::open(path).map_err(KeyFileError::Io)?;
        let metadata = file.metadata().map_err(KeyFileError::Io)?;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(KeyFileError::Permissions);
        }
        if metadata.len() > MAX_FILE_BYTES {
            return Err(KeyFileError::Form);
        }
        // The capacity is enough: growing would leave a copy behind that nobody wipes.
        let mut text = Zeroizing::new(String::with_capacity(MAX_FILE_BYTES as usize));
        file.take(MAX_FILE_BYTES)
            .read_to_string(&mut text)
            .map_err(KeyFileError::Io)?;
        Self::from_json(&text)
    }
}
