//! What a change would do, and revisions.

use std::collections::BTreeMap;

use serde::Serialize;
use shop_proto::wire::{admin::v1 as api, common::v1 as common};

use super::some;

#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Preview {
    pub kind: String,
    pub unchanged: bool,
    pub from_revision: u64,
    pub to_revision: u64,
    pub from_template: String,
    pub to_template: String,
    pub migration: String,
    pub slots: bool,
    pub services: Vec<ServicePreview>,
    pub settings: Vec<FieldPreview>,
    pub reserved_memory_bytes_before: u64,
    pub reserved_memory_bytes_after: u64,
    pub reserved_cpu_millis_before: u32,
    pub reserved_cpu_millis_after: u32,
    pub warnings: Vec<String>,
    pub refused_code: Option<String>,
    pub refused_message: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct ServicePreview {
    pub service: String,
    pub change: String,
    pub restarts: String,
    pub reversible: bool,
    pub fields: Vec<FieldPreview>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct FieldPreview {
    pub field: String,
    pub from: Option<String>,
    pub to: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Revision {
    pub number: u64,
    pub template: String,
    pub template_version: String,
    pub parameters: BTreeMap<String, String>,
    pub profiles: BTreeMap<String, String>,
    pub state: String,
    pub held_reason: Option<String>,
    pub held_message: Option<String>,
    pub created_by: String,
    pub created_at: String,
    pub reason: Option<String>,
    pub wanted: bool,
}

/// Limits as they go on the wire: memory in bytes, CPU in thousandths; 0 is not named.
pub(crate) fn resources(
    limits: BTreeMap<String, (u64, u32)>,
) -> BTreeMap<String, common::Resources> {
    limits
        .into_iter()
        .map(|(service, (memory_bytes, cpu_millis))| {
            let limits = common::Resources {
                memory_bytes,
                cpu_millis,
            };
            (service, limits)
        })
        .collect()
}

impl From<api::Preview> for Preview {
    fn from(preview: api::Preview) -> Self {
        Self {
            kind: preview.kind,
            unchanged: preview.unchanged,
            from_revision: preview.from_revision,
            to_revision: preview.to_revision,
            from_template: preview.from_template,
            to_template: preview.to_template,
            migration: preview.migration,
            slots: preview.slots,
            services: preview.services.into_iter().map(Into::into).collect(),
            settings: preview.settings.into_iter().map(Into::into).collect(),
            reserved_memory_bytes_before: preview.reserved_memory_before,
            reserved_memory_bytes_after: preview.reserved_memory_after,
            reserved_cpu_millis_before: preview.reserved_cpu_millis_before,
            reserved_cpu_millis_after: preview.reserved_cpu_millis_after,
            warnings: preview.warnings,
            refused_code: some(preview.refused_code),
            refused_message: some(preview.refused_message),
        }
    }
}

impl From<api::ServicePreview> for ServicePreview {
    fn from(service: api::ServicePreview) -> Self {
        Self {
            service: service.service,
            change: service.change,
            restarts: service.restarts,
            reversible: service.reversible,
            fields: service.fields.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<api::FieldPreview> for FieldPreview {
    fn from(field: api::FieldPreview) -> Self {
        Self {
            field: field.field,
            from: some(field.from),
            to: some(field.to),
        }
    }
}

impl From<api::StoredRevision> for Revision {
    fn from(revision: api::StoredRevision) -> Self {
        Self {
            number: revision.number,
            template: revision.template,
            template_version: revision.template_version,
            parameters: revision.parameters,
            profiles: revision.profiles,
            state: revision.state,
            held_reason: some(revision.held_reason),
            held_message: some(revision.held_message),
            created_by: revision.created_by,
            created_at: revision.created_at,
            reason: some(revision.reason),
            wanted: revision.wanted,
        }
    }
}
