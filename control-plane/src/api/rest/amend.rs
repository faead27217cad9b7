//! Changes of a store that goes on serving: what each route reads from a request, and what it answers.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use utoipa::ToSchema;

use super::{
    extract::{Body, Conditions, Known, Nothing, Query},
    fields::{Fields, Readable},
    model::{Operation, Preview, RevisionList, Store},
    problem::{Refusal, Refusals},
    stores::{ChangeHeaders, ResourceLimits, accepted},
};
use crate::app::{
    AmendStore, Amended, Amendment, App, LabelStore, RotateSecrets, UpdateStore, WatchInput,
};

/// Another revision: only what differs from the one that is wanted now.
#[derive(ToSchema)]
#[allow(
    dead_code,
    reason = "the schema; values are read into the use-case's input"
)]
pub(super) struct UpdateRequest {
    /// Version of the store's template.
    #[schema(example = "refshop@2")]
    template: Option<String>,
    /// `null` puts a parameter back to the template's default.
    parameters: Option<BTreeMap<String, Option<String>>>,
    profiles: Option<BTreeMap<String, String>>,
    /// By service, in place of the template's; the node's allow-list must hold them. `null` goes back to the template's.
    images: Option<BTreeMap<String, Option<String>>>,
    /// By service; both 0 goes back to the template's limits.
    resources: Option<BTreeMap<String, ResourceLimits>>,
    isolation: Option<String>,
    watch: Option<WatchSettings>,
    /// Go on where there is no way back.
    allow_irreversible: Option<bool>,
    /// Answer what would happen, write nothing.
    dry_run: Option<bool>,
    /// For the audit chain.
    reason: Option<String>,
}

/// When an update is taken back; what is 0 or absent stays as it is set.
#[derive(ToSchema)]
#[allow(
    dead_code,
    reason = "the schema; values are read into the use-case's input"
)]
pub(super) struct WatchSettings {
    window_seconds: Option<u32>,
    failed_checks: Option<u32>,
    restarts: Option<u32>,
    error_permille: Option<u32>,
    error_factor: Option<u32>,
    min_requests: Option<u32>,
}

/// Back to a revision that was there before.
#[derive(ToSchema)]
#[allow(
    dead_code,
    reason = "the schema; values are read into the use-case's input"
)]
pub(super) struct RollbackRequest {
    /// The newest before the present one that served when absent.
    revision: Option<u64>,
    /// Go on where there is no way back.
    allow_irreversible: Option<bool>,
    /// Answer what would happen, write nothing.
    dry_run: Option<bool>,
    /// For the audit chain.
    reason: Option<String>,
}

/// New values of secrets that were made in the store.
#[derive(ToSchema)]
#[allow(
    dead_code,
    reason = "the schema; values are read into the use-case's input"
)]
pub(super) struct RotateRequest {
    /// By name, such as `db_password`.
    secrets: Option<Vec<String>>,
    /// Every one that can be rotated while the store serves.
    all: Option<bool>,
    /// Answer what would happen, write nothing.
    dry_run: Option<bool>,
    /// For the audit chain.
    reason: Option<String>,
}

/// Replicas by service.
#[derive(ToSchema)]
#[allow(
    dead_code,
    reason = "the schema; values are read into the use-case's input"
)]
pub(super) struct ScaleRequest {
    /// 1 to 6 each.
    replicas: BTreeMap<String, u32>,
    /// Answer what would happen, write nothing.
    dry_run: Option<bool>,
    /// For the audit chain.
    reason: Option<String>,
}

/// The maintenance page.
#[derive(ToSchema)]
#[allow(
    dead_code,
    reason = "the schema; values are read into the use-case's input"
)]
pub(super) struct MaintenanceRequest {
    on: Option<bool>,
    /// Answer what would happen, write nothing.
    dry_run: Option<bool>,
    /// For the audit chain.
    reason: Option<String>,
}

/// Hands off for a while.
#[derive(ToSchema)]
#[allow(
    dead_code,
    reason = "the schema; values are read into the use-case's input"
)]
pub(super) struct HoldRequest {
    /// From 1 second to 7 days.
    for_seconds: u64,
    /// Answer what would happen, write nothing.
    dry_run: Option<bool>,
    /// Shown wherever the hold is.
    reason: Option<String>,
}

/// Pause, wake or release.
#[derive(ToSchema)]
#[allow(
    dead_code,
    reason = "the schema; values are read into the use-case's input"
)]
pub(super) struct PlainRequest {
    /// Answer what would happen, write nothing.
    dry_run: Option<bool>,
    /// For the audit chain.
    reason: Option<String>,
}

/// What concerns no container, and when updates are taken back.
#[derive(ToSchema)]
#[allow(
    dead_code,
    reason = "the schema; values are read into the use-case's input"
)]
pub(super) struct PatchRequest {
    /// `null` removes a label.
    labels: Option<BTreeMap<String, Option<String>>>,
    display_name: Option<String>,
    watch: Option<WatchSettings>,
    /// For the audit chain.
    reason: Option<String>,
}

/// A change with what every one of them has.
pub(super) struct Asked {
    what: Amendment,
    dry_run: bool,
    reason: String,
}

impl Asked {
    fn read(fields: &mut Fields, what: Amendment) -> Self {
        Self {
            what,
            dry_run: fields.flag("dry_run"),
            reason: fields.text("reason"),
        }
    }

    async fn answer(
        self,
        (app, caller): (App, Known),
        store: String,
        conditions: Conditions,
    ) -> Result<Response, Refusal> {
        let input = AmendStore {
            store,
            reason: self.reason,
            idempotency_key: conditions.idempotency_key,
            if_generation: conditions.if_generation,
            dry_run: self.dry_run,
            what: self.what,
        };
        Ok(match app.amend(&caller.0, input).await? {
            Amended::Accepted(view) => accepted(*view),
            Amended::Preview(preview) => Json(Preview::from(*preview)).into_response(),
        })
    }
}

macro_rules! asked {
    ($name:ident, $fields:ident, $what:expr) => {
        /// Read from a body.
        pub(super) struct $name(Asked);

        impl Readable for $name {
            fn read($fields: &mut Fields) -> Self {
                let what = $what;
                Self(Asked::read($fields, what))
            }
        }
    };
}

asked!(
    Update,
    fields,
    Amendment::Update(UpdateStore {
        template: fields.text("template"),
        parameters: fields.removable_texts("parameters"),
        profiles: fields.text_map("profiles"),
        images: fields.removable_texts("images"),
        resources: fields.object_map("resources"),
        isolation: fields.text("isolation"),
        watch: fields.nested("watch"),
        allow_irreversible: fields.flag("allow_irreversible"),
    })
);
asked!(
    Rollback,
    fields,
    Amendment::Rollback {
        number: Some(fields.number("revision")).filter(|number| *number > 0),
        allow_irreversible: fields.flag("allow_irreversible"),
    }
);
asked!(
    Rotate,
    fields,
    Amendment::Rotate(RotateSecrets {
        names: fields.texts("secrets"),
        all: fields.flag("all"),
    })
);
asked!(
    Scale,
    fields,
    Amendment::Scale(fields.number_map("replicas"))
);
asked!(
    Maintenance,
    fields,
    Amendment::Maintenance(fields.flag("on"))
);
asked!(Pause, fields, Amendment::Pause);
asked!(Wake, fields, Amendment::Wake);
asked!(
    Hold,
    fields,
    Amendment::Hold(Duration::from_secs(fields.number("for_seconds")))
);

impl Readable for WatchInput {
    fn read(fields: &mut Fields) -> Self {
        Self {
            window_seconds: fields.number("window_seconds"),
            failed_checks: fields.number("failed_checks"),
            restarts: fields.number("restarts"),
            error_permille: fields.number("error_permille"),
            error_factor: fields.number("error_factor"),
            min_requests: fields.number("min_requests"),
        }
    }
}

/// Read from a body.
pub(super) struct Patch {
    labels: BTreeMap<String, Option<String>>,
    display_name: String,
    watch: WatchInput,
    reason: String,
}

impl Readable for Patch {
    fn read(fields: &mut Fields) -> Self {
        Self {
            labels: fields.removable_texts("labels"),
            display_name: fields.text("display_name"),
            watch: fields.nested("watch"),
            reason: fields.text("reason"),
        }
    }
}

/// A route for one kind of change.
macro_rules! change {
    ($(#[$doc:meta])* $name:ident, $path:literal, $request:ty, $read:ty) => {
        $(#[$doc])*
        #[utoipa::path(post, path = $path, tag = "stores",
            params(("store" = String, Path, description = "Name or id"), ChangeHeaders), request_body = Option<$request>,
            responses((status = 200, description = "What would happen", body = Preview),
                (status = 202, description = "Accepted", body = Operation,
                    headers(("location" = String, description = "The operation"))),
                Refusals))]
        pub(super) async fn $name(
            State(app): State<App>,
            caller: Known,
            Path(store): Path<String>,
            conditions: Conditions,
            Body(read): Body<$read>,
        ) -> Result<Response, Refusal> {
            read.checked()?
                .0
                .answer((app, caller), store, conditions)
                .await
        }
    };
}

change!(
    /// Update a store
    ///
    /// The new revision starts beside the one that serves, is checked, and takes over; a bad minute after that takes it back.
    update_store, "/api/v1/stores/{store}/update", UpdateRequest, Update
);

/// Show what an update would do
#[utoipa::path(post, path = "/api/v1/stores/{store}/diff", tag = "stores", operation_id = "diff_store",
    params(("store" = String, Path, description = "Name or id"), ChangeHeaders), request_body = Option<UpdateRequest>,
    responses((status = 200, description = "What would happen", body = Preview), Refusals))]
pub(super) async fn diff_store(
    State(app): State<App>,
    caller: Known,
    Path(store): Path<String>,
    conditions: Conditions,
    Body(read): Body<Update>,
) -> Result<Response, Refusal> {
    let mut asked = read.checked()?.0;
    asked.dry_run = true;
    asked.answer((app, caller), store, conditions).await
}

change!(
    /// Roll a store back
    rollback_store, "/api/v1/stores/{store}/rollback", RollbackRequest, Rollback
);

change!(
    /// Give generated secrets new values
    ///
    /// Old and new values are both accepted until containers that never had the old ones serve; then the old ones are not any more.
    rotate_secrets, "/api/v1/stores/{store}/rotate", RotateRequest, Rotate
);

change!(
    /// Scale a store
    scale_store, "/api/v1/stores/{store}/scale", ScaleRequest, Scale
);

change!(
    /// Show or hide the maintenance page
    set_maintenance, "/api/v1/stores/{store}/maintenance", MaintenanceRequest, Maintenance
);

change!(
    /// Pause a store
    ///
    /// Its containers stop, the edge says so, and its room on the node is free for others.
    pause_store, "/api/v1/stores/{store}/pause", PlainRequest, Pause
);

change!(
    /// Wake a paused store
    ///
    /// It waits when its node has no room for it any more.
    wake_store, "/api/v1/stores/{store}/wake", PlainRequest, Wake
);

change!(
    /// Hold a store
    ///
    /// What somebody changes by hand is shown and left alone until the hold ends.
    hold_store, "/api/v1/stores/{store}/hold", HoldRequest, Hold
);

/// Release a held store
#[utoipa::path(delete, path = "/api/v1/stores/{store}/hold", tag = "stores", operation_id = "release_store",
    params(("store" = String, Path, description = "Name or id"), ChangeHeaders),
    responses((status = 202, description = "Accepted", body = Operation, headers(("location" = String, description = "The operation"))), Refusals))]
pub(super) async fn release_store(
    State(app): State<App>,
    caller: Known,
    Path(store): Path<String>,
    conditions: Conditions,
    Query(Nothing): Query<Nothing>,
) -> Result<Response, Refusal> {
    let asked = Asked {
        what: Amendment::Release,
        dry_run: false,
        reason: String::new(),
    };
    asked.answer((app, caller), store, conditions).await
}

/// Change labels, the name for people, or when updates are taken back
#[utoipa::path(patch, path = "/api/v1/stores/{store}", tag = "stores", operation_id = "patch_store",
    params(("store" = String, Path, description = "Name or id"), ChangeHeaders), request_body = Option<PatchRequest>,
    responses((status = 200, description = "The store", body = Store), Refusals))]
pub(super) async fn patch_store(
    State(app): State<App>,
    Known(caller): Known,
    Path(store): Path<String>,
    conditions: Conditions,
    Body(read): Body<Patch>,
) -> Result<Response, Refusal> {
    let Patch {
        labels,
        display_name,
        watch,
        reason,
    } = read.checked()?;
    let label = LabelStore {
        store: store.clone(),
        reason: reason.clone(),
        if_generation: conditions.if_generation,
        labels,
        display_name,
    };
    let labelled = app.label_store(&caller, label).await?;
    if watch == WatchInput::default() {
        return Ok(Json(Store::from(labelled)).into_response());
    }
    let input = AmendStore {
        store: store.clone(),
        reason,
        idempotency_key: conditions.idempotency_key,
        if_generation: conditions.if_generation,
        dry_run: false,
        what: Amendment::Configure { watch },
    };
    app.amend(&caller, input).await?;
    Ok(Json(Store::from(app.get_store(&store).await?)).into_response())
}

/// List a store's revisions, newest first
#[utoipa::path(get, path = "/api/v1/stores/{store}/revisions", tag = "stores", operation_id = "list_revisions",
    params(("store" = String, Path, description = "Name or id")),
    responses((status = 200, description = "What it rendered from", body = RevisionList), Refusals))]
pub(super) async fn list_revisions(
    State(app): State<App>,
    Path(store): Path<String>,
    Query(Nothing): Query<Nothing>,
) -> Result<Json<RevisionList>, Refusal> {
    Ok(Json(app.list_revisions(&store).await?.into()))
}
