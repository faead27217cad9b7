//! The admin socket of an edge, reached without following a link: the directory is the edge's own, and one that was stolen could put a link to
//! any socket of this host there.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};

/// What lies at the socket's place now, whatever is put there later.
pub struct AdminSocket(OwnedFd);

impl AdminSocket {
    /// Looks.
    ///
    /// # Errors
    /// When there is nothing.
    pub fn find(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// Where to connect to, as long as this lives. What is no socket refuses.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::{
        fs::symlink,
        net::{UnixListener, UnixStream},
    };

    use super::*;

    #[test]
    fn a_socket_is_reached_and_a_link_to_one_is_not() {
        let place = tempfile::tempdir().unwrap();
        let (own, other) = (place.path().join("admin.sock"), place.path().join("other"));
        let _listening = [&own, &other].map(|path| UnixListener::bind(path).unwrap());
        let found = AdminSocket::find(&own).unwrap();
        UnixStream::connect(found.path()).unwrap();
        std::fs::remove_file(&own).unwrap();
        assert!(AdminSocket::find(&own).is_err());
        symlink(&other, &own).unwrap();
        let found = AdminSocket::find(&own).unwrap();
        assert!(UnixStream::connect(found.path()).is_err());
    }
}
