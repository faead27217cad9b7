//! What the edge keeps of a host name that is routed here no more: a certificate and its private key. The edge writes that directory, and a
//! stolen one could put links there: everything is reached below it and through no link.

use std::io;

use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{self, AtFlags, CWD, Dir, Mode, OFlags, ResolveFlags},
    io::Errno,
};
use shop_proto::HostName;

use crate::node::paths::Paths;

/// In the edge's storage; in it a directory for each issuer, and in that one for each host name.
const CERTIFICATES: &str = "certificates";
/// Issuers that are looked at: more than the edge asks, its own authority and two public ones.
const ISSUERS: usize = 8;
/// What lies there of a host name. The key first.
const ENDINGS: [&str; 3] = ["key", "crt", "json"];

/// Removes what there is of these host names. Nothing there is as good.
///
/// # Errors
/// When the disk says no, or something is a link.
pub fn forget<'a>(paths: &Paths, hosts: impl IntoIterator<Item = &'a HostName>) -> io::Result<()> {
    let found = fs::openat(CWD, paths.edge_data(), directory(), Mode::empty());
    let Some(top) = there(found)? else {
        return Ok(());
    };
    let Some(certificates) = there(below(&top, CERTIFICATES))? else {
        return Ok(());
    };
    let issuers = issuers(&certificates)?;
    for host in hosts {
        for issuer in &issuers {
            of_host(issuer, host.as_str())?;
        }
    }
    Ok(())
}

fn issuers(certificates: &OwnedFd) -> io::Result<Vec<OwnedFd>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(certificates)?.take(ISSUERS + 2) {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            found.push(below(certificates, name)?);
        }
    }
    Ok(found)
}

fn of_host(issuer: &OwnedFd, host: &str) -> io::Result<()> {
    let Some(place) = there(below(issuer, host))? else {
        return Ok(());
    };
    for ending in ENDINGS {
        let removed = fs::unlinkat(&place, format!("{host}.{ending}"), AtFlags::empty());
        there(removed)?;
    }
    there(fs::unlinkat(issuer, host, AtFlags::REMOVEDIR))?;
    Ok(())
}

/// A directory in another, whatever anybody puts there meanwhile.
fn below(parent: impl AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    fs::openat2(parent, name, directory(), Mode::empty(), within)
}

fn directory() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn there<T>(found: rustix::io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{create_dir_all, write},
        os::unix::fs::symlink,
        path::Path,
    };

    use super::*;

    fn kept(place: &Path, host: &str) {
        let place = place.join(host);
        create_dir_all(&place).unwrap();
        for ending in ENDINGS {
            write(place.join(format!("{host}.{ending}")), "x").unwrap();
        }
    }

    #[test]
    fn nothing_is_kept_of_a_host_name_and_no_link_is_followed() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(root.path(), root.path(), &"node01".parse().unwrap());
        let hosts: [HostName; 1] = ["a.localhost".parse().unwrap()];
        // No edge has run here.
        forget(&paths, &hosts).unwrap();
        let certificates = paths.edge_data().join(CERTIFICATES);
        let (local, elsewhere) = (certificates.join("local"), root.path().join("elsewhere"));
        for host in ["a.localhost", "b.localhost"] {
            kept(&local, host);
            kept(&elsewhere, host);
        }
        forget(&paths, &hosts).unwrap();
        assert!(!local.join("a.localhost").exists());
        assert!(local.join("b.localhost/b.localhost.key").exists());
        forget(&paths, &hosts).unwrap();

        symlink(elsewhere.join("a.localhost"), local.join("a.localhost")).unwrap();
        assert!(forget(&paths, &hosts).is_err());
        symlink(&elsewhere, certificates.join("acme")).unwrap();
        assert!(forget(&paths, &hosts).is_err());
        std::fs::remove_dir_all(&certificates).unwrap();
        symlink(
            &elsewhere,
            certificates.parent().unwrap().join(CERTIFICATES),
        )
        .unwrap();
        assert!(forget(&paths, &hosts).is_err());
        assert!(elsewhere.join("a.localhost/a.localhost.key").exists());
    }
}
