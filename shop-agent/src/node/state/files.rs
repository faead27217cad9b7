//! Files that survive a power cut: written beside, synced, renamed, directory synced. Each says its format; a newer one is refused.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::tree;

/// The largest file of ours that is read back.
const MAX_BYTES: u64 = 4 << 20;

/// A file that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system.
    #[error("{}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// Not what we write.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: serde_json::Error,
    },
    /// Written by a later release; it is left as it is.
    #[error("{} has format {found}, this release knows {known}: install the newer release again", path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// Ours.
        known: u32,
    },
}

/// A value that is kept in a file of its own.
pub trait Kept: Serialize + DeserializeOwned {
    /// Version of the form.
    const FORMAT: u32;
}

#[derive(Serialize)]
struct Outgoing<'a, T> {
    format: u32,
    #[serde(flatten)]
    value: &'a T,
}

#[derive(Deserialize)]
struct Head {
    format: u32,
}

#[derive(Deserialize)]
struct Incoming<T> {
    #[serde(flatten)]
    value: T,
}

fn damaged(path: &Path) -> impl FnOnce(serde_json::Error) -> FileError {
    let path = path.to_path_buf();
    move |source| FileError::Damaged { path, source }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_path_buf();
    move |source| FileError::Io { path, source }
}

/// Replaces the file's content, readable by us only. After a crash the old or the new content is there.
///
/// # Errors
/// When the disk says no; the old content is there then.
pub fn keep<T: Kept>(path: &Path, value: &T) -> Result<(), FileError> {
    replace(path, &encode(path, value)?, 0o600)
}

/// What the file at this path holds for a value.
///
/// # Errors
/// Never for a value of ours.
pub fn encode<T: Kept>(path: &Path, value: &T) -> Result<Vec<u8>, FileError> {
    let outgoing = Outgoing {
        format: T::FORMAT,
        value,
    };
    serde_json::to_vec_pretty(&outgoing).map_err(damaged(path))
}

/// Reads it back; `None` when there is none.
///
/// # Errors
/// When it is damaged or newer than this release.
pub fn kept<T: Kept>(path: &Path) -> Result<Option<T>, FileError> {
    let Some(bytes) = read(path)? else {
        return Ok(None);
    };
    decode(path, &bytes).map(Some)
}

/// A value from what the file at this path holds.
///
/// # Errors
/// When it is damaged or newer than this release.
pub fn decode<T: Kept>(path: &Path, bytes: &[u8]) -> Result<T, FileError> {
    let head: Head = serde_json::from_slice(bytes).map_err(damaged(path))?;
    if head.format > T::FORMAT {
        return Err(FileError::Newer {
            path: path.to_path_buf(),
            found: head.format,
            known: T::FORMAT,
        });
    }
    let incoming: Incoming<T> = serde_json::from_slice(bytes).map_err(damaged(path))?;
    Ok(incoming.value)
}

/// A file's bytes; `None` when there is none.
///
/// # Errors
/// When it cannot be read or is larger than anything of ours.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(path)(error)),
        Ok(found) if found.len() > MAX_BYTES => {
            return Err(at(path)(io::ErrorKind::FileTooLarge.into()));
        }
        Ok(_) => {}
    }
    fs::read(path).map(Some).map_err(at(path))
}

/// Replaces bytes: temp file beside it, fsync, rename, fsync of the directory.
///
/// # Errors
/// When the disk says no.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(mode)
            .open(&beside)?;
        // The mode of `open` applies to a new file only.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(at(path))?;
    sync_parent(path)
}

/// Removes a file; none there is as good.
///
/// # Errors
/// When the disk says no.
pub fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(at(path)(error)),
        Ok(()) => sync_parent(path),
    }
}

/// Removes a directory and all in it; none there is as good.
///
/// # Errors
/// When the disk says no.
pub fn remove_tree(path: &Path) -> Result<(), FileError> {
    match tree::remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(at(path)(error)),
        Ok(()) => sync_parent(path),
    }
}

/// Makes a directory (and its parents, root's only) with exactly this owner and mode, or corrects the one there is.
///
/// # Errors
/// When the disk says no.
pub fn directory(path: &Path, mode: u32, owner: Option<(u32, u32)>) -> Result<(), FileError> {
    let make = || -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o711).create(path)?;
        if let Some((uid, gid)) = owner {
            chown(path, Some(uid), Some(gid))?;
        }
        fs::set_permissions(path, Permissions::from_mode(mode))
    };
    make().map_err(at(path))
}

/// Names of the files in a directory, without the ones being written.
///
/// # Errors
/// When it cannot be read.
pub fn names(path: &Path) -> Result<Vec<String>, FileError> {
    let mut found = all_names(path)?;
    found.retain(|name| !name.ends_with(".new"));
    Ok(found)
}

/// Names of all files in a directory: for one whose files are not replaced, and may be called as they like.
///
/// # Errors
/// When it cannot be read.
pub fn all_names(path: &Path) -> Result<Vec<String>, FileError> {
    let listing = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at(path)(error)),
        Ok(listing) => listing,
    };
    let mut found = Vec::new();
    for entry in listing {
        let name = entry.map_err(at(path))?.file_name();
        if let Some(name) = name.to_str() {
            found.push(name.to_owned());
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn sync_parent(path: &Path) -> Result<(), FileError> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    File::open(parent)
        .and_then(|directory| directory.sync_all())
        .map_err(at(path))
}
