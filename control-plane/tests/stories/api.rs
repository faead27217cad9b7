//! An operator: the admin API in gRPC and in REST, over the real listener.

use std::sync::Arc;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use shop_proto::wire::{
    ErrorDetails,
    admin::v1::{
        self as api, admin_client::AdminClient, amend_store_request::What,
        amend_store_response::Answer as Answered,
    },
};
use tokio::sync::watch;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use crate::{
    client::{PATIENCE, config, dial},
    plane::Place,
    world::until,
};

pub type Grpc = AdminClient<InterceptedService<Channel, Bearer>>;

#[derive(Clone)]
pub struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// What REST answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub kind: String,
    pub etag: String,
    pub body: Value,
}

impl Answer {
    /// Code of a problem document.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// Pointers and codes of all problems, sorted.
    pub fn problems(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let errors = self.body["errors"].as_array().cloned().unwrap_or_default();
        let mut problems: Vec<_> = errors
            .iter()
            .map(|error| (text(&error["pointer"]), text(&error["code"])))
            .collect();
        problems.sort();
        problems
    }
}

/// Stable code and sorted problems of a gRPC error.
pub fn told(status: &Status) -> (String, Vec<(String, String)>) {
    let details = ErrorDetails::decode(status.details()).unwrap_or_default();
    let mut problems: Vec<_> = details
        .problems
        .into_iter()
        .map(|problem| (problem.pointer, problem.code))
        .collect();
    problems.sort();
    (details.code, problems)
}

#[derive(Clone)]
pub struct Api {
    place: watch::Receiver<Place>,
    token: String,
    channel: Channel,
}

impl Api {
    pub fn new(place: watch::Receiver<Place>, token: String) -> Self {
        let dialled = place.clone();
        let channel = Endpoint::from_static("http://control-plane.shopfleet")
            .connect_timeout(PATIENCE)
            .timeout(PATIENCE)
            .connect_with_connector_lazy(tower::service_fn(move |_| {
                let Place { admin, target, .. } = dialled.borrow().clone();
                async move { dial(admin, config(&target, None)).await.map(TokioIo::new) }
            }));
        Self {
            place,
            token,
            channel,
        }
    }

    pub fn grpc(&self) -> Grpc {
        let bearer = format!("Bearer {}", self.token).parse().unwrap();
        AdminClient::with_interceptor(self.channel.clone(), Bearer(bearer))
    }

    /// One REST request on a connection of its own.
    pub async fn rest(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        let Place { admin, target, .. } = self.place.borrow().clone();
        let mut tls = (*config(&target, None)).clone();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let stream = dial(admin, Arc::new(tls)).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        let connection = tokio::spawn(connection);
        let mut request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("host", "control-plane.shopfleet")
            .header("authorization", format!("Bearer {}", self.token));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let bytes = match &body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Bytes::from(body.to_string())
            }
            None => Bytes::new(),
        };
        let request = request.body(Full::new(bytes)).unwrap();
        let response = tokio::time::timeout(PATIENCE, sender.send_request(request))
            .await
            .expect("an answer in time")
            .unwrap();
        let header = |name: &str| {
            let value = response.headers().get(name);
            value.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
        };
        let (status, kind, etag) = (
            response.status().as_u16(),
            header("content-type"),
            header("etag"),
        );
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        connection.abort();
        Answer {
            status,
            kind,
            etag,
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        }
    }

    pub async fn create(&self, name: &str) -> api::Operation {
        self.try_create(new_store(name)).await.unwrap()
    }

    pub async fn try_create(
        &self,
        request: api::CreateStoreRequest,
    ) -> Result<api::Operation, Status> {
        Ok(self.grpc().create_store(request).await?.into_inner())
    }

    pub async fn start(&self, store: &str) -> api::Operation {
        let answer = self.grpc().start_store(act(store)).await;
        answer.unwrap().into_inner()
    }

    pub async fn stop(&self, store: &str) -> api::Operation {
        let answer = self.grpc().stop_store(act(store)).await;
        answer.unwrap().into_inner()
    }

    /// Without a time of grace.
    pub async fn delete(&self, store: &str) -> api::Operation {
        let mut request = act(store);
        request.now = true;
        let answer = self.grpc().delete_store(request).await;
        answer.unwrap().into_inner()
    }

    /// A change of a live store; panics when it is refused.
    pub async fn amend(&self, store: &str, what: What) -> api::Operation {
        match self.try_amend(store, what, false).await.unwrap().answer {
            Some(Answered::Operation(operation)) => operation,
            other => panic!("{other:?}"),
        }
    }

    pub async fn try_amend(
        &self,
        store: &str,
        what: What,
        dry_run: bool,
    ) -> Result<api::AmendStoreResponse, Status> {
        let request = api::AmendStoreRequest {
            store: store.to_owned(),
            reason: "a story".to_owned(),
            dry_run,
            what: Some(what),
            ..api::AmendStoreRequest::default()
        };
        Ok(self.grpc().amend_store(request).await?.into_inner())
    }

    /// Numbers and states of the kept revisions, newest first.
    pub async fn revisions(&self, store: &str) -> Vec<(u64, String)> {
        let request = api::ListRevisionsRequest {
            store: store.to_owned(),
        };
        let answer = self.grpc().list_revisions(request).await.unwrap();
        let revisions = answer.into_inner().revisions;
        revisions
            .into_iter()
            .map(|revision| (revision.number, revision.state))
            .collect()
    }

    pub async fn store(&self, store: &str) -> Result<api::Store, Status> {
        let request = api::GetStoreRequest {
            store: store.to_owned(),
        };
        Ok(self.grpc().get_store(request).await?.into_inner())
    }

    pub async fn stores(&self) -> Vec<api::Store> {
        let request = api::ListStoresRequest {
            page_size: 200,
            ..api::ListStoresRequest::default()
        };
        self.grpc()
            .list_stores(request)
            .await
            .unwrap()
            .into_inner()
            .stores
    }

    pub async fn operation(&self, id: &str) -> Result<api::Operation, Status> {
        let request = api::GetOperationRequest { id: id.to_owned() };
        Ok(self.grpc().get_operation(request).await?.into_inner())
    }

    /// Codes of a store's events, newest first.
    pub async fn events(&self, store: &str) -> Vec<api::StoreEvent> {
        let request = api::ListEventsRequest {
            store: store.to_owned(),
            page_size: 200,
            ..api::ListEventsRequest::default()
        };
        let answer = self.grpc().list_events(request).await;
        answer.unwrap().into_inner().events
    }

    /// The whole audit chain.
    pub async fn audit(&self) -> (Vec<api::AuditEntry>, u64, String) {
        let mut entries: Vec<api::AuditEntry> = Vec::new();
        loop {
            let request = api::ListAuditRequest {
                after_seq: entries.last().map_or(0, |last| last.seq),
                page_size: 200,
            };
            let page = self.grpc().list_audit(request).await.unwrap().into_inner();
            if page.entries.is_empty() {
                return (entries, page.head_seq, page.head_hash);
            }
            entries.extend(page.entries);
        }
    }

    pub async fn until_store(
        &self,
        store: &str,
        what: &str,
        wanted: impl Fn(&api::Store) -> bool,
    ) -> api::Store {
        until(&format!("store {store}: {what}"), async || {
            match self.store(store).await {
                Ok(found) if wanted(&found) => Ok(found),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }

    pub async fn until_status(&self, store: &str, status: &str) -> api::Store {
        self.until_store(store, status, |found| found.status == status)
            .await
    }

    pub async fn until_operation(&self, id: &str, state: &str) -> api::Operation {
        until(&format!("operation {id} is {state}"), async || {
            match self.operation(id).await {
                Ok(found) if found.state == state => Ok(found),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }

    pub async fn until_gone(&self, store: &str) {
        until(&format!("{store} is gone"), async || {
            match self.store(store).await {
                Err(status) if status.code() == tonic::Code::NotFound => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
}

pub fn new_store(name: &str) -> api::CreateStoreRequest {
    api::CreateStoreRequest {
        name: name.to_owned(),
        template: "refshop".to_owned(),
        ..api::CreateStoreRequest::default()
    }
}

pub fn act(store: &str) -> api::StoreActionRequest {
    api::StoreActionRequest {
        store: store.to_owned(),
        ..api::StoreActionRequest::default()
    }
}
