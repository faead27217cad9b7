//! Messages about changes of a store that goes on serving.

use std::{collections::BTreeMap, time::Duration};

use shop_plan::{FieldChange, ServiceChange};
use shop_proto::wire::{
    admin::v1::{self as api, amend_store_request::What},
    common::v1 as common,
};

use super::convert::{given, limits, operation, resources};
use crate::{
    api::words,
    app::{
        AmendStore, Amended, Amendment, LabelStore, Preview, RevisionView, RotateSecrets,
        UpdateStore, WatchInput,
    },
    domain::{
        revision::RevisionState,
        session::{DriftReport, StoreReport},
        store::Store,
    },
};

/// A request that names no change asks for an update that changes nothing.
pub(super) fn amend(request: api::AmendStoreRequest) -> AmendStore {
    let what = match request.what {
        None => Amendment::default(),
        Some(What::Update(change)) => Amendment::Update(update(change)),
        Some(What::Rollback(change)) => Amendment::Rollback {
            number: (change.revision > 0).then_some(change.revision),
            allow_irreversible: change.allow_irreversible,
        },
        Some(What::Rotate(change)) => Amendment::Rotate(RotateSecrets {
            names: change.names,
            all: change.all,
        }),
        Some(What::Scale(change)) => Amendment::Scale(change.replicas),
        Some(What::Maintenance(change)) => Amendment::Maintenance(change.on),
        Some(What::Pause(_)) => Amendment::Pause,
        Some(What::Wake(_)) => Amendment::Wake,
        Some(What::Hold(change)) => Amendment::Hold(Duration::from_secs(change.for_seconds)),
        Some(What::Release(_)) => Amendment::Release,
        Some(What::Configure(change)) => Amendment::Configure {
            watch: watch(change.watch),
        },
    };
    AmendStore {
        store: request.store,
        reason: request.reason,
        idempotency_key: given(request.idempotency_key),
        if_generation: (request.if_generation > 0).then_some(request.if_generation),
        dry_run: request.dry_run,
        what,
    }
}

fn update(change: api::UpdateChange) -> UpdateStore {
    let set = change
        .parameters
        .into_iter()
        .map(|(name, value)| (name, Some(value)));
    let unset = change.unset_parameters.into_iter().map(|name| (name, None));
    let images = change
        .images
        .into_iter()
        .map(|(service, image)| (service, Some(image)));
    let own = change
        .unset_images
        .into_iter()
        .map(|service| (service, None));
    UpdateStore {
        template: change.template,
        parameters: set.chain(unset).collect(),
        profiles: change.profiles,
        images: images.chain(own).collect(),
        resources: resources(change.resources),
        isolation: change.isolation,
        watch: watch(change.watch),
        allow_irreversible: change.allow_irreversible,
    }
}

fn watch(watch: Option<common::Watch>) -> WatchInput {
    let watch = watch.unwrap_or_default();
    WatchInput {
        window_seconds: watch.window_seconds,
        failed_checks: watch.failed_checks,
        restarts: watch.restarts,
        error_permille: watch.error_permille,
        error_factor: watch.error_factor,
        min_requests: watch.min_requests,
    }
}

pub(super) fn amended(amended: Amended) -> api::AmendStoreResponse {
    use api::amend_store_response::Answer;
    let answer = match amended {
        Amended::Accepted(view) => Answer::Operation(operation(*view)),
        Amended::Preview(told) => Answer::Preview(preview(*told)),
    };
    api::AmendStoreResponse {
        answer: Some(answer),
    }
}

fn preview(preview: Preview) -> api::Preview {
    let (refused_code, refused_message) = preview.refused.unwrap_or_default();
    api::Preview {
        kind: preview.kind.as_str().to_owned(),
        unchanged: preview.unchanged,
        from_revision: preview.from_revision,
        to_revision: preview.to_revision,
        from_template: preview.from_template,
        to_template: preview.to_template,
        migration: words::migration(preview.migration).to_owned(),
        slots: preview.slots,
        services: preview.services.into_iter().map(service).collect(),
        settings: preview.settings.into_iter().map(field).collect(),
        reserved_memory_before: preview.reserved_before.memory_bytes,
        reserved_memory_after: preview.reserved_after.memory_bytes,
        reserved_cpu_millis_before: preview.reserved_before.cpu_millis,
        reserved_cpu_millis_after: preview.reserved_after.cpu_millis,
        warnings: preview.warnings,
        refused_code,
        refused_message,
    }
}

fn service(change: ServiceChange) -> api::ServicePreview {
    api::ServicePreview {
        service: change.service.to_string(),
        change: words::change(change.change).to_owned(),
        restarts: words::restarts(change.restarts).to_owned(),
        reversible: change.reversible,
        fields: change.fields.into_iter().map(field).collect(),
    }
}

fn field(change: FieldChange) -> api::FieldPreview {
    api::FieldPreview {
        field: change.field,
        from: change.from.unwrap_or_default(),
        to: change.to.unwrap_or_default(),
    }
}

pub(super) fn label(request: api::LabelStoreRequest) -> LabelStore {
    let set = request
        .labels
        .into_iter()
        .map(|(name, value)| (name, Some(value)));
    let removed = request.remove_labels.into_iter().map(|name| (name, None));
    LabelStore {
        store: request.store,
        reason: request.reason,
        if_generation: (request.if_generation > 0).then_some(request.if_generation),
        labels: set.chain(removed).collect(),
        display_name: request.display_name,
    }
}

pub(super) fn revisions(views: Vec<RevisionView>) -> api::ListRevisionsResponse {
    api::ListRevisionsResponse {
        revisions: views.into_iter().map(revision).collect(),
    }
}

fn revision(view: RevisionView) -> api::StoredRevision {
    let RevisionView { revision, wanted } = view;
    let state = revision.state.as_str().to_owned();
    let (held_reason, held_message) = match revision.state {
        RevisionState::HeldBack { reason, message } => (reason, message),
        _ => Default::default(),
    };
    api::StoredRevision {
        number: revision.content.number,
        template: revision.content.template,
        template_version: revision.template_version,
        parameters: revision.content.parameters,
        profiles: revision.content.profiles,
        resources: limits(revision.content.resources),
        state,
        held_reason,
        held_message,
        created_by: revision.created_by,
        created_at: revision.created_at.to_string(),
        reason: revision.reason,
        wanted,
    }
}

/// Until when drift is only shown; empty when it is repaired.
pub(super) fn hold_until(store: &Store) -> String {
    words::hold_until(store).unwrap_or_default()
}

pub(super) fn scale(store: &Store) -> BTreeMap<String, u32> {
    store
        .spec
        .scale
        .iter()
        .map(|(service, replicas)| (service.to_string(), u32::from(*replicas)))
        .collect()
}

pub(super) fn drift(report: Option<&StoreReport>) -> Vec<common::Drift> {
    let drift = report.map(|report| report.drift.as_slice());
    drift.unwrap_or_default().iter().map(one_drift).collect()
}

fn one_drift(drift: &DriftReport) -> common::Drift {
    common::Drift {
        kind: drift.kind.clone(),
        name: drift.name.clone(),
        what: drift.what.clone(),
        seen_unix_ms: drift.seen_unix_ms,
        repaired_unix_ms: drift.repaired_unix_ms,
    }
}
