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
            AppError::Invalid { problems } if taken(problems).is_some() => {
                (StatusCode::CONFLICT, Code::AlreadyExists)
            }
            AppError::Invalid { .. } => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
            AppError::Unauthorized => (StatusCode::UNAUTHORIZED, Code::Unauthenticated),
            AppError::Forbidden { .. } => (StatusCode::FORBIDDEN, Code::PermissionDenied),
            AppError::NotFound { .. } => (StatusCode::NOT_FOUND, Code::NotFound),
            AppError::Conflict { .. } => (StatusCode::CONFLICT, Code::Aborted),
            AppError::PreconditionFailed { .. } => {
                (StatusCode::PRECONDITION_FAILED, Code::FailedPrecondition)
            }
            AppError::OutOfRange { .. } => (StatusCode::GONE, Code::OutOfRange),
            AppError::Exhausted { .. } => (StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted),
            AppError::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
            AppError::Internal { .. } => (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal),
        };
        let mut code = error.code();
        let message = error.to_string();
        let problems = match error {
            AppError::Invalid { problems } => problems,
            _ => Vec::new(),
        };
        if let Some(taken) = taken(&problems) {
            code = taken;
        }
        Self {
            http,
            grpc,
            code,
            message,
            problems,
        }
    }
}

/// The code of a request that is right but for what somebody else has already.
fn taken(problems: &[Problem]) -> Option<&'static str> {
    let code = match problems.first()?.code.as_str() {
        "name_taken" => "name_taken",
        "host_taken" => "host_taken",
        _ => return None,
    };
    problems
        .iter()
        .all(|problem| problem.code.ends_with("_taken"))
        .then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(codes: &[&str]) -> Failure {
        let problems = codes.iter().map(|code| Problem::at("/x", code, "x"));
        Failure::from(AppError::Invalid {
            problems: problems.collect(),
        })
    }

    #[test]
    fn what_is_only_taken_is_a_conflict() {
        let failure = of(&["name_taken", "host_taken"]);
        assert_eq!(failure.http, StatusCode::CONFLICT);
        assert_eq!(failure.grpc, Code::AlreadyExists);
        assert_eq!(failure.code, "name_taken");
        assert_eq!(failure.problems.len(), 2);
        assert_eq!(of(&["name_taken", "bad"]).http, StatusCode::BAD_REQUEST);
        assert_eq!(of(&["bad"]).code, "invalid_request");
    }
}
