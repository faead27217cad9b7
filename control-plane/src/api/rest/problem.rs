//! Errors as RFC 9457 problem documents.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::{
    api::failure::Failure,
    app::{AppError, Problem},
};

/// What went wrong (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProblemDocument {
    /// Names the kind of problem; the same for every problem with this code.
    #[serde(rename = "type")]
    #[schema(example = "urn:shopfleet:problem:invalid_request")]
    pub kind: String,
    /// The HTTP status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened and what to do next.
    pub detail: String,
    /// Stable, for programs.
    #[schema(example = "invalid_request")]
    pub code: String,
    /// Everything that is wrong with the request, at once.
    pub errors: Vec<FieldError>,
}

/// One thing that is wrong with a request.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FieldError {
    /// JSON pointer (RFC 6901) into the request body; parameters of the path and the query are named as if they were fields of it.
    #[schema(example = "/name")]
    pub pointer: String,
    /// Stable, for programs.
    pub code: String,
    /// What is wrong and what would be right.
    pub message: String,
}

/// The answers that are no success; every operation can give them.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "only the schema is read")]
pub(super) enum Refusals {
    /// The request is wrong; `errors` says where.
    #[response(status = 400, content_type = "application/problem+json")]
    Invalid(ProblemDocument),
    /// No valid API token.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(ProblemDocument),
    /// The token's role may not do this.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(ProblemDocument),
    /// There is no such thing, or it is not yours.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(ProblemDocument),
    /// The present state does not allow it.
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(ProblemDocument),
    /// Too far back to resume from.
    #[response(status = 410, content_type = "application/problem+json")]
    Gone(ProblemDocument),
    /// It is no longer what `If-Match` says.
    #[response(status = 412, content_type = "application/problem+json")]
    PreconditionFailed(ProblemDocument),
    /// Larger than any honest request.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(ProblemDocument),
    /// The body is not `application/json`.
    #[response(status = 415, content_type = "application/problem+json")]
    UnsupportedMediaType(ProblemDocument),
    /// Too much at once.
    #[response(status = 429, content_type = "application/problem+json")]
    Exhausted(ProblemDocument),
    /// Our mistake; `detail` says what to look for in the log.
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(ProblemDocument),
    /// Not possible now; nothing was changed. Try again.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(ProblemDocument),
}

/// An error that a handler answers with.
#[derive(Debug)]
pub(super) struct Refusal(Failure);

impl From<AppError> for Refusal {
    fn from(error: AppError) -> Self {
        Self(error.into())
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl From<Vec<Problem>> for Refusal {
    fn from(problems: Vec<Problem>) -> Self {
        Self(Failure::invalid(problems))
    }
}

impl From<Failure> for ProblemDocument {
    fn from(failure: Failure) -> Self {
        Self {
            kind: format!("urn:shopfleet:problem:{}", failure.code),
            title: failure
                .http
                .canonical_reason()
                .unwrap_or("Error")
                .to_owned(),
            status: failure.http.as_u16(),
            detail: failure.message,
            code: failure.code.to_owned(),
            errors: failure
                .problems
                .into_iter()
                .map(|problem| FieldError {
                    pointer: problem.pointer,
                    code: problem.code,
                    message: problem.message,
                })
                .collect(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.0.http;
        let mut response = (status, Json(ProblemDocument::from(self.0))).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}
