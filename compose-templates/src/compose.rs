//! The part of the Compose format that a template may use: ours ∩ docker-compose 1.29. Everything else is an unknown field.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;
use shop_proto::ServiceName;

use crate::{
    NetworkRole,
    interpolate::Interpolated,
    manifest::Manifest,
    scalar::{
        ByteSize, CpuMillis, EnvName, Image, Literal, ScalarError, SecretName, Signal, Span,
        TmpfsUse, VolumeUse, deserialize_through_text, through_text,
    },
};

/// A template's `compose.yaml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComposeFile {
    #[serde(rename = "x-store")]
    pub manifest: Spanned<Manifest>,
    pub services: BTreeMap<ComposeName, Spanned<Service>>,
    #[serde(default)]
    pub networks: BTreeMap<NetworkRole, Option<Spanned<Network>>>,
    #[serde(default)]
    pub volumes: BTreeMap<ServiceName, Option<Volume>>,
    #[serde(default)]
    pub secrets: BTreeMap<SecretName, Spanned<Secret>>,
}

/// Name of a compose service: as a plan's, but longer, because profiles make several of one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ComposeName(pub(crate) String);

/// A compose service. What is not used for rendering is here so that a person can bring the file up by hand.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    pub image: Image,
    pub command: Option<Vec<Literal>>,
    #[serde(default)]
    pub environment: BTreeMap<EnvName, Interpolated>,
    #[serde(default)]
    pub networks: BTreeMap<NetworkRole, Option<Attachment>>,
    #[serde(default)]
    pub volumes: Vec<VolumeUse>,
    #[serde(default)]
    pub tmpfs: Vec<TmpfsUse>,
    #[serde(default)]
    pub secrets: Vec<SecretName>,
    #[serde(default)]
    pub depends_on: BTreeMap<ComposeName, Dependency>,
    /// Ours are in `x-store`.
    #[serde(default, rename = "healthcheck")]
    pub _healthcheck: Option<HealthCheck>,
    #[serde(default)]
    pub profiles: Vec<Literal>,
    pub stop_signal: Option<Signal>,
    pub stop_grace_period: Option<Span>,
    pub read_only: bool,
    pub cap_drop: Vec<Literal>,
    pub security_opt: Vec<Literal>,
    pub mem_limit: ByteSize,
    pub cpus: CpuMillis,
    pub pids_limit: u32,
}

/// How a service is attached to a network.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    #[serde(default)]
    pub aliases: Vec<ComposeName>,
}

/// What must have happened to another service first.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dependency {
    pub condition: Condition,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    ServiceHealthy,
    ServiceCompletedSuccessfully,
}

/// Compose's own health check.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    #[serde(rename = "test")]
    pub _test: Vec<Literal>,
    #[serde(rename = "interval")]
    pub _interval: Option<Span>,
    #[serde(rename = "timeout")]
    pub _timeout: Option<Span>,
    #[serde(rename = "retries")]
    pub _retries: Option<u32>,
    #[serde(rename = "start_period")]
    pub _start_period: Option<Span>,
}

/// A top-level network.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    #[serde(default)]
    pub internal: bool,
}

/// A top-level volume: nothing about it can be said.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {}

/// A top-level secret: for bringing the file up by hand only.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    pub file: String,
}

deserialize_through_text!(ComposeName);

impl FromStr for ComposeName {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = text.as_bytes();
        let good = (1..=40).contains(&bytes.len())
            && bytes.first().is_some_and(u8::is_ascii_lowercase)
            && bytes.last().is_some_and(edge)
            && bytes.iter().all(|b| edge(b) || *b == b'-');
        good.then(|| Self(text.to_owned())).ok_or_else(|| {
            ScalarError::new("a service's name is 1 to 40 characters a-z, 0-9 and inner hyphens")
        })
    }
}

impl fmt::Display for ComposeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
