//! What the edges are told: files in a directory of ours that they can read and not write. The directory that an edge writes (its socket, its
//! log) is another: nothing of ours is ever written where a stolen edge could have put a link.

use std::{collections::BTreeSet, fs::OpenOptions, io, path::PathBuf};

use super::side::Side;
use crate::node::{
    paths::Paths,
    state::files::{self, FileError},
};

/// The directory as the edges see it.
pub const INSIDE: &str = "/run/told";
/// In it, a file for each host name that is routed here.
pub const HOSTS: &str = "hosts";

impl Side {
    /// What the edge of this side starts from, in the directory.
    #[must_use]
    pub const fn config(self) -> &'static str {
        match self {
            Self::A => "a.json",
            Self::B => "b.json",
        }
    }

    /// While it lies in the directory, every visitor of this side's edge is told to come back on another connection.
    #[must_use]
    pub const fn leaving(self) -> &'static str {
        match self {
            Self::A => "a.leaving",
            Self::B => "b.leaving",
        }
    }
}

/// The directory.
#[must_use]
pub fn directory(paths: &Paths) -> PathBuf {
    paths.run().join("told")
}

/// Makes the directories.
///
/// # Errors
/// When the disk says no.
pub fn prepare(paths: &Paths) -> Result<(), FileError> {
    files::directory(&directory(paths), 0o755, None)?;
    files::directory(&directory(paths).join(HOSTS), 0o755, None)
}

/// From now on these host names are routed here, beside the ones that were.
///
/// # Errors
/// When the disk says no.
pub fn add(paths: &Paths, wanted: &BTreeSet<String>) -> Result<(), FileError> {
    prepare(paths)?;
    let hosts = directory(paths).join(HOSTS);
    let there: BTreeSet<String> = files::all_names(&hosts)?.into_iter().collect();
    for host in wanted.difference(&there) {
        // Written anew after a boot: nothing here has to outlive one.
        let path = hosts.join(host);
        let made = OpenOptions::new().create(true).append(true).open(&path);
        made.map_err(|source| FileError::Io { path, source })?;
    }
    Ok(())
}

/// From now on no other host names are routed here.
///
/// # Errors
/// When the disk says no.
pub fn keep_only(paths: &Paths, wanted: &BTreeSet<String>) -> Result<(), FileError> {
    let hosts = directory(paths).join(HOSTS);
    for host in files::all_names(&hosts)? {
        if wanted.contains(&host) {
            continue;
        }
        let path = hosts.join(host);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(FileError::Io { path, source });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether exactly these host names are routed here.
#[must_use]
pub fn says(paths: &Paths, wanted: &BTreeSet<String>) -> bool {
    files::all_names(&directory(paths).join(HOSTS)).is_ok_and(|there| wanted.iter().eq(&there))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_come_and_go() {
        let place = tempfile::tempdir().unwrap();
        let node = "node01".parse().unwrap();
        let paths = Paths::new(place.path(), place.path(), &node);
        let set = |hosts: &[&str]| hosts.iter().map(|it| (*it).to_owned()).collect();
        // The second ends as a file does that is being written.
        let (one, both): (BTreeSet<_>, BTreeSet<_>) =
            (set(&["a.localhost"]), set(&["a.localhost", "shop.new"]));
        assert!(!says(&paths, &one));
        add(&paths, &both).unwrap();
        assert!(says(&paths, &both));
        add(&paths, &one).unwrap();
        assert!(says(&paths, &both), "none goes before its answer is gone");
        keep_only(&paths, &one).unwrap();
        assert!(says(&paths, &one) && !says(&paths, &both));
    }
}
