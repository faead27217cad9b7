//! What a store should be: the revision it renders from, and how it should run.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{Digest, ServiceName, StoreName, Watch};

/// Version of the canonical form that the spec digest is taken over.
pub const SPEC_FORMAT: u32 = 1;

/// Revision + host names + scale + run state. Every change of it is a new generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// [`SPEC_FORMAT`].
    pub format: u32,
    /// The store's slug, for names that people read.
    pub store_name: StoreName,
    /// What it renders from.
    pub revision: Revision,
    /// Where buyers reach it.
    pub hosts: Vec<Host>,
    /// Replicas of slotted services; absent means 1.
    pub scale: BTreeMap<ServiceName, u8>,
    /// Whether it should run.
    pub run_state: RunState,
    /// Grows when an operator asks for a restart.
    pub restart_seq: u64,
    /// The edge answers with a page that says "back soon", whatever runs.
    #[serde(default, skip_serializing_if = "is_false")]
    pub maintenance: bool,
    /// Until then (Unix milliseconds) drift is reported, not repaired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_until_unix_ms: Option<i64>,
    /// When an update is taken back; `None` is [`Watch::default`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,
    /// Of each generated secret that was to have a new value: the generation that asked for it last. It belongs to no revision and never
    /// goes down, so going back to an older revision brings no older value back.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rotations: BTreeMap<String, u64>,
}

/// Fields that came later are left out while they say nothing, so that digests of older specs stay what they are.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl Spec {
    /// Names this content, on every machine.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of_value(self)
    }

    /// Replicas wanted of a slotted service.
    #[must_use]
    pub fn replicas(&self, service: &ServiceName) -> u8 {
        self.scale.get(service).copied().unwrap_or(1)
    }
}

/// One set of choices that renders to exactly one plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revision {
    /// From 1.
    pub number: u64,
    /// Template name, such as `refshop`.
    pub template: String,
    /// Digest of the template folder: what is trusted is this, not the name.
    pub template_digest: Digest,
    /// Only what differs from the template's defaults.
    pub parameters: BTreeMap<String, String>,
    /// Every profile of the template with its choice.
    pub profiles: BTreeMap<String, String>,
    /// Overrides from the node's allow-list.
    pub images: BTreeMap<ServiceName, String>,
    /// Overrides of the template's limits.
    pub resources: BTreeMap<ServiceName, Resources>,
    /// How much of the outside the store may reach.
    pub isolation: Isolation,
}

/// Limits of one service; `None` keeps the template's value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Memory limit in bytes.
    pub memory_bytes: Option<u64>,
    /// CPU limit in thousandths of a core.
    pub cpu_millis: Option<u32>,
}

/// A host name and whether its ownership was checked. Unverified names are not routed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// The name.
    pub name: HostName,
    /// Routed only when true.
    pub verified: bool,
}

/// Whether a store should run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Containers run, the edge routes to it.
    Running,
    /// Containers are stopped; volumes and identity stay.
    Stopped,
    /// As stopped, with a page at the edge that says so and nothing reserved on the node.
    Paused,
}

/// How much of the outside a store may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// Egress to public addresses.
    Standard,
}

impl RunState {
    /// As written on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Paused => "paused",
        }
    }

    /// From the written form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Running, Self::Stopped, Self::Paused]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

impl Isolation {
    /// As written on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
        }
    }
}

/// A fully qualified host name in lower case, at most 253 characters, ASCII (punycode for others).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

/// A text that is no host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a host name is labels of a-z, 0-9 and inner hyphens joined by dots, at least two of them, at most 253 characters, and no IP address"
)]
pub struct HostNameError;

impl HostName {
    /// The longest one that a node can route, in characters: its edge asks who answers for `<host>.<address of a store>.inside.shopfleet`, and
    /// 253 is the end of any name. Longer ones may lie in what was accepted before.
    pub const LONGEST: usize = 220;

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let label = |label: &str| {
            let bytes = label.as_bytes();
            let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            (1..=63).contains(&bytes.len())
                && bytes.first().is_some_and(edge)
                && bytes.last().is_some_and(edge)
                && bytes.iter().all(|b| edge(b) || *b == b'-')
        };
        let labels: Vec<&str> = text.split('.').collect();
        // A last label of digits only would be an IPv4 address.
        let numeric_end = labels
            .last()
            .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
        if text.len() <= 253 && labels.len() >= 2 && !numeric_end && labels.iter().all(|l| label(l))
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(HostNameError)
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for HostName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for HostName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names() {
        for good in ["shop.localhost", "a-b.example.com", "xn--bcher-kva.example"] {
            assert!(good.parse::<HostName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "localhost",
            "shop.",
            ".shop",
            "Shop.example",
            "-a.example",
            "a_b.example",
            "10.0.0.1",
            "shop.example:80",
            "*.example.com",
            "shop..example",
        ] {
            assert!(bad.parse::<HostName>().is_err(), "{bad}");
        }
    }
}
