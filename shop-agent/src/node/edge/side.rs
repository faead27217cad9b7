//! The two places an edge can stand on: a new one is started on the free side, on ports of its own, while the other still serves. Which side
//! is meant is on disk before a rule of the firewall says so: after a crash it is read there, and everything else follows from what runs.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use shop_proto::NodeId;

use crate::node::{
    firewall::Port,
    paths::Paths,
    settings::NodeArgs,
    state::files::{self, FileError, Kept},
};

/// Where an edge listens when a user without rights may not listen on the public port: each side's, HTTP first.
const INNER_PORTS: [[u16; 2]; 2] = [[7480, 7481], [7482, 7483]];
/// From here on everybody may listen.
const UNPRIVILEGED: u16 = 1024;
/// Between a public port that the first side listens on itself, and the second side's.
const APART: u16 = 10_000;

/// One of the two places of a node's edge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Where the first one stands; it listens on the public ports itself where it may.
    #[default]
    A,
    /// Where the next one stands.
    B,
}

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The one across.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Its container.
    #[must_use]
    pub fn container(self, node: &NodeId) -> String {
        match self {
            Self::A => format!("sf-{node}-edge"),
            Self::B => format!("sf-{node}-edge-b"),
        }
    }

    /// What its edge sees as its own directory: the admin socket, the configuration, the access log.
    #[must_use]
    pub fn directory(self, paths: &Paths) -> PathBuf {
        paths.run().join(match self {
            Self::A => "edge",
            Self::B => "edge-b",
        })
    }

    /// Public ports, with the ones its edge listens on. No two edges of a node share one.
    #[must_use]
    pub fn ports(self, args: &NodeArgs) -> [Port; 2] {
        let public = [args.edge_http, args.edge_https];
        let first = [0, 1].map(|at| first(public[at], INNER_PORTS[0][at]));
        let [http, https] = match self {
            Self::A => first,
            Self::B => {
                let http = second(public[0], INNER_PORTS[1][0], &first);
                let taken = [first[0], first[1], http];
                [http, second(public[1], INNER_PORTS[1][1], &taken)]
            }
        };
        let port = |public, inner| Port { public, inner };
        [port(public[0], http), port(public[1], https)]
    }
}

const fn first(public: u16, inner: u16) -> u16 {
    if public < UNPRIVILEGED { inner } else { public }
}

fn second(public: u16, inner: u16, taken: &[u16]) -> u16 {
    let wished = if public < UNPRIVILEGED {
        inner
    } else {
        public.checked_add(APART).unwrap_or_else(|| public - APART)
    };
    (wished..=u16::MAX)
        .find(|port| !taken.contains(port))
        .unwrap_or(wished)
}

/// Which side buyers are sent to, as it is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meant {
    side: Side,
}

impl Kept for Meant {
    const FORMAT: u32 = 1;
}

/// Which side buyers are sent to.
#[derive(Debug)]
pub struct Standing {
    file: PathBuf,
    meant: Mutex<Side>,
}

impl Standing {
    /// As it was when the node agent ended; the first side where there never was another.
    ///
    /// # Errors
    /// When it was written by a later release, or cannot be read.
    pub fn load(paths: &Paths) -> Result<Self, FileError> {
        let file = paths.edge_file();
        let Meant { side } = files::kept(&file)?.unwrap_or_default();
        Ok(Self {
            file,
            meant: Mutex::new(side),
        })
    }

    /// The side whose edge gets new connections.
    #[must_use]
    pub fn meant(&self) -> Side {
        *self.meant.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on it is this one: on disk first. The firewall has to be told. Waits for the disk.
    ///
    /// # Errors
    /// When the disk says no; nothing has changed then.
    pub fn mean(&self, side: Side) -> Result<(), FileError> {
        files::keep(&self.file, &Meant { side })?;
        *self.meant.lock().unwrap_or_else(PoisonError::into_inner) = side;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::settings;

    fn inner(side: Side, http: u16, https: u16) -> [u16; 2] {
        let words = ["node", "--edge-http", &http.to_string(), "--edge-https"].map(str::to_owned);
        let words = words.into_iter().chain([https.to_string()]);
        let args = settings::parsed(words);
        let ports = side.ports(&args);
        assert_eq!(ports.map(|it| it.public), [http, https]);
        ports.map(|it| it.inner)
    }

    #[test]
    fn no_port_is_listened_on_by_both() {
        for public in [
            [80, 443],
            [8080, 8443],
            [80, 8443],
            [8080, 18080],
            [18080, 8080],
            [60_000, 61_000],
            [50_000, 60_000],
        ] {
            let [http, https] = public;
            let (a, b) = (inner(Side::A, http, https), inner(Side::B, http, https));
            let mut all = vec![a[0], a[1], b[0], b[1]];
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), 4, "{public:?}: {a:?} {b:?}");
            assert!(all.iter().all(|port| *port >= UNPRIVILEGED));
        }
        assert_eq!(inner(Side::A, 80, 443), [7480, 7481]);
        assert_eq!(inner(Side::B, 80, 443), [7482, 7483]);
        assert_eq!(inner(Side::A, 8080, 8443), [8080, 8443]);
        assert_eq!(inner(Side::B, 8080, 8443), [18080, 18443]);
    }

    #[test]
    fn who_is_meant_outlives_the_node_agent() {
        let place = tempfile::tempdir().unwrap();
        let node = "node01".parse().unwrap();
        let paths = Paths::new(place.path(), place.path(), &node);
        std::fs::create_dir_all(paths.state()).unwrap();
        assert_eq!(Standing::load(&paths).unwrap().meant(), Side::A);
        Standing::load(&paths).unwrap().mean(Side::B).unwrap();
        assert_eq!(Standing::load(&paths).unwrap().meant(), Side::B);
        assert_ne!(Side::A.container(&node), Side::B.container(&node));
        assert_ne!(Side::A.directory(&paths), Side::B.directory(&paths));
    }
}
