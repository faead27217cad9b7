//! The names file, and looking at it: read again whenever it was replaced.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use shop_plan::address;

/// Its name in its directory.
pub const FILE: &str = "names.json";
/// Version of its form.
const FORMAT: u32 = 1;
/// The largest file that is read: some thirty thousand host names.
pub const MAX_BYTES: u64 = 8 << 20;

/// Who answers for a host name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// These containers.
    Addresses(Vec<Ipv4Addr>),
    /// The maintenance page.
    Maintenance,
    /// The page that says that the shop is paused.
    Paused,
    /// Nobody now: the page says so.
    Nothing,
}

/// All host names of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamesFile {
    format: u32,
    hosts: BTreeMap<String, Answer>,
    /// First addresses of the /27 that a host name's own store has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    own: BTreeMap<String, Vec<Ipv4Addr>>,
}

impl NamesFile {
    /// A table of all routed host names, and which networks are their stores' own.
    #[must_use]
    pub const fn new(
        hosts: BTreeMap<String, Answer>,
        own: BTreeMap<String, Vec<Ipv4Addr>>,
    ) -> Self {
        Self {
            format: FORMAT,
            hosts,
            own,
        }
    }

    /// As written.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Back; `None` for what this release cannot read.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes)
            .ok()
            .filter(|file: &Self| file.format == FORMAT)
    }
}

/// The file as it was when last looked at. Cheap to clone.
#[derive(Clone)]
pub(super) struct Table(Arc<Mutex<Held>>);

struct Held {
    path: PathBuf,
    seen: Option<(u64, i64, i64, u64)>,
    file: NamesFile,
}

impl Table {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(Arc::new(Mutex::new(Held {
            path,
            seen: None,
            file: NamesFile::new(BTreeMap::new(), BTreeMap::new()),
        })))
    }

    /// A table that no file stands behind.
    #[cfg(feature = "fuzzing")]
    pub(super) fn of(file: NamesFile) -> Self {
        Self(Arc::new(Mutex::new(Held {
            path: PathBuf::new(),
            seen: None,
            file,
        })))
    }

    /// Who answers for the host; `None` for hosts that are not routed here.
    pub(super) fn answer(&self, host: &str) -> Option<Answer> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.look();
        held.file.hosts.get(host).cloned()
    }

    /// Who answers for the host when a store asks: for any but its own, the page.
    pub(super) fn answer_within(&self, host: &str, from: Ipv4Addr) -> Option<Answer> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.look();
        let answer = held.file.hosts.get(host)?;
        let own = held.file.own.get(host);
        let own = own.is_some_and(|networks| networks.contains(&address::network(from)));
        Some(if own { answer.clone() } else { Answer::Nothing })
    }
}

impl Held {
    /// One `stat`; the file is read only when it is another one. What cannot be read leaves what was known.
    fn look(&mut self) {
        let Ok(found) = std::fs::metadata(&self.path) else {
            return;
        };
        let seen = (found.ino(), found.mtime(), found.mtime_nsec(), found.size());
        if self.seen == Some(seen) {
            return;
        }
        if found.size() > MAX_BYTES {
            self.seen = Some(seen);
            tracing::error!(
                bytes = found.size(),
                most = MAX_BYTES,
                "the names file is too large; the last one stays"
            );
            return;
        }
        let file = std::fs::read(&self.path)
            .ok()
            .and_then(|bytes| NamesFile::decode(&bytes));
        match file {
            Some(file) => {
                self.file = file;
                self.seen = Some(seen);
            }
            None => tracing::warn!("the names file cannot be read; the last one stays"),
        }
    }
}
