//! Nodes, join tokens, templates, status.

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use utoipa::{IntoParams, ToSchema};

use super::{
    extract::{Body, Known, Nothing, Query},
    fields::{Fields, Readable},
    model::{JoinToken, Node, NodeList, Status, Template, TemplateList},
    problem::{Refusal, Refusals},
};
use crate::{
    api::find_node,
    app::{self, App, RemoveNode},
};

/// A join token to be made.
#[derive(ToSchema)]
#[allow(
    dead_code,
    reason = "the schema; values are read into the use-case's input"
)]
pub(super) struct CreateJoinToken {
    /// How long it is good for; 900 when absent.
    #[schema(minimum = 60, maximum = 86400)]
    ttl_seconds: Option<u32>,
}

/// Why a node is removed.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "the schema; values are read into `Why`")]
pub(super) struct ReasonQuery {
    /// For the audit chain.
    reason: Option<String>,
}

/// Read from a query.
pub(super) struct Why(String);

impl Readable for Why {
    fn read(fields: &mut Fields) -> Self {
        Self(fields.text("reason"))
    }
}

impl Readable for app::CreateJoinToken {
    fn read(fields: &mut Fields) -> Self {
        Self {
            ttl_seconds: fields.number("ttl_seconds"),
        }
    }
}

/// List nodes
#[utoipa::path(get, path = "/api/v1/nodes", tag = "nodes", operation_id = "list_nodes",
    responses((status = 200, description = "All nodes", body = NodeList), Refusals))]
pub(super) async fn list_nodes(
    State(app): State<App>,
    Query(Nothing): Query<Nothing>,
) -> Result<Json<NodeList>, Refusal> {
    let nodes = app.list_nodes().await?;
    Ok(Json(NodeList {
        nodes: nodes.into_iter().map(Node::from).collect(),
    }))
}

/// Get a node
#[utoipa::path(get, path = "/api/v1/nodes/{id}", tag = "nodes", operation_id = "get_node", params(("id" = String, Path, description = "Id or name")),
    responses((status = 200, description = "The node", body = Node), Refusals))]
pub(super) async fn get_node(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(Nothing): Query<Nothing>,
) -> Result<Json<Node>, Refusal> {
    let id = find_node(&app, &id).await?;
    Ok(Json(app.get_node(&id).await?.into()))
}

/// Remove a node that has no stores
///
/// Its certificate opens nothing any more.
#[utoipa::path(delete, path = "/api/v1/nodes/{id}", tag = "nodes", operation_id = "remove_node",
    params(("id" = String, Path, description = "Id or name"), ReasonQuery),
    responses((status = 204, description = "Removed"), Refusals))]
pub(super) async fn remove_node(
    State(app): State<App>,
    Known(caller): Known,
    Path(id): Path<String>,
    Query(Why(reason)): Query<Why>,
) -> Result<StatusCode, Refusal> {
    let node = find_node(&app, &id).await?;
    app.remove_node(&caller, RemoveNode { node, reason })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make a join token
///
/// It works once. The answer is not repeated for an `Idempotency-Key`, because it shows a secret.
#[utoipa::path(post, path = "/api/v1/join-tokens", tag = "nodes", operation_id = "create_join_token", request_body = Option<CreateJoinToken>,
    responses((status = 201, description = "The token, shown once", body = JoinToken), Refusals))]
pub(super) async fn create_join_token(
    State(app): State<App>,
    Known(caller): Known,
    Body(read): Body<app::CreateJoinToken>,
) -> Result<Response, Refusal> {
    let token = app.create_join_token(&caller, read.checked()?).await?;
    Ok((StatusCode::CREATED, Json(JoinToken::from(token))).into_response())
}

/// List templates
#[utoipa::path(get, path = "/api/v1/templates", tag = "templates", operation_id = "list_templates",
    responses((status = 200, description = "All templates", body = TemplateList), Refusals))]
pub(super) async fn list_templates(
    State(app): State<App>,
    Query(Nothing): Query<Nothing>,
) -> Json<TemplateList> {
    Json(TemplateList {
        templates: app
            .list_templates()
            .into_iter()
            .map(Template::from)
            .collect(),
    })
}

/// Get a template
#[utoipa::path(get, path = "/api/v1/templates/{name}", tag = "templates", operation_id = "get_template", params(("name" = String, Path, description = "`refshop` or `refshop@1`")),
    responses((status = 200, description = "The template", body = Template), Refusals))]
pub(super) async fn get_template(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(Nothing): Query<Nothing>,
) -> Result<Json<Template>, Refusal> {
    Ok(Json(app.get_template(&name)?.into()))
}

/// The fleet at a glance
#[utoipa::path(get, path = "/api/v1/status", tag = "fleet", operation_id = "get_status",
    responses((status = 200, description = "Status", body = Status), Refusals))]
pub(super) async fn get_status(
    State(app): State<App>,
    Query(Nothing): Query<Nothing>,
) -> Result<Json<Status>, Refusal> {
    Ok(Json(app.status().await?.into()))
}
