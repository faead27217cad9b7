//! What fuzz targets call: every body and every query, by its number.

use axum::extract::FromRequestParts as _;
use futures::FutureExt as _;
use http::HeaderMap;

use super::{
    amend, extract,
    fields::{self, Read, Readable},
    fleet, operations,
    page::Page,
    rollouts, stores, tasks,
};
use crate::app::{self, Problem};

/// Reads a body, and says what is wrong with it.
type Body = fn(&[u8]) -> Vec<Problem>;
/// Reads a query, and says what is wrong with it.
type Query = fn(Vec<(String, String)>) -> Vec<Problem>;

const BODY: &[Body] = &[
    of_body::<app::CreateStore>,
    of_body::<app::CreateToken>,
    of_body::<app::CreateJoinToken>,
    of_body::<app::CloneStore>,
    of_body::<app::StartRollout>,
    of_body::<rollouts::Act>,
    of_body::<tasks::Wish>,
    of_body::<amend::Update>,
    of_body::<amend::Rollback>,
    of_body::<amend::Rotate>,
    of_body::<amend::Scale>,
    of_body::<amend::Hold>,
    of_body::<amend::Patch>,
    of_body::<stores::Why>,
];
const QUERY: &[Query] = &[
    of_query::<Page>,
    of_query::<(stores::Which, Page)>,
    of_query::<stores::When>,
    of_query::<(operations::Which, Page)>,
    of_query::<operations::Patience>,
    of_query::<operations::Start>,
    of_query::<fleet::Why>,
    of_query::<extract::Nothing>,
];

/// How many bodies there are.
pub const BODIES: usize = BODY.len();
/// How many queries there are.
pub const QUERIES: usize = QUERY.len();

/// Everything wrong with a body of the given number.
#[must_use]
pub fn body(number: usize, bytes: &[u8]) -> Vec<Problem> {
    BODY[number % BODIES](bytes)
}

/// Everything wrong with a query of the given number.
#[must_use]
pub fn query(number: usize, pairs: Vec<(String, String)>) -> Vec<Problem> {
    QUERY[number % QUERIES](pairs)
}

/// The idempotency key and the generation that a request's headers say; `None` when they are refused.
#[must_use]
pub fn conditions(headers: HeaderMap) -> Option<(Option<String>, Option<u64>)> {
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.headers = headers;
    let read = extract::Conditions::from_request_parts(&mut parts, &()).now_or_never()?;
    read.ok().map(|it| (it.idempotency_key, it.if_generation))
}

fn of_body<T: Readable>(bytes: &[u8]) -> Vec<Problem> {
    match fields::json::<T>(bytes) {
        Ok(Read { problems, .. }) => problems,
        Err(problem) => vec![problem],
    }
}

fn of_query<T: Readable>(pairs: Vec<(String, String)>) -> Vec<Problem> {
    fields::query::<T>(pairs).problems
}
