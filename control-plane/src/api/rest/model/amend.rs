//! What a change would do, and revisions.

use std::collections::BTreeMap;

use serde::Serialize;
use shop_plan::{FieldChange, ServiceChange};
use utoipa::ToSchema;

use super::some;
use crate::{
    api::words,
    app::{self, RevisionView},
    domain::revision::RevisionState,
};

/// What a change would do. Nothing of it was written.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api::rest) struct Preview {
    /// Kind of the operation it would be.
    pub kind: String,
    /// It is so already.
    pub unchanged: bool,
    /// The revision that serves.
    pub from_revision: u64,
    pub to_revision: u64,
    #[schema(example = "refshop@1.0.0")]
    pub from_template: String,
    pub to_template: String,
    /// `none`, `reversible` or `irreversible`.
    pub migration: String,
    /// Web and php-fpm start anew in the free slot, and traffic moves.
    pub slots: bool,
    pub services: Vec<ServicePreview>,
    /// About the store itself.
    pub settings: Vec<FieldPreview>,
    pub reserved_memory_bytes_before: u64,
    pub reserved_memory_bytes_after: u64,
    pub reserved_cpu_millis_before: u32,
    pub reserved_cpu_millis_after: u32,
    pub warnings: Vec<String>,
    /// The refusal it would meet.
    pub refused: Option<RefusedChange>,
}

/// Why a change would be refused.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api::rest) struct RefusedChange {
    /// Stable.
    pub code: String,
    pub message: String,
}

/// What happens to a service.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api::rest) struct ServicePreview {
    pub service: String,
    /// `added`, `removed`, `recreated`, `limits-only` or `same`.
    pub change: String,
    /// `never`, `in-free-slot`, `stop-first` or `live`.
    pub restarts: String,
    pub reversible: bool,
    pub fields: Vec<FieldPreview>,
}

/// One field that changes.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api::rest) struct FieldPreview {
    #[schema(example = "environment.SHOP_NAME")]
    pub field: String,
    /// `null`: it was not there.
    pub from: Option<String>,
    /// `null`: it is not there any more.
    pub to: Option<String>,
}

/// A revision that is kept.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api::rest) struct Revision {
    pub number: u64,
    pub template: String,
    pub template_version: String,
    pub parameters: BTreeMap<String, String>,
    pub profiles: BTreeMap<String, String>,
    /// `pending`, `serving`, `superseded` or `held_back`.
    pub state: String,
    /// Why it was held back, as a code.
    pub held_reason: Option<String>,
    pub held_message: Option<String>,
    pub created_by: String,
    #[schema(format = DateTime)]
    pub created_at: String,
    pub reason: Option<String>,
    /// It is the one that is wanted.
    pub wanted: bool,
}

/// Revisions, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api::rest) struct RevisionList {
    pub revisions: Vec<Revision>,
}

impl From<app::Preview> for Preview {
    fn from(preview: app::Preview) -> Self {
        Self {
            kind: preview.kind.as_str().to_owned(),
            unchanged: preview.unchanged,
            from_revision: preview.from_revision,
            to_revision: preview.to_revision,
            from_template: preview.from_template,
            to_template: preview.to_template,
            migration: words::migration(preview.migration).to_owned(),
            slots: preview.slots,
            services: preview.services.into_iter().map(Into::into).collect(),
            settings: preview.settings.into_iter().map(Into::into).collect(),
            reserved_memory_bytes_before: preview.reserved_before.memory_bytes,
            reserved_memory_bytes_after: preview.reserved_after.memory_bytes,
            reserved_cpu_millis_before: preview.reserved_before.cpu_millis,
            reserved_cpu_millis_after: preview.reserved_after.cpu_millis,
            warnings: preview.warnings,
            refused: preview
                .refused
                .map(|(code, message)| RefusedChange { code, message }),
        }
    }
}

impl From<ServiceChange> for ServicePreview {
    fn from(change: ServiceChange) -> Self {
        Self {
            service: change.service.to_string(),
            change: words::change(change.change).to_owned(),
            restarts: words::restarts(change.restarts).to_owned(),
            reversible: change.reversible,
            fields: change.fields.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<FieldChange> for FieldPreview {
    fn from(change: FieldChange) -> Self {
        let FieldChange { field, from, to } = change;
        Self { field, from, to }
    }
}

impl From<RevisionView> for Revision {
    fn from(view: RevisionView) -> Self {
        let RevisionView { revision, wanted } = view;
        let state = revision.state.as_str().to_owned();
        let (held_reason, held_message) = match revision.state {
            RevisionState::HeldBack { reason, message } => (some(&reason), some(&message)),
            _ => (None, None),
        };
        Self {
            number: revision.content.number,
            template: revision.content.template,
            template_version: revision.template_version,
            parameters: revision.content.parameters,
            profiles: revision.content.profiles,
            state,
            held_reason,
            held_message,
            created_by: revision.created_by,
            created_at: revision.created_at.to_string(),
            reason: some(&revision.reason),
            wanted,
        }
    }
}

impl From<Vec<RevisionView>> for RevisionList {
    fn from(views: Vec<RevisionView>) -> Self {
        Self {
            revisions: views.into_iter().map(Revision::from).collect(),
        }
    }
}
