//! Nothing is reachable that the tables do not name, and the tables mean what they say.

use std::collections::BTreeSet;

use axum::body::Body;
use http::{Method, Request, StatusCode};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use serde_json::Value;
use shop_proto::wire::DESCRIPTORS;

use super::{Rig, read};
use crate::{
    api::{
        access::{Access, ROUTES, RPCS, of_route, of_rpc},
        openapi,
    },
    domain::access::Role,
};

#[test]
fn the_route_table_is_the_router() {
    let document: Value = serde_json::from_str(&openapi()).unwrap();
    let mut served = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            served.insert((method.to_uppercase(), path.clone()));
        }
    }
    let known: BTreeSet<(String, String)> = ROUTES
        .iter()
        .map(|route| (route.method.to_string(), route.path.to_owned()))
        .collect();
    assert_eq!(known, served);
    assert_eq!(known.len(), ROUTES.len(), "a route is named twice");
}

#[test]
fn the_rpc_table_is_the_contract() {
    let descriptors = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let mut served: BTreeSet<String> = descriptors
        .file
        .iter()
        .filter(|file| file.package() == "shopfleet.admin.v1")
        .flat_map(|file| &file.service)
        .flat_map(|service| {
            let methods = service.method.iter();
            methods
                .map(|method| format!("/shopfleet.admin.v1.{}/{}", service.name(), method.name()))
        })
        .collect();
    assert!(!served.is_empty());
    for version in ["v1", "v1alpha"] {
        served.insert(format!(
            "/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
        ));
    }
    for method in ["Check", "Watch"] {
        served.insert(format!("/grpc.health.v1.Health/{method}"));
    }
    let known: BTreeSet<String> = RPCS.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(known, served);
    assert_eq!(known.len(), RPCS.len(), "an rpc is named twice");
}

#[test]
fn what_is_not_named_is_not_let_in() {
    assert_eq!(of_route(&Method::PUT, "/api/v1/stores"), None);
    assert_eq!(of_route(&Method::GET, "/api/v2/stores"), None);
    assert_eq!(
        of_route(&Method::HEAD, "/api/v1/stores"),
        of_route(&Method::GET, "/api/v1/stores")
    );
    assert_eq!(of_rpc("/shopfleet.admin.v1.Admin/Nothing"), None);
    assert_eq!(of_rpc("/shopfleet.agent.v1.Agent/Session"), None);
}

fn request(method: &Method, path: &str, token: Option<&str>) -> Request<Body> {
    let path = path
        .replace("{store}", "none")
        .replace("{id}", "none")
        .replace("{name}", "none");
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn every_route_asks_for_a_token_with_its_role() {
    let rig = Rig::new().await;
    let roles: Vec<(Role, String)> = [
        (Role::Viewer, rig.token("viewer").await),
        (Role::Developer, rig.token("developer").await),
        (Role::Admin, rig.token("admin").await),
    ]
    .into();
    for route in ROUTES {
        let place = format!("{} {}", route.method, route.path);
        let Access::Needs(permission) = route.access else {
            let answer = rig.send(request(&route.method, route.path, None)).await;
            assert_eq!(answer.status(), StatusCode::OK, "{place}");
            continue;
        };
        for wrong in [None, Some("sfk1_nothing"), Some("")] {
            let answer = read(rig.send(request(&route.method, route.path, wrong)).await).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{place}");
            assert_eq!(answer.headers["www-authenticate"], "Bearer", "{place}");
            assert_eq!(answer.body["code"], "unauthorized", "{place}");
        }
        for (role, token) in &roles {
            if !role.may(permission) {
                let answer = rig
                    .send(request(&route.method, route.path, Some(token)))
                    .await;
                assert_eq!(
                    read(answer).await.body["code"],
                    "forbidden",
                    "{place} {role}"
                );
            } else if !route.path.ends_with("/watch") {
                let answer = rig
                    .send(request(&route.method, route.path, Some(token)))
                    .await;
                let status = answer.status();
                assert!(
                    status != StatusCode::FORBIDDEN && status != StatusCode::UNAUTHORIZED,
                    "{place} {role}: {status}"
                );
            }
        }
    }
}

#[tokio::test]
async fn every_rpc_asks_for_a_token_with_its_role() {
    let rig = Rig::new().await;
    let viewer = rig.token("viewer").await;
    for (path, access) in RPCS {
        let Access::Needs(permission) = access else {
            continue;
        };
        let call = |token: Option<&str>| {
            let mut request = Request::builder()
                .method(Method::POST)
                .uri(*path)
                .header("content-type", "application/grpc");
            if let Some(token) = token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            rig.send(request.body(Body::empty()).unwrap())
        };
        let status = |headers: &http::HeaderMap| {
            headers
                .get("grpc-status")
                .map(|value| value.to_str().unwrap().to_owned())
        };
        let answer = call(None).await;
        assert_eq!(status(answer.headers()).as_deref(), Some("16"), "{path}");
        if !Role::Viewer.may(*permission) {
            let answer = call(Some(&viewer)).await;
            assert_eq!(status(answer.headers()).as_deref(), Some("7"), "{path}");
        }
    }
}

#[tokio::test]
async fn a_revoked_token_opens_nothing() {
    let rig = Rig::new().await;
    let token = rig.token("viewer").await;
    let id = token.split('_').nth(1).unwrap().to_owned();
    let stores = "/api/v1/stores";
    let answer = rig.send(request(&Method::GET, stores, Some(&token))).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let answer = rig
        .call(Method::DELETE, &format!("/api/v1/tokens/{id}"), None)
        .await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let answer = rig.send(request(&Method::GET, stores, Some(&token))).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn unknown_places_say_nothing() {
    let rig = Rig::new().await;
    let answer = rig.call(Method::GET, "/api/v1/secrets", None).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.body["code"], "unknown_path");
    let answer = rig.call(Method::PUT, "/api/v1/stores", None).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    let unknown = Request::builder()
        .method(Method::POST)
        .uri("/shopfleet.admin.v1.Admin/Nothing")
        .header("content-type", "application/grpc")
        .header("authorization", format!("Bearer {}", rig.owner))
        .body(Body::empty())
        .unwrap();
    let answer = rig.send(unknown).await;
    assert_eq!(answer.headers()["grpc-status"], "12");
}
