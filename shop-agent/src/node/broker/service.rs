//! The broker's verbs. Thin: each checks, renders, acts once, and answers.

use std::{pin::Pin, sync::Arc, time::Instant};

use futures::{Stream, StreamExt as _};
use shop_plan::{NetworkName, ServiceKind, ServicePlan, StopSignal};
use shop_proto::{
    ReplicaKey, Slot,
    wire::{
        broker::v1::{
            IntroduceRequest, IntroduceResponse, ListRequest, ListResponse, LogsRequest,
            LogsResponse, ReplicaRequest, ServeRequest, SignalRequest, StartTaskRequest,
            StartTaskResponse, StatsRequest, StatsResponse, StopTaskRequest, WatchHint,
            WatchRequest, broker_server::Broker, serve_request::What,
        },
        common::v1::{Ack, ReplicaKey as WireKey},
    },
};
use tokio_stream::wrappers::WatchStream;
use tonic::{Code, Request, Response, Status};

use super::{
    introduce,
    limits::{CHANGES, INTRODUCTIONS, Pace, Turns},
    own, replies, tasks,
};
use crate::{
    node::{
        allowed,
        context::{Node, Rendered, Store, now_unix_ms},
        docker::{ContainerSpec, Scope, Urgency},
        doors, prepare,
        replicas::{self, ReplicaError},
        routes,
        state::{Serve, StoreRecord},
        tasks::blocking,
        traffic, volumes,
    },
    uplink::coded,
};

/// Lines of a log at most.
const LOG_LINES: u32 = 500;
/// Bytes of a log at most.
const LOG_BYTES: usize = 256 << 10;

/// The broker of one store.
pub(super) struct StoreBroker {
    node: Arc<Node>,
    store: Arc<Store>,
    changes: Pace,
    introductions: Pace,
    questions: Turns,
    readings: Turns,
}

/// What a request names, checked.
pub(super) struct Named {
    pub(super) record: Arc<StoreRecord>,
    pub(super) rendered: Rendered,
}

impl StoreBroker {
    pub(super) fn new(node: Arc<Node>, store: Arc<Store>) -> Self {
        let now = Instant::now();
        Self {
            node,
            store,
            changes: Pace::new(CHANGES, now),
            introductions: Pace::new(INTRODUCTIONS, now),
            questions: Turns::new(now),
            readings: Turns::of_readings(now),
        }
    }

    fn record(&self) -> Result<Arc<StoreRecord>, Status> {
        self.node
            .state
            .store(&self.store.id)
            .ok_or_else(replies::gone)
    }

    /// The plan with this digest, if this node rendered it and it serves or is the newest.
    fn named(&self, plan_digest: &str) -> Result<Named, Status> {
        let record = self.record()?;
        let plans = self
            .store
            .plans(&record)
            .map_err(|error| replies::of_plan(&error))?;
        let rendered = plans
            .into_iter()
            .find(|rendered| rendered.digest.to_string() == plan_digest)
            .ok_or_else(replies::unknown_plan)?;
        Ok(Named { record, rendered })
    }

    /// As [`Self::named`], for a verb that changes something.
    fn changing(&self, plan_digest: &str) -> Result<Named, Status> {
        paced(&self.changes)?;
        self.named(plan_digest)
    }

    fn replica(&self, request: ReplicaRequest) -> Result<(Named, ReplicaKey), Status> {
        let named = self.changing(&request.plan_digest)?;
        Ok((named, replies::key(request.key)?))
    }

    /// For the verbs that work on whatever exists of the own store: no plan has to know it.
    fn key(&self, key: Option<WireKey>) -> Result<ReplicaKey, Status> {
        paced(&self.changes)?;
        replies::key(key)
    }

    fn spec(&self, named: &Named, key: &ReplicaKey) -> Result<ContainerSpec, Status> {
        self.node
            .place(&named.record)
            .replica(&named.rendered.plan, key)
            .map_err(|error| replies::of_replica(&ReplicaError::Render(error)))
    }

    /// The networks a replica needs; `app-b` is made when it is first asked for, and the agent joins it.
    async fn networks(&self, mut named: Named, key: &ReplicaKey) -> Result<Named, Status> {
        if key.slot == Slot::B && !named.record.second_slot {
            let refused = |error: ReplicaError| replies::of_replica(&error);
            replicas::networks(&self.node, &self.store, &[NetworkName::AppB])
                .await
                .map_err(refused)?;
            let id = self.store.id.clone();
            named.record = blocking(&self.node.state, move |state| {
                state.change(&id, |record| record.second_slot = true)
            })
            .await
            .map_err(|error| refused(error.into()))?
            .map_err(|error| refused(error.into()))?;
            prepare::join_agent(&self.node, &self.store)
                .await
                .map_err(refused)?;
        }
        Ok(named)
    }
}

#[tonic::async_trait]
impl Broker for StoreBroker {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchHint, Status>> + Send>>;

    async fn introduce(
        &self,
        request: Request<IntroduceRequest>,
    ) -> Result<Response<IntroduceResponse>, Status> {
        paced(&self.introductions)?;
        let record = self.record()?;
        introduce::introduce(&self.node, &self.store, &record, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn watch(
        &self,
        _request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let hints = WatchStream::new(self.store.hints.subscribe()).map(|_| Ok(WatchHint {}));
        Ok(Response::new(Box::pin(hints)))
    }

    async fn stop_task(&self, request: Request<StopTaskRequest>) -> Result<Response<Ack>, Status> {
        paced(&self.changes)?;
        let StopTaskRequest { task, run_id } = request.into_inner();
        tasks::stop(&self.node, &self.store, &task, &run_id).await?;
        Ok(Response::new(Ack {}))
    }

    async fn update(&self, request: Request<ReplicaRequest>) -> Result<Response<Ack>, Status> {
        let (named, key) = self.replica(request.into_inner())?;
        let spec = self.spec(&named, &key)?;
        replicas::limit(&self.node, &self.store, &spec)
            .await
            .map_err(|error| replies::of_replica(&error))?;
        Ok(Response::new(Ack {}))
    }

    async fn stats(
        &self,
        request: Request<StatsRequest>,
    ) -> Result<Response<StatsResponse>, Status> {
        let seconds = request.into_inner().seconds.clamp(1, traffic::SECONDS);
        let _turn = self.questions.next().await;
        // What cannot be read now is counted later; until then the window is as it was.
        if let Err(error) = traffic::catch_up(&self.node).await {
            tracing::debug!(%error, "the edge's access log");
        }
        let now = now_unix_ms().div_euclid(1000);
        let window = self.node.traffic.window(&self.store.id, seconds, now);
        Ok(Response::new(replies::window(window)))
    }

    async fn list(&self, _request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        let record = self.record()?;
        let plans = self
            .store
            .plans(&record)
            .map_err(|error| replies::of_plan(&error))?;
        let _turn = self.questions.next().await;
        // Tasks that have ended are kept for a while: nobody looks at them here.
        let scope = Scope::Kind(&self.node.id, &self.store.id, "service");
        let containers = self
            .node
            .engine
            .list(scope)
            .await
            .map_err(|error| replies::of_engine(&error))?;
        let lost = volumes::lost(&self.node, &record)
            .await
            .map_err(|error| replies::of_replica(&error))?;
        let allowed = allowed::list(&self.node).await;
        Ok(Response::new(replies::listing(
            &self.node, &record, &plans, containers, lost, &allowed,
        )))
    }

    async fn create(&self, request: Request<ReplicaRequest>) -> Result<Response<Ack>, Status> {
        let (named, key) = self.replica(request.into_inner())?;
        let named = self.networks(named, &key).await?;
        let spec = self.spec(&named, &key)?;
        replicas::create(&self.node, &self.store, spec)
            .await
            .map_err(|error| replies::of_replica(&error))?;
        Ok(Response::new(Ack {}))
    }

    async fn start(&self, request: Request<ReplicaRequest>) -> Result<Response<Ack>, Status> {
        let (named, key) = self.replica(request.into_inner())?;
        let spec = self.spec(&named, &key)?;
        doors::open(&self.node, &self.store, &key).await;
        replicas::start(&self.node, &self.store, &spec, urgency(&named, &key))
            .await
            .map_err(|error| replies::of_replica(&error))?;
        Ok(Response::new(Ack {}))
    }

    async fn stop(&self, request: Request<ReplicaRequest>) -> Result<Response<Ack>, Status> {
        own::stop(
            &self.node,
            &self.store,
            &self.key(request.into_inner().key)?,
        )
        .await?;
        Ok(Response::new(Ack {}))
    }

    async fn signal(&self, request: Request<SignalRequest>) -> Result<Response<Ack>, Status> {
        let SignalRequest {
            plan_digest,
            key,
            signal,
        } = request.into_inner();
        match signal.as_str() {
            "drain" => own::drain(&self.node, &self.store, &self.key(key)?).await?,
            "kill" => own::kill(&self.node, &self.store, &self.key(key)?).await?,
            "reload" => {
                let (named, key) = self.replica(ReplicaRequest { plan_digest, key })?;
                let spec = self.spec(&named, &key)?;
                let service = named.rendered.plan.service(&key.service);
                let signal = service
                    .and_then(reload_signal)
                    .ok_or_else(|| replies::invalid("this service cannot reload"))?;
                self.node
                    .engine
                    .signal(&spec.name, signal)
                    .await
                    .map_err(|error| replies::of_engine(&error))?;
            }
            _ => return Err(replies::invalid("signal is reload, drain or kill")),
        }
        Ok(Response::new(Ack {}))
    }

    async fn remove(&self, request: Request<ReplicaRequest>) -> Result<Response<Ack>, Status> {
        own::remove(
            &self.node,
            &self.store,
            &self.key(request.into_inner().key)?,
        )
        .await?;
        Ok(Response::new(Ack {}))
    }

    async fn serve(&self, request: Request<ServeRequest>) -> Result<Response<Ack>, Status> {
        let ServeRequest { plan_digest, what } = request.into_inner();
        let named = self.changing(&plan_digest)?;
        let serve = match what.ok_or_else(|| replies::invalid("what is required"))? {
            What::Maintenance(Ack {}) => Serve::Maintenance,
            What::Paused(Ack {}) => Serve::Paused,
            What::None(Ack {}) => Serve::Nothing,
            What::Slot(slot) => serve_slot(&named, &slot.slot, &slot.replicas)?,
        };
        let digest = named.rendered.digest;
        let id = self.store.id.clone();
        blocking(&self.node.state, move |state| {
            state.change(&id, |record| record.send_to(digest, serve))
        })
        .await
        .map_err(|error| replies::of_replica(&error.into()))?
        .map_err(|error| replies::of_change(&error))?;
        // The answer means that buyers are sent there from now on.
        routes::publish(&self.node)
            .await
            .map_err(|error| replies::of_replica(&error))?;
        Ok(Response::new(Ack {}))
    }

    async fn start_task(
        &self,
        request: Request<StartTaskRequest>,
    ) -> Result<Response<StartTaskResponse>, Status> {
        let request = request.into_inner();
        let named = self.changing(&request.plan_digest)?;
        tasks::run(&self.node, &self.store, &named, &request)
            .await
            .map(Response::new)
    }

    async fn logs(&self, request: Request<LogsRequest>) -> Result<Response<LogsResponse>, Status> {
        let LogsRequest {
            key,
            task,
            run_id,
            tail,
            from_start,
            after_bytes,
        } = request.into_inner();
        let name = match key {
            Some(key) => {
                let key = replies::key(Some(key))?;
                shop_plan::names::replica(&self.node.id, &self.store.id, &key)
            }
            None => tasks::container(&self.node, &self.store, &task, &run_id)?,
        };
        let turns = if from_start {
            &self.readings
        } else {
            &self.questions
        };
        let _turn = turns.next().await;
        let engine = &self.node.engine;
        let text = if from_start {
            engine.logs_after(&name, after_bytes, LOG_BYTES).await
        } else {
            let lines = tail.clamp(1, LOG_LINES);
            engine.logs(&name, lines, LOG_BYTES).await
        };
        let text = text.map_err(|error| replies::of_engine(&error))?;
        Ok(Response::new(LogsResponse { text }))
    }
}

/// Everything of a store waits for its database.
fn urgency(named: &Named, key: &ReplicaKey) -> Urgency {
    let service = named.rendered.plan.service(&key.service);
    match service.map(|service| service.kind) {
        Some(ServiceKind::Database) => Urgency::First,
        Some(ServiceKind::Cache | ServiceKind::Search) => Urgency::Soon,
        _ => Urgency::Last,
    }
}

fn paced(pace: &Pace) -> Result<(), Status> {
    pace.pass(Instant::now()).map_err(|wait| {
        coded(
            Code::ResourceExhausted,
            "too_many_changes",
            format!(
                "too many changes of this store; ask again in {} ms",
                wait.as_millis()
            ),
        )
    })
}

fn serve_slot(named: &Named, slot: &str, replicas: &[u32]) -> Result<Serve, Status> {
    let plan = &named.rendered.plan;
    let mut keys = replicas
        .iter()
        .map(|replica| {
            ReplicaKey::parse(plan.edge.service.as_str(), slot, *replica)
                .ok()
                .filter(|key| plan.allows(key))
                .ok_or_else(|| replies::invalid("the plan has no such web replica"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    keys.sort_unstable();
    keys.dedup();
    let first = keys
        .first()
        .ok_or_else(|| replies::invalid("at least one replica must serve; else say none"))?;
    Ok(Serve::Slot {
        slot: first.slot,
        replicas: keys.iter().map(|key| key.replica).collect(),
    })
}

/// The signal that makes a service read its configuration again without losing a request.
fn reload_signal(service: &ServicePlan) -> Option<&'static str> {
    match (service.kind, service.container.stop_signal) {
        // Apache, which drains by WINCH, reloads gracefully by USR1; nginx by HUP.
        (ServiceKind::Web, StopSignal::Winch) => Some("SIGUSR1"),
        (ServiceKind::Web, _) => Some("SIGHUP"),
        (ServiceKind::PhpFpm, _) => Some("SIGUSR2"),
        _ => None,
    }
}
