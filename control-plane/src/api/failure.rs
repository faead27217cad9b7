//! A use-case's error as both APIs tell it: one exhaustive mapping, rendered by `rest::problem` and `grpc::status`.

use http::StatusCode;
use tonic::Code;

use crate::app::{AppError, Problem};

/// An error on its way out.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub http: StatusCode,
    pub grpc: Code,
    /// Stable.
    pub code: &'static str,
    /// What happened and what to do next.
    pub message: String,
    /// Everything wrong with the request.
    pub problems: Vec<Problem>,
}

impl Failure {
    /// The request itself is wrong, in these ways.
    pub(super) fn invalid(problems: Vec<Problem>) -> Self {
        AppError::Invalid { problems }.into()
    }

    /// A failure that no use-case answers.
    pub(super) fn new(http: StatusCode, grpc: Code, code: &'static str, message: &str) -> Self {
        Self {
            http,
            grpc,
            code,
            message: message.to_owned(),
            problems: Vec::new(),
        }
    }
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        let (http, grpc) = match &error {
            AppError::Invalid { .. } => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
            AppError::Unauthorized => (StatusCode::UNAUTHORIZED, Code::Unauthenticated),
            AppError::Forbidden { .. } => (StatusCode::FORBIDDEN, Code::PermissionDenied),
            AppError::NotFound { .. } => (StatusCode::NOT_FOUND, Code::NotFound),
            AppError::Conflict { code, .. } if taken_field(code).is_some() => {
                (StatusCode::CONFLICT, Code::AlreadyExists)
            }
            AppError::Conflict { .. } => (StatusCode::CONFLICT, Code::Aborted),
            AppError::PreconditionFailed { .. } => {
                (StatusCode::PRECONDITION_FAILED, Code::FailedPrecondition)
            }
            AppError::OutOfRange { .. } => (StatusCode::GONE, Code::OutOfRange),
            AppError::Exhausted { .. } => (StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted),
            AppError::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
            AppError::Internal { .. } => (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal),
        };
        let code = error.code();
        let message = error.to_string();
        let problems = match error {
            AppError::Invalid { problems } => problems,
            AppError::Conflict { code, .. } => taken_field(code)
                .map(|pointer| Problem::at(pointer, code, message.clone()))
                .into_iter()
                .collect(),
            _ => Vec::new(),
        };
        Self {
            http,
            grpc,
            code,
            message,
            problems,
        }
    }
}

/// The field that somebody else has already.
fn taken_field(code: &str) -> Option<&'static str> {
    match code {
        "name_taken" => Some("/name"),
        "host_taken" => Some("/hosts"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_name_points_at_the_name() {
        let failure = Failure::from(AppError::conflict("name_taken", "there is a store demo"));
        assert_eq!(failure.http, StatusCode::CONFLICT);
        assert_eq!(failure.grpc, Code::AlreadyExists);
        assert_eq!(failure.problems[0].pointer, "/name");
        let failure = Failure::from(AppError::conflict("idempotency_mismatch", "other body"));
        assert_eq!(failure.grpc, Code::Aborted);
        assert!(failure.problems.is_empty());
    }
}
