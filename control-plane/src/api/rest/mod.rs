//! REST under `/api/v1`: routes, and the OpenAPI document that comes from the same annotations.

mod amend;
mod explain;
mod extract;
mod fields;
mod fleet;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod lifecycle;
mod model;
mod operations;
mod page;
mod problem;
mod rollouts;
mod stores;
mod tasks;
mod tokens;

use axum::response::{IntoResponse as _, Response};
use http::{HeaderName, HeaderValue, header};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        self,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{failure::Failure, guard};
use crate::app::App;
use model::StoreChange;
use problem::{ProblemDocument, Refusal};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Shopfleet admin API",
        description = "Operates a fleet of isolated shops. Long work answers 202 with an operation; errors are RFC 9457 problem documents with a stable `code`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    servers((url = "/")),
    tags(
        (name = "stores", description = "Shops"),
        (name = "operations", description = "What was asked for, and how far it is"),
        (name = "rollouts", description = "One update for many stores"),
        (name = "nodes", description = "Docker hosts"),
        (name = "templates", description = "What can be made"),
        (name = "access", description = "API tokens and the audit chain"),
        (name = "fleet", description = "The whole")
    ),
    components(schemas(ProblemDocument, StoreChange)),
    security(("token" = [])),
    modifiers(&TokenScheme)
)]
struct Document;

struct TokenScheme;

impl Modify for TokenScheme {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API token, sfk1_…"));
        components.add_security_scheme("token", SecurityScheme::Http(bearer.build()));
    }
}

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(stores::list_stores, stores::create_store))
        .routes(routes!(
            stores::get_store,
            stores::delete_store,
            amend::patch_store
        ))
        .routes(routes!(amend::update_store))
        .routes(routes!(amend::diff_store))
        .routes(routes!(amend::rollback_store))
        .routes(routes!(amend::list_revisions))
        .routes(routes!(amend::rotate_secrets))
        .routes(routes!(amend::scale_store))
        .routes(routes!(amend::set_maintenance))
        .routes(routes!(amend::pause_store))
        .routes(routes!(amend::wake_store))
        .routes(routes!(amend::hold_store, amend::release_store))
        .routes(routes!(stores::start_store))
        .routes(routes!(stores::stop_store))
        .routes(routes!(stores::restart_store))
        .routes(routes!(lifecycle::undelete_store))
        .routes(routes!(lifecycle::forget_store))
        .routes(routes!(lifecycle::get_receipt))
        .routes(routes!(lifecycle::clone_store))
        .routes(routes!(lifecycle::cancel_operation))
        .routes(routes!(rollouts::list_rollouts, rollouts::start_rollout))
        .routes(routes!(rollouts::get_rollout))
        .routes(routes!(rollouts::pause_rollout))
        .routes(routes!(rollouts::resume_rollout))
        .routes(routes!(rollouts::abort_rollout))
        .routes(routes!(explain::explain_store))
        .routes(routes!(stores::list_events))
        .routes(routes!(tasks::list_tasks, tasks::run_task))
        .routes(routes!(tasks::cancel_task))
        .routes(routes!(operations::list_operations))
        .routes(routes!(operations::get_operation))
        .routes(routes!(operations::watch_stores))
        .routes(routes!(fleet::list_nodes))
        .routes(routes!(fleet::get_node, fleet::remove_node))
        .routes(routes!(fleet::create_join_token))
        .routes(routes!(fleet::list_templates))
        .routes(routes!(fleet::get_template))
        .routes(routes!(fleet::get_status))
        .routes(routes!(tokens::list_tokens, tokens::create_token))
        .routes(routes!(tokens::revoke_token))
        .routes(routes!(tokens::list_audit))
        .routes(routes!(openapi_document))
}

/// The document, as kept in docs/openapi.json.
pub(super) fn document() -> String {
    let (_, document) = router().split_for_parts();
    // Plain data with text keys always serialises; a document that says so is better than a panic.
    document
        .to_pretty_json()
        .unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}"))
}

/// This document
///
/// The contract of the REST API, OpenAPI 3.1.
#[utoipa::path(get, path = "/api/openapi.json", tag = "fleet", operation_id = "get_openapi", security(()),
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = Object)))]
async fn openapi_document() -> Response {
    (
        [(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        )],
        document(),
    )
        .into_response()
}

/// An error met before any handler.
pub(super) fn refuse(failure: Failure) -> Response {
    Refusal::from(failure).into_response()
}

pub(super) async fn unknown_path() -> Response {
    guard::unknown(false)
}

pub(super) async fn unknown_method() -> Response {
    guard::unknown(true)
}

/// `Location` of an operation.
fn location(operation: &str) -> [(HeaderName, String); 1] {
    [(header::LOCATION, format!("/api/v1/operations/{operation}"))]
}
