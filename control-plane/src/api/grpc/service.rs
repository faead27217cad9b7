//! The `Admin` service: each method reads a message, calls its use-case, writes a message.

use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use shop_proto::wire::{
    admin::v1::{self as api, admin_server::Admin},
    common::v1::Ack,
};
use tonic::{Request, Response, Status};

use super::{amend, convert, explain, rollouts, status::from_app, tasks};
use crate::{
    api::{find_node, guard::Standing, watch},
    app::{
        App, AppError, CreateJoinToken, CreateToken, ForgetStore, ListAudit, ListEvents,
        ListOperations, ListStores, PageRequest, RemoveNode,
    },
    domain::{access::Caller, rollout::RolloutEvent},
};

#[derive(Clone)]
pub(super) struct AdminService {
    app: App,
}

type Answer<T> = Result<Response<T>, Status>;
type Streaming<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send + 'static>>;

impl AdminService {
    pub(super) const fn new(app: App) -> Self {
        Self { app }
    }

    async fn control(
        &self,
        request: Request<api::RolloutActionRequest>,
        event: RolloutEvent,
    ) -> Answer<api::Rollout> {
        let (caller, request) = known(request)?;
        let input = rollouts::action(request, event);
        answer(
            self.app.control_rollout(&caller, input).await,
            rollouts::rollout,
        )
    }
}

/// Who asks. Refused when the guard let nobody in, whatever the method.
fn known<T>(request: Request<T>) -> Result<(Caller, T), Status> {
    let caller = request.extensions().get::<Caller>().cloned();
    let caller = caller.ok_or_else(|| from_app(AppError::Unauthorized))?;
    Ok((caller, request.into_inner()))
}

fn standing<T>(request: &Request<T>) -> Option<Standing> {
    request.extensions().get::<Standing>().cloned()
}

fn page(size: u32, token: String) -> PageRequest {
    PageRequest {
        size,
        token: (!token.is_empty()).then_some(token),
    }
}

/// Turns a use-case's answer into a message.
fn answer<T, M>(result: Result<T, AppError>, message: impl FnOnce(T) -> M) -> Answer<M> {
    result
        .map(|value| Response::new(message(value)))
        .map_err(from_app)
}

#[tonic::async_trait]
impl Admin for AdminService {
    type WatchStoresStream = Streaming<api::WatchStoresResponse>;
    type WatchOperationStream = Streaming<api::Operation>;

    async fn create_store(
        &self,
        request: Request<api::CreateStoreRequest>,
    ) -> Answer<api::Operation> {
        let (caller, request) = known(request)?;
        let input = convert::create_store(request);
        answer(
            self.app.create_store(&caller, input).await,
            convert::operation,
        )
    }

    async fn amend_store(
        &self,
        request: Request<api::AmendStoreRequest>,
    ) -> Answer<api::AmendStoreResponse> {
        let (caller, request) = known(request)?;
        let input = amend::amend(request);
        answer(self.app.amend(&caller, input).await, amend::amended)
    }

    async fn label_store(&self, request: Request<api::LabelStoreRequest>) -> Answer<api::Store> {
        let (caller, request) = known(request)?;
        let input = amend::label(request);
        answer(self.app.label_store(&caller, input).await, convert::store)
    }

    async fn list_revisions(
        &self,
        request: Request<api::ListRevisionsRequest>,
    ) -> Answer<api::ListRevisionsResponse> {
        let store = request.into_inner().store;
        answer(self.app.list_revisions(&store).await, amend::revisions)
    }

    async fn explain_store(
        &self,
        request: Request<api::ExplainStoreRequest>,
    ) -> Answer<api::Explanation> {
        let store = request.into_inner().store;
        answer(self.app.explain_store(&store).await, explain::explanation)
    }

    async fn get_store(&self, request: Request<api::GetStoreRequest>) -> Answer<api::Store> {
        let store = request.into_inner().store;
        answer(self.app.get_store(&store).await, convert::store)
    }

    async fn list_stores(
        &self,
        request: Request<api::ListStoresRequest>,
    ) -> Answer<api::ListStoresResponse> {
        let request = request.into_inner();
        let input = ListStores {
            page: page(request.page_size, request.page_token),
            selector: request.selector,
            status: request.status,
            sort: request.sort,
        };
        answer(self.app.list_stores(input).await, convert::stores)
    }

    async fn start_store(
        &self,
        request: Request<api::StoreActionRequest>,
    ) -> Answer<api::Operation> {
        let (caller, request) = known(request)?;
        let input = convert::action(request);
        answer(
            self.app.start_store(&caller, input).await,
            convert::operation,
        )
    }

    async fn stop_store(
        &self,
        request: Request<api::StoreActionRequest>,
    ) -> Answer<api::Operation> {
        let (caller, request) = known(request)?;
        let input = convert::action(request);
        answer(
            self.app.stop_store(&caller, input).await,
            convert::operation,
        )
    }

    async fn restart_store(
        &self,
        request: Request<api::StoreActionRequest>,
    ) -> Answer<api::Operation> {
        let (caller, request) = known(request)?;
        let input = convert::action(request);
        answer(
            self.app.restart_store(&caller, input).await,
            convert::operation,
        )
    }

    async fn delete_store(
        &self,
        request: Request<api::StoreActionRequest>,
    ) -> Answer<api::Operation> {
        let (caller, request) = known(request)?;
        let input = convert::delete(request);
        answer(
            self.app.delete_store(&caller, input).await,
            convert::operation,
        )
    }

    async fn undelete_store(
        &self,
        request: Request<api::StoreActionRequest>,
    ) -> Answer<api::Operation> {
        let (caller, request) = known(request)?;
        let input = convert::action(request);
        answer(
            self.app.undelete_store(&caller, input).await,
            convert::operation,
        )
    }

    async fn forget_store(
        &self,
        request: Request<api::ForgetStoreRequest>,
    ) -> Answer<api::Operation> {
        let (caller, request) = known(request)?;
        let api::ForgetStoreRequest { store, reason } = request;
        let input = ForgetStore { store, reason };
        answer(
            self.app.forget_store(&caller, input).await,
            convert::operation,
        )
    }

    async fn clone_store(
        &self,
        request: Request<api::CloneStoreRequest>,
    ) -> Answer<api::Operation> {
        let (caller, request) = known(request)?;
        let input = rollouts::clone(request);
        answer(
            self.app.clone_store(&caller, input).await,
            convert::operation,
        )
    }

    async fn cancel_operation(
        &self,
        request: Request<api::CancelOperationRequest>,
    ) -> Answer<api::Operation> {
        let (caller, request) = known(request)?;
        let input = rollouts::cancel(request);
        answer(
            self.app.cancel_operation(&caller, input).await,
            convert::operation,
        )
    }

    async fn start_rollout(
        &self,
        request: Request<api::StartRolloutRequest>,
    ) -> Answer<api::Rollout> {
        let (caller, request) = known(request)?;
        let input = rollouts::start(request);
        answer(
            self.app.start_rollout(&caller, input).await,
            rollouts::rollout,
        )
    }

    async fn get_rollout(&self, request: Request<api::GetRolloutRequest>) -> Answer<api::Rollout> {
        let id = request.into_inner().id;
        answer(self.app.get_rollout(&id).await, rollouts::rollout)
    }

    async fn list_rollouts(
        &self,
        request: Request<api::ListRolloutsRequest>,
    ) -> Answer<api::ListRolloutsResponse> {
        let request = request.into_inner();
        let page = page(request.page_size, request.page_token);
        answer(self.app.list_rollouts(page).await, rollouts::rollouts)
    }

    async fn pause_rollout(
        &self,
        request: Request<api::RolloutActionRequest>,
    ) -> Answer<api::Rollout> {
        self.control(request, RolloutEvent::Pause).await
    }

    async fn resume_rollout(
        &self,
        request: Request<api::RolloutActionRequest>,
    ) -> Answer<api::Rollout> {
        self.control(request, RolloutEvent::Resume).await
    }

    async fn abort_rollout(
        &self,
        request: Request<api::RolloutActionRequest>,
    ) -> Answer<api::Rollout> {
        self.control(request, RolloutEvent::Abort).await
    }

    async fn get_receipt(&self, request: Request<api::GetStoreRequest>) -> Answer<api::Receipt> {
        let store = request.into_inner().store;
        answer(self.app.store_receipt(&store).await, convert::receipt)
    }

    async fn watch_stores(
        &self,
        request: Request<api::WatchRequest>,
    ) -> Answer<Self::WatchStoresStream> {
        let standing = standing(&request);
        let api::WatchRequest {
            after_change_seq,
            store,
        } = request.into_inner();
        let store = (!store.is_empty()).then_some(store);
        let changes = watch::stores(self.app.clone(), standing, after_change_seq, store);
        Ok(Response::new(Box::pin(changes.map(|change| {
            change.map(convert::change).map_err(from_app)
        }))))
    }

    async fn list_events(
        &self,
        request: Request<api::ListEventsRequest>,
    ) -> Answer<api::ListEventsResponse> {
        let request = request.into_inner();
        let input = ListEvents {
            page: page(request.page_size, request.page_token),
            store: request.store,
        };
        answer(self.app.list_events(input).await, convert::events)
    }

    async fn get_operation(
        &self,
        request: Request<api::GetOperationRequest>,
    ) -> Answer<api::Operation> {
        let id = request.into_inner().id;
        answer(self.app.get_operation(&id).await, convert::operation)
    }

    async fn list_operations(
        &self,
        request: Request<api::ListOperationsRequest>,
    ) -> Answer<api::ListOperationsResponse> {
        let request = request.into_inner();
        let input = ListOperations {
            page: page(request.page_size, request.page_token),
            store: request.store,
            state: request.state,
        };
        answer(self.app.list_operations(input).await, convert::operations)
    }

    async fn watch_operation(
        &self,
        request: Request<api::GetOperationRequest>,
    ) -> Answer<Self::WatchOperationStream> {
        let standing = standing(&request);
        let id = request.into_inner().id;
        let changes = watch::operation(self.app.clone(), standing, id);
        Ok(Response::new(Box::pin(changes.map(|view| {
            view.map(convert::operation).map_err(from_app)
        }))))
    }

    async fn list_nodes(
        &self,
        _request: Request<api::ListNodesRequest>,
    ) -> Answer<api::ListNodesResponse> {
        answer(self.app.list_nodes().await, |nodes| {
            api::ListNodesResponse {
                nodes: nodes.into_iter().map(convert::node).collect(),
            }
        })
    }

    async fn remove_node(&self, request: Request<api::RemoveNodeRequest>) -> Answer<Ack> {
        let (caller, request) = known(request)?;
        let node = find_node(&self.app, &request.node)
            .await
            .map_err(from_app)?;
        let input = RemoveNode {
            node,
            reason: request.reason,
        };
        answer(self.app.remove_node(&caller, input).await, |()| Ack {})
    }

    async fn create_join_token(
        &self,
        request: Request<api::CreateJoinTokenRequest>,
    ) -> Answer<api::CreateJoinTokenResponse> {
        let (caller, request) = known(request)?;
        let input = CreateJoinToken {
            ttl_seconds: request.ttl_seconds,
        };
        answer(
            self.app.create_join_token(&caller, input).await,
            convert::join_token,
        )
    }

    async fn list_templates(
        &self,
        _request: Request<api::ListTemplatesRequest>,
    ) -> Answer<api::ListTemplatesResponse> {
        let templates = self.app.list_templates();
        Ok(Response::new(api::ListTemplatesResponse {
            templates: templates.into_iter().map(convert::template).collect(),
        }))
    }

    async fn get_template(
        &self,
        request: Request<api::GetTemplateRequest>,
    ) -> Answer<api::Template> {
        let name = request.into_inner().template;
        answer(self.app.get_template(&name), convert::template)
    }

    async fn create_token(
        &self,
        request: Request<api::CreateTokenRequest>,
    ) -> Answer<api::CreateTokenResponse> {
        let (caller, request) = known(request)?;
        let input = CreateToken {
            name: request.name,
            role: request.role,
            ttl_seconds: request.ttl_seconds,
        };
        answer(
            self.app.create_token(&caller, input).await,
            convert::new_token,
        )
    }

    async fn list_tokens(
        &self,
        _request: Request<api::ListTokensRequest>,
    ) -> Answer<api::ListTokensResponse> {
        answer(self.app.list_tokens().await, |tokens| {
            api::ListTokensResponse {
                tokens: tokens.into_iter().map(convert::token).collect(),
            }
        })
    }

    async fn revoke_token(&self, request: Request<api::RevokeTokenRequest>) -> Answer<Ack> {
        let (caller, request) = known(request)?;
        answer(self.app.revoke_token(&caller, &request.id).await, |()| {
            Ack {}
        })
    }

    async fn list_audit(
        &self,
        request: Request<api::ListAuditRequest>,
    ) -> Answer<api::ListAuditResponse> {
        let request = request.into_inner();
        let input = ListAudit {
            after_seq: request.after_seq,
            size: request.page_size,
        };
        answer(self.app.list_audit(input).await, convert::audit)
    }

    async fn run_task(&self, request: Request<api::RunTaskRequest>) -> Answer<api::Operation> {
        let (caller, request) = known(request)?;
        let input = tasks::run(request);
        answer(self.app.run_task(&caller, input).await, convert::operation)
    }

    async fn cancel_task(
        &self,
        request: Request<api::CancelTaskRequest>,
    ) -> Answer<api::Operation> {
        let (caller, request) = known(request)?;
        let input = tasks::cancel(request);
        answer(
            self.app.cancel_task(&caller, input).await,
            convert::operation,
        )
    }

    async fn list_tasks(
        &self,
        request: Request<api::ListTasksRequest>,
    ) -> Answer<api::ListTasksResponse> {
        let store = request.into_inner().store;
        answer(self.app.list_tasks(&store).await, tasks::list)
    }

    async fn request_sealed(
        &self,
        request: Request<api::RequestSealedRequest>,
    ) -> Answer<api::RequestSealedResponse> {
        let (caller, request) = known(request)?;
        let input = convert::sealed_input(request);
        answer(
            self.app.request_sealed(&caller, input).await,
            convert::sealed_answer,
        )
    }

    async fn put_roster(&self, request: Request<api::PutRosterRequest>) -> Answer<Ack> {
        let (caller, request) = known(request)?;
        let api::PutRosterRequest {
            document,
            signature,
        } = request;
        answer(
            self.app.put_roster(&caller, document, signature).await,
            |()| Ack {},
        )
    }

    async fn get_status(
        &self,
        _request: Request<api::GetStatusRequest>,
    ) -> Answer<api::FleetStatus> {
        answer(self.app.status().await, convert::fleet_status)
    }
}
