//! Headers, limits and watching over REST.

use axum::body::Body;
use futures::StreamExt as _;
use http::{Method, Request, StatusCode};
use serde_json::json;

use super::{Rig, read};

fn store(name: &str) -> Option<serde_json::Value> {
    Some(json!({"name": name, "template": "refshop"}))
}

#[tokio::test]
async fn shape_and_meaning_are_told_together() {
    let rig = Rig::new().await;
    let body = json!({"name": "Bad Name", "template": "refshop", "colour": "red", "labels": {"a": 1},
        "hosts": ["-"], "parameters": {"no_such": "x"}});
    let answer = rig.call(Method::POST, "/api/v1/stores", Some(body)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let mut pointers = answer.pointers();
    pointers.sort_unstable();
    assert_eq!(
        pointers,
        [
            "/colour",
            "/hosts/0",
            "/labels/a",
            "/name",
            "/parameters/no_such"
        ]
    );
    let stores = rig.call(Method::GET, "/api/v1/stores", None).await;
    assert_eq!(stores.body["stores"], json!([]));
}

#[tokio::test]
async fn an_idempotency_key_answers_as_the_first_time() {
    let rig = Rig::new().await;
    let key = [("idempotency-key", "once")];
    let path = "/api/v1/stores";
    let first = rig.call_with(Method::POST, path, store("one"), &key).await;
    let again = rig.call_with(Method::POST, path, store("one"), &key).await;
    assert_eq!(first.status, StatusCode::ACCEPTED);
    assert_eq!(
        (again.status, &again.body["id"]),
        (first.status, &first.body["id"])
    );
    let other = rig.call_with(Method::POST, path, store("two"), &key).await;
    assert_eq!(other.status, StatusCode::CONFLICT);
    assert_eq!(other.body["code"], "idempotency_mismatch");
}

#[tokio::test]
async fn a_rollout_is_begun_once_under_a_key() {
    let rig = Rig::new().await;
    rig.call(Method::POST, "/api/v1/stores", store("one")).await;
    let (path, key) = ("/api/v1/rollouts", [("idempotency-key", "once")]);
    let body = |canary| Some(json!({"parameters": {"shop_name": "New"}, "canary": canary}));
    let first = rig.call_with(Method::POST, path, body(1), &key).await;
    assert_eq!(first.status, StatusCode::ACCEPTED, "{}", first.body);
    let again = rig.call_with(Method::POST, path, body(1), &key).await;
    assert_eq!(
        (again.status, &again.body["id"]),
        (first.status, &first.body["id"])
    );
    let other = rig.call_with(Method::POST, path, body(2), &key).await;
    assert_eq!(other.status, StatusCode::CONFLICT);
    assert_eq!(other.body["code"], "idempotency_mismatch");
}

#[tokio::test]
async fn if_match_guards_a_change() {
    let rig = Rig::new().await;
    rig.call(Method::POST, "/api/v1/stores", store("one")).await;
    let path = "/api/v1/stores/one/stop";
    let stale = rig
        .call_with(Method::POST, path, None, &[("if-match", "\"9\"")])
        .await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
    let bad = rig
        .call_with(Method::POST, path, None, &[("if-match", "9")])
        .await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
    let seen = rig
        .call_with(Method::POST, path, None, &[("if-match", "\"1\"")])
        .await;
    assert_eq!(seen.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_request_id_goes_through() {
    let rig = Rig::new().await;
    let path = "/api/v1/stores";
    let mine = rig
        .call_with(
            Method::POST,
            path,
            store("one"),
            &[("x-request-id", "mine-1")],
        )
        .await;
    assert_eq!(mine.headers["x-request-id"], "mine-1");
    let audit = rig.call(Method::GET, "/api/v1/audit", None).await;
    let entries = audit.body["entries"].as_array().unwrap();
    assert!(
        entries.iter().any(|entry| entry["request_id"] == "mine-1"),
        "{entries:?}"
    );
    let made = rig
        .call_with(Method::GET, path, None, &[("x-request-id", "a b")])
        .await;
    assert_ne!(made.headers["x-request-id"], "a b");
}

#[tokio::test]
async fn large_bodies_and_other_media_are_refused() {
    let rig = Rig::new().await;
    let post = |media: &str, body: String| {
        Request::builder()
            .method(Method::POST)
            .uri("/api/v1/stores")
            .header("authorization", format!("Bearer {}", rig.owner))
            .header("content-type", media)
            .body(Body::from(body))
            .unwrap()
    };
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(70_000));
    let answer = read(rig.send(post("application/json", large)).await).await;
    assert_eq!(
        (answer.status, &answer.body["code"]),
        (StatusCode::PAYLOAD_TOO_LARGE, &json!("too_large"))
    );
    let answer = read(rig.send(post("text/plain", "{}".to_owned())).await).await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let answer = read(rig.send(post("application/json", "{".to_owned())).await).await;
    assert_eq!(
        (answer.status, answer.pointers()),
        (StatusCode::BAD_REQUEST, vec![""])
    );
}

#[tokio::test]
async fn pages_go_on_where_they_ended() {
    let rig = Rig::new().await;
    for name in ["aa", "bb", "cc"] {
        rig.call(Method::POST, "/api/v1/stores", store(name)).await;
    }
    let first = rig
        .call(Method::GET, "/api/v1/stores?page_size=2", None)
        .await;
    let token = first.body["next_page_token"].as_str().unwrap();
    let path = format!("/api/v1/stores?page_size=2&page_token={token}");
    let second = rig.call(Method::GET, &path, None).await;
    let names = |answer: &super::Answer| -> Vec<String> {
        let stores = answer.body["stores"].as_array().unwrap();
        stores
            .iter()
            .map(|store| store["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        (names(&first), names(&second)),
        (
            vec!["aa".to_owned(), "bb".to_owned()],
            vec!["cc".to_owned()]
        )
    );
    assert_eq!(second.body["next_page_token"], json!(null));
    for bad in [
        "page_size=201",
        "page_size=x",
        "sort=colour",
        "status=fine",
        "selector=a",
        "page_token=zz",
        "what=1",
    ] {
        let answer = rig
            .call(Method::GET, &format!("/api/v1/stores?{bad}"), None)
            .await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{bad}");
        assert_eq!(
            answer.pointers(),
            [format!("/{}", bad.split('=').next().unwrap())],
            "{bad}"
        );
    }
}

#[tokio::test]
async fn a_watch_begins_with_what_is_there_and_goes_on() {
    let rig = Rig::new().await;
    rig.call(Method::POST, "/api/v1/stores", store("one")).await;
    let watch = Request::builder()
        .uri("/api/v1/watch")
        .header("authorization", format!("Bearer {}", rig.owner))
        .body(Body::empty())
        .unwrap();
    let response = rig.send(watch).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut events = response.into_body().into_data_stream();
    let first = String::from_utf8(events.next().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(
        first.contains("event: change") && first.contains("\"store_name\":\"one\""),
        "{first}"
    );
    rig.call(Method::POST, "/api/v1/stores", store("two")).await;
    let second = String::from_utf8(events.next().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(second.contains("\"store_name\":\"two\""), "{second}");
}

#[tokio::test]
async fn a_long_poll_answers_when_the_operation_has_ended() {
    let rig = Rig::new().await;
    let created = rig.call(Method::POST, "/api/v1/stores", store("one")).await;
    let path = format!(
        "/api/v1/operations/{}?wait=60s",
        created.body["id"].as_str().unwrap()
    );
    // Deleting ends the creation; nothing else here would.
    let (ended, deleted) = tokio::join!(
        rig.call(Method::GET, &path, None),
        rig.call(Method::DELETE, "/api/v1/stores/one", None)
    );
    assert_eq!(deleted.status, StatusCode::ACCEPTED);
    assert_eq!(ended.body["state"], "cancelled");
}
