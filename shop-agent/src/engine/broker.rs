//! The broker as a [`StoreEngine`]: thin, one call a verb, each with a deadline.

use std::{path::Path, time::Duration};

use async_trait::async_trait;
use shop_plan::{AllowedImages, NetworkName};
use shop_proto::{
    Digest, Generation, NodeId, PROTOCOL, ReplicaKey, ServiceName, StoreId, TrustDomain,
    wire::{broker::v1 as api, common::v1::Ack},
};
use tokio::sync::Mutex;
use tonic::{Code, Status, Streaming, transport::Channel};
use zeroize::Zeroizing;

use super::{
    Container, ContainerState, EngineError, Exit, KnownPlan, Limits, Listing, LogSource, Network,
    Second, Serve, StoreEngine, TaskExit, TaskRun, Traffic,
};
use crate::uplink::{Address, plain_channel, reason_of};

type Client = api::broker_client::BrokerClient<Channel>;

const READ: Duration = Duration::from_secs(5);
/// The node starts few containers at a time; others wait in its queue.
const WRITE: Duration = Duration::from_secs(120);
/// Above the longest grace that a plan may name.
const STOP: Duration = Duration::from_secs(180);
/// The node may wait some seconds for the control plane to record its voucher.
const INTRODUCE: Duration = Duration::from_secs(10);
/// What the node needs on top of a task's own timeout.
const TASK_MARGIN: Duration = Duration::from_secs(60);
/// Logs are bounded by the contract to 256 KiB.
const LARGEST_MESSAGE: usize = 512 << 10;

/// Containers through the node agent's broker socket.
pub struct BrokerEngine {
    client: Client,
    hints: Mutex<Option<Streaming<api::WatchHint>>>,
}

/// What the node tells an agent that shows its keys.
pub struct Introduction {
    /// Whose agent this is.
    pub store: StoreId,
    /// On which node.
    pub node: NodeId,
    /// Roots to trust.
    pub root_pins: Vec<Digest>,
    /// First part of identities.
    pub trust_domain: TrustDomain,
    /// Wraps the vault at rest.
    pub vault_key: Zeroizing<[u8; 32]>,
    /// The node's signature over our keys.
    pub receipt: Vec<u8>,
    /// The store's networks.
    pub networks: Vec<Network>,
    /// First uid of the store.
    pub uid_base: u32,
    /// Root of the operators' roster.
    pub operator_root_pin: Option<Digest>,
    /// Latest roster that the node has seen: document and signature.
    pub roster: Option<(Vec<u8>, Vec<u8>)>,
    /// Changes at every boot of the host.
    pub host_boot_id: String,
}

/// Connects to the broker's socket when first used.
fn client(socket: &Path) -> Client {
    Client::new(plain_channel(&Address::Unix(socket.to_owned())))
        .max_decoding_message_size(LARGEST_MESSAGE)
}

/// Shows our public keys to the node. Safe to repeat.
///
/// # Errors
/// When the node is away or its answer is unusable.
pub async fn introduce(
    socket: &Path,
    identity_spki_der: Vec<u8>,
    sealing_public_key: [u8; 32],
) -> Result<Introduction, EngineError> {
    let request = api::IntroduceRequest {
        protocol: PROTOCOL,
        identity_spki_der,
        sealing_public_key: sealing_public_key.to_vec(),
    };
    let mut client = client(socket);
    let answer = within(INTRODUCE, client.introduce(request)).await?;
    introduction(answer)
        .ok_or_else(|| EngineError::Refused("its introduction cannot be read".to_owned()))
}

pub(super) fn introduction(answer: api::IntroduceResponse) -> Option<Introduction> {
    let vault_key = Zeroizing::new(answer.vault_key);
    Some(Introduction {
        store: answer.store_id.parse().ok()?,
        node: answer.node_id.parse().ok()?,
        root_pins: answer
            .root_pins
            .iter()
            .map(|pin| pin.parse().ok())
            .collect::<Option<_>>()?,
        trust_domain: answer.trust_domain.parse().ok()?,
        vault_key: Zeroizing::new(vault_key.as_slice().try_into().ok()?),
        receipt: answer.receipt,
        networks: networks(&answer.networks),
        uid_base: answer.uid_base,
        operator_root_pin: match answer.operator_root_pin.as_str() {
            "" => None,
            pin => Some(pin.parse().ok()?),
        },
        roster: (!answer.roster_document.is_empty())
            .then_some((answer.roster_document, answer.roster_signature)),
        host_boot_id: answer.host_boot_id,
    })
}

/// Networks of a kind that this release does not know are of no use to it.
fn networks(wire: &[api::NetworkAddress]) -> Vec<Network> {
    wire.iter()
        .filter_map(|network| {
            Some(Network {
                name: NetworkName::parse(&network.network)?,
                base: network.subnet.split_once('/')?.0.parse().ok()?,
            })
        })
        .collect()
}

async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, EngineError> {
    match tokio::time::timeout(deadline, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(error(&status)),
        Err(_) => Err(EngineError::TimedOut(deadline)),
    }
}

fn error(status: &Status) -> EngineError {
    let message = || status.message().to_owned();
    match (status.code(), reason_of(status)) {
        (_, "unknown_plan") => EngineError::UnknownPlan,
        (_, "image_missing") => EngineError::ImageMissing(message()),
        (_, "image_not_allowed") => EngineError::ImageNotAllowed(message()),
        (_, "volume_lost") => EngineError::VolumeLost(message()),
        (
            Code::PermissionDenied
            | Code::InvalidArgument
            | Code::Unimplemented
            | Code::Unauthenticated,
            _,
        ) => EngineError::Refused(message()),
        _ => EngineError::Unavailable(message()),
    }
}

impl BrokerEngine {
    /// An engine behind this socket.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self {
            client: client(socket),
            hints: Mutex::default(),
        }
    }

    async fn read_logs(&self, request: api::LogsRequest) -> Result<Vec<u8>, EngineError> {
        let mut client = self.client.clone();
        within(READ, client.logs(request))
            .await
            .map(|answer| answer.text)
    }

    fn replica(plan: Digest, key: &ReplicaKey) -> api::ReplicaRequest {
        api::ReplicaRequest {
            plan_digest: plan.to_string(),
            key: Some(key.into()),
        }
    }
}

#[async_trait]
impl StoreEngine for BrokerEngine {
    async fn list(&self) -> Result<Listing, EngineError> {
        let mut client = self.client.clone();
        let answer = within(READ, client.list(api::ListRequest {})).await?;
        listing(answer).ok_or_else(|| EngineError::Refused("its list cannot be read".to_owned()))
    }

    async fn create(&self, plan: Digest, key: &ReplicaKey) -> Result<(), EngineError> {
        let mut client = self.client.clone();
        within(WRITE, client.create(Self::replica(plan, key)))
            .await
            .map(|Ack {}| ())
    }

    async fn start(&self, plan: Digest, key: &ReplicaKey) -> Result<(), EngineError> {
        let mut client = self.client.clone();
        within(WRITE, client.start(Self::replica(plan, key)))
            .await
            .map(|Ack {}| ())
    }

    async fn stop(&self, plan: Digest, key: &ReplicaKey) -> Result<(), EngineError> {
        let mut client = self.client.clone();
        within(STOP, client.stop(Self::replica(plan, key)))
            .await
            .map(|Ack {}| ())
    }

    async fn remove(&self, plan: Digest, key: &ReplicaKey) -> Result<(), EngineError> {
        let mut client = self.client.clone();
        within(WRITE, client.remove(Self::replica(plan, key)))
            .await
            .map(|Ack {}| ())
    }

    async fn kill(&self, plan: Digest, key: &ReplicaKey) -> Result<(), EngineError> {
        let request = api::SignalRequest {
            plan_digest: plan.to_string(),
            key: Some(key.into()),
            signal: "kill".to_owned(),
        };
        let mut client = self.client.clone();
        within(READ, client.signal(request)).await.map(|Ack {}| ())
    }

    async fn update(&self, plan: Digest, key: &ReplicaKey) -> Result<(), EngineError> {
        let mut client = self.client.clone();
        within(WRITE, client.update(Self::replica(plan, key)))
            .await
            .map(|Ack {}| ())
    }

    async fn stats(&self, seconds: u32) -> Result<Traffic, EngineError> {
        let mut client = self.client.clone();
        let answer = within(READ, client.stats(api::StatsRequest { seconds })).await?;
        Ok(Traffic {
            complete: answer.complete,
            seconds: answer
                .seconds
                .into_iter()
                .map(|second| Second {
                    at: second.unix_s,
                    requests: second.requests,
                    errors: second.server_errors,
                })
                .collect(),
        })
    }

    async fn serve(&self, plan: Digest, what: &Serve) -> Result<(), EngineError> {
        use api::serve_request::What;
        let what = match what {
            Serve::None => What::None(Ack {}),
            Serve::Maintenance => What::Maintenance(Ack {}),
            Serve::Paused => What::Paused(Ack {}),
            Serve::Slot { slot, replicas } => What::Slot(api::ServeSlot {
                slot: slot.to_string(),
                replicas: replicas.iter().copied().map(u32::from).collect(),
            }),
        };
        let request = api::ServeRequest {
            plan_digest: plan.to_string(),
            what: Some(what),
        };
        let mut client = self.client.clone();
        within(READ, client.serve(request)).await.map(|Ack {}| ())
    }

    async fn run_task(&self, plan: Digest, run: &TaskRun) -> Result<TaskExit, EngineError> {
        let request = api::StartTaskRequest {
            plan_digest: plan.to_string(),
            task: run.task.to_string(),
            run_id: run.run.clone(),
            arguments: run.arguments.clone(),
        };
        let mut client = self.client.clone();
        let answer = within(run.timeout + TASK_MARGIN, client.start_task(request)).await?;
        if answer.state == "exited" {
            Ok(TaskExit {
                code: answer.exit_code,
                oom_killed: answer.oom_killed,
                timed_out: answer.timed_out,
            })
        } else {
            Err(EngineError::Unavailable(
                "the task has not ended".to_owned(),
            ))
        }
    }

    async fn stop_task(&self, task: &ServiceName, run: &str) -> Result<(), EngineError> {
        let request = api::StopTaskRequest {
            task: task.to_string(),
            run_id: run.to_owned(),
        };
        let mut client = self.client.clone();
        within(STOP, client.stop_task(request))
            .await
            .map(|Ack {}| ())
    }

    async fn logs(&self, of: &LogSource, lines: u32) -> Result<Vec<u8>, EngineError> {
        self.read_logs(api::LogsRequest {
            tail: lines,
            ..logs_request(of)
        })
        .await
    }

    async fn logs_after(&self, of: &LogSource, bytes: u64) -> Result<Vec<u8>, EngineError> {
        self.read_logs(api::LogsRequest {
            from_start: true,
            after_bytes: bytes,
            ..logs_request(of)
        })
        .await
    }

    async fn changed(&self) -> Result<(), EngineError> {
        let mut hints = self.hints.lock().await;
        if hints.is_none() {
            let mut client = self.client.clone();
            *hints = Some(within(READ, client.watch(api::WatchRequest {})).await?);
            // What happened before the stream was open was not hinted.
            return Ok(());
        }
        let message = match hints.as_mut() {
            Some(stream) => stream.message().await,
            None => return Ok(()),
        };
        match message {
            Ok(Some(api::WatchHint {})) => Ok(()),
            Ok(None) => {
                *hints = None;
                Err(EngineError::Unavailable(
                    "the stream of hints ended".to_owned(),
                ))
            }
            Err(status) => {
                *hints = None;
                Err(error(&status))
            }
        }
    }
}

fn logs_request(of: &LogSource) -> api::LogsRequest {
    match of {
        LogSource::Replica(key) => api::LogsRequest {
            key: Some(key.into()),
            ..Default::default()
        },
        LogSource::Task { task, run } => api::LogsRequest {
            task: task.to_string(),
            run_id: run.clone(),
            ..Default::default()
        },
    }
}

pub(super) fn listing(answer: api::ListResponse) -> Option<Listing> {
    let serving = if answer.maintenance {
        Serve::Maintenance
    } else if answer.paused {
        Serve::Paused
    } else if answer.serving_slot.is_empty() {
        Serve::None
    } else {
        Serve::Slot {
            slot: answer.serving_slot.parse().ok()?,
            replicas: answer
                .serving_replicas
                .iter()
                .map(|replica| u8::try_from(*replica).ok())
                .collect::<Option<_>>()?,
        }
    };
    Some(Listing {
        containers: answer
            .containers
            .into_iter()
            .map(container)
            .collect::<Option<_>>()?,
        plans: answer
            .plans
            .iter()
            .map(|known| {
                Some(KnownPlan {
                    generation: Generation::new(known.generation)?,
                    plan: known.plan_digest.parse().ok()?,
                })
            })
            .collect::<Option<_>>()?,
        serving,
        networks: networks(&answer.networks),
        lost_volumes: answer
            .lost_volumes
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect(),
        allowed_images: AllowedImages::told(answer.allowed_images.iter().map(String::as_str)),
    })
}

fn container(wire: api::Container) -> Option<Container> {
    Some(Container {
        key: wire.key?.try_into().ok()?,
        spec_hash: wire.spec_hash.parse().ok()?,
        limits: (wire.memory_bytes > 0).then_some(Limits {
            memory_bytes: wire.memory_bytes,
            cpu_millis: wire.cpu_millis,
        }),
        state: match wire.state.as_str() {
            "created" => ContainerState::Created,
            "running" => ContainerState::Running {
                since_unix_ms: wire.started_unix_ms,
            },
            "exited" => ContainerState::Exited(Exit {
                code: wire.exit_code,
                oom_killed: wire.oom_killed,
                at_unix_ms: wire.finished_unix_ms,
            }),
            _ => ContainerState::Going,
        },
    })
}
