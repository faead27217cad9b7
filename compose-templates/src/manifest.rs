//! `x-store`: what a Compose file cannot say about a shop.

use std::collections::BTreeMap;

use serde::Deserialize;
use shop_proto::ServiceName;

use crate::{
    Probe, SecretAlphabet, ServiceKind,
    compose::ComposeName,
    interpolate::Interpolated,
    parameter::Parameters,
    scalar::{Literal, SecretName, Span},
};

/// Version of the manifest's own form.
pub const MANIFEST_SCHEMA: u32 = 1;

/// The `x-store` section.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub(crate) schema: u32,
    pub(crate) template: String,
    pub(crate) version: String,
    /// For people.
    pub title: String,
    /// One sentence for people.
    pub summary: String,
    /// How well it is known to work.
    pub maturity: Maturity,
    /// What an operator may set.
    #[serde(default)]
    pub parameters: Parameters,
    /// What an operator may choose.
    #[serde(default)]
    pub profiles: BTreeMap<String, Profile>,
    pub(crate) services: BTreeMap<ComposeName, ServiceEntry>,
    #[serde(default)]
    pub(crate) volumes: BTreeMap<ServiceName, VolumeEntry>,
    #[serde(default)]
    pub(crate) secrets: BTreeMap<SecretName, SecretEntry>,
    #[serde(default)]
    pub(crate) tasks: BTreeMap<ComposeName, TaskEntry>,
    #[serde(default)]
    pub(crate) cron: Vec<CronEntry>,
    pub(crate) edge: EdgeEntry,
    #[serde(default)]
    pub(crate) credentials: BTreeMap<String, CredentialEntry>,
}

/// How well a template is known to work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Maturity {
    /// Runs in the test suite.
    RunTested,
    /// Renders in the test suite.
    RenderTested,
}

/// A choice between variants of the shop.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Variants.
    pub choices: Vec<String>,
    /// Taken when nothing is chosen.
    pub default: String,
    /// One sentence for a person.
    #[serde(default)]
    pub description: String,
}

/// Profile choices under which something exists; all must hold.
pub(crate) type When = BTreeMap<String, String>;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServiceEntry {
    pub name: Option<ServiceName>,
    pub kind: ServiceKind,
    #[serde(default)]
    pub when: When,
    pub ready: ProbeEntry,
    pub deep: Option<ProbeEntry>,
}

/// As [`Probe`], as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum ProbeEntry {
    Http {
        port: u16,
        path: Literal,
    },
    Fastcgi {
        port: u16,
        path: Literal,
        expect: Literal,
    },
    Mysql {
        port: u16,
    },
    Postgres {
        port: u16,
    },
    Redis {
        port: u16,
        password_secret: Option<SecretName>,
    },
    Tcp {
        port: u16,
    },
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VolumeEntry {
    pub owner: ServiceName,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretEntry {
    pub generate: SecretAlphabet,
    pub length: u16,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskEntry {
    pub name: Option<ServiceName>,
    #[serde(default)]
    pub when: When,
    pub from: ComposeName,
    pub command: Vec<Literal>,
    #[serde(default)]
    pub once: bool,
    pub timeout: Span,
    /// None: what `from` depends on.
    pub after: Option<Vec<ServiceName>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CronEntry {
    pub task: ServiceName,
    pub every: Span,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EdgeEntry {
    pub service: ServiceName,
    pub port: u16,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CredentialEntry {
    pub path: Literal,
    pub user: Interpolated,
    pub password_secret: SecretName,
}

impl Maturity {
    /// As written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RunTested => "run-tested",
            Self::RenderTested => "render-tested",
        }
    }
}

impl From<&ProbeEntry> for Probe {
    fn from(entry: &ProbeEntry) -> Self {
        match entry {
            ProbeEntry::Http { port, path } => Self::Http {
                port: *port,
                path: path.0.clone(),
            },
            ProbeEntry::Fastcgi { port, path, expect } => Self::Fastcgi {
                port: *port,
                path: path.0.clone(),
                expect: expect.0.clone(),
            },
            ProbeEntry::Mysql { port } => Self::Mysql { port: *port },
            ProbeEntry::Postgres { port } => Self::Postgres { port: *port },
            ProbeEntry::Redis {
                port,
                password_secret,
            } => Self::Redis {
                port: *port,
                password_secret: password_secret.as_ref().map(|name| name.0.clone()),
            },
            ProbeEntry::Tcp { port } => Self::Tcp { port: *port },
        }
    }
}

/// The plan name of an entry: its own, or the key it stands under.
pub(crate) fn plan_name(name: Option<&ServiceName>, key: &ComposeName) -> Option<ServiceName> {
    name.cloned().or_else(|| key.0.parse().ok())
}

/// Whether something exists under these choices.
pub(crate) fn holds(when: &When, profiles: &BTreeMap<String, String>) -> bool {
    when.iter()
        .all(|(profile, choice)| profiles.get(profile) == Some(choice))
}
