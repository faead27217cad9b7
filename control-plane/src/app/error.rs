//! What a use-case can answer instead of its output. The API maps these, exhaustively, to problem+json and to gRPC status.

use std::borrow::Cow;

use crate::db::DbError;

/// A use-case that did not do what was asked. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// 400 / INVALID_ARGUMENT: everything that is wrong with the input, at once.
    #[error("{}", summary(problems))]
    Invalid { problems: Vec<Problem> },
    /// 401 / UNAUTHENTICATED.
    #[error("no valid API token came with the request; log in with `shopctl login`")]
    Unauthorized,
    /// 403 / PERMISSION_DENIED.
    #[error("the role {role} may not do this; ask an owner of the fleet for a token that may")]
    Forbidden { role: &'static str },
    /// 404 / NOT_FOUND. The same for what is absent and what is not yours.
    #[error("there is no {what} {name:?}; see `shopctl {what} list`")]
    NotFound { what: &'static str, name: String },
    /// 409 / ABORTED or ALREADY_EXISTS: the state does not allow it.
    #[error("{message}")]
    Conflict {
        code: &'static str,
        message: Cow<'static, str>,
    },
    /// 412 / FAILED_PRECONDITION: the store is no longer what the caller saw.
    #[error(
        "store {store} is at generation {actual}, not {expected}: somebody changed it; look again and repeat"
    )]
    PreconditionFailed {
        store: String,
        expected: u64,
        actual: u64,
    },
    /// 410 / OUT_OF_RANGE: a watch that cannot be resumed there.
    #[error("nothing can be resumed from change {after}; start again from 0")]
    OutOfRange { after: u64 },
    /// 429 / RESOURCE_EXHAUSTED.
    #[error("{message}")]
    Exhausted {
        code: &'static str,
        message: Cow<'static, str>,
    },
    /// 503 / UNAVAILABLE: try again; nothing acknowledged is lost.
    #[error("{message}")]
    Unavailable {
        code: &'static str,
        message: Cow<'static, str>,
    },
    /// 500 / INTERNAL: the id is in the log with what happened.
    #[error("an internal error happened; look for {id} in the control plane's log")]
    Internal { id: String },
}

/// One thing that is wrong with an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// JSON pointer (RFC 6901) into the request body, such as `/parameters/currency`.
    pub pointer: String,
    /// Stable, such as `name_taken`.
    pub code: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Problem {
    /// A problem at a place.
    pub fn at(pointer: impl Into<String>, code: &str, message: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            code: code.to_owned(),
            message: message.into(),
        }
    }
}

impl AppError {
    /// Stable, for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid_request",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden { .. } => "forbidden",
            Self::NotFound { .. } => "not_found",
            Self::PreconditionFailed { .. } => "generation_mismatch",
            Self::OutOfRange { .. } => "change_seq_out_of_range",
            Self::Conflict { code, .. }
            | Self::Exhausted { code, .. }
            | Self::Unavailable { code, .. } => code,
            Self::Internal { .. } => "internal",
        }
    }

    pub(crate) fn conflict(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Conflict {
            code,
            message: message.into(),
        }
    }

    pub(crate) fn unavailable(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Unavailable {
            code,
            message: message.into(),
        }
    }
}

fn summary(problems: &[Problem]) -> String {
    match problems {
        [one] => one.message.clone(),
        many => format!("{} things are wrong with the request", many.len()),
    }
}

impl From<DbError> for AppError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Busy(_) => Self::unavailable(
                "database_busy",
                "the database is locked by something else; nothing was changed, try again",
            ),
            DbError::Full(_) => Self::unavailable(
                "database_full",
                "the control plane's disk is full; nothing was changed. Make room, then try again",
            ),
            DbError::Unreachable(_) => Self::unavailable(
                "database_unreachable",
                "the database does not answer; nothing was changed. Check it, then try again",
            ),
            DbError::Stale { .. } => Self::conflict(
                "changed_meanwhile",
                "somebody else changed this at the same time; look again and repeat",
            ),
            other => {
                let id = uuid::Uuid::now_v7().to_string();
                tracing::error!(error_id = %id, error = ?other, "a use-case failed");
                Self::Internal { id }
            }
        }
    }
}
