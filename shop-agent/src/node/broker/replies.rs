//! Errors to statuses, observations to messages: the one place where the broker's wire types meet the node's own.

use shop_plan::{AllowedImages, names::label};
use shop_proto::{
    ReplicaKey,
    wire::{
        broker::v1::{
            Container, KnownPlan, ListResponse, NetworkAddress, SecondOfTraffic, StatsResponse,
        },
        common::v1::ReplicaKey as WireKey,
    },
};
use tonic::{Code, Status};

use crate::{
    node::{
        allowed::ImageRefused,
        context::{Node, PlanError, Rendered},
        docker::{ContainerState, EngineError, Observed},
        replicas::ReplicaError,
        state::{ChangeError, Serve, StoreRecord},
        traffic::Window,
    },
    uplink::coded,
};

/// A request that names a plan we have not rendered; we may learn of it any moment.
pub(super) fn unknown_plan() -> Status {
    coded(
        Code::FailedPrecondition,
        "unknown_plan",
        "this node has not rendered that plan; ask again",
    )
}

/// A request that is wrong in itself.
pub(super) fn invalid(message: impl Into<String>) -> Status {
    coded(Code::InvalidArgument, "invalid", message)
}

/// The replica that a request names.
pub(super) fn key(key: Option<WireKey>) -> Result<ReplicaKey, Status> {
    key.ok_or_else(|| invalid("key is required"))?
        .try_into()
        .map_err(|error| invalid(format!("{error}")))
}

/// The store is not (or no longer) here.
pub(super) fn gone() -> Status {
    coded(
        Code::NotFound,
        "store_gone",
        "this store is not on this node any more",
    )
}

pub(super) fn of_plan(error: &PlanError) -> Status {
    coded(Code::FailedPrecondition, "unrenderable", error.to_string())
}

pub(super) fn of_change(error: &ChangeError) -> Status {
    match error {
        ChangeError::Unknown => gone(),
        ChangeError::Exhausted(error) => {
            coded(Code::ResourceExhausted, "no_subnet", error.to_string())
        }
        ChangeError::File(_) => coded(Code::Unavailable, "node_disk", error.to_string()),
    }
}

/// The engine's own words stay in the log: they may name other stores' objects.
pub(super) fn of_engine(error: &EngineError) -> Status {
    tracing::warn!(%error, detail = %error.detail(), "the engine did not do what a shop agent asked");
    match error {
        EngineError::ImageMissing => {
            coded(Code::FailedPrecondition, "image_missing", error.to_string())
        }
        EngineError::Unreachable { .. } | EngineError::Version { .. } => coded(
            Code::Unavailable,
            "engine_unavailable",
            "the container engine is away; ask again",
        ),
        EngineError::Deadline { .. } => coded(
            Code::DeadlineExceeded,
            "engine_timeout",
            "the container engine took too long; ask again",
        ),
        EngineError::OtherSpec { .. } => coded(
            Code::AlreadyExists,
            "other_spec",
            "the container was made from another spec; remove it first",
        ),
        EngineError::Foreign { .. } => coded(
            Code::AlreadyExists,
            "name_taken",
            "something else has the container's name on this node",
        ),
        EngineError::Refused { status: 404, .. } => {
            coded(Code::NotFound, "absent", "there is no such container")
        }
        EngineError::Refused { status: 409, .. } => coded(
            Code::FailedPrecondition,
            "running",
            "the container runs; stop it first",
        ),
        EngineError::Forgotten { .. } => coded(
            Code::Internal,
            "engine_forgot",
            "the container engine forgot a process of this container, and it does not end; the node's log says more",
        ),
        EngineError::Refused { .. } | EngineError::Malformed { .. } => coded(
            Code::Internal,
            "engine_refused",
            "the container engine refused; the node's log says why",
        ),
    }
}

pub(super) fn of_replica(error: &ReplicaError) -> Status {
    match error {
        ReplicaError::Image(ImageRefused::Engine(error)) => of_engine(error),
        ReplicaError::Image(refused) => coded(
            Code::PermissionDenied,
            "image_not_allowed",
            refused.to_string(),
        ),
        ReplicaError::Render(error) => {
            coded(Code::InvalidArgument, "not_in_plan", error.to_string())
        }
        ReplicaError::Engine(error) => of_engine(error),
        ReplicaError::Change(error) => of_change(error),
        ReplicaError::VolumeLost(_) => {
            coded(Code::FailedPrecondition, "volume_lost", error.to_string())
        }
        ReplicaError::Plan(error) => of_plan(error),
        ReplicaError::Firewall(error) => coded(Code::Unavailable, "firewall", error.to_string()),
        ReplicaError::File(_) | ReplicaError::Unfinished(_) | ReplicaError::Closed => {
            coded(Code::Unavailable, "node_disk", error.to_string())
        }
    }
}

/// Everything a shop agent may see of its store.
pub(super) fn listing(
    node: &Node,
    record: &StoreRecord,
    plans: &[Rendered],
    containers: Vec<Observed>,
    lost_volumes: Vec<String>,
    allowed: &AllowedImages,
) -> ListResponse {
    let (serving_slot, serving_replicas) = match &record.serve {
        Serve::Slot { slot, replicas } => (
            slot.to_string(),
            replicas.iter().copied().map(u32::from).collect(),
        ),
        Serve::Nothing | Serve::Maintenance | Serve::Paused => (String::new(), Vec::new()),
    };
    ListResponse {
        containers: containers
            .into_iter()
            .filter_map(|observed| container(node, plans, observed))
            .collect(),
        plans: plans
            .iter()
            .map(|rendered| KnownPlan {
                generation: rendered.generation.get(),
                plan_digest: rendered.digest.to_string(),
                spec_digest: rendered.spec_digest.to_string(),
            })
            .collect(),
        serving_slot,
        serving_replicas,
        maintenance: record.serve == Serve::Maintenance,
        paused: record.serve == Serve::Paused,
        serving_plan_digest: record
            .serving_digest()
            .map(|digest| digest.to_string())
            .unwrap_or_default(),
        networks: networks(node, record),
        lost_volumes,
        allowed_images: allowed.texts(),
    }
}

pub(super) fn window(window: Window) -> StatsResponse {
    StatsResponse {
        seconds: window
            .seconds
            .into_iter()
            .map(|it| SecondOfTraffic {
                unix_s: it.unix_s,
                requests: it.requests,
                server_errors: it.server_errors,
            })
            .collect(),
        complete: window.complete,
    }
}

/// The store's address ranges.
pub(super) fn networks(node: &Node, record: &StoreRecord) -> Vec<NetworkAddress> {
    record
        .subnets
        .iter()
        .map(|(network, index)| NetworkAddress {
            network: network.as_str().to_owned(),
            subnet: node.pool.subnet(*index).to_string(),
        })
        .collect()
}

fn container(node: &Node, plans: &[Rendered], observed: Observed) -> Option<Container> {
    if observed.label(label::KIND) != Some("service") {
        return None;
    }
    let key = key_of(&observed)?;
    let mut container = Container {
        key: Some((&key).into()),
        spec_hash: observed.label(label::SPEC_HASH)?.to_owned(),
        revision: observed.label(label::REVISION)?.parse().ok()?,
        shape_hash: observed.label(label::SHAPE).unwrap_or_default().to_owned(),
        memory_bytes: observed.limits.memory_bytes,
        cpu_millis: asked_for(node, plans, &key, observed.limits.cpu_millis),
        ..Container::default()
    };
    container.state = match observed.state {
        ContainerState::Created => "created",
        ContainerState::Running { started_unix_ms } => {
            container.started_unix_ms = started_unix_ms;
            "running"
        }
        ContainerState::Exited {
            code,
            oom_killed,
            started_unix_ms,
            finished_unix_ms,
        } => {
            container.exit_code = code;
            container.oom_killed = oom_killed;
            container.started_unix_ms = started_unix_ms;
            container.finished_unix_ms = finished_unix_ms;
            "exited"
        }
        ContainerState::Removing => "removing",
        ContainerState::Dead => "dead",
    }
    .to_owned();
    Some(container)
}

/// A host gives no more cores than it has: what the plan asks for is said to be there when all it can give is.
fn asked_for(node: &Node, plans: &[Rendered], key: &ReplicaKey, given: u32) -> u32 {
    plans
        .iter()
        .filter_map(|rendered| rendered.plan.service(&key.service))
        .map(|service| service.container.cpu_millis)
        .find(|asked| node.engine.cpu_millis(*asked) == given)
        .unwrap_or(given)
}

fn key_of(observed: &Observed) -> Option<ReplicaKey> {
    ReplicaKey::parse(
        observed.label(label::SERVICE)?,
        observed.label(label::SLOT)?,
        observed.label(label::REPLICA)?.parse().ok()?,
    )
    .ok()
}
