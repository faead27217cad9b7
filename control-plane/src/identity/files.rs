//! The identity directory: PEM files that only their owner can read, and a format version that a newer release's files are refused by.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::error::AuthorityError;

/// Version of the directory's layout.
pub const FORMAT: u32 = 1;

const FORMAT_FILE: &str = "format.toml";

/// What the directory says about itself.
#[derive(Debug, Serialize, Deserialize)]
pub struct Header {
    pub format: u32,
    pub trust_domain: String,
}

/// The directory.
#[derive(Debug, Clone)]
pub struct IdentityDir(PathBuf);

impl IdentityDir {
    /// The directory at this path, existing or not.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Path of a file in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Whether a complete identity is here: the header is written last.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.path(FORMAT_FILE).exists()
    }

    /// Makes the directory, 0700.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn create(&self) -> Result<(), AuthorityError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .map_err(|source| self.error(".", source))
    }

    /// Reads the header and refuses a newer format.
    ///
    /// # Errors
    /// When it is missing, damaged or newer.
    pub fn header(&self) -> Result<Header, AuthorityError> {
        let text = self.read(FORMAT_FILE)?;
        let header: Header = toml::from_str(&text).map_err(|_| AuthorityError::Damaged {
            path: self.path(FORMAT_FILE),
            problem: "not the header of an identity directory",
        })?;
        if header.format != FORMAT {
            return Err(AuthorityError::Format {
                path: self.path(FORMAT_FILE),
                found: header.format,
                known: FORMAT,
            });
        }
        Ok(header)
    }

    /// Writes the header: the directory is complete.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn seal(&self, trust_domain: &str) -> Result<(), AuthorityError> {
        let text = format!("format = {FORMAT}\ntrust_domain = \"{trust_domain}\"\n");
        self.write(FORMAT_FILE, text.as_bytes())
    }

    /// A text file.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn read(&self, name: &str) -> Result<Zeroizing<String>, AuthorityError> {
        fs::read_to_string(self.path(name))
            .map(Zeroizing::new)
            .map_err(|source| self.error(name, source))
    }

    /// As [`IdentityDir::read`], `None` when there is no such file.
    ///
    /// # Errors
    /// When the file system refuses for another reason.
    pub fn read_optional(&self, name: &str) -> Result<Option<Zeroizing<String>>, AuthorityError> {
        match fs::read_to_string(self.path(name)) {
            Ok(text) => Ok(Some(Zeroizing::new(text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.error(name, source)),
        }
    }

    /// Replaces a file atomically and durably, mode 0600.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), AuthorityError> {
        write_private(&self.path(name), content).map_err(|source| self.error(name, source))
    }

    fn error(&self, name: &str, source: io::Error) -> AuthorityError {
        AuthorityError::File {
            path: self.path(name),
            source,
        }
    }
}

/// Replaces a file atomically and durably; only the owner can read it.
///
/// # Errors
/// When the file system refuses.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    // Left over from a crash: its mode cannot be trusted, so it is made anew.
    match fs::remove_file(&temporary) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => fs::File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}
