//! The admin API: REST and gRPC on one router, both thin over the use-cases of `app`. What is asked is decided there; who may ask is decided
//! here, once, by `guard` and the table in `access`. Neither speaks to the database, the fleet or TLS.

mod access;
mod failure;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod grpc;
mod guard;
mod request_id;
mod rest;
mod watch;
mod words;

#[cfg(test)]
mod tests;

use axum::{Router, extract::DefaultBodyLimit, middleware};
use shop_proto::NodeId;

use crate::app::{App, AppError};

/// Larger requests are refused unread: the largest honest one is a few KiB.
const MAX_REQUEST_BYTES: usize = 64 * 1024;

/// Everything the admin listener serves. The listener puts the peer's address into each request as `axum::extract::ConnectInfo<SocketAddr>`.
///
/// # Errors
/// When the embedded contract descriptors cannot be read, which a test excludes.
pub fn router(app: App) -> Result<Router, tonic_reflection::server::Error> {
    let (rest, _) = rest::router().split_for_parts();
    let grpc = grpc::routes(&app)?.into_axum_router();
    // The order matters: what is added last is asked first.
    Ok(rest
        .with_state(app.clone())
        .merge(grpc)
        .fallback(rest::unknown_path)
        .method_not_allowed_fallback(rest::unknown_method)
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .layer(middleware::from_fn_with_state(app, guard::guard))
        .layer(middleware::from_fn(request_id::assign)))
}

/// The OpenAPI 3.1 document of the REST API, as JSON.
#[must_use]
pub fn openapi() -> String {
    rest::document()
}

/// A node by id or by name. A name that is no id and belongs to nobody is as absent as an unknown id.
async fn find_node(app: &App, text: &str) -> Result<NodeId, AppError> {
    let nodes = app.list_nodes().await?;
    nodes
        .iter()
        .map(|view| &view.node)
        .find(|node| node.id.as_str() == text)
        .or_else(|| {
            nodes
                .iter()
                .map(|view| &view.node)
                .find(|node| node.name == text)
        })
        .map(|node| node.id.clone())
        .ok_or_else(|| AppError::NotFound {
            what: "node",
            name: text.chars().take(80).collect(),
        })
}
