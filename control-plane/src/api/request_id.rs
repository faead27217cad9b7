//! One id per request, from the CLI to the agent: the caller's own when it is a decent one, else a new one. It is in the answer, in the log
//! and in the audit chain.

use axum::{extract::Request, middleware::Next, response::Response};
use http::{HeaderName, HeaderValue};
use tracing::Instrument as _;

pub(super) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The id of the request in hand.
#[derive(Debug, Clone)]
pub(super) struct RequestId(pub String);

pub(super) async fn assign(mut request: Request, next: Next) -> Response {
    let id = request
        .headers()
        .get(HEADER)
        .and_then(|value| value.to_str().ok())
        .filter(|id| decent(id))
        .map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned);
    request.extensions_mut().insert(RequestId(id.clone()));
    let span = tracing::info_span!("request", request_id = %id);
    let mut response = next.run(request).instrument(span).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

/// Short, and of characters that harm no log.
pub(super) fn decent(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::decent;

    #[test]
    fn foreign_ids_are_taken_when_they_are_harmless() {
        assert!(decent("0f3a-B_c.9"));
        for bad in ["", "a b", "a\"b", "é", &"x".repeat(65)] {
            assert!(!decent(bad), "{bad}");
        }
    }
}
