//! gRPC `shopfleet.admin.v1`, with reflection (v1 and v1alpha) and health: the same use-cases as REST, in generated messages that are named here
//! and in `convert` only.

mod amend;
mod convert;
mod explain;
mod rollouts;
mod service;
mod status;
mod tasks;

use axum::response::Response;
use futures::FutureExt as _;
use shop_proto::wire::{DESCRIPTORS, admin::v1::admin_server::AdminServer};
use tonic::service::Routes;
use tonic_health::{
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};
use tonic_reflection::server::{Builder, Error};

use super::{MAX_REQUEST_BYTES, failure::Failure};
use crate::app::App;
use service::AdminService;

/// Only this service is described: the agents' contracts are spoken on other listeners.
const DESCRIBED: &str = "shopfleet.admin.v1.Admin";

pub(super) fn routes(app: &App) -> Result<Routes, Error> {
    let admin = AdminServer::new(AdminService::new(app.clone()))
        .max_decoding_message_size(MAX_REQUEST_BYTES);
    let v1 = reflection().build_v1()?;
    let v1alpha = reflection().build_v1alpha()?;
    Ok(Routes::new(admin)
        .add_service(v1)
        .add_service(v1alpha)
        .add_service(health()))
}

fn reflection() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name(DESCRIBED)
        .with_service_name("grpc.health.v1.Health")
}

/// Answers SERVING for as long as this listener answers at all; whether the database does is asked on the metrics listener.
fn health() -> HealthServer<HealthService> {
    let reporter = HealthReporter::new();
    // Its lock is ours alone here, so this never waits.
    let _ = reporter
        .set_serving::<AdminServer<AdminService>>()
        .now_or_never();
    HealthServer::new(HealthService::from_health_reporter(reporter))
}

/// An error met before any method.
pub(super) fn refuse(failure: Failure) -> Response {
    status::from_failure(failure).into_http()
}
