//! Errors as gRPC status: code and message, and in the details the stable code and every problem (`google.rpc`).

use shop_proto::wire::{ErrorDetails, FieldProblem};
use tonic::Status;

use crate::{api::failure::Failure, app::AppError};

pub(super) fn from_failure(failure: Failure) -> Status {
    let details = ErrorDetails {
        code: failure.code.to_owned(),
        problems: failure
            .problems
            .into_iter()
            .map(|problem| FieldProblem {
                pointer: problem.pointer,
                code: problem.code,
                message: problem.message,
            })
            .collect(),
    };
    let bytes = details.encode(i32::from(failure.grpc), &failure.message);
    Status::with_details(failure.grpc, failure.message, bytes.into())
}

pub(super) fn from_app(error: AppError) -> Status {
    from_failure(error.into())
}
