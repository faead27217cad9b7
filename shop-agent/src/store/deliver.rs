//! Hands each service its secrets: files on a memory-backed volume that exactly one service mounts, `.ready` last.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret as _, SecretString};
use shop_proto::ServiceName;

/// Says that all files of this boot are there.
const READY: &str = ".ready";
/// Owner (the agent) and group (the service) read; nobody writes.
const MODE: u32 = 0o440;
/// `f_type` of tmpfs, from statfs(2).
const TMPFS_MAGIC: i128 = 0x0102_1994;

/// A delivery that did not happen.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// Secrets would touch a disk.
    #[error("the secrets directory of {0} is not in memory (tmpfs)")]
    NotTmpfs(ServiceName),
    /// The plan names a secret that the vault does not hold.
    #[error("there is no secret named {0}")]
    Missing(String),
    /// The volume refuses.
    #[error("the secrets directory of {0} cannot be written")]
    Io(ServiceName, #[source] io::Error),
}

/// What one consumer gets. Has no `Debug`.
#[derive(Clone)]
pub struct Parcel {
    /// Service, or source of tasks.
    pub consumer: ServiceName,
    /// File names and contents.
    pub files: Vec<(String, SecretString)>,
}

/// Where secrets volumes are mounted, and which boot they are for.
#[derive(Debug, Clone)]
pub struct Mailbox {
    /// Directory with one directory per consumer.
    pub root: PathBuf,
    /// The host's boot id, the content of `.ready`.
    pub boot_id: String,
}

impl Mailbox {
    /// Puts a parcel in place. Safe to repeat: what is right already is left alone. Blocks for the file system only.
    ///
    /// # Errors
    /// When the directory is not in memory or refuses.
    pub fn deliver(&self, parcel: &Parcel) -> Result<(), DeliveryError> {
        self.deliver_if(parcel, in_memory)
    }

    fn deliver_if(
        &self,
        parcel: &Parcel,
        allowed: fn(&Path) -> io::Result<bool>,
    ) -> Result<(), DeliveryError> {
        let directory = self.root.join(parcel.consumer.as_str());
        let at = |error| DeliveryError::Io(parcel.consumer.clone(), error);
        if !allowed(&directory).map_err(at)? {
            return Err(DeliveryError::NotTmpfs(parcel.consumer.clone()));
        }
        self.put(&directory, parcel).map_err(at)
    }

    fn put(&self, directory: &Path, parcel: &Parcel) -> io::Result<()> {
        // What is there comes before what goes: a value that moves from one file to another is in one of them at every moment.
        for (name, value) in &parcel.files {
            put_file(directory, name, value.expose_secret().as_bytes())?;
        }
        let wanted =
            |name: &str| name == READY || parcel.files.iter().any(|(file, _)| file == name);
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(wanted) {
                fs::remove_file(entry.path())?;
            }
        }
        put_file(directory, READY, self.boot_id.as_bytes())
    }
}

fn put_file(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let path = directory.join(name);
    if fs::read(&path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let temporary = directory.join(format!(".{name}.new"));
    if let Err(error) = fs::remove_file(&temporary)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(&temporary)?;
    file.write_all(bytes)?;
    // Whatever the umask was.
    file.set_permissions(Permissions::from_mode(MODE))?;
    drop(file);
    fs::rename(&temporary, &path)
}

fn in_memory(directory: &Path) -> io::Result<bool> {
    Ok(i128::from(rustix::fs::statfs(directory)?.f_type) == TMPFS_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parcel(files: &[(&str, &str)]) -> Parcel {
        Parcel {
            consumer: "db".parse().unwrap(),
            files: files
                .iter()
                .map(|(name, value)| ((*name).to_owned(), SecretString::from(*value)))
                .collect(),
        }
    }

    fn mailbox(directory: &Path) -> Mailbox {
        fs::create_dir_all(directory.join("db")).unwrap();
        Mailbox {
            root: directory.to_owned(),
            boot_id: "boot-1".to_owned(),
        }
    }

    #[test]
    fn files_are_delivered_replaced_and_taken_back() {
        let directory = tempfile::tempdir().unwrap();
        let mailbox = mailbox(directory.path());
        let deliver = |parcel| mailbox.deliver_if(&parcel, |_| Ok(true)).unwrap();
        deliver(parcel(&[("db_password", "one"), ("old", "x")]));
        deliver(parcel(&[("db_password", "two")]));
        let at = |name: &str| directory.path().join("db").join(name);
        assert_eq!(fs::read(at("db_password")).unwrap(), b"two");
        assert_eq!(fs::read(at(".ready")).unwrap(), b"boot-1");
        assert!(!at("old").exists());
        let mode = fs::metadata(at("db_password"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, MODE);
    }

    #[test]
    fn a_disk_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let mailbox = mailbox(directory.path());
        let refused = mailbox.deliver_if(&parcel(&[("db_password", "one")]), |_| Ok(false));
        assert!(matches!(refused, Err(DeliveryError::NotTmpfs(_))));
        assert!(
            fs::read_dir(directory.path().join("db"))
                .unwrap()
                .next()
                .is_none()
        );
    }
}
