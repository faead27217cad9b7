//! What the API makes of repeated, conditional and wrong requests. Nothing wrong leaves a trace.

use serde_json::{Value, json};
use tonic::Code;

use crate::{
    api::{act, new_store, told},
    world::World,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_key_gets_the_first_answer_and_another_body_is_refused() {
    let world = World::start().await;
    let api = &world.api;
    let body = || json!({"name": "demo", "template": "refshop"});
    let key = [("idempotency-key", "k-1")];
    let first = api.rest("POST", "/api/v1/stores", &key, Some(body())).await;
    assert_eq!(first.status, 202, "{first:?}");
    let again = api.rest("POST", "/api/v1/stores", &key, Some(body())).await;
    assert_eq!((again.status, &again.body["id"]), (202, &first.body["id"]));
    let other = json!({"name": "other", "template": "refshop"});
    let other = api.rest("POST", "/api/v1/stores", &key, Some(other)).await;
    assert_eq!((other.status, other.code()), (409, "idempotency_mismatch"));
    assert_eq!(other.kind, "application/problem+json");

    // gRPC is the same door: the same key and body get the same answer there.
    let mut request = new_store("demo");
    request.idempotency_key = "k-1".to_owned();
    let there = api.try_create(request.clone()).await.unwrap();
    assert_eq!(Value::from(there.id), first.body["id"]);
    request.name = "other".to_owned();
    let refused = api.try_create(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    assert_eq!(told(&refused).0, "idempotency_mismatch");
    assert_eq!(api.stores().await.len(), 1);

    // Changes as well, and after the store is what it was asked to be.
    let stop = [("idempotency-key", "k-2")];
    let path = "/api/v1/stores/demo/stop";
    let first = api.rest("POST", path, &stop, None).await;
    let start = api
        .rest("POST", "/api/v1/stores/demo/start", &[], None)
        .await;
    assert_eq!(start.status, 202, "{start:?}");
    let again = api.rest("POST", path, &stop, None).await;
    assert_eq!(first.body["id"], again.body["id"]);
    assert_eq!(api.store("demo").await.unwrap().desired_state, "running");
    let start = api
        .rest("POST", "/api/v1/stores/demo/start", &stop, None)
        .await;
    assert_eq!((start.status, start.code()), (409, "idempotency_mismatch"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_with_one_key_make_one_store() {
    let world = World::start().await;
    let api = &world.api;
    let requests = (0..8).map(|_| async {
        let mut request = new_store("demo");
        request.idempotency_key = "together".to_owned();
        api.try_create(request).await.unwrap().id
    });
    let mut ids = futures::future::join_all(requests).await;
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(api.stores().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_changed_meanwhile_is_not_changed() {
    let world = World::start().await;
    let api = &world.api;
    api.create("demo").await;
    let seen = api.rest("GET", "/api/v1/stores/demo", &[], None).await;
    assert_eq!(seen.etag, "\"1\"");
    api.stop("demo").await;
    let stale = [("if-match", seen.etag.as_str())];
    for (method, path) in [
        ("POST", "/api/v1/stores/demo/start"),
        ("DELETE", "/api/v1/stores/demo"),
    ] {
        let refused = api.rest(method, path, &stale, None).await;
        assert_eq!(
            (refused.status, refused.code()),
            (412, "generation_mismatch"),
            "{path}"
        );
    }
    let mut request = act("demo");
    request.if_generation = 1;
    let refused = api.grpc().delete_store(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(told(&refused).0, "generation_mismatch");
    let store = api.store("demo").await.unwrap();
    assert_eq!(
        (store.generation, store.desired_state.as_str()),
        (2, "stopped")
    );
    let now = api
        .rest(
            "POST",
            "/api/v1/stores/demo/start",
            &[("if-match", "\"2\"")],
            None,
        )
        .await;
    assert_eq!(now.status, 202, "{now:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_wrong_is_told_at_once_in_both_apis_and_nothing_is_written() {
    let world = World::start().await;
    let api = &world.api;
    api.create("taken").await;
    let before = footprint(&world).await;
    let body = json!({
        "name": "taken",
        "template": "refshop",
        "hosts": ["not a host", "shop.localhost"],
        "parameters": {"php_children": "999", "currency": "gold", "colour": "red"},
        "profiles": {"web": "iis", "mail": "postfix"},
        "labels": {"Bad Key": "x"},
        "environment": "moon",
        "isolation": "none",
        "project": "nowhere",
        "node": "zzzzzz",
        "colour": "red",
        "display_name": 7,
    });
    let of_shape = [
        ("/colour", "unknown_field"),
        ("/display_name", "wrong_type"),
    ];
    let expected = [
        ("/environment", "unknown_environment"),
        ("/hosts/0", "host_shape"),
        ("/hosts/1", "host_reserved"),
        ("/isolation", "unknown_isolation"),
        ("/labels/Bad Key", "label_shape"),
        ("/node", "unknown_node"),
        ("/project", "unknown_project"),
    ]
    .map(|(pointer, code)| (pointer.to_owned(), code.to_owned()));
    let choices = [
        "/parameters/colour",
        "/parameters/currency",
        "/parameters/php_children",
        "/profiles/mail",
        "/profiles/web",
    ];
    let complete = |problems: &[(String, String)], from: &str| {
        for problem in &expected {
            assert!(
                problems.contains(problem),
                "{from}: {problem:?} in {problems:?}"
            );
        }
        for pointer in choices {
            assert!(
                problems.iter().any(|(at, _)| at == pointer),
                "{from}: {pointer} in {problems:?}"
            );
        }
    };
    let refused = api.rest("POST", "/api/v1/stores", &[], Some(body)).await;
    assert_eq!((refused.status, refused.code()), (400, "invalid_request"));
    assert_eq!(refused.kind, "application/problem+json");
    let problems = refused.problems();
    complete(&problems, "REST");
    for (pointer, code) in of_shape {
        let wanted = (pointer.to_owned(), code.to_owned());
        assert!(problems.contains(&wanted), "{wanted:?} in {problems:?}");
    }

    let map = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    };
    let mut request = new_store("taken");
    request.hosts = vec!["not a host".to_owned(), "shop.localhost".to_owned()];
    request.parameters = map(&[
        ("php_children", "999"),
        ("currency", "gold"),
        ("colour", "red"),
    ]);
    request.profiles = map(&[("web", "iis"), ("mail", "postfix")]);
    request.labels = map(&[("Bad Key", "x")]);
    request.environment = "moon".to_owned();
    request.isolation = "none".to_owned();
    request.project = "nowhere".to_owned();
    request.node = "zzzzzz".to_owned();
    let refused = api.try_create(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let (code, problems) = told(&refused);
    assert_eq!(code, "invalid_request");
    complete(&problems, "gRPC");
    assert_eq!(footprint(&world).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_wrong_request_has_its_code_and_place() {
    let world = World::start().await;
    let api = &world.api;
    api.create("taken").await;
    let before = footprint(&world).await;
    let good = || json!({"name": "demo", "template": "refshop"});
    let with = |key: &str, value: Value| {
        let mut body = good();
        body[key] = value;
        body
    };
    let table = [
        (with("colour", json!("red")), "/colour", "unknown_field"),
        (with("name", json!(7)), "/name", "wrong_type"),
        (
            with("hosts", json!("a.example.com")),
            "/hosts",
            "wrong_type",
        ),
        (with("labels", json!({"a": 1})), "/labels/a", "wrong_type"),
        (
            with("resources", json!({"db": {"memory_bytes": -1}})),
            "/resources/db/memory_bytes",
            "wrong_type",
        ),
        (with("name", json!("Bad Name")), "/name", "name_shape"),
        (with("name", json!("taken")), "/name", "name_taken"),
        (with("name", json!("a".repeat(5000))), "/name", "name_shape"),
        (
            with("template", json!("magento")),
            "/template",
            "unknown_template",
        ),
        (
            with("template", json!("refshop@99")),
            "/template",
            "unknown_template",
        ),
        (
            with("hosts", json!(["-bad-.example.com"])),
            "/hosts/0",
            "host_shape",
        ),
        (
            with(
                "hosts",
                json!([format!("{}example.com", "a23456789.".repeat(21))]),
            ),
            "/hosts/0",
            "host_too_long",
        ),
        (
            with("hosts", json!(["a.example.com", "a.example.com"])),
            "/hosts/1",
            "host_twice",
        ),
        (with("reason", json!("two\nlines")), "/reason", "text_shape"),
        (json!({"template": "refshop"}), "/name", "required"),
        (json!({"name": "demo"}), "/template", "required"),
    ];
    for (body, pointer, code) in table {
        let refused = api
            .rest("POST", "/api/v1/stores", &[], Some(body.clone()))
            .await;
        assert!((400..500).contains(&refused.status), "{body}: {refused:?}");
        assert_eq!(refused.kind, "application/problem+json", "{body}");
        let wanted = (pointer.to_owned(), code.to_owned());
        assert!(refused.problems().contains(&wanted), "{body}: {refused:?}");
    }
    for (parameter, value) in [
        ("php_children", "1"),
        ("php_children", "33"),
        ("php_children", "six"),
        ("currency", "euro"),
        ("locale", "klingon!"),
        ("admin_email", "nobody"),
        ("db_buffer", "1M"),
        ("shop_name", "\u{1b}[31m"),
        (
            "shop_name",
            "more than sixty characters, which is what the template lets it have",
        ),
    ] {
        let body = with("parameters", json!({parameter: value}));
        let refused = api.rest("POST", "/api/v1/stores", &[], Some(body)).await;
        assert_eq!(refused.status, 400, "{parameter}={value}: {refused:?}");
        let pointer = format!("/parameters/{parameter}");
        let problems = refused.problems();
        assert!(
            problems.iter().all(|(at, _)| *at == pointer),
            "{problems:?}"
        );
    }
    for (method, path, status, code) in [
        ("GET", "/api/v1/stores/nothing", 404, "not_found"),
        ("POST", "/api/v1/stores/nothing/start", 404, "not_found"),
        ("DELETE", "/api/v1/stores/nothing", 404, "not_found"),
        ("GET", "/api/v1/operations/nothing", 404, "not_found"),
        ("GET", "/api/v1/stores?page_size=x", 400, "invalid_request"),
        ("GET", "/api/v1/stores?colour=red", 400, "invalid_request"),
        ("GET", "/api/v1/stores?status=shiny", 400, "invalid_request"),
        (
            "GET",
            "/api/v1/stores?page_token=nonsense",
            400,
            "invalid_request",
        ),
        ("GET", "/api/v1/nowhere", 404, "unknown_path"),
        ("PATCH", "/api/v1/stores", 405, "method_not_allowed"),
    ] {
        let refused = api.rest(method, path, &[], None).await;
        assert_eq!(
            (refused.status, refused.code()),
            (status, code),
            "{method} {path}"
        );
    }
    assert_eq!(footprint(&world).await, before);
}

/// Everything a refused request must not change.
async fn footprint(world: &World) -> (usize, usize, u64) {
    let request = shop_proto::wire::admin::v1::ListOperationsRequest::default();
    let operations = world.api.grpc().list_operations(request).await;
    let (_, head, _) = world.api.audit().await;
    (
        world.api.stores().await.len(),
        operations.unwrap().into_inner().operations.len(),
        head,
    )
}
