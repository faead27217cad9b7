//! The configuration file, `control-plane.toml`, with its `SHOPFLEET_*` overrides. Holds a database URL, so it is 0600 and printed redacted.

mod advertise;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod overrides;
mod values;

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

pub use advertise::{Advertised, AdvertisedError};
pub use values::{DatabaseUrl, Span};

use crate::{
    app::Settings,
    identity::{IdentityDir, write_private},
};

/// Version of the file's form.
pub const FORMAT: u32 = 1;
/// Name of the file in the data directory.
pub const FILE: &str = "control-plane.toml";
/// Where everything is kept unless told otherwise.
pub const DEFAULT_DATA: &str = "/var/lib/shopfleet";

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub format: u32,
    /// Identity and, with SQLite, the database.
    pub data: PathBuf,
    /// Stores get `<name>-<suffix>.<base domain>`.
    pub base_domain: String,
    /// Where agents reach this control plane: `host` or `host:enrolment port,agents port`.
    #[serde(default)]
    pub advertise: Vec<Advertised>,
    #[serde(default)]
    pub listen: Listen,
    pub database: Database,
    #[serde(default)]
    pub provisioning: Provisioning,
    #[serde(default)]
    pub deletion: Deletion,
}

/// Addresses to bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// Operators: REST and gRPC.
    pub admin: SocketAddr,
    /// Agents without a certificate.
    pub enrolment: SocketAddr,
    /// Agents with one.
    pub agents: SocketAddr,
    /// Metrics and probes, in plain HTTP.
    pub metrics: SocketAddr,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            admin: (Ipv4Addr::LOCALHOST, 7440).into(),
            enrolment: (Ipv4Addr::UNSPECIFIED, 7442).into(),
            agents: (Ipv4Addr::UNSPECIFIED, 7443).into(),
            metrics: (Ipv4Addr::LOCALHOST, 7449).into(),
        }
    }
}

/// Where state is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// `sqlite:///path` or `postgres://…`.
    pub url: DatabaseUrl,
}

/// How stores are provisioned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Provisioning {
    /// From placement to serving.
    pub deadline: Span,
    /// Stores provisioning on one node at once.
    pub per_node: u32,
    /// CPU reservations may add up to so many times the CPUs there are.
    pub cpu_overcommit: u32,
    /// How long a node may be away before its stores are called unreachable.
    pub unreachable_after: Span,
}

impl Default for Provisioning {
    fn default() -> Self {
        Self {
            deadline: Span::from_secs(600),
            per_node: 4,
            cpu_overcommit: 40,
            unreachable_after: Span::from_secs(30),
        }
    }
}

/// How stores are deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Deletion {
    /// From the request until the data goes, unless the request says otherwise. Until then it can be taken back.
    pub grace: Span,
}

impl Default for Deletion {
    fn default() -> Self {
        Self {
            grace: Span::from_secs(24 * 3600),
        }
    }
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is none.
    #[error("there is no configuration at {path}: run `control-plane init --data DIR` first")]
    Missing { path: PathBuf },
    /// The file system refuses.
    #[error("the configuration {path} cannot be read or written")]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Not TOML, or an unknown or wrong field.
    #[error("the configuration {path} is not valid")]
    Parse {
        path: PathBuf,
        #[source]
        source: Box<toml::de::Error>,
    },
    /// Written by a newer release.
    #[error("the configuration has format {found}, this release knows {FORMAT}")]
    Format { found: u32 },
    /// An environment variable.
    #[error("{name}: {problem}")]
    Override { name: &'static str, problem: String },
    /// It could not be written as TOML.
    #[error("the configuration cannot be written")]
    Serialise(#[source] toml::ser::Error),
}

impl Config {
    /// Defaults for a data directory.
    #[must_use]
    pub fn new(data: PathBuf) -> Self {
        let url = DatabaseUrl::sqlite(&data.join("control-plane.db"));
        Self {
            format: FORMAT,
            data,
            base_domain: "localhost".to_owned(),
            advertise: Vec::new(),
            listen: Listen::default(),
            database: Database { url },
            provisioning: Provisioning::default(),
            deletion: Deletion::default(),
        }
    }

    /// Reads a file and applies the overrides.
    ///
    /// # Errors
    /// When it is missing, wrong or newer.
    pub fn load(
        path: &Path,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ConfigError::Missing {
                path: path.to_owned(),
            },
            _ => ConfigError::File {
                path: path.to_owned(),
                source,
            },
        })?;
        Self::parse(&text, path, variable)
    }

    /// As [`Config::load`], from the text of the file.
    pub(crate) fn parse(
        text: &str,
        path: &Path,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let parse = |source: toml::de::Error| ConfigError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        };
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let head: Head = toml::from_str(text).map_err(parse)?;
        if head.format != FORMAT {
            return Err(ConfigError::Format { found: head.format });
        }
        let mut config: Self = toml::from_str(text).map_err(parse)?;
        overrides::apply(&mut config, variable)?;
        Ok(config)
    }

    /// Writes the file, 0600, atomically.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn save(&self, path: &Path) -> Result<(), ConfigError> {
        let text = self.text()?;
        write_private(path, text.as_bytes()).map_err(|source| ConfigError::File {
            path: path.to_owned(),
            source,
        })
    }

    /// The text of the file. Holds the database's password.
    pub(crate) fn text(&self) -> Result<String, ConfigError> {
        let text = toml::to_string_pretty(&self.with_real_url()).map_err(ConfigError::Serialise)?;
        Ok(format!(
            "# Shopfleet control plane. Every setting can be overridden by SHOPFLEET_* variables.\n{text}"
        ))
    }

    /// One line for the log, without passwords.
    #[must_use]
    pub fn redacted(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| "configuration".to_owned())
    }

    /// Where certificates and keys are.
    #[must_use]
    pub fn identity(&self) -> IdentityDir {
        IdentityDir::new(self.data.join("identity"))
    }

    /// Names that the server certificate carries besides its fixed ones.
    #[must_use]
    pub fn server_names(&self) -> Vec<String> {
        self.advertise
            .iter()
            .map(|advertised| advertised.host().to_owned())
            .collect()
    }

    /// What the use-cases need to know.
    #[must_use]
    pub fn settings(&self, root_pin: shop_proto::Digest) -> Settings {
        let advertised: Vec<Advertised> = if self.advertise.is_empty() {
            vec![Advertised::local(
                self.listen.enrolment.port(),
                self.listen.agents.port(),
            )]
        } else {
            self.advertise.clone()
        };
        Settings {
            provision_deadline: self.provisioning.deadline.get(),
            provisioning_per_node: self.provisioning.per_node,
            cpu_overcommit: self.provisioning.cpu_overcommit,
            unreachable_after: self.provisioning.unreachable_after.get(),
            delete_grace: self.deletion.grace.get(),
            enroll_addresses: advertised.iter().map(Advertised::enrolment).collect(),
            agent_addresses: advertised.iter().map(Advertised::agents).collect(),
            ..Settings::new(self.base_domain.clone(), root_pin)
        }
    }

    fn with_real_url(&self) -> impl Serialize {
        #[derive(Serialize)]
        struct RealDatabase {
            url: String,
        }
        #[derive(Serialize)]
        struct Real {
            format: u32,
            data: PathBuf,
            base_domain: String,
            advertise: Vec<Advertised>,
            listen: Listen,
            database: RealDatabase,
            provisioning: Provisioning,
            deletion: Deletion,
        }
        let Self {
            format,
            data,
            base_domain,
            advertise,
            listen,
            database,
            provisioning,
            deletion,
        } = self.clone();
        Real {
            format,
            data,
            base_domain,
            advertise,
            listen,
            database: RealDatabase {
                url: database.url.reveal().to_owned(),
            },
            provisioning,
            deletion,
        }
    }
}

#[cfg(test)]
mod tests;
