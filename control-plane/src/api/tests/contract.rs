//! The OpenAPI document: kept in docs/, true to what is read and answered.

use std::{collections::BTreeSet, env, fs, path::PathBuf};

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{Answer, Rig};
use crate::api::openapi;

fn kept() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json")
}

fn document() -> Value {
    serde_json::from_str(&openapi()).unwrap()
}

/// A change of the contract is seen in review. `UPDATE=1` writes it.
#[test]
fn the_kept_document_is_the_served_one() {
    let served = openapi() + "\n";
    if env::var_os("UPDATE").is_some() {
        fs::write(kept(), &served).unwrap();
    }
    let kept = fs::read_to_string(kept()).unwrap_or_default();
    assert!(
        kept == served,
        "docs/openapi.json is not what is served; look at the difference after running this test with UPDATE=1"
    );
}

/// Every field a request schema names is read, and none is required that is not.
#[tokio::test]
async fn request_schemas_are_what_is_read() {
    let rig = Rig::new().await;
    let document = document();
    let bodies = [
        ("CreateStore", "/api/v1/stores"),
        ("ActionRequest", "/api/v1/stores/none/start"),
        ("ActionRequest", "/api/v1/stores/none/stop"),
        ("ActionRequest", "/api/v1/stores/none/restart"),
        ("UpdateRequest", "/api/v1/stores/none/update"),
        ("UpdateRequest", "/api/v1/stores/none/diff"),
        ("RollbackRequest", "/api/v1/stores/none/rollback"),
        ("ScaleRequest", "/api/v1/stores/none/scale"),
        ("MaintenanceRequest", "/api/v1/stores/none/maintenance"),
        ("PlainRequest", "/api/v1/stores/none/pause"),
        ("PlainRequest", "/api/v1/stores/none/wake"),
        ("HoldRequest", "/api/v1/stores/none/hold"),
        ("NewClone", "/api/v1/stores/none/clone"),
        ("RolloutActionRequest", "/api/v1/rollouts/none/pause"),
        ("RolloutActionRequest", "/api/v1/rollouts/none/abort"),
        ("CreateJoinToken", "/api/v1/join-tokens"),
        ("CreateToken", "/api/v1/tokens"),
    ];
    for (schema, path) in bodies {
        let schema = &document["components"]["schemas"][schema];
        let fields = schema["properties"].as_object().unwrap();
        // Every field with a type that no field has: each must be met, none be unknown.
        let body: Map<String, Value> = fields
            .iter()
            .map(|(name, schema)| {
                let flag = schema["type"].to_string().contains("boolean");
                let wrong = if flag { json!("yes") } else { json!(true) };
                (name.clone(), wrong)
            })
            .collect();
        let answer = rig.call(Method::POST, path, Some(body.into())).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        let errors = answer.body["errors"].as_array().unwrap();
        assert!(
            errors.iter().all(|error| error["code"] == "wrong_type"),
            "{path} {errors:?}"
        );
        let met: BTreeSet<&str> = answer.pointers().into_iter().collect();
        let named: Vec<String> = fields.keys().map(|name| format!("/{name}")).collect();
        assert_eq!(met, named.iter().map(String::as_str).collect(), "{path}");

        let answer = rig.call(Method::POST, path, Some(json!({}))).await;
        let missing: BTreeSet<String> = answer.pointers().into_iter().map(str::to_owned).collect();
        let required: BTreeSet<String> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|name| format!("/{}", name.as_str().unwrap()))
            .collect();
        assert_eq!(missing, required, "{path}");
    }
}

/// Asks, and holds the answer against the schema the document gives for this status.
async fn checked(
    rig: &Rig,
    document: &Value,
    method: Method,
    path: (&str, &str),
    body: Option<Value>,
) -> Answer {
    let (template, path) = path;
    let place = format!("{method} {path}");
    let operation = &document["paths"][template][method.as_str().to_lowercase()];
    let answer = rig.call(method, path, body).await;
    let response = &operation["responses"][answer.status.as_str()];
    assert!(
        !response.is_null(),
        "{place}: {} is not documented: {}",
        answer.status,
        answer.body
    );
    let Some((media, content)) = response["content"]
        .as_object()
        .and_then(|all| all.iter().next())
    else {
        assert!(answer.body.is_null(), "{place}");
        return answer;
    };
    assert_eq!(answer.headers["content-type"], media.as_str(), "{place}");
    let mut schema = content["schema"].clone();
    schema["components"] = document["components"].clone();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let problems: Vec<String> = validator
        .iter_errors(&answer.body)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(problems.is_empty(), "{place}: {problems:?}");
    answer
}

/// A walk that meets every route, with good and bad requests.
#[tokio::test]
async fn every_answer_fits_its_schema() {
    let rig = Rig::new().await;
    let document = document();
    let ask = |method: Method, template: &'static str, path: &str, body: Option<Value>| {
        let path = path.to_owned();
        let (rig, document) = (&rig, &document);
        async move { checked(rig, document, method, (template, &path), body).await }
    };
    let same = |path: &'static str| (path, path);
    let (stores, store_path) = ("/api/v1/stores", "/api/v1/stores/{store}");

    let good = json!({"name": "demo", "template": "refshop", "labels": {"team": "a"}, "profiles": {"search": "none"},
        "resources": {"db": {"memory_bytes": 536_870_912}}});
    let created = ask(Method::POST, stores, stores, Some(good.clone())).await;
    assert_eq!(created.status, StatusCode::ACCEPTED);
    let id = created.body["id"].as_str().unwrap().to_owned();
    assert_eq!(
        created.headers["location"],
        format!("/api/v1/operations/{id}")
    );
    assert_eq!(
        ask(Method::POST, stores, stores, Some(good)).await.status,
        StatusCode::CONFLICT
    );
    let bad = json!({"name": "Bad Name", "template": "nothing", "hosts": ["-"]});
    assert_eq!(
        ask(Method::POST, stores, stores, Some(bad)).await.status,
        StatusCode::BAD_REQUEST
    );

    let listed = ask(
        Method::GET,
        stores,
        "/api/v1/stores?selector=team%3Da",
        None,
    )
    .await;
    assert_eq!(listed.body["stores"][0]["name"], "demo");
    let seen = ask(Method::GET, store_path, "/api/v1/stores/demo", None).await;
    assert_eq!(seen.headers["etag"], "\"1\"");
    assert_eq!(
        ask(Method::GET, store_path, "/api/v1/stores/none", None)
            .await
            .status,
        StatusCode::NOT_FOUND
    );
    ask(
        Method::GET,
        "/api/v1/stores/{store}/events",
        "/api/v1/stores/demo/events",
        None,
    )
    .await;
    for (template, path, status) in [
        (
            "/api/v1/stores/{store}/stop",
            "/api/v1/stores/demo/stop",
            StatusCode::ACCEPTED,
        ),
        (
            "/api/v1/stores/{store}/start",
            "/api/v1/stores/demo/start",
            StatusCode::ACCEPTED,
        ),
        // It is still on its way up: no node is there.
        (
            "/api/v1/stores/{store}/restart",
            "/api/v1/stores/demo/restart",
            StatusCode::CONFLICT,
        ),
    ] {
        let answer = ask(Method::POST, template, path, None).await;
        assert_eq!(answer.status, status, "{path} {}", answer.body);
    }
    for (path, body, status) in [
        (
            "update",
            json!({"parameters": {"shop_name": "Other"}, "dry_run": true}),
            StatusCode::OK,
        ),
        (
            "diff",
            json!({"resources": {"db": {"memory_bytes": 805_306_368}}}),
            StatusCode::OK,
        ),
        (
            "update",
            json!({"parameters": {"colour": "red"}}),
            StatusCode::BAD_REQUEST,
        ),
        ("rollback", json!({}), StatusCode::CONFLICT),
        (
            "scale",
            json!({"replicas": {"web": 2}, "dry_run": true}),
            StatusCode::OK,
        ),
        (
            "scale",
            json!({"replicas": {"db": 2}}),
            StatusCode::BAD_REQUEST,
        ),
        (
            "maintenance",
            json!({"on": true, "dry_run": true}),
            StatusCode::OK,
        ),
        ("pause", json!({"dry_run": true}), StatusCode::OK),
        ("wake", json!({"dry_run": true}), StatusCode::OK),
        (
            "hold",
            json!({"for_seconds": 60, "dry_run": true}),
            StatusCode::OK,
        ),
        ("hold", json!({"for_seconds": 0}), StatusCode::BAD_REQUEST),
    ] {
        let template = format!("/api/v1/stores/{{store}}/{path}");
        let path = format!("/api/v1/stores/demo/{path}");
        let answer = checked(
            &rig,
            &document,
            Method::POST,
            (&template, &path),
            Some(body),
        )
        .await;
        assert_eq!(answer.status, status, "{path} {}", answer.body);
    }
    let patch = json!({"labels": {"team": null, "tier": "gold"}, "display_name": "Demo"});
    let patched = ask(
        Method::PATCH,
        store_path,
        "/api/v1/stores/demo",
        Some(patch),
    )
    .await;
    assert_eq!(patched.body["labels"], json!({"tier": "gold"}));
    ask(
        Method::GET,
        "/api/v1/stores/{store}/revisions",
        "/api/v1/stores/demo/revisions",
        None,
    )
    .await;
    let operations = ask(
        Method::GET,
        "/api/v1/operations",
        "/api/v1/operations?store=demo",
        None,
    )
    .await;
    assert_eq!(operations.body["operations"].as_array().unwrap().len(), 3);
    let operation = "/api/v1/operations/{id}";
    ask(
        Method::GET,
        operation,
        &format!("/api/v1/operations/{id}?wait=0s"),
        None,
    )
    .await;
    ask(Method::GET, operation, "/api/v1/operations/none", None).await;
    ask(
        Method::GET,
        operation,
        &format!("/api/v1/operations/{id}?wait=2h"),
        None,
    )
    .await;

    for (template, path) in [
        same("/api/v1/nodes"),
        ("/api/v1/nodes/{id}", "/api/v1/nodes/none"),
        same("/api/v1/templates"),
        ("/api/v1/templates/{name}", "/api/v1/templates/refshop"),
        ("/api/v1/templates/{name}", "/api/v1/templates/none"),
        same("/api/v1/tokens"),
        same("/api/v1/audit"),
        same("/api/v1/status"),
    ] {
        ask(Method::GET, template, path, None).await;
    }
    ask(
        Method::DELETE,
        "/api/v1/nodes/{id}",
        "/api/v1/nodes/none",
        None,
    )
    .await;
    let join = ask(
        Method::POST,
        "/api/v1/join-tokens",
        "/api/v1/join-tokens",
        None,
    )
    .await;
    assert_eq!(join.status, StatusCode::CREATED);
    let wanted = json!({"name": "ci", "role": "viewer"});
    let token = ask(
        Method::POST,
        "/api/v1/tokens",
        "/api/v1/tokens",
        Some(wanted),
    )
    .await;
    assert_eq!(token.status, StatusCode::CREATED);
    let wanted = json!({"name": "ci", "role": "king"});
    ask(
        Method::POST,
        "/api/v1/tokens",
        "/api/v1/tokens",
        Some(wanted),
    )
    .await;
    let path = format!(
        "/api/v1/tokens/{}",
        token.body["token"]["id"].as_str().unwrap()
    );
    ask(Method::DELETE, "/api/v1/tokens/{id}", &path, None).await;
    let gone = ask(
        Method::DELETE,
        store_path,
        "/api/v1/stores/demo?reason=test",
        None,
    )
    .await;
    assert_eq!(gone.status, StatusCode::ACCEPTED);
}
