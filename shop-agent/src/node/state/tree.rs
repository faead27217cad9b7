//! Removes a directory that a store could write to. Its depth and width are the store's choice, so nothing here grows with them but a heap:
//! no recursion, two open directories at a time, and no symbolic link is followed.

use std::{ffi::CString, io, path::Path};

use rustix::{
    fd::OwnedFd,
    fs::{self, AtFlags, CWD, Dir, Mode, OFlags},
    io::Errno,
};

/// Subdirectories remembered of one directory before they are gone into; it is read again for the rest.
const REMEMBERED: usize = 32;

/// A directory that is being emptied.
struct Level {
    /// Its name in the one above.
    name: CString,
    /// Which one it is.
    is: Identity,
    /// Subdirectories to go into.
    pending: Vec<CString>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

/// Removes all of it; a link or a file of that name too.
///
/// # Errors
/// When the disk says no. [`io::ErrorKind::NotFound`] when there is nothing.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::unlinkat(CWD, path, AtFlags::empty()) {
        // Linux says the first, POSIX the second, of a directory.
        Err(Errno::ISDIR | Errno::PERM) => {}
        other => return Ok(other?),
    }
    let top = fs::openat(CWD, path, directory(), Mode::empty())?;
    empty(top)?;
    Ok(fs::unlinkat(CWD, path, AtFlags::REMOVEDIR)?)
}

fn empty(top: OwnedFd) -> io::Result<()> {
    let mut here = Level {
        name: CString::default(),
        is: identity(&top)?,
        pending: Vec::new(),
    };
    let mut open = top;
    let mut above: Vec<Level> = Vec::new();
    loop {
        if here.pending.is_empty() {
            here.pending = clear(&open)?;
        }
        if let Some(name) = here.pending.pop() {
            let child = fs::openat(&open, &name, directory(), Mode::empty())?;
            let level = Level {
                name,
                is: identity(&child)?,
                pending: Vec::new(),
            };
            open = child;
            above.push(std::mem::replace(&mut here, level));
            continue;
        }
        let Some(parent) = above.pop() else {
            return Ok(());
        };
        let up = fs::openat(&open, c"..", directory(), Mode::empty())?;
        // Somebody moved it meanwhile: where `..` leads now is none of ours.
        if identity(&up)? != parent.is {
            return Err(io::Error::other(
                "a directory was moved while it was removed",
            ));
        }
        fs::unlinkat(&up, &here.name, AtFlags::REMOVEDIR)?;
        open = up;
        here = parent;
    }
}

/// Unlinks what is no directory; names some of the directories. None named: the directory is empty.
fn clear(directory: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match fs::unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR | Errno::PERM) => found.push(name.to_owned()),
            Err(error) => return Err(error.into()),
        }
        if found.len() == REMEMBERED {
            break;
        }
    }
    Ok(found)
}

fn identity(directory: &OwnedFd) -> io::Result<Identity> {
    let found = fs::fstat(directory)?;
    Ok(Identity {
        device: found.st_dev,
        inode: found.st_ino,
    })
}

fn directory() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn wide_trees_files_and_links_go_and_what_links_point_to_stays() {
        let place = tempfile::tempdir().unwrap();
        let (outside, tree) = (place.path().join("outside"), place.path().join("tree"));
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("kept"), b"x").unwrap();
        for wide in 0..100 {
            let inner = tree.join(format!("d{wide}")).join("e");
            std::fs::create_dir_all(&inner).unwrap();
            std::fs::write(inner.join("file"), b"x").unwrap();
            symlink(&outside, inner.join("link")).unwrap();
        }
        symlink(&outside, tree.join("link")).unwrap();
        remove(&tree).unwrap();
        assert!(!tree.exists());
        assert!(outside.join("kept").exists());
    }

    #[test]
    fn a_link_in_its_place_is_removed_itself() {
        let place = tempfile::tempdir().unwrap();
        let (outside, tree) = (place.path().join("outside"), place.path().join("tree"));
        std::fs::create_dir(&outside).unwrap();
        symlink(&outside, &tree).unwrap();
        remove(&tree).unwrap();
        assert!(outside.exists());
        assert!(!tree.is_symlink());
        assert_eq!(remove(&tree).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    /// A shop can make directories this deep; removing them by recursion ends the process.
    #[test]
    fn a_tree_deeper_than_any_stack_goes() {
        let place = tempfile::tempdir().unwrap();
        let tree = place.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        let mut here = fs::openat(CWD, &tree, directory(), Mode::empty()).unwrap();
        for _ in 0..20_000 {
            fs::mkdirat(&here, c"d", Mode::RWXU).unwrap();
            here = fs::openat(&here, c"d", directory(), Mode::empty()).unwrap();
        }
        drop(here);
        remove(&tree).unwrap();
        assert!(!tree.exists());
    }
}
