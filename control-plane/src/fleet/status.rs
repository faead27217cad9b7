//! Refusals of the agents' and the enrolment listener: a stable code for programs, a sentence for people.

use shop_proto::wire::ErrorDetails;
use tonic::{
    Code, Status,
    metadata::{MetadataMap, MetadataValue},
};

/// Metadata key that agents read the code from.
const CODE: &str = "shopfleet-code";

/// A status with its stable code, in metadata and in `google.rpc` details.
#[must_use]
pub fn coded(code: Code, reason: &'static str, message: impl Into<String>) -> Status {
    let message = message.into();
    let details = ErrorDetails {
        code: reason.to_owned(),
        problems: Vec::new(),
    };
    let mut metadata = MetadataMap::new();
    metadata.insert(CODE, MetadataValue::from_static(reason));
    let bytes = details.encode(code as i32, &message);
    Status::with_details_and_metadata(code, message, bytes.into(), metadata)
}
