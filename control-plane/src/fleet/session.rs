//! One session, node's or shop agent's: Hello first, then events up and orders down until a reason to end it. Decides nothing.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use shop_proto::{
    NodeId, StoreId,
    wire::{WireError, agent::v1 as agent, node::v1 as node},
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

use super::{
    AgentHello, AgentOrder, FleetEvent, NodeHello, NodeOrder,
    outbox::Slotted,
    pace::Pace,
    registry::{Registry, Ticket},
    status::coded,
    wire::{self, Input},
};
use crate::identity::{Admission, AdmissionError, DenySet, Leaf};

/// How long a fresh stream may stay silent.
const HELLO_DEADLINE: Duration = Duration::from_secs(10);
/// How long the consumer of events may be busy before a session is told to come back. Pushing back this long means something is wrong.
const EVENT_DEADLINE: Duration = Duration::from_secs(30);

/// What a shop agent's message costs that leaves a row or a line behind each time: a stolen one must fill neither database nor log. An
/// honest one sends a few of them in a store's life.
const STAYS: u32 = 24;

/// What differs between the two kinds of session.
pub trait Role: Send + Sync + 'static {
    type Id: Ord + Clone + Send + Sync + std::fmt::Display + 'static;
    type Up: Send + 'static;
    type Down: Send + 'static;
    type Order: Slotted;
    type Hello: Send;

    fn input(id: &Self::Id, message: Self::Up) -> Result<Input<Self::Hello>, WireError>;
    fn order(order: Self::Order) -> Self::Down;
    fn up(id: &Self::Id, hello: Self::Hello) -> FleetEvent;
    fn down(id: &Self::Id) -> FleetEvent;
    /// Generation that the peer says it holds; nodes hold many and say 0.
    fn generation(hello: &Self::Hello) -> u64;
}

/// A node's session.
#[derive(Debug)]
pub struct NodeRole;
/// A shop agent's session.
#[derive(Debug)]
pub struct AgentRole;

impl Role for NodeRole {
    type Id = NodeId;
    type Up = node::NodeMessage;
    type Down = node::ControlMessage;
    type Order = NodeOrder;
    type Hello = NodeHello;

    fn input(id: &NodeId, message: Self::Up) -> Result<Input<NodeHello>, WireError> {
        wire::node_input(id, message)
    }

    fn order(order: NodeOrder) -> Self::Down {
        wire::node_order(order)
    }

    fn up(id: &NodeId, hello: NodeHello) -> FleetEvent {
        FleetEvent::NodeUp {
            node: id.clone(),
            hello,
        }
    }

    fn down(id: &NodeId) -> FleetEvent {
        FleetEvent::NodeDown { node: id.clone() }
    }

    fn generation(_hello: &NodeHello) -> u64 {
        0
    }
}

impl Role for AgentRole {
    type Id = StoreId;
    type Up = agent::AgentMessage;
    type Down = agent::ControlMessage;
    type Order = AgentOrder;
    type Hello = AgentHello;

    fn input(id: &StoreId, message: Self::Up) -> Result<Input<AgentHello>, WireError> {
        wire::agent_input(id, message)
    }

    fn order(order: AgentOrder) -> Self::Down {
        wire::agent_order(order)
    }

    fn up(id: &StoreId, hello: AgentHello) -> FleetEvent {
        FleetEvent::AgentUp {
            store: id.clone(),
            hello,
        }
    }

    fn down(id: &StoreId) -> FleetEvent {
        FleetEvent::AgentDown { store: id.clone() }
    }

    fn generation(hello: &AgentHello) -> u64 {
        hello.generation
    }
}

/// What every session of one kind shares.
pub struct Shared<R: Role> {
    pub registry: Registry<R::Id, R::Order>,
    pub events: mpsc::Sender<FleetEvent>,
    pub deny: DenySet,
    pub admission: Arc<dyn Admission>,
    /// Cancelled when the process stops.
    pub closing: CancellationToken,
}

/// The two ends of one stream.
pub struct Stream<R: Role> {
    pub inbound: Streaming<R::Up>,
    pub outbound: mpsc::Sender<Result<R::Down, Status>>,
}

/// Runs a session to its end.
pub async fn run<R: Role>(
    shared: Arc<Shared<R>>,
    leaf: Arc<Leaf>,
    id: R::Id,
    mut stream: Stream<R>,
) {
    let end = match begin(&shared, &leaf, &id, &mut stream).await {
        Ok(ticket) => {
            tracing::info!(peer = %leaf.identity_text(), "session up");
            let end = keep(&shared, &leaf, &id, &ticket, &mut stream).await;
            shared.registry.close(&id, &ticket, R::down(&id)).await;
            end
        }
        Err(end) => end,
    };
    tracing::info!(peer = %leaf.identity_text(), reason = end.as_ref().map_or("left", |status| status.message()), "session ended");
    if let Some(status) = end {
        // A peer that is gone needs no reason.
        let _ = tokio::time::timeout(HELLO_DEADLINE, stream.outbound.send(Err(status))).await;
    }
}

async fn begin<R: Role>(
    shared: &Shared<R>,
    leaf: &Leaf,
    id: &R::Id,
    stream: &mut Stream<R>,
) -> Result<Ticket<R::Order>, Option<Status>> {
    let first = tokio::select! {
        () = shared.closing.cancelled() => return Err(Some(closing())),
        first = tokio::time::timeout(HELLO_DEADLINE, stream.inbound.message()) => first,
    };
    let message = match first {
        Ok(Ok(Some(message))) => message,
        Ok(Ok(None) | Err(_)) => return Err(None),
        Err(_) => {
            return Err(Some(coded(
                Code::DeadlineExceeded,
                "hello_missing",
                "no Hello came in time",
            )));
        }
    };
    let hello = match R::input(id, message) {
        Ok(Input::Hello(hello)) => hello,
        Ok(Input::Event(_) | Input::Unknown) => {
            return Err(Some(coded(
                Code::InvalidArgument,
                "hello_missing",
                "a session starts with Hello",
            )));
        }
        Err(error) => {
            return Err(Some(coded(
                Code::InvalidArgument,
                "hello_refused",
                error.to_string(),
            )));
        }
    };
    shared
        .admission
        .admit(leaf)
        .await
        .map_err(|error| Some(admission(&error)))?;
    let generation = R::generation(&hello);
    shared
        .registry
        .open(id.clone(), generation, R::up(id, hello))
        .await
        .map_err(|_| Some(closing()))
}

async fn keep<R: Role>(
    shared: &Shared<R>,
    leaf: &Leaf,
    id: &R::Id,
    ticket: &Ticket<R::Order>,
    stream: &mut Stream<R>,
) -> Option<Status> {
    let expiry = Instant::now() + time_left(leaf, Timestamp::now());
    let mut denials = shared.deny.changes();
    let mut pace = Pace::new(Instant::now());
    loop {
        tokio::select! {
            biased;
            () = shared.closing.cancelled() => return Some(closing()),
            () = ticket.superseded.cancelled() => return Some(coded(
                Code::Aborted, "superseded", "a newer session of this identity has taken over",
            )),
            changed = denials.changed() => {
                if changed.is_err() || shared.deny.denies(leaf) {
                    return Some(denied());
                }
            }
            () = tokio::time::sleep_until(expiry) => return Some(coded(
                Code::Unauthenticated, "certificate_expired", "the certificate of this session has ended: renew and come back",
            )),
            () = stream.outbound.closed() => return None,
            sent = next_order::<R>(ticket, &stream.outbound) => {
                if !sent {
                    return None;
                }
            }
            message = paced(&mut pace, &mut stream.inbound) => match message {
                Ok(Some(message)) => {
                    match hand_over::<R>(shared, id, message).await {
                        Ok(cost) => pace.charge(cost, Instant::now()),
                        Err(end) => return Some(end),
                    }
                }
                Ok(None) | Err(_) => return None,
            },
        }
    }
}

/// Sends the next order once there is room for it; orders that are replaced meanwhile are never sent.
async fn next_order<R: Role>(
    ticket: &Ticket<R::Order>,
    outbound: &mpsc::Sender<Result<R::Down, Status>>,
) -> bool {
    let Ok(place) = outbound.reserve().await else {
        return false;
    };
    place.send(Ok(R::order(ticket.outbox.next().await)));
    true
}

async fn paced<T>(pace: &mut Pace, inbound: &mut Streaming<T>) -> Result<Option<T>, Status> {
    tokio::time::sleep_until(pace.free_at()).await;
    let message = inbound.message().await;
    pace.count(Instant::now());
    message
}

/// Tells what the message costs beyond a usual one.
async fn hand_over<R: Role>(shared: &Shared<R>, id: &R::Id, message: R::Up) -> Result<u32, Status> {
    let event = match R::input(id, message) {
        Ok(Input::Event(event)) => event,
        Ok(Input::Hello(_)) => {
            return Err(coded(
                Code::InvalidArgument,
                "hello_again",
                "a session has one Hello",
            ));
        }
        Ok(Input::Unknown) => return Ok(0),
        Err(error) => {
            // Dropped, not fatal: the peer would send it again on the next session, for ever.
            tracing::warn!(peer = %id, %error, "a message of this session is not valid and was dropped");
            return Ok(STAYS);
        }
    };
    let cost = match &event {
        FleetEvent::AgentNote { .. } | FleetEvent::Refused { .. } => STAYS,
        _ => 0,
    };
    match tokio::time::timeout(EVENT_DEADLINE, shared.events.send(event)).await {
        Ok(Ok(())) => Ok(cost),
        Ok(Err(_)) => Err(closing()),
        Err(_) => Err(coded(
            Code::Unavailable,
            "overloaded",
            "the control plane is overloaded: come back later",
        )),
    }
}

fn time_left(leaf: &Leaf, now: Timestamp) -> Duration {
    Duration::try_from(leaf.not_after.duration_since(now)).unwrap_or(Duration::ZERO)
}

fn closing() -> Status {
    coded(
        Code::Unavailable,
        "closing",
        "the control plane is shutting down: come back later",
    )
}

fn denied() -> Status {
    coded(
        Code::PermissionDenied,
        "denied",
        "this identity is not let in any more: an operator has removed or locked it",
    )
}

fn admission(error: &AdmissionError) -> Status {
    match error {
        AdmissionError::Superseded => coded(
            Code::PermissionDenied,
            "certificate_superseded",
            "a newer certificate of this identity is in use",
        ),
        AdmissionError::Unavailable(_) => coded(
            Code::Unavailable,
            "unavailable",
            "the control plane's database does not answer: come back later",
        ),
    }
}
