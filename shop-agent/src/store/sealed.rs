//! Sealed requests: judged here, by the roster; answered so that only the caller can read it.

use shop_proto::wire::agent::v1 as api;

/// Judges and answers.
#[derive(Default)]
pub struct Sealed {}

impl Sealed {
    /// Takes in a roster, if it is signed by the pinned root and not older than the one we know.
    pub async fn roster(&self, _document: &[u8], _signature: &[u8]) {}

    /// Answers a request.
    pub async fn answer(&self, request: api::SealedRequest) -> api::SealedResult {
        api::SealedResult {
            operation_id: request.operation_id,
            code: "no_roster".to_owned(),
            ..Default::default()
        }
    }
}
