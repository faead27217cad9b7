//! What can go wrong, with the exit code it deserves, and how it is told to a person.

use std::fmt::Write as _;

use shop_proto::wire::{ErrorDetails, FieldProblem};

/// An outcome that is not "done".
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    /// It did not come ready in the time given, or the operator stopped waiting.
    #[error("{0}")]
    NotReady(String),
    /// An operation ended in another state than wanted.
    #[error("{0}")]
    Failed(String),
    /// The control plane could not be reached.
    #[error("cannot reach the control plane at {url}: {problem}")]
    Unreachable {
        /// Where it should be.
        url: String,
        /// What the network or TLS said.
        problem: String,
    },
    /// The control plane said no.
    #[error("{message}")]
    Refused {
        /// Stable code, such as `name_taken`.
        code: String,
        /// Its sentence.
        message: String,
        /// Each thing wrong with the request.
        problems: Vec<FieldProblem>,
    },
    /// Whoever read our output went away.
    #[error("output closed")]
    OutputClosed,
}

impl Failure {
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::NotReady(_) => 3,
            Self::Failed(_) | Self::Unreachable { .. } | Self::Refused { .. } => 1,
            Self::OutputClosed => 0,
        }
    }

    /// A closed pipe (`shopctl … | head`) is no failure.
    pub(crate) const fn is_silent(&self) -> bool {
        matches!(self, Self::OutputClosed)
    }

    /// Whether the same may well work a moment later.
    pub(crate) fn passes(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { code, .. } => {
                code.starts_with("database_") || code == "deadline_exceeded"
            }
            _ => false,
        }
    }

    /// What a gRPC status means here.
    pub(crate) fn from_status(url: &str, status: &tonic::Status) -> Self {
        if let Some(details) = ErrorDetails::decode(status.details()) {
            return Self::Refused {
                code: details.code,
                message: status.message().to_owned(),
                problems: details.problems,
            };
        }
        // Only the transport leaves a source behind: a connection that broke in the middle of an answer.
        if std::error::Error::source(status).is_some() {
            return Self::Unreachable {
                url: url.to_owned(),
                problem: status.message().to_owned(),
            };
        }
        match status.code() {
            tonic::Code::Unavailable | tonic::Code::DeadlineExceeded | tonic::Code::Cancelled => {
                Self::Unreachable {
                    url: url.to_owned(),
                    problem: status.message().to_owned(),
                }
            }
            tonic::Code::Unimplemented => Self::Failed(format!(
                "the control plane at {url} does not know this request; it may be older than this shopctl ({})",
                env!("CARGO_PKG_VERSION")
            )),
            code => Self::Refused {
                code: code.to_string(),
                message: status.message().to_owned(),
                problems: Vec::new(),
            },
        }
    }
}

/// The text for standard error: what happened, then what to do next.
pub(crate) fn report(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error}\n");
    for cause in error.chain().skip(1) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  because: {cause}");
    }
    match error.downcast_ref::<Failure>() {
        Some(Failure::Refused { code, problems, .. }) => {
            for FieldProblem {
                pointer, message, ..
            } in problems
            {
                let place = if pointer.is_empty() { "request" } else { pointer };
                let _ = writeln!(text, "  {place}: {message}");
            }
            if let Some(hint) = hint(code) {
                let _ = writeln!(text, "  {hint}");
            }
        }
        Some(Failure::Unreachable { .. }) => text.push_str(
            "  Stores serve and are repaired without it; only ordering changes and looking at the fleet need it.\n  \
             Check that `control-plane serve` runs on its host, and that this address and port reach it.\n",
        ),
        _ => {}
    }
    text
}

fn hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "unauthorized" => {
            "The token is unknown, expired or revoked: `shopctl login` with a new one; \
             `control-plane token reset-admin` on its host makes one."
        }
        "no_roster" | "unknown_signer" => "Publish your signing key first: `shopctl trust init`.",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_of_a_status_reach_the_person() {
        let details = ErrorDetails {
            code: "invalid".to_owned(),
            problems: vec![FieldProblem {
                pointer: "/name".to_owned(),
                code: "bad".to_owned(),
                message: "too short".to_owned(),
            }],
        };
        let bytes = details.encode(3, "The store cannot be made so.");
        let status = tonic::Status::with_details(
            tonic::Code::InvalidArgument,
            "The store cannot be made so.",
            bytes.into(),
        );
        let failure = Failure::from_status("https://a:1", &status);
        assert_eq!(failure.exit_code(), 1);
        assert!(!failure.passes());
        let text = report(&failure.into());
        assert!(
            text.contains("error: The store cannot be made so.\n  /name: too short"),
            "{text}"
        );
    }

    #[test]
    fn an_absent_control_plane_is_told_with_what_still_works() {
        let failure = Failure::from_status(
            "https://a:1",
            &tonic::Status::unavailable("connection refused"),
        );
        let text = report(&failure.into());
        assert!(
            text.contains("cannot reach the control plane at https://a:1: connection refused"),
            "{text}"
        );
        assert!(text.contains("Stores serve"), "{text}");
    }
}
