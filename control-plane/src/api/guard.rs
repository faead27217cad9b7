//! The one door every request goes through: who is it, may it, and how long may it take.

use std::{net::SocketAddr, time::Duration};

use axum::{
    extract::{ConnectInfo, MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::timeout;
use tonic::Code;

use super::{
    access::{self, Access},
    failure::Failure,
    grpc,
    request_id::RequestId,
    rest,
};
use crate::{
    app::{App, AppError, Origin},
    domain::access::{Caller, Permission},
};

/// Until an answer begins. Longer than the longest long poll and the wait for a sealed answer; streams go on as long as they are read.
const DEADLINE: Duration = Duration::from_secs(75);

/// What a long stream needs to ask again whether its caller may still listen.
#[derive(Clone)]
pub(super) struct Standing {
    app: App,
    token: SecretString,
    origin: Origin,
    needs: Permission,
}

impl Standing {
    /// Whether the token still lets its owner do what it was let in for.
    pub(super) async fn check(&self) -> Result<(), AppError> {
        let caller = self
            .app
            .authenticate(self.token.expose_secret(), &self.origin)
            .await?;
        if caller.role.may(self.needs) {
            Ok(())
        } else {
            Err(AppError::Forbidden {
                role: caller.role.as_str(),
            })
        }
    }
}

pub(super) async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let is_grpc = is_grpc(request.headers());
    let refuse = |failure: Failure| {
        if is_grpc {
            grpc::refuse(failure)
        } else {
            rest::refuse(failure)
        }
    };
    let Some(access) = needed(&request) else {
        // Unknown paths and methods are answered by the fallbacks; they reach no use-case.
        return if request.extensions().get::<MatchedPath>().is_some() && is_grpc {
            grpc::refuse(unknown_rpc())
        } else {
            next.run(request).await
        };
    };
    if let Access::Needs(permission) = access {
        let presented = Presented::of(&request);
        match presented.admit(&app, permission).await {
            Ok((caller, standing)) => {
                request.extensions_mut().insert(caller);
                request.extensions_mut().insert(standing);
            }
            Err(error) => return refuse(error.into()),
        }
    }
    match timeout(DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => refuse(Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Code::DeadlineExceeded,
            "deadline_exceeded",
            "this took too long and was given up; look whether it was done before you repeat it",
        )),
    }
}

fn needed(request: &Request) -> Option<Access> {
    let matched = request.extensions().get::<MatchedPath>()?;
    access::of_route(request.method(), matched.as_str())
        .or_else(|| access::of_rpc(request.uri().path()))
}

/// What a request says about who sends it.
struct Presented {
    token: Option<SecretString>,
    origin: Origin,
    path: String,
}

impl Presented {
    fn of(request: &Request) -> Self {
        Self {
            token: bearer(request.headers()).map(|token| SecretString::from(token.to_owned())),
            origin: origin(request),
            path: request.uri().path().to_owned(),
        }
    }

    async fn admit(self, app: &App, needs: Permission) -> Result<(Caller, Standing), AppError> {
        let token = self.token.ok_or(AppError::Unauthorized)?;
        let caller = app
            .authenticate(token.expose_secret(), &self.origin)
            .await?;
        if !caller.role.may(needs) {
            app.audit_forbidden(&caller, &self.path).await;
            return Err(AppError::Forbidden {
                role: caller.role.as_str(),
            });
        }
        let standing = Standing {
            app: app.clone(),
            token,
            origin: self.origin,
            needs,
        };
        Ok((caller, standing))
    }
}

fn origin(request: &Request) -> Origin {
    let extensions = request.extensions();
    Origin {
        address: extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map(|ConnectInfo(address)| address.ip()),
        request_id: extensions
            .get::<RequestId>()
            .map(|RequestId(id)| id.clone())
            .unwrap_or_default(),
    }
}

pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

fn unknown_rpc() -> Failure {
    Failure::new(
        StatusCode::NOT_FOUND,
        Code::Unimplemented,
        "unknown_method",
        "this control plane has no such method",
    )
}

/// What the fallbacks answer when no route fits.
pub(super) fn unknown(is_method: bool) -> Response {
    let failure = if is_method {
        Failure::new(
            StatusCode::METHOD_NOT_ALLOWED,
            Code::Unimplemented,
            "method_not_allowed",
            "this path knows other methods; see /api/openapi.json",
        )
    } else {
        Failure::new(
            StatusCode::NOT_FOUND,
            Code::Unimplemented,
            "unknown_path",
            "there is nothing here; see /api/openapi.json",
        )
    };
    rest::refuse(failure).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_read_and_nothing_else() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(with("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(with("bearer  abc").as_deref(), Some("abc"));
        assert_eq!(with("Basic abc"), None);
        assert_eq!(with("abc"), None);
    }
}
