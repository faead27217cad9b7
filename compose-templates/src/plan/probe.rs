//! How readiness is asked.

use serde::{Deserialize, Serialize};

/// How readiness is asked, in the service's own protocol. Hosts are container addresses; the port is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// GET; 200 is ready.
    Http {
        /// Port.
        port: u16,
        /// Path, starting with `/`.
        path: String,
    },
    /// php-fpm's ping page.
    Fastcgi {
        /// Port of `pm.status_listen`.
        port: u16,
        /// `ping.path`.
        path: String,
        /// Body that means ready.
        expect: String,
    },
    /// A MySQL handshake packet.
    Mysql {
        /// Port.
        port: u16,
    },
    /// A PostgreSQL startup answered by authentication or an error that is not "starting up".
    Postgres {
        /// Port.
        port: u16,
    },
    /// PING after AUTH.
    Redis {
        /// Port.
        port: u16,
        /// Secret for AUTH.
        password_secret: Option<String>,
    },
    /// A connection.
    Tcp {
        /// Port.
        port: u16,
    },
}

impl Probe {
    /// The port asked.
    #[must_use]
    pub const fn port(&self) -> u16 {
        match self {
            Self::Http { port, .. }
            | Self::Fastcgi { port, .. }
            | Self::Mysql { port }
            | Self::Postgres { port }
            | Self::Redis { port, .. }
            | Self::Tcp { port } => *port,
        }
    }
}
