//! API tokens and the audit chain.

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
    model::{AuditLog, NewToken, Token, TokenList},
    problem::{Refusal, Refusals},
};
use crate::app::{self, App, ListAudit, PageRequest};

/// An API token to be made.
#[derive(ToSchema)]
#[allow(
    dead_code,
    reason = "the schema; values are read into the use-case's input"
)]
pub(super) struct CreateToken {
    /// What it is for.
    name: String,
    /// `owner`, `admin`, `developer` or `viewer`.
    role: String,
    /// How long it is good for; 90 days when absent, at most 366 days.
    #[schema(maximum = 31622400)]
    ttl_seconds: Option<u32>,
}

/// Which entries.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(
    dead_code,
    reason = "the schema; values are read into the use-case's input"
)]
pub(super) struct AuditQuery {
    /// Entries after this number.
    after_seq: Option<u64>,
    /// How many; 50 when absent.
    #[param(minimum = 1, maximum = 200)]
    page_size: Option<u32>,
}

impl Readable for app::CreateToken {
    fn read(fields: &mut Fields) -> Self {
        Self {
            name: fields.required_text("name"),
            role: fields.required_text("role"),
            ttl_seconds: fields.number("ttl_seconds"),
        }
    }
}

impl Readable for ListAudit {
    fn read(fields: &mut Fields) -> Self {
        let size = fields.number("page_size");
        if size > PageRequest::MAX {
            fields.problem("page_size", "out_of_range", "a page has at most 200 items");
        }
        Self {
            after_seq: fields.number("after_seq"),
            size,
        }
    }
}

/// List API tokens, without their secrets
#[utoipa::path(get, path = "/api/v1/tokens", tag = "access", operation_id = "list_tokens",
    responses((status = 200, description = "All tokens", body = TokenList), Refusals))]
pub(super) async fn list_tokens(
    State(app): State<App>,
    Query(Nothing): Query<Nothing>,
) -> Result<Json<TokenList>, Refusal> {
    let tokens = app.list_tokens().await?;
    Ok(Json(TokenList {
        tokens: tokens.into_iter().map(Token::from).collect(),
    }))
}

/// Make an API token
///
/// The answer is not repeated for an `Idempotency-Key`, because it shows a secret.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "access", operation_id = "create_token", request_body = CreateToken,
    responses((status = 201, description = "The token and its secret, shown once", body = NewToken), Refusals))]
pub(super) async fn create_token(
    State(app): State<App>,
    Known(caller): Known,
    Body(read): Body<app::CreateToken>,
) -> Result<Response, Refusal> {
    let token = app.create_token(&caller, read.checked()?).await?;
    Ok((StatusCode::CREATED, Json(NewToken::from(token))).into_response())
}

/// Revoke an API token
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "access", operation_id = "revoke_token", params(("id" = String, Path)),
    responses((status = 204, description = "Revoked"), Refusals))]
pub(super) async fn revoke_token(
    State(app): State<App>,
    Known(caller): Known,
    Path(id): Path<String>,
    Query(Nothing): Query<Nothing>,
) -> Result<StatusCode, Refusal> {
    app.revoke_token(&caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Read the audit chain, oldest first
#[utoipa::path(get, path = "/api/v1/audit", tag = "access", operation_id = "list_audit", params(AuditQuery),
    responses((status = 200, description = "Entries and the chain's head", body = AuditLog), Refusals))]
pub(super) async fn list_audit(
    State(app): State<App>,
    Query(input): Query<ListAudit>,
) -> Result<Json<AuditLog>, Refusal> {
    Ok(Json(app.list_audit(input).await?.into()))
}
