//! Reads a log that another process appends to and rotates: every line once, and a word when some may be missing.
//!
//! The directory is the other process's: one that was stolen may put there what it likes, and must neither lead us elsewhere nor hold us up.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};

/// Read at once.
const CHUNK: usize = 64 << 10;
/// A line longer than this is none of ours.
const LONGEST: usize = 64 << 10;
/// Of one file in one look; the rest in the next. Several times what a log of ours holds before it is rotated.
const LOOKED_AT: u64 = 64 << 20;
/// Rotations followed in one look: of ours, none or one.
const ROTATIONS: usize = 8;

/// A place in the log.
pub(super) struct Tail {
    path: PathBuf,
    open: Option<File>,
    begun: bool,
    /// What came before the next lines may be missing, and nobody was told yet.
    gap: bool,
    rest: Vec<u8>,
}

impl Tail {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self {
            path,
            open: None,
            begun: false,
            gap: true,
            rest: Vec::new(),
        }
    }

    /// Hands over all whole lines that are new. True when what came before them may be missing: at the first look, which begins with the
    /// oldest file there is, and after more rotations than there were looks.
    pub(super) fn read(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<bool> {
        if !self.begun {
            self.open = rotated(&self.path)?.map(open).transpose()?;
            self.begun = true;
        }
        if self.open.is_none() {
            self.open = present(open(&self.path))?;
        }
        for _ in 0..ROTATIONS {
            let Some(file) = &mut self.open else {
                return Ok(std::mem::take(&mut self.gap));
            };
            pass(file, &mut self.rest, &mut each)?;
            let here = file.metadata()?.ino();
            let Some(next) = present(open(&self.path))? else {
                return Ok(std::mem::take(&mut self.gap));
            };
            if next.metadata()?.ino() == here {
                return Ok(std::mem::take(&mut self.gap));
            }
            // What was written between our last read and the rotation.
            pass(file, &mut self.rest, &mut each)?;
            let last = rotated(&self.path)?.map(fs::metadata).transpose()?;
            self.gap |= last.is_none_or(|last| last.ino() != here);
            self.rest.clear();
            self.open = Some(next);
        }
        self.gap = false;
        Ok(true)
    }
}

/// Only a file, and without waiting: a pipe would be waited for, and a link could lead to something without an end.
fn open(path: impl AsRef<Path>) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path.as_ref(), flags, Mode::empty())?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is no file"))
    }
}

pub(super) fn pass(
    log: &mut impl io::Read,
    rest: &mut Vec<u8>,
    each: &mut impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut log = log.take(LOOKED_AT);
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = log.read(&mut chunk)?;
        if length == 0 {
            return Ok(());
        }
        rest.extend_from_slice(&chunk[..length]);
        let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else {
            if rest.len() > LONGEST {
                rest.clear();
            }
            continue;
        };
        rest[..end]
            .split(|byte| *byte == b'\n')
            .for_each(&mut *each);
        rest.drain(..=end);
    }
}

/// The file that was the log before it was rotated last: `access-<time>.log` beside `access.log`; times sort as text.
fn rotated(path: &Path) -> io::Result<Option<PathBuf>> {
    let (Some(directory), Some(stem)) =
        (path.parent(), path.file_stem().and_then(|it| it.to_str()))
    else {
        return Ok(None);
    };
    let Some(listing) = present(fs::read_dir(directory))? else {
        return Ok(None);
    };
    let prefix = format!("{stem}-");
    let mut newest = None;
    for entry in listing {
        let name = entry?.file_name();
        if name
            .to_str()
            .is_some_and(|name| name.starts_with(&prefix) && name.ends_with(".log"))
        {
            newest = newest.max(Some(name));
        }
    }
    Ok(newest.map(|name| directory.join(name)))
}

fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
