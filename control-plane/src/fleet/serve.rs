//! The two gRPC servers for agents, and the handle through which the rest of the control plane reaches their sessions.

use std::{sync::Arc, time::Duration};

use rand::RngExt;
use shop_proto::{
    NodeId, StoreId,
    wire::{
        agent::v1::agent_server::AgentServer, enrollment::v1::enrollment_server::EnrollmentServer,
        node::v1::node_server::NodeServer,
    },
};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{service::interceptor::InterceptedService, transport::Server};

use super::{
    AgentOrder, Connected, FleetEvent, NodeOrder, Orders,
    accept::Connection,
    enrolment::EnrolmentService,
    registry::Registry,
    services::{AgentService, NodeService, require_node, require_store},
    session::{AgentRole, NodeRole, Shared},
};
use crate::identity::{Admission, DenySet, Enrolment};

/// Events that may wait for their consumer; then sessions are read no further.
const EVENTS: usize = 1024;
/// Longest message of an agent. Sealed content is the largest part of any.
const MESSAGE_BYTES: usize = 1 << 20;
/// A request to enrol is a few hundred bytes.
const ENROL_BYTES: usize = 16 << 10;
/// Enrolment calls must end by themselves well before.
const ENROL_TIMEOUT: Duration = Duration::from_secs(15);
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 128 << 10;
const STREAMS: u32 = 8;
const FRAME: u32 = 16 << 10;
const HEADERS: u32 = 8 << 10;
const RESETS: usize = 20;
/// A peer that does not answer a ping within `PING_TIMEOUT` of `PING_EVERY` is gone.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// On a planned stop agents come back spread over this time.
const COME_BACK_WITHIN_MS: u64 = 3000;

/// The handle to all sessions. Cheap to clone.
#[derive(Clone)]
pub struct Fleet {
    nodes: Arc<Shared<NodeRole>>,
    agents: Arc<Shared<AgentRole>>,
    tasks: TaskTracker,
}

impl Fleet {
    /// No sessions yet. Sessions run on `tasks` and end when `closing` is cancelled.
    #[must_use]
    pub fn new(
        admission: Arc<dyn Admission>,
        deny: DenySet,
        tasks: TaskTracker,
        closing: CancellationToken,
    ) -> (Self, mpsc::Receiver<FleetEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        let nodes = Shared {
            registry: Registry::new(events.clone()),
            events: events.clone(),
            deny: deny.clone(),
            admission: admission.clone(),
            closing: closing.clone(),
        };
        let agents = Shared {
            registry: Registry::new(events.clone()),
            events,
            deny,
            admission,
            closing,
        };
        let fleet = Self {
            nodes: Arc::new(nodes),
            agents: Arc::new(agents),
            tasks,
        };
        (fleet, receiver)
    }

    /// Tells every session to come back in a moment, each in its own.
    pub fn ask_to_reconnect(&self) {
        let in_ms = || rand::rng().random_range(0..COME_BACK_WITHIN_MS);
        self.nodes
            .registry
            .send_all(|| NodeOrder::Reconnect { in_ms: in_ms() });
        self.agents
            .registry
            .send_all(|| AgentOrder::Reconnect { in_ms: in_ms() });
    }

    /// Open sessions of nodes and of shop agents.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.nodes.registry.count(), self.agents.registry.count())
    }
}

impl Orders for Fleet {
    fn to_node(&self, node: &NodeId, order: NodeOrder) -> bool {
        self.nodes.registry.send(node, order)
    }

    fn to_agent(&self, store: &StoreId, order: AgentOrder) -> bool {
        self.agents.registry.send(store, order)
    }

    fn connected(&self) -> Connected {
        Connected {
            nodes: self.nodes.registry.connected().into_keys().collect(),
            stores: self.agents.registry.connected(),
        }
    }
}

fn server() -> Server {
    Server::builder()
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_adaptive_window(Some(false))
        .max_concurrent_streams(STREAMS)
        .max_frame_size(FRAME)
        .http2_max_header_list_size(HEADERS)
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .http2_max_pending_accept_reset_streams(Some(RESETS))
}

/// Serves sessions until cancelled. Connections end when their sessions do.
///
/// # Errors
/// When the transport fails as a whole.
pub async fn serve_agents(
    fleet: Fleet,
    connections: mpsc::Receiver<Connection>,
    closing: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let nodes = NodeServer::new(NodeService {
        shared: fleet.nodes.clone(),
        tasks: fleet.tasks.clone(),
    })
    .max_decoding_message_size(MESSAGE_BYTES);
    let agents = AgentServer::new(AgentService {
        shared: fleet.agents.clone(),
        tasks: fleet.tasks.clone(),
    })
    .max_decoding_message_size(MESSAGE_BYTES);
    let (node_deny, store_deny) = (fleet.nodes.deny.clone(), fleet.agents.deny.clone());
    server()
        .add_service(InterceptedService::new(nodes, move |request| {
            require_node(&node_deny, request)
        }))
        .add_service(InterceptedService::new(agents, move |request| {
            require_store(&store_deny, request)
        }))
        .serve_with_incoming_shutdown(incoming(connections), closing.cancelled())
        .await
}

/// Serves enrolment until cancelled.
///
/// # Errors
/// When the transport fails as a whole.
pub async fn serve_enrolment(
    rules: Arc<Enrolment>,
    connections: mpsc::Receiver<Connection>,
    closing: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let service =
        EnrollmentServer::new(EnrolmentService::new(rules)).max_decoding_message_size(ENROL_BYTES);
    server()
        .timeout(ENROL_TIMEOUT)
        .add_service(service)
        .serve_with_incoming_shutdown(incoming(connections), closing.cancelled())
        .await
}

fn incoming(
    connections: mpsc::Receiver<Connection>,
) -> impl tokio_stream::Stream<Item = Result<Connection, std::io::Error>> {
    ReceiverStream::new(connections).map(Ok)
}
