//! What begins and ends lives: clones, taking a deletion or an operation back, giving up on a node, and the receipt.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, State},
    response::Response,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    extract::{Body, Conditions, Known, Nothing, Query},
    fields::{Fields, Readable},
    model::Operation,
    problem::{Refusal, Refusals},
    stores::{ActionRequest, ChangeHeaders, CreateHeaders, Why, accepted, action},
};
use crate::{
    app::{App, CancelOperation, CloneStore, ForgetStore},
    domain,
};

/// What a node signed about a store that it took down.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Receipt {
    pub store_id: String,
    /// Id of the node.
    pub node: String,
    /// JSON, exactly as signed: what was removed, and what was looked for in vain.
    pub document: String,
    /// Base64 of an ECDSA P-256 signature with SHA-256, in ASN.1 form, over the document's bytes.
    pub signature: String,
    /// PEM chain, leaf first: the leaf's key made the signature.
    pub certificate: String,
    #[schema(format = DateTime)]
    pub at: String,
}

impl From<domain::receipt::Receipt> for Receipt {
    fn from(receipt: domain::receipt::Receipt) -> Self {
        Self {
            store_id: receipt.store.to_string(),
            node: receipt.node.to_string(),
            document: receipt.document,
            signature: data_encoding::BASE64.encode(&receipt.signature),
            certificate: receipt.certificate,
            at: receipt.at.to_string(),
        }
    }
}

/// Take a deletion back
///
/// While its time of grace lasts; the store becomes what it was.
#[utoipa::path(post, path = "/api/v1/stores/{store}/undelete", tag = "stores", operation_id = "undelete_store",
    params(("store" = String, Path, description = "Name or id"), ChangeHeaders), request_body = Option<ActionRequest>,
    responses((status = 202, description = "Accepted", body = Operation, headers(("location" = String, description = "The operation"))), Refusals))]
pub(super) async fn undelete_store(
    State(app): State<App>,
    Known(caller): Known,
    Path(store): Path<String>,
    conditions: Conditions,
    Body(read): Body<Why>,
) -> Result<Response, Refusal> {
    let input = action(store, read.checked()?, conditions);
    Ok(accepted(app.undelete_store(&caller, input).await?))
}

/// Forget a store whose node does not come back
///
/// Only one that is being deleted. What is left on the node is taken down when it comes back after all.
#[utoipa::path(post, path = "/api/v1/stores/{store}/forget", tag = "stores", operation_id = "forget_store",
    params(("store" = String, Path, description = "Name or id")), request_body = Option<ActionRequest>,
    responses((status = 202, description = "Done", body = Operation, headers(("location" = String, description = "The operation"))), Refusals))]
pub(super) async fn forget_store(
    State(app): State<App>,
    Known(caller): Known,
    Path(store): Path<String>,
    Body(read): Body<Why>,
) -> Result<Response, Refusal> {
    let Why(reason) = read.checked()?;
    let input = ForgetStore { store, reason };
    Ok(accepted(app.forget_store(&caller, input).await?))
}

/// Get the receipt of a deleted store
///
/// By id, or by name: that of the store of this name that was deleted last.
#[utoipa::path(get, path = "/api/v1/stores/{store}/receipt", tag = "stores", operation_id = "get_receipt",
    params(("store" = String, Path, description = "Name or id")),
    responses((status = 200, description = "The receipt", body = Receipt), Refusals))]
pub(super) async fn get_receipt(
    State(app): State<App>,
    Path(store): Path<String>,
    Query(Nothing): Query<Nothing>,
) -> Result<Json<Receipt>, Refusal> {
    Ok(Json(app.store_receipt(&store).await?.into()))
}

/// A store that is set up as another one is.
#[derive(ToSchema)]
#[allow(
    dead_code,
    reason = "the schema; values are read into the use-case's input"
)]
pub(super) struct NewClone {
    /// Of the new store.
    #[schema(example = "demo-staging")]
    name: String,
    display_name: Option<String>,
    /// Over those of the first.
    labels: Option<BTreeMap<String, String>>,
    /// That of the first when absent.
    environment: Option<String>,
    /// Extra host names. One under the base domain is always given.
    hosts: Option<Vec<String>>,
    /// Id of a node; the scheduler chooses when absent.
    node: Option<String>,
    /// Why, for the audit chain.
    reason: Option<String>,
}

impl Readable for CloneStore {
    fn read(fields: &mut Fields) -> Self {
        Self {
            store: String::new(),
            name: fields.required_text("name"),
            display_name: fields.text("display_name"),
            labels: fields.text_map("labels"),
            environment: fields.text("environment"),
            hosts: fields.texts("hosts"),
            node: fields.text("node"),
            reason: fields.text("reason"),
            idempotency_key: None,
        }
    }
}

/// Clone a store's configuration
///
/// Template, parameters, profiles, limits, labels and scale. No data, no secrets, no host names.
#[utoipa::path(post, path = "/api/v1/stores/{store}/clone", tag = "stores", operation_id = "clone_store",
    params(("store" = String, Path, description = "Name or id"), CreateHeaders), request_body = NewClone,
    responses((status = 202, description = "Accepted", body = Operation, headers(("location" = String, description = "The operation"))), Refusals))]
pub(super) async fn clone_store(
    State(app): State<App>,
    Known(caller): Known,
    Path(store): Path<String>,
    conditions: Conditions,
    Body(read): Body<CloneStore>,
) -> Result<Response, Refusal> {
    let mut input = read.checked()?;
    input.store = store;
    input.idempotency_key = conditions.idempotency_key;
    Ok(accepted(app.clone_store(&caller, input).await?))
}

/// Cancel an operation
///
/// A store on its way up is stopped, a deletion in its time of grace is taken back, an update before its switch goes back. The answer is the
/// operation that does so; what is too late is refused with what to do instead.
#[utoipa::path(post, path = "/api/v1/operations/{id}/cancel", tag = "operations", operation_id = "cancel_operation",
    params(("id" = String, Path), CreateHeaders), request_body = Option<ActionRequest>,
    responses((status = 202, description = "Accepted", body = Operation, headers(("location" = String, description = "The operation"))), Refusals))]
pub(super) async fn cancel_operation(
    State(app): State<App>,
    Known(caller): Known,
    Path(operation): Path<String>,
    conditions: Conditions,
    Body(read): Body<Why>,
) -> Result<Response, Refusal> {
    let Why(reason) = read.checked()?;
    let input = CancelOperation {
        operation,
        reason,
        idempotency_key: conditions.idempotency_key,
    };
    Ok(accepted(app.cancel_operation(&caller, input).await?))
}
