//! `/livez`, `/readyz` and `/metrics`, in plain HTTP, for probes and Prometheus.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio_util::sync::CancellationToken;

use super::metrics::{Metrics, Text};
use crate::app::App;

/// What probes look at.
pub struct Probes {
    pub app: App,
    pub metrics: Metrics,
    /// Cancelled when the process stops.
    pub closing: CancellationToken,
}

/// The routes.
pub fn router(probes: Probes) -> Router {
    Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(probes))
}

async fn ready(State(probes): State<Arc<Probes>>) -> Response {
    if probes.closing.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n").into_response();
    }
    match probes.app.ready().await {
        Ok(()) => "ready\n".into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

async fn metrics(State(probes): State<Arc<Probes>>) -> Response {
    let mut text = Text::default();
    probes.metrics.write(&mut text);
    match probes.app.status().await {
        Ok(status) => super::metrics::write_status(&status, &mut text),
        // The rest is worth having when the database is away.
        Err(error) => tracing::warn!(%error, "metrics without the fleet's status"),
    }
    match probes.app.provisioning_times().await {
        Ok(times) => super::metrics::write_times(&times, &mut text),
        Err(error) => tracing::warn!(%error, "metrics without provisioning times"),
    }
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, kind)], text.finish()).into_response()
}
