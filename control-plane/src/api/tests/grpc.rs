//! The same over gRPC, through the generated client.

use futures::StreamExt as _;
use prost::Message as _;
use shop_proto::wire::{
    ErrorDetails,
    admin::v1::{self as api, admin_client::AdminClient},
};
use tonic::{
    Code, Request, Status,
    service::{Interceptor, interceptor::InterceptedService},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use super::Rig;

#[derive(Clone)]
struct Token(String);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let value = format!("Bearer {}", self.0).parse().unwrap();
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}

fn client(rig: &Rig) -> AdminClient<InterceptedService<axum::Router, Token>> {
    AdminClient::with_interceptor(rig.router.clone(), Token(rig.owner.clone()))
}

fn store(name: &str, template: &str) -> api::CreateStoreRequest {
    api::CreateStoreRequest {
        name: name.to_owned(),
        template: template.to_owned(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_store_is_made_seen_and_deleted() {
    let rig = Rig::new().await;
    let mut admin = client(&rig);
    let operation = admin
        .create_store(store("demo", "refshop"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (operation.kind.as_str(), operation.store_name.as_str()),
        ("create", "demo")
    );
    let request = api::GetStoreRequest {
        store: "demo".to_owned(),
    };
    let seen = admin.get_store(request).await.unwrap().into_inner();
    assert_eq!((seen.generation, seen.template.as_str()), (1, "refshop"));
    let request = api::StoreActionRequest {
        store: "demo".to_owned(),
        if_generation: 7,
        ..Default::default()
    };
    let stale = admin.delete_store(request.clone()).await.unwrap_err();
    assert_eq!(stale.code(), Code::FailedPrecondition);
    let request = api::StoreActionRequest {
        if_generation: 0,
        ..request
    };
    assert_eq!(
        admin.delete_store(request).await.unwrap().into_inner().kind,
        "delete"
    );
}

#[tokio::test]
async fn errors_carry_code_and_fields() {
    let rig = Rig::new().await;
    let mut admin = client(&rig);
    let refused = admin
        .create_store(store("Bad Name", "nothing"))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let details = ErrorDetails::decode(refused.details()).unwrap();
    assert_eq!(details.code, "invalid_request");
    let mut pointers: Vec<_> = details
        .problems
        .iter()
        .map(|problem| problem.pointer.as_str())
        .collect();
    pointers.sort_unstable();
    assert_eq!(pointers, ["/name", "/template"]);
}

#[tokio::test]
async fn a_stream_begins_with_the_present_and_ends_with_the_operation() {
    let rig = Rig::new().await;
    let mut admin = client(&rig);
    let operation = admin
        .create_store(store("demo", "refshop"))
        .await
        .unwrap()
        .into_inner();
    let mut stores = admin
        .watch_stores(api::WatchRequest::default())
        .await
        .unwrap()
        .into_inner();
    let first = stores.next().await.unwrap().unwrap();
    assert_eq!(first.store.unwrap().name, "demo");
    let request = api::GetOperationRequest { id: operation.id };
    let mut watched = admin.watch_operation(request).await.unwrap().into_inner();
    assert_eq!(watched.next().await.unwrap().unwrap().kind, "create");
    let request = api::StoreActionRequest {
        store: "demo".to_owned(),
        ..Default::default()
    };
    admin.delete_store(request).await.unwrap();
    let mut last = String::new();
    while let Some(operation) = watched.next().await {
        last = operation.unwrap().state;
    }
    assert_eq!(last, "cancelled");
}

#[tokio::test]
async fn reflection_and_health_need_no_token() {
    let rig = Rig::new().await;
    let mut health = HealthClient::new(rig.router.clone());
    for service in ["", "shopfleet.admin.v1.Admin"] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        assert_eq!(health.check(request).await.unwrap().into_inner().status, 1);
    }
    let mut reflection = ServerReflectionClient::new(rig.router.clone());
    let ask = |request: MessageRequest| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(request),
    };
    let asked = futures::stream::iter([
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol(
            "shopfleet.admin.v1.Admin".to_owned(),
        )),
    ]);
    let mut answers = reflection
        .server_reflection_info(asked)
        .await
        .unwrap()
        .into_inner();
    let Some(MessageResponse::ListServicesResponse(listed)) =
        answers.next().await.unwrap().unwrap().message_response
    else {
        panic!("no list of services");
    };
    let names: Vec<_> = listed
        .service
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    assert!(names.contains(&"shopfleet.admin.v1.Admin"), "{names:?}");
    assert!(
        !names.iter().any(|name| name.contains("agent")),
        "{names:?}"
    );
    let Some(MessageResponse::FileDescriptorResponse(files)) =
        answers.next().await.unwrap().unwrap().message_response
    else {
        panic!("no descriptor");
    };
    let file = prost_types::FileDescriptorProto::decode(files.file_descriptor_proto[0].as_slice())
        .unwrap();
    assert_eq!(file.package(), "shopfleet.admin.v1");
}
