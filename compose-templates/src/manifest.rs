//! `x-store`: what a Compose file cannot say about a shop.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;
use shop_proto::ServiceName;

use crate::{
    CronExpression, Probe, SecretAlphabet, ServiceKind, TimeZoneName, UpdatePlan, When,
    compose::ComposeName,
    interpolate::Interpolated,
    parameter::{ArgumentEntry, Parameters},
    scalar::{Literal, ScalarError, SecretName, Span},
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
    /// Whether the bare name of the template means it.
    #[serde(default)]
    pub channel: Channel,
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
    pub(crate) cron: Vec<Spanned<CronEntry>>,
    pub(crate) update: Option<Spanned<UpdateEntry>>,
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

/// Whether a version is taken where none is named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    /// Yes, when it is the newest stable one.
    #[default]
    Stable,
    /// Only by its version.
    Preview,
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
pub(crate) type Conditions = BTreeMap<String, String>;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServiceEntry {
    pub name: Option<ServiceName>,
    pub kind: ServiceKind,
    #[serde(default)]
    pub when: Conditions,
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
    pub when: Conditions,
    pub from: ComposeName,
    pub command: Vec<Literal>,
    #[serde(default)]
    pub once: bool,
    pub timeout: Span,
    /// None: what `from` depends on.
    pub after: Option<Vec<ServiceName>>,
    #[serde(default)]
    pub arguments: Vec<Spanned<ArgumentEntry>>,
    /// One at a time in a store.
    #[serde(default = "yes")]
    pub exclusive: bool,
    /// May be run again, also after a crash half-way.
    #[serde(default)]
    pub idempotent: bool,
}

const fn yes() -> bool {
    true
}

#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "CronDeclaration")]
pub(crate) struct CronEntry {
    pub task: ServiceName,
    pub when: When,
}

/// A schedule as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CronDeclaration {
    task: ServiceName,
    every: Option<Span>,
    schedule: Option<CronExpression>,
    time_zone: Option<TimeZoneName>,
}

/// As [`UpdatePlan`], as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateEntry {
    pub task: ServiceName,
    pub schema: u32,
    pub works_from: u32,
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

impl Channel {
    /// As written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Preview => "preview",
        }
    }
}

impl TryFrom<CronDeclaration> for CronEntry {
    type Error = ScalarError;

    fn try_from(written: CronDeclaration) -> Result<Self, Self::Error> {
        let when = match (written.every, written.schedule, written.time_zone) {
            (Some(every), None, None) => When::Every(every.0),
            (None, Some(expression), Some(time_zone)) => When::Cron {
                expression,
                time_zone,
            },
            (None, Some(_), None) => {
                return Err(ScalarError::new(
                    "a `schedule` needs a `time_zone`, such as Europe/Berlin",
                ));
            }
            _ => {
                return Err(ScalarError::new(
                    "a scheduled task has either `every`, or `schedule` and `time_zone`",
                ));
            }
        };
        Ok(Self {
            task: written.task,
            when,
        })
    }
}

impl From<&UpdateEntry> for UpdatePlan {
    fn from(entry: &UpdateEntry) -> Self {
        Self {
            task: entry.task.clone(),
            schema: entry.schema,
            works_from: entry.works_from,
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
pub(crate) fn holds(when: &Conditions, profiles: &BTreeMap<String, String>) -> bool {
    when.iter()
        .all(|(profile, choice)| profiles.get(profile) == Some(choice))
}
