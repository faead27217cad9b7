//! The services behind the agents' listener. Whom a caller speaks for comes from its certificate: an interceptor puts it into the request,
//! and refuses when it is not there, not of the service's kind, or denied.

use std::sync::Arc;

use shop_proto::{
    Identity, NodeId, StoreId,
    wire::{
        agent::v1::{self as agent, agent_server::Agent},
        node::v1::{self as node, node_server::Node},
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::{Code, Request, Response, Status, Streaming};

use super::{
    accept::Peer,
    session::{self, AgentRole, NodeRole, Role, Shared, Stream},
    status::coded,
};
use crate::identity::{DenySet, Leaf};

/// Orders on their way to a session that its peer has not read yet. Later ones wait, and coalesce, in the outbox.
const OUTBOUND: usize = 16;

/// A caller whose certificate named a node.
#[derive(Debug, Clone)]
pub struct NodeCaller {
    id: NodeId,
    leaf: Arc<Leaf>,
}

/// A caller whose certificate named a store's agent.
#[derive(Debug, Clone)]
pub struct StoreCaller {
    id: StoreId,
    leaf: Arc<Leaf>,
}

/// Lets nodes through.
///
/// # Errors
/// For everybody else.
pub fn require_node(deny: &DenySet, mut request: Request<()>) -> Result<Request<()>, Status> {
    let leaf = leaf(deny, &request)?;
    let Identity::Node(id) = leaf.identity.clone() else {
        return Err(other_kind("nodes"));
    };
    request.extensions_mut().insert(NodeCaller { id, leaf });
    Ok(request)
}

/// Lets shop agents through.
///
/// # Errors
/// For everybody else.
pub fn require_store(deny: &DenySet, mut request: Request<()>) -> Result<Request<()>, Status> {
    let leaf = leaf(deny, &request)?;
    let Identity::StoreAgent(id) = leaf.identity.clone() else {
        return Err(other_kind("shop agents"));
    };
    request.extensions_mut().insert(StoreCaller { id, leaf });
    Ok(request)
}

fn leaf(deny: &DenySet, request: &Request<()>) -> Result<Arc<Leaf>, Status> {
    let leaf = request
        .extensions()
        .get::<Peer>()
        .and_then(|peer| peer.leaf.clone())
        .ok_or_else(no_identity)?;
    if deny.denies(&leaf) {
        return Err(coded(
            Code::PermissionDenied,
            "denied",
            "this identity is not let in any more: an operator has removed or locked it",
        ));
    }
    Ok(leaf)
}

fn no_identity() -> Status {
    coded(
        Code::Unauthenticated,
        "no_identity",
        "the caller's certificate names nobody",
    )
}

fn other_kind(whom: &str) -> Status {
    coded(
        Code::PermissionDenied,
        "other_identity",
        format!("this service is for {whom}"),
    )
}

fn template_unknown() -> Status {
    coded(
        Code::NotFound,
        "template_unknown",
        "this control plane has no other templates than the built-in ones; upgrade the agent if it lacks one",
    )
}

/// The service for nodes.
pub struct NodeService {
    pub shared: Arc<Shared<NodeRole>>,
    pub tasks: TaskTracker,
}

#[tonic::async_trait]
impl Node for NodeService {
    type SessionStream = ReceiverStream<Result<node::ControlMessage, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<node::NodeMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let NodeCaller { id, leaf } = caller(&request)?;
        Ok(start(&self.shared, &self.tasks, id, leaf, request))
    }

    async fn fetch_template(
        &self,
        _request: Request<agent::FetchTemplateRequest>,
    ) -> Result<Response<agent::FetchTemplateResponse>, Status> {
        Err(template_unknown())
    }
}

/// The service for shop agents.
pub struct AgentService {
    pub shared: Arc<Shared<AgentRole>>,
    pub tasks: TaskTracker,
}

#[tonic::async_trait]
impl Agent for AgentService {
    type SessionStream = ReceiverStream<Result<agent::ControlMessage, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<agent::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let StoreCaller { id, leaf } = caller(&request)?;
        Ok(start(&self.shared, &self.tasks, id, leaf, request))
    }

    async fn fetch_template(
        &self,
        _request: Request<agent::FetchTemplateRequest>,
    ) -> Result<Response<agent::FetchTemplateResponse>, Status> {
        Err(template_unknown())
    }
}

fn caller<C: Clone + Send + Sync + 'static, T>(request: &Request<T>) -> Result<C, Status> {
    request
        .extensions()
        .get::<C>()
        .cloned()
        .ok_or_else(no_identity)
}

fn start<R: Role>(
    shared: &Arc<Shared<R>>,
    tasks: &TaskTracker,
    id: R::Id,
    leaf: Arc<Leaf>,
    request: Request<Streaming<R::Up>>,
) -> Response<ReceiverStream<Result<R::Down, Status>>> {
    let (outbound, orders) = mpsc::channel(OUTBOUND);
    let stream = Stream {
        inbound: request.into_inner(),
        outbound,
    };
    tasks.spawn(session::run(shared.clone(), leaf, id, stream));
    Response::new(ReceiverStream::new(orders))
}
