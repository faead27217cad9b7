//! The admin API as this tool uses it: one method per request, views out, failures typed. The only place that names generated messages,
//! beside `view`.

mod amend;
mod rollouts;
mod tasks;

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::Context as _;
use futures::{Stream, StreamExt as _};
use hyper_util::rt::TokioIo;
use rustls::crypto::CryptoProvider;
use secrecy::{ExposeSecret as _, SecretString};
use shop_proto::wire::admin::v1::{self as api, admin_client::AdminClient};
use tokio::time::timeout;
use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use crate::{
    connect::{DialError, Dialer, Protocol},
    context::Remembered,
    failure::Failure,
    view::{
        AuditPage, Event, Explanation, JoinToken, NewStore, Node, Operation, Receipt,
        Status as FleetStatus, Store, Template, Token,
    },
};

pub(crate) use amend::{Amend, Amended, Amendment, Update};
pub(crate) use rollouts::{NewClone, NewRollout, RolloutAction};
pub(crate) use tasks::NewRun;

/// For requests that are answered from the database.
const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// For requests that a store's agent answers.
const SEALED_DEADLINE: Duration = Duration::from_secs(60);
/// The largest page the API gives.
const PAGE: u32 = 200;

/// A connected control plane.
#[derive(Clone)]
pub(crate) struct Client {
    admin: AdminClient<InterceptedService<Channel, Credentials>>,
    url: String,
}

/// What goes with every request.
#[derive(Clone)]
pub(crate) struct Credentials {
    authorization: MetadataValue<Ascii>,
    request_id: MetadataValue<Ascii>,
}

/// What to do with a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Start,
    Stop,
    Restart,
    Undelete,
}

/// A store to be deleted.
#[derive(Debug, Clone)]
pub(crate) struct Deletion {
    pub store: String,
    pub reason: String,
    pub if_generation: u64,
    pub now: bool,
    pub grace: String,
}

/// A signed question to a store's agent.
#[derive(Debug, Clone)]
pub(crate) struct SealedQuestion {
    pub store: String,
    pub operation_id: String,
    pub kind: &'static str,
    pub subject: String,
    pub one_time_public_key: Vec<u8>,
    pub expires_unix_ms: i64,
    pub signer_key_id: String,
    pub signature: Vec<u8>,
}

/// The agent's answer; readable only with the one-time key.
pub(crate) struct SealedAnswer {
    pub code: String,
    pub enc: Vec<u8>,
    pub ciphertext: Vec<u8>,
}

impl Credentials {
    fn new(token: &SecretString) -> anyhow::Result<Self> {
        let mut authorization: MetadataValue<Ascii> = format!("Bearer {}", token.expose_secret())
            .parse()
            .map_err(|_| {
                Failure::Usage(
                    "the token holds characters that no token has; log in again".to_owned(),
                )
            })?;
        authorization.set_sensitive(true);
        let id = data_encoding::HEXLOWER.encode(&rand::random::<[u8; 16]>());
        let request_id = id.parse().context("hexadecimal is ASCII")?;
        Ok(Self {
            authorization,
            request_id,
        })
    }
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert("authorization", self.authorization.clone());
        metadata.insert("x-request-id", self.request_id.clone());
        Ok(request)
    }
}

impl Client {
    /// Connects, so that an unreachable control plane is told at once and as such.
    pub(crate) async fn connect(
        context: &Remembered,
        provider: Arc<CryptoProvider>,
    ) -> anyhow::Result<Self> {
        let url = context.url.to_string();
        let dialer = Dialer::new(context, Protocol::Http2, provider)
            .map_err(|error| error.failure(&context.url))?;
        let endpoint = Endpoint::from_shared(format!("http://{}", context.url.authority()))?
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10));
        let connector = tower::service_fn(move |_| {
            let dialer = dialer.clone();
            async move { dialer.dial().await.map(TokioIo::new) }
        });
        let channel = endpoint
            .connect_with_connector(connector)
            .await
            .map_err(|error| match dial_error(&error) {
                Some(dial) => dial.failure(&context.url),
                None => Failure::Unreachable {
                    url: url.clone(),
                    problem: error.to_string(),
                },
            })?;
        let credentials = Credentials::new(&context.token)?;
        Ok(Self {
            admin: AdminClient::with_interceptor(channel, credentials),
            url,
        })
    }

    async fn call<T>(
        &self,
        deadline: Duration,
        answer: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        match timeout(deadline, answer).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(self.failure(&status)),
            Err(_) => Err(Failure::Unreachable {
                url: self.url.clone(),
                problem: format!("no answer within {} s", deadline.as_secs()),
            }),
        }
    }

    fn failure(&self, status: &Status) -> Failure {
        let mut failure = Failure::from_status(&self.url, status);
        if let Failure::Unreachable { problem, .. } = &mut failure
            && let Some(dial) = dial_error(status)
        {
            *problem = dial.to_string();
        }
        failure
    }

    pub(crate) async fn create_store(&self, new: NewStore) -> Result<Operation, Failure> {
        let mut admin = self.admin.clone();
        let answer = self.call(
            CALL_DEADLINE,
            admin.create_store(api::CreateStoreRequest::from(new)),
        );
        answer.await.map(Operation::from)
    }

    pub(crate) async fn get_store(&self, store: &str) -> Result<Store, Failure> {
        let mut admin = self.admin.clone();
        let request = api::GetStoreRequest {
            store: store.to_owned(),
        };
        self.call(CALL_DEADLINE, admin.get_store(request))
            .await
            .map(Store::from)
    }

    /// All pages.
    pub(crate) async fn list_stores(
        &self,
        selector: &str,
        status: &str,
        sort: &str,
    ) -> Result<Vec<Store>, Failure> {
        let mut stores = Vec::new();
        let mut page_token = String::new();
        loop {
            let mut admin = self.admin.clone();
            let request = api::ListStoresRequest {
                page_size: PAGE,
                page_token,
                selector: selector.to_owned(),
                status: status.to_owned(),
                sort: sort.to_owned(),
            };
            let page = self.call(CALL_DEADLINE, admin.list_stores(request)).await?;
            stores.extend(page.stores.into_iter().map(Store::from));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(stores);
            }
        }
    }

    pub(crate) async fn act(
        &self,
        action: Action,
        store: &str,
        reason: &str,
        if_generation: u64,
    ) -> Result<Operation, Failure> {
        let mut admin = self.admin.clone();
        let request = api::StoreActionRequest {
            store: store.to_owned(),
            reason: reason.to_owned(),
            idempotency_key: String::new(),
            if_generation,
            ..api::StoreActionRequest::default()
        };
        let answer = match action {
            Action::Start => self.call(CALL_DEADLINE, admin.start_store(request)).await,
            Action::Stop => self.call(CALL_DEADLINE, admin.stop_store(request)).await,
            Action::Restart => self.call(CALL_DEADLINE, admin.restart_store(request)).await,
            Action::Undelete => {
                self.call(CALL_DEADLINE, admin.undelete_store(request))
                    .await
            }
        };
        answer.map(Operation::from)
    }

    pub(crate) async fn delete_store(&self, deletion: Deletion) -> Result<Operation, Failure> {
        let mut admin = self.admin.clone();
        let request = api::StoreActionRequest {
            store: deletion.store,
            reason: deletion.reason,
            if_generation: deletion.if_generation,
            now: deletion.now,
            grace: deletion.grace,
            ..api::StoreActionRequest::default()
        };
        self.call(CALL_DEADLINE, admin.delete_store(request))
            .await
            .map(Operation::from)
    }

    pub(crate) async fn forget_store(
        &self,
        store: &str,
        reason: &str,
    ) -> Result<Operation, Failure> {
        let mut admin = self.admin.clone();
        let request = api::ForgetStoreRequest {
            store: store.to_owned(),
            reason: reason.to_owned(),
        };
        self.call(CALL_DEADLINE, admin.forget_store(request))
            .await
            .map(Operation::from)
    }

    pub(crate) async fn explain_store(&self, store: &str) -> Result<Explanation, Failure> {
        let mut admin = self.admin.clone();
        let request = api::ExplainStoreRequest {
            store: store.to_owned(),
        };
        self.call(CALL_DEADLINE, admin.explain_store(request))
            .await
            .map(Explanation::from)
    }

    pub(crate) async fn get_receipt(&self, store: &str) -> Result<Receipt, Failure> {
        let mut admin = self.admin.clone();
        let request = api::GetStoreRequest {
            store: store.to_owned(),
        };
        self.call(CALL_DEADLINE, admin.get_receipt(request))
            .await
            .map(Receipt::from)
    }

    /// Events after a number, oldest first.
    pub(crate) async fn list_events(&self, store: &str, after: u64) -> Result<Vec<Event>, Failure> {
        let mut events: Vec<Event> = Vec::new();
        let mut page_token = String::new();
        loop {
            let mut admin = self.admin.clone();
            let request = api::ListEventsRequest {
                store: store.to_owned(),
                page_size: PAGE,
                page_token,
            };
            let page = self.call(CALL_DEADLINE, admin.list_events(request)).await?;
            page_token = page.next_page_token;
            let before = events.len();
            // Pages begin with the newest.
            let new = page.events.into_iter().filter(|event| event.seq > after);
            events.extend(new.map(Event::from));
            if page_token.is_empty() || events.len() - before < PAGE as usize {
                events.sort_by_key(|event| event.seq);
                return Ok(events);
            }
        }
    }

    /// Pages up to a number of operations, newest first.
    pub(crate) async fn list_operations(
        &self,
        store: &str,
        state: &str,
        limit: u32,
    ) -> Result<Vec<Operation>, Failure> {
        let mut operations = Vec::new();
        let mut page_token = String::new();
        let limit = limit as usize;
        loop {
            let mut admin = self.admin.clone();
            let request = api::ListOperationsRequest {
                store: store.to_owned(),
                page_size: PAGE,
                page_token,
                state: state.to_owned(),
            };
            let page = self
                .call(CALL_DEADLINE, admin.list_operations(request))
                .await?;
            operations.extend(page.operations.into_iter().map(Operation::from));
            page_token = page.next_page_token;
            if page_token.is_empty() || operations.len() >= limit {
                operations.truncate(limit);
                return Ok(operations);
            }
        }
    }

    /// The operation as it is, then each change, until it has ended.
    pub(crate) async fn watch_operation(
        &self,
        id: &str,
    ) -> Result<impl Stream<Item = Result<Operation, Failure>> + use<>, Failure> {
        let mut admin = self.admin.clone();
        let request = api::GetOperationRequest { id: id.to_owned() };
        let stream = self
            .call(CALL_DEADLINE, admin.watch_operation(request))
            .await?;
        let client = self.clone();
        Ok(stream.map(move |item| match item {
            Ok(operation) => Ok(Operation::from(operation)),
            Err(status) => Err(client.failure(&status)),
        }))
    }

    pub(crate) async fn list_nodes(&self) -> Result<Vec<Node>, Failure> {
        let mut admin = self.admin.clone();
        let answer = self
            .call(CALL_DEADLINE, admin.list_nodes(api::ListNodesRequest {}))
            .await?;
        Ok(answer.nodes.into_iter().map(Node::from).collect())
    }

    pub(crate) async fn remove_node(&self, node: &str, reason: &str) -> Result<(), Failure> {
        let mut admin = self.admin.clone();
        let request = api::RemoveNodeRequest {
            node: node.to_owned(),
            reason: reason.to_owned(),
        };
        self.call(CALL_DEADLINE, admin.remove_node(request))
            .await
            .map(drop)
    }

    pub(crate) async fn create_join_token(&self, ttl_seconds: u32) -> Result<JoinToken, Failure> {
        let mut admin = self.admin.clone();
        let request = api::CreateJoinTokenRequest { ttl_seconds };
        let answer = self.call(CALL_DEADLINE, admin.create_join_token(request));
        answer.await.map(JoinToken::from)
    }

    pub(crate) async fn list_templates(&self) -> Result<Vec<Template>, Failure> {
        let mut admin = self.admin.clone();
        let answer = self
            .call(
                CALL_DEADLINE,
                admin.list_templates(api::ListTemplatesRequest {}),
            )
            .await?;
        Ok(answer.templates.into_iter().map(Template::from).collect())
    }

    pub(crate) async fn get_template(&self, template: &str) -> Result<Template, Failure> {
        let mut admin = self.admin.clone();
        let request = api::GetTemplateRequest {
            template: template.to_owned(),
        };
        self.call(CALL_DEADLINE, admin.get_template(request))
            .await
            .map(Template::from)
    }

    /// The token's description and its secret.
    pub(crate) async fn create_token(
        &self,
        name: &str,
        role: &str,
        ttl_seconds: u32,
    ) -> Result<(Token, SecretString), Failure> {
        let mut admin = self.admin.clone();
        let request = api::CreateTokenRequest {
            name: name.to_owned(),
            role: role.to_owned(),
            ttl_seconds,
        };
        let answer = self
            .call(CALL_DEADLINE, admin.create_token(request))
            .await?;
        Ok((
            Token::from(answer.token.unwrap_or_default()),
            SecretString::from(answer.secret),
        ))
    }

    pub(crate) async fn list_tokens(&self) -> Result<Vec<Token>, Failure> {
        let mut admin = self.admin.clone();
        let answer = self
            .call(CALL_DEADLINE, admin.list_tokens(api::ListTokensRequest {}))
            .await?;
        Ok(answer.tokens.into_iter().map(Token::from).collect())
    }

    pub(crate) async fn revoke_token(&self, id: &str) -> Result<(), Failure> {
        let mut admin = self.admin.clone();
        let request = api::RevokeTokenRequest { id: id.to_owned() };
        self.call(CALL_DEADLINE, admin.revoke_token(request))
            .await
            .map(drop)
    }

    /// One page of entries after a sequence number.
    pub(crate) async fn list_audit(&self, after_seq: u64) -> Result<AuditPage, Failure> {
        let mut admin = self.admin.clone();
        let request = api::ListAuditRequest {
            after_seq,
            page_size: PAGE,
        };
        self.call(CALL_DEADLINE, admin.list_audit(request))
            .await
            .map(AuditPage::from)
    }

    pub(crate) async fn request_sealed(
        &self,
        question: SealedQuestion,
    ) -> Result<SealedAnswer, Failure> {
        let mut admin = self.admin.clone();
        let request = api::RequestSealedRequest {
            store: question.store,
            operation_id: question.operation_id,
            kind: question.kind.to_owned(),
            subject: question.subject,
            one_time_public_key: question.one_time_public_key,
            expires_unix_ms: question.expires_unix_ms,
            signer_key_id: question.signer_key_id,
            signature: question.signature,
        };
        let answer = self
            .call(SEALED_DEADLINE, admin.request_sealed(request))
            .await?;
        Ok(SealedAnswer {
            code: answer.code,
            enc: answer.enc,
            ciphertext: answer.ciphertext,
        })
    }

    pub(crate) async fn put_roster(
        &self,
        document: Vec<u8>,
        signature: Vec<u8>,
    ) -> Result<(), Failure> {
        let mut admin = self.admin.clone();
        let request = api::PutRosterRequest {
            document,
            signature,
        };
        self.call(CALL_DEADLINE, admin.put_roster(request))
            .await
            .map(drop)
    }

    pub(crate) async fn status(&self) -> Result<FleetStatus, Failure> {
        let mut admin = self.admin.clone();
        let answer = self.call(CALL_DEADLINE, admin.get_status(api::GetStatusRequest {}));
        answer.await.map(FleetStatus::from)
    }
}

/// Transport errors wrap what happened in several layers of "transport error".
fn dial_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a DialError> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(dial) = error.downcast_ref::<DialError>() {
            return Some(dial);
        }
        at = error.source();
    }
    None
}
