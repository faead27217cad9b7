//! Nodes, templates, tokens, audit, status.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde::Serialize;
use shop_proto::wire::admin::v1 as api;

use super::some;

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Node {
    pub id: String,
    pub name: String,
    pub status: String,
    pub memory_bytes: u64,
    pub memory_reserved_bytes: u64,
    pub cpu_millis: u32,
    pub cpu_reserved_millis: u32,
    pub disk_total_bytes: u64,
    pub disk_free_bytes: u64,
    pub stores: u32,
    pub agent_version: Option<String>,
    pub engine_version: Option<String>,
    pub last_seen_at: Option<String>,
    pub joined_at: String,
    pub edge_url: Option<String>,
    pub failures: u32,
    pub no_new_stores_until: Option<String>,
}

/// Has no `Debug` and no `Serialize`: it is a secret.
pub(crate) struct JoinToken {
    pub id: String,
    pub token: SecretString,
    pub expires_at: String,
    pub root_pin: String,
    pub enroll_addresses: Vec<String>,
    pub agent_addresses: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Template {
    pub name: String,
    pub version: String,
    pub digest: String,
    pub title: String,
    pub summary: String,
    pub maturity: String,
    pub channel: String,
    pub is_default: bool,
    pub parameters: Vec<Parameter>,
    pub profiles: Vec<Profile>,
    pub services: Vec<String>,
    pub tasks: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Parameter {
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

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Profile {
    pub name: String,
    pub choices: Vec<String>,
    pub default: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Token {
    pub id: String,
    pub name: String,
    pub role: String,
    pub prefix: String,
    pub created_at: String,
    pub expires_at: String,
    pub last_used_at: Option<String>,
    pub revoked_at: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct AuditEntry {
    pub seq: u64,
    pub at: String,
    pub at_unix_ms: i64,
    pub actor: String,
    pub source: String,
    pub request_id: String,
    pub action: String,
    pub subject: String,
    pub decision: String,
    pub reason: String,
    pub previous_hash: String,
    pub hash: String,
}

/// Some entries and where the chain's head is.
#[derive(Debug, Clone)]
pub(crate) struct AuditPage {
    pub entries: Vec<AuditEntry>,
    pub head_seq: u64,
    pub head_hash: String,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Status {
    pub version: String,
    pub database: String,
    pub stores_by_status: BTreeMap<String, u32>,
    pub nodes_ready: u32,
    pub nodes_total: u32,
    pub operations_pending: u32,
    pub operations_running: u32,
    pub warnings: Vec<String>,
    pub started_at: String,
    pub base_domain: String,
}

impl From<api::Node> for Node {
    fn from(node: api::Node) -> Self {
        Self {
            id: node.id,
            name: node.name,
            status: node.status,
            memory_bytes: node.memory_bytes,
            memory_reserved_bytes: node.memory_reserved_bytes,
            cpu_millis: node.cpu_millis,
            cpu_reserved_millis: node.cpu_reserved_millis,
            disk_total_bytes: node.disk_total_bytes,
            disk_free_bytes: node.disk_free_bytes,
            stores: node.stores,
            agent_version: some(node.agent_version),
            engine_version: some(node.engine_version),
            last_seen_at: some(node.last_seen_at),
            joined_at: node.joined_at,
            edge_url: some(node.edge_url),
            failures: node.failures,
            no_new_stores_until: some(node.no_new_stores_until),
        }
    }
}

impl From<api::CreateJoinTokenResponse> for JoinToken {
    fn from(answer: api::CreateJoinTokenResponse) -> Self {
        Self {
            id: answer.id,
            token: SecretString::from(answer.token),
            expires_at: answer.expires_at,
            root_pin: answer.root_pin,
            enroll_addresses: answer.enroll_addresses,
            agent_addresses: answer.agent_addresses,
        }
    }
}

impl From<api::Template> for Template {
    fn from(template: api::Template) -> Self {
        Self {
            name: template.name,
            version: template.version,
            digest: template.digest,
            title: template.title,
            summary: template.summary,
            maturity: template.maturity,
            channel: template.channel,
            is_default: template.is_default,
            parameters: template
                .parameters
                .into_iter()
                .map(Parameter::from)
                .collect(),
            profiles: template.profiles.into_iter().map(Profile::from).collect(),
            services: template.services,
            tasks: template.tasks,
        }
    }
}

impl From<api::TemplateParameter> for Parameter {
    fn from(parameter: api::TemplateParameter) -> Self {
        // Both 0: the type has no bounds.
        let bounded = parameter.min != 0 || parameter.max != 0;
        Self {
            name: parameter.name,
            kind: parameter.r#type,
            description: parameter.description,
            default: some(parameter.default_value),
            required: parameter.required,
            min: bounded.then_some(parameter.min),
            max: bounded.then_some(parameter.max),
            choices: parameter.choices,
        }
    }
}

impl From<api::TemplateProfile> for Profile {
    fn from(profile: api::TemplateProfile) -> Self {
        Self {
            name: profile.name,
            choices: profile.choices,
            default: some(profile.default_value),
        }
    }
}

impl From<api::Token> for Token {
    fn from(token: api::Token) -> Self {
        Self {
            id: token.id,
            name: token.name,
            role: token.role,
            prefix: token.prefix,
            created_at: token.created_at,
            expires_at: token.expires_at,
            last_used_at: some(token.last_used_at),
            revoked_at: some(token.revoked_at),
        }
    }
}

impl From<api::AuditEntry> for AuditEntry {
    fn from(entry: api::AuditEntry) -> Self {
        Self {
            seq: entry.seq,
            at: entry.at,
            at_unix_ms: entry.at_unix_ms,
            actor: entry.actor,
            source: entry.source,
            request_id: entry.request_id,
            action: entry.action,
            subject: entry.subject,
            decision: entry.decision,
            reason: entry.reason,
            previous_hash: entry.previous_hash,
            hash: entry.hash,
        }
    }
}

impl From<api::ListAuditResponse> for AuditPage {
    fn from(answer: api::ListAuditResponse) -> Self {
        Self {
            entries: answer.entries.into_iter().map(AuditEntry::from).collect(),
            head_seq: answer.head_seq,
            head_hash: answer.head_hash,
        }
    }
}

impl From<api::FleetStatus> for Status {
    fn from(status: api::FleetStatus) -> Self {
        Self {
            version: status.version,
            database: status.database,
            stores_by_status: status.stores_by_status,
            nodes_ready: status.nodes_ready,
            nodes_total: status.nodes_total,
            operations_pending: status.operations_pending,
            operations_running: status.operations_running,
            warnings: status.warnings,
            started_at: status.started_at,
            base_domain: status.base_domain,
        }
    }
}
