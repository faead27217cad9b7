//! What a gRPC error carries beside its message: `google.rpc.Status` with `ErrorInfo` (the stable code) and `BadRequest` (every problem at once).
//!
//! The three Google messages are tiny and frozen, so they are written down here rather than generated; field numbers as in
//! `google/rpc/status.proto` and `google/rpc/error_details.proto`.

use std::collections::BTreeMap;

use prost::Message;

/// `ErrorInfo.domain` of every error of ours.
pub const ERROR_DOMAIN: &str = "shopfleet";

const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";

/// One thing wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldProblem {
    /// JSON pointer into the request, such as `/parameters/currency`; empty when it is about the request as a whole.
    pub pointer: String,
    /// Stable code, such as `unknown_field`.
    pub code: String,
    /// One sentence for a person.
    pub message: String,
}

/// What our errors say to programs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorDetails {
    /// Stable code, such as `name_taken`.
    pub code: String,
    /// All problems at once; empty for errors that are not about the request.
    pub problems: Vec<FieldProblem>,
}

#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(btree_map = "string, string", tag = "3")]
    metadata: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    field_violations: Vec<FieldViolation>,
}

#[derive(Clone, PartialEq, Message)]
struct FieldViolation {
    #[prost(string, tag = "1")]
    field: String,
    #[prost(string, tag = "2")]
    description: String,
    #[prost(string, tag = "3")]
    reason: String,
}

impl ErrorDetails {
    /// The bytes of `grpc-status-details-bin` for a status with this code and message.
    #[must_use]
    pub fn encode(&self, status_code: i32, message: &str) -> Vec<u8> {
        let info = ErrorInfo {
            reason: self.code.clone(),
            domain: ERROR_DOMAIN.to_owned(),
            metadata: BTreeMap::new(),
        };
        let mut details = vec![any(ERROR_INFO, &info)];
        if !self.problems.is_empty() {
            let field_violations = self
                .problems
                .iter()
                .map(|problem| FieldViolation {
                    field: problem.pointer.clone(),
                    description: problem.message.clone(),
                    reason: problem.code.clone(),
                })
                .collect();
            details.push(any(BAD_REQUEST, &BadRequest { field_violations }));
        }
        RpcStatus {
            code: status_code,
            message: message.to_owned(),
            details,
        }
        .encode_to_vec()
    }

    /// What an error of ours carries; `None` when the bytes are absent or from somebody else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let status = RpcStatus::decode(bytes).ok()?;
        let mut found = None;
        let mut problems = Vec::new();
        for detail in status.details {
            match detail.type_url.as_str() {
                ERROR_INFO => {
                    let info = ErrorInfo::decode(detail.value.as_slice()).ok()?;
                    if info.domain == ERROR_DOMAIN {
                        found = Some(info.reason);
                    }
                }
                BAD_REQUEST => {
                    let request = BadRequest::decode(detail.value.as_slice()).ok()?;
                    problems.extend(request.field_violations.into_iter().map(|violation| {
                        FieldProblem {
                            pointer: violation.field,
                            code: violation.reason,
                            message: violation.description,
                        }
                    }));
                }
                _ => {}
            }
        }
        found.map(|code| Self { code, problems })
    }
}

fn any(type_url: &str, message: &impl Message) -> prost_types::Any {
    prost_types::Any {
        type_url: type_url.to_owned(),
        value: message.encode_to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_round_trip() {
        let details = ErrorDetails {
            code: "invalid_request".to_owned(),
            problems: vec![FieldProblem {
                pointer: "/name".to_owned(),
                code: "bad_name".to_owned(),
                message: "a store name is …".to_owned(),
            }],
        };
        let bytes = details.encode(3, "2 problems");
        assert_eq!(ErrorDetails::decode(&bytes), Some(details));
    }

    #[test]
    fn foreign_bytes_are_no_details_of_ours() {
        assert_eq!(ErrorDetails::decode(b""), None);
        assert_eq!(ErrorDetails::decode(&[0xff; 40]), None);
    }
}
