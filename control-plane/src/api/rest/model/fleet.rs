//! Nodes, join tokens, templates, status.

use std::collections::BTreeMap;

use secrecy::ExposeSecret as _;
use serde::Serialize;
use utoipa::ToSchema;

use super::some;
use crate::{
    app::{FleetStatus, NewJoinToken, NodeView},
    domain::{
        node::disk_limit_percent,
        template::{ParameterView, ProfileView, TemplateView},
    },
};

/// A Docker host run by a node agent.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api::rest) struct Node {
    pub id: String,
    pub name: String,
    /// `ready`, `unreachable` or `disk_pressure`.
    pub status: String,
    pub memory_bytes: u64,
    pub memory_reserved_bytes: u64,
    pub cpu_millis: u32,
    pub cpu_reserved_millis: u32,
    pub disk_total_bytes: u64,
    pub disk_free_bytes: u64,
    /// From this share of its disk in use on, in percent, no new stores go there.
    #[schema(minimum = 1, maximum = 100)]
    pub disk_limit_percent: u32,
    pub stores: u32,
    pub agent_version: Option<String>,
    pub engine_version: Option<String>,
    #[schema(format = DateTime)]
    pub last_seen_at: Option<String>,
    #[schema(format = DateTime)]
    pub joined_at: String,
    pub edge_url: Option<String>,
    /// New stores that failed there in a row.
    pub failures: u32,
    /// No new stores go there before this time, then one on trial.
    #[schema(format = DateTime)]
    pub no_new_stores_until: Option<String>,
}

/// All nodes.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api::rest) struct NodeList {
    pub nodes: Vec<Node>,
}

/// A single-use token with which a node joins. Has no `Debug`: it is a secret.
#[derive(Serialize, ToSchema)]
pub(in crate::api::rest) struct JoinToken {
    pub id: String,
    /// Shown once.
    pub token: String,
    #[schema(format = DateTime)]
    pub expires_at: String,
    /// Lower-case hex SHA-256 of the root's SubjectPublicKeyInfo; also inside the token.
    pub root_pin: String,
    pub enroll_addresses: Vec<String>,
    pub agent_addresses: Vec<String>,
}

/// A shop that can be made.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api::rest) struct Template {
    pub name: String,
    pub version: String,
    /// Lower-case hex SHA-256 of the template folder: what is trusted is this, not the name.
    pub digest: String,
    pub title: String,
    pub summary: String,
    pub maturity: String,
    /// `stable` or `preview`.
    pub channel: String,
    /// Whether the template's bare name means this version: the newest stable one.
    pub is_default: bool,
    pub parameters: Vec<TemplateParameter>,
    pub profiles: Vec<TemplateProfile>,
    pub services: Vec<String>,
    pub tasks: Vec<String>,
}

/// All templates.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api::rest) struct TemplateList {
    pub templates: Vec<Template>,
}

/// A typed parameter of a template.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api::rest) struct TemplateParameter {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub description: String,
    pub default: Option<String>,
    pub required: bool,
    pub min: Option<i64>,
    pub max: Option<i64>,
    pub choices: Vec<String>,
}

/// A profile of a template.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api::rest) struct TemplateProfile {
    pub name: String,
    pub choices: Vec<String>,
    pub default: String,
}

/// The fleet at a glance.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api::rest) struct Status {
    pub version: String,
    /// `sqlite` or `postgresql`.
    pub database: String,
    pub stores_by_status: BTreeMap<String, u32>,
    pub nodes_ready: u32,
    pub nodes_total: u32,
    pub operations_pending: u32,
    pub operations_running: u32,
    pub warnings: Vec<String>,
    #[schema(format = DateTime)]
    pub started_at: String,
    pub base_domain: String,
}

impl From<NodeView> for Node {
    fn from(view: NodeView) -> Self {
        let NodeView {
            node,
            status,
            reserved,
            stores,
            last_seen_at,
            edge_url,
        } = view;
        Self {
            id: node.id.to_string(),
            name: node.name,
            status: status.as_str().to_owned(),
            memory_bytes: node.capacity.memory_bytes,
            memory_reserved_bytes: reserved.memory_bytes,
            cpu_millis: node.capacity.cpu_millis,
            cpu_reserved_millis: reserved.cpu_millis,
            disk_total_bytes: node.capacity.disk_total_bytes,
            disk_free_bytes: node.capacity.disk_free_bytes,
            disk_limit_percent: disk_limit_percent(&node.capacity),
            stores,
            agent_version: some(&node.agent_version),
            engine_version: some(&node.engine_version),
            last_seen_at: last_seen_at.map(|time| time.to_string()),
            joined_at: node.joined_at.to_string(),
            edge_url,
            failures: node.breaker.failures,
            no_new_stores_until: node.breaker.until.map(|until| until.to_string()),
        }
    }
}

impl From<NewJoinToken> for JoinToken {
    fn from(new: NewJoinToken) -> Self {
        Self {
            id: new.id,
            token: new.token.expose_secret().to_owned(),
            expires_at: new.expires_at.to_string(),
            root_pin: new.root_pin.to_string(),
            enroll_addresses: new.enroll_addresses,
            agent_addresses: new.agent_addresses,
        }
    }
}

impl From<TemplateView> for Template {
    fn from(view: TemplateView) -> Self {
        Self {
            name: view.name,
            version: view.version,
            digest: view.digest.to_string(),
            title: view.title,
            summary: view.summary,
            maturity: view.maturity,
            channel: view.channel,
            is_default: view.is_default,
            parameters: view
                .parameters
                .into_iter()
                .map(TemplateParameter::from)
                .collect(),
            profiles: view
                .profiles
                .into_iter()
                .map(TemplateProfile::from)
                .collect(),
            services: view.services,
            tasks: view.tasks,
        }
    }
}

impl From<ParameterView> for TemplateParameter {
    fn from(view: ParameterView) -> Self {
        Self {
            name: view.name,
            kind: view.kind,
            description: view.description,
            default: view.default,
            required: view.required,
            min: view.min,
            max: view.max,
            choices: view.choices,
        }
    }
}

impl From<ProfileView> for TemplateProfile {
    fn from(view: ProfileView) -> Self {
        Self {
            name: view.name,
            choices: view.choices,
            default: view.default,
        }
    }
}

impl From<FleetStatus> for Status {
    fn from(status: FleetStatus) -> Self {
        Self {
            version: status.version.to_owned(),
            database: status.database.to_owned(),
            stores_by_status: status
                .stores_by_status
                .into_iter()
                .map(|(status, count)| (status.to_owned(), count))
                .collect(),
            nodes_ready: status.nodes_ready,
            nodes_total: status.nodes_total,
            operations_pending: status.operations_pending,
            operations_running: status.operations_running,
            warnings: status.warnings,
            started_at: status.started_at.to_string(),
            base_domain: status.base_domain,
        }
    }
}
