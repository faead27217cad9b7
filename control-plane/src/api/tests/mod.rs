//! The API as its callers meet it: the whole router over real use-cases and a real SQLite file, without TLS and without a fleet.

mod access;
mod contract;
mod grpc;
mod rest;

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    response::Response,
};
use http::{HeaderMap, Method, Request, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use shop_proto::{Digest, NodeId, StoreId};
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::router;
use crate::{
    app::{App, CreateToken, Settings},
    db::Db,
    domain::{
        access::Caller,
        session::{AgentOrder, Connected, NodeOrder, Orders},
    },
};

/// Nobody is connected.
struct Alone;

impl Orders for Alone {
    fn to_node(&self, _node: &NodeId, _order: NodeOrder) -> bool {
        false
    }

    fn to_agent(&self, _store: &StoreId, _order: AgentOrder) -> bool {
        false
    }

    fn connected(&self) -> Connected {
        Connected::default()
    }
}

/// A control plane's API with an owner's token.
struct Rig {
    router: Router,
    app: App,
    owner: String,
    _place: TempDir,
}

/// An answer, read whole.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Rig {
    async fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("db.sqlite");
        let db = Db::open(path.to_str().unwrap()).await.unwrap();
        db.migrate().await.unwrap();
        let mut settings = Settings::new("localhost".to_owned(), Digest::of(b"root"));
        settings.enroll_addresses = vec!["127.0.0.1:7442".to_owned()];
        settings.agent_addresses = vec!["127.0.0.1:7443".to_owned()];
        let app = App::new(db, Arc::new(Alone), settings);
        let owner = app.reset_admin_token().await.unwrap();
        Self {
            router: router(app.clone()).unwrap(),
            app,
            owner: owner.secret.expose_secret().to_owned(),
            _place: place,
        }
    }

    /// A token with another role.
    async fn token(&self, role: &str) -> String {
        let input = CreateToken {
            name: role.to_owned(),
            role: role.to_owned(),
            ttl_seconds: 0,
        };
        let token = self.app.create_token(&Caller::system("test"), input).await;
        token.unwrap().secret.expose_secret().to_owned()
    }

    /// One request as it is.
    async fn send(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// One JSON request of the owner, with further headers.
    async fn call_with(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.owner));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        read(self.send(request.body(body).unwrap()).await).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.call_with(method, path, body, &[]).await
    }
}

async fn read(response: Response) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, 4 << 20).await.unwrap();
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("no JSON: {bytes:?}"))
    };
    Answer {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}

impl Answer {
    fn pointers(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().map(Vec::as_slice);
        errors
            .unwrap_or_default()
            .iter()
            .filter_map(|error| error["pointer"].as_str())
            .collect()
    }
}
