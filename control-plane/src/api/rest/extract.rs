//! What handlers take from a request: bodies and queries through `fields`, and the headers that mean something.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request, rejection::BytesRejection},
};
use http::{HeaderMap, StatusCode, header, request::Parts};
use tonic::Code;

use super::{
    fields::{self, Fields, Read, Readable},
    problem::Refusal,
};
use crate::{
    api::{failure::Failure, guard::Standing},
    app::{AppError, Problem},
    domain::access::Caller,
};

/// Who asks. Refused when the guard let nobody in, whatever the route.
pub(super) struct Known(pub Caller);

impl<S: Send + Sync> FromRequestParts<S> for Known {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        parts
            .extensions
            .get::<Caller>()
            .cloned()
            .map(Self)
            .ok_or_else(|| AppError::Unauthorized.into())
    }
}

/// Lets a long answer ask again whether its caller may still listen.
pub(super) struct Listening(pub Option<Standing>);

impl<S: Send + Sync> FromRequestParts<S> for Listening {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        Ok(Self(parts.extensions.get::<Standing>().cloned()))
    }
}

/// A JSON body; an absent one is an empty object.
pub(super) struct Body<T>(pub Read<T>);

impl<S: Send + Sync, T: Readable> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let json = is_json(request.headers());
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| refuse_bytes(&rejection))?;
        if bytes.is_empty() {
            return Ok(Self(fields::json(b"{}").map_err(|problem| vec![problem])?));
        }
        if !json {
            return Err(Failure::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                Code::InvalidArgument,
                "unsupported_media_type",
                "send the body as application/json",
            )
            .into());
        }
        Ok(Self(fields::json(&bytes).map_err(|problem| vec![problem])?))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(|value| value.split(';').next().unwrap_or("").trim())
        .is_some_and(|value| value.eq_ignore_ascii_case("application/json"))
}

fn refuse_bytes(rejection: &BytesRejection) -> Refusal {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Failure::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            Code::ResourceExhausted,
            "too_large",
            "the request is larger than 64 KiB, which no request needs",
        )
        .into()
    } else {
        vec![Problem::at("", "bad_body", "the body did not arrive whole")].into()
    }
}

/// The query.
pub(super) struct Query<T>(pub T);

impl<S: Send + Sync, T: Readable> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_| vec![Problem::at("", "bad_query", "the query is not well-formed")])?;
        let read: Read<T> = fields::query(pairs.0);
        Ok(Self(read.checked()?))
    }
}

/// No query at all.
pub(super) struct Nothing;

impl Readable for Nothing {
    fn read(_fields: &mut Fields) -> Self {
        Self
    }
}

/// `Idempotency-Key` and `If-Match`.
pub(super) struct Conditions {
    pub idempotency_key: Option<String>,
    pub if_generation: Option<u64>,
}

impl<S: Send + Sync> FromRequestParts<S> for Conditions {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        let mut problems = Vec::new();
        let mut read = |name: &'static str| {
            let value = parts.headers.get(name)?;
            let text = value.to_str().ok().map(str::trim);
            if text.is_none() {
                problems.push(Problem::at(
                    "",
                    "bad_header",
                    format!("the header {name} is not plain text"),
                ));
            }
            text.map(str::to_owned)
        };
        let idempotency_key = read("idempotency-key");
        let if_match = read("if-match");
        if idempotency_key
            .as_ref()
            .is_some_and(|key| key.is_empty() || key.len() > 128)
        {
            problems.push(Problem::at(
                "",
                "bad_header",
                "Idempotency-Key is 1 to 128 characters",
            ));
        }
        let if_generation = match if_match.as_deref() {
            None | Some("*") => None,
            Some(tag) => {
                let generation = generation(tag);
                if generation.is_none() {
                    problems.push(Problem::at(
                        "",
                        "bad_header",
                        "If-Match is the ETag of the store as you saw it, such as \"3\"",
                    ));
                }
                generation
            }
        };
        if problems.is_empty() {
            Ok(Self {
                idempotency_key,
                if_generation,
            })
        } else {
            Err(problems.into())
        }
    }
}

fn generation(tag: &str) -> Option<u64> {
    tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_a_quoted_number() {
        assert_eq!(generation("\"3\""), Some(3));
        for bad in ["3", "W/\"3\"", "\"x\"", "\"", ""] {
            assert_eq!(generation(bad), None, "{bad}");
        }
    }
}
