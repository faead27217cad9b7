//! A scripted engine: containers in memory, with the failures that a real one has.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use async_trait::async_trait;
use shop_plan::AllowedImages;
use shop_proto::{Digest, ReplicaKey, ServiceName, Slot};
use tokio::sync::Notify;

use super::{
    Container, ContainerState, EngineError, Exit, KnownPlan, Limits, Listing, LogSource, Network,
    Serve, StoreEngine, TaskExit, TaskRun, Traffic,
};

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It does not happen, and says so.
    Fails,
    /// It happens, and says that it did not: the answer is lost.
    AnswerLost,
    /// It never answers.
    Hangs,
}

/// Containers in memory.
#[derive(Default)]
pub struct FakeEngine {
    state: Mutex<State>,
    changed: Notify,
    stopped: Notify,
}

#[derive(Default)]
struct State {
    containers: BTreeMap<ReplicaKey, Container>,
    plans: Vec<KnownPlan>,
    hashes: BTreeMap<(Digest, ReplicaKey), Digest>,
    limits: BTreeMap<(Digest, ReplicaKey), Limits>,
    traffic: Traffic,
    lost_volumes: BTreeSet<ServiceName>,
    allowed_images: AllowedImages,
    served: Vec<(Digest, Serve)>,
    broken: Vec<String>,
    networks: Vec<Network>,
    serving: Serve,
    faults: BTreeMap<String, Fault>,
    exits: BTreeMap<String, i32>,
    ended_runs: BTreeMap<(String, String), i32>,
    lasting: BTreeSet<String>,
    calls: Vec<String>,
    clock: i64,
    silent: bool,
}

impl State {
    /// Whoever serves is not to be stopped, nor the PHP behind it.
    fn check_stop(&mut self, key: &ReplicaKey) {
        let serves = match &self.serving {
            Serve::Slot { slot, replicas } if key.service.as_str() == "web" => {
                *slot == key.slot && replicas.contains(&key.replica)
            }
            Serve::Slot { slot, .. } => {
                let others = self.containers.values().filter(|it| {
                    it.key.service == key.service
                        && it.key.slot == key.slot
                        && it.key != *key
                        && matches!(it.state, ContainerState::Running { .. })
                });
                *slot == key.slot && others.count() == 0
            }
            _ => false,
        };
        if serves {
            self.broken
                .push(format!("{key} was stopped while it served"));
        }
    }

    fn end(&mut self, key: &ReplicaKey, code: i32, oom_killed: bool) {
        self.clock += 1;
        let at_unix_ms = self.clock;
        if let Some(container) = self.containers.get_mut(key) {
            container.state = ContainerState::Exited(Exit {
                code,
                oom_killed,
                at_unix_ms,
            });
        }
    }
}

impl FakeEngine {
    /// Knows a plan, and what its containers would be made from.
    pub fn know(&self, plan: KnownPlan, hashes: impl IntoIterator<Item = (ReplicaKey, Digest)>) {
        let mut state = self.state.lock().unwrap();
        let digest = plan.plan;
        state.plans.insert(0, plan);
        state
            .hashes
            .extend(hashes.into_iter().map(|(key, hash)| ((digest, key), hash)));
        drop(state);
        self.changed.notify_one();
    }

    /// Has these networks.
    pub fn networks(&self, networks: Vec<Network>) {
        self.state.lock().unwrap().networks = networks;
    }

    /// The next call of this name goes wrong, once.
    pub fn fault(&self, call: &str, fault: Fault) {
        self.state
            .lock()
            .unwrap()
            .faults
            .insert(call.to_owned(), fault);
    }

    /// Runs of this task end with this code from now on.
    pub fn task_ends(&self, task: &str, code: i32) {
        self.state
            .lock()
            .unwrap()
            .exits
            .insert(task.to_owned(), code);
    }

    /// Runs of this task do not end by themselves.
    pub fn task_lasts(&self, task: &str) {
        self.state.lock().unwrap().lasting.insert(task.to_owned());
    }

    /// Somebody removes a container.
    pub fn vanish(&self, key: &ReplicaKey) {
        self.state.lock().unwrap().containers.remove(key);
        self.changed.notify_one();
    }

    /// Somebody gives a container other limits.
    pub fn tamper(&self, key: &ReplicaKey, limits: Limits) {
        let mut state = self.state.lock().unwrap();
        state.containers.get_mut(key).unwrap().limits = Some(limits);
        drop(state);
        self.changed.notify_one();
    }

    /// What the plan's containers are limited to.
    pub fn limit(&self, plan: Digest, limits: impl IntoIterator<Item = (ReplicaKey, Limits)>) {
        let limits = limits.into_iter().map(|(key, it)| ((plan, key), it));
        self.state.lock().unwrap().limits.extend(limits);
    }

    /// What the edge has counted.
    pub fn traffic(&self, traffic: Traffic) {
        self.state.lock().unwrap().traffic = traffic;
    }

    /// Every answer to who serves, in order, and the plan it was given under.
    pub fn served(&self) -> Vec<(Digest, Serve)> {
        self.state.lock().unwrap().served.clone()
    }

    /// Rules that were broken.
    pub fn broken(&self) -> Vec<String> {
        self.state.lock().unwrap().broken.clone()
    }

    /// The node's allow-list from now on.
    pub fn allow(&self, images: AllowedImages) {
        self.state.lock().unwrap().allowed_images = images;
    }

    /// A volume disappears.
    pub fn lose(&self, volume: ServiceName) {
        self.state.lock().unwrap().lost_volumes.insert(volume);
        self.changed.notify_one();
    }

    /// Hints are lost from now on.
    pub fn silence(&self) {
        self.state.lock().unwrap().silent = true;
    }

    /// A container ends by itself.
    pub fn kill(&self, key: &ReplicaKey, code: i32, oom_killed: bool) {
        let mut state = self.state.lock().unwrap();
        state.end(key, code, oom_killed);
        drop(state);
        self.changed.notify_one();
    }

    /// All calls so far, such as `start db-fixed-0`.
    pub fn calls(&self) -> Vec<String> {
        self.state.lock().unwrap().calls.clone()
    }

    /// Forgets the calls so far.
    pub fn forget_calls(&self) {
        self.state.lock().unwrap().calls.clear();
    }

    /// Containers that run.
    pub fn running(&self) -> BTreeSet<ReplicaKey> {
        let state = self.state.lock().unwrap();
        let runs =
            |container: &&Container| matches!(container.state, ContainerState::Running { .. });
        state
            .containers
            .values()
            .filter(runs)
            .map(|container| container.key.clone())
            .collect()
    }

    /// Who serves.
    pub fn serving(&self) -> Serve {
        self.state.lock().unwrap().serving.clone()
    }

    async fn call<T>(
        &self,
        call: String,
        plan: Option<Digest>,
        body: impl FnOnce(&mut State) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let (fault, done) = {
            let mut state = self.state.lock().unwrap();
            state.calls.push(call.clone());
            let fault = state.faults.remove(&call);
            let known = plan.is_none_or(|plan| state.plans.iter().any(|known| known.plan == plan));
            let done = match (fault, known) {
                (_, false) => Err(EngineError::UnknownPlan),
                (Some(Fault::Fails | Fault::Hangs), _) => {
                    Err(EngineError::Unavailable(format!("scripted: {call}")))
                }
                (Some(Fault::AnswerLost), _) => body(&mut state).and_then(|_| {
                    Err(EngineError::Unavailable(format!(
                        "scripted: answer of {call} lost"
                    )))
                }),
                (None, true) => body(&mut state),
            };
            (fault, done)
        };
        if fault == Some(Fault::Hangs) {
            std::future::pending::<()>().await;
        }
        if !call.starts_with("list") {
            self.changed.notify_one();
        }
        done
    }
}

#[async_trait]
impl StoreEngine for FakeEngine {
    async fn list(&self) -> Result<Listing, EngineError> {
        self.call("list".to_owned(), None, |state| {
            Ok(Listing {
                containers: state.containers.values().cloned().collect(),
                plans: state.plans.clone(),
                serving: state.serving.clone(),
                networks: state.networks.clone(),
                lost_volumes: state.lost_volumes.clone(),
                allowed_images: state.allowed_images.clone(),
            })
        })
        .await
    }

    async fn create(&self, plan: Digest, key: &ReplicaKey) -> Result<(), EngineError> {
        self.call(format!("create {key}"), Some(plan), |state| {
            let spec_hash = *state
                .hashes
                .get(&(plan, key.clone()))
                .ok_or_else(|| EngineError::Refused(format!("{key} is not of the plan")))?;
            let limits = state.limits.get(&(plan, key.clone())).copied();
            // A name that exists already is adopted.
            state.containers.entry(key.clone()).or_insert(Container {
                key: key.clone(),
                spec_hash,
                state: ContainerState::Created,
                limits,
            });
            Ok(())
        })
        .await
    }

    async fn start(&self, plan: Digest, key: &ReplicaKey) -> Result<(), EngineError> {
        self.call(format!("start {key}"), Some(plan), |state| {
            state.clock += 1;
            let since_unix_ms = state.clock;
            let container = state
                .containers
                .get_mut(key)
                .ok_or_else(|| EngineError::Unavailable(format!("no container {key}")))?;
            if !matches!(container.state, ContainerState::Running { .. }) {
                container.state = ContainerState::Running { since_unix_ms };
            }
            Ok(())
        })
        .await
    }

    async fn stop(&self, plan: Digest, key: &ReplicaKey) -> Result<(), EngineError> {
        self.call(format!("stop {key}"), Some(plan), |state| {
            state.check_stop(key);
            state.clock += 1;
            let at_unix_ms = state.clock;
            if let Some(container) = state.containers.get_mut(key)
                && matches!(container.state, ContainerState::Running { .. })
            {
                container.state = ContainerState::Exited(Exit {
                    code: 0,
                    oom_killed: false,
                    at_unix_ms,
                });
            }
            Ok(())
        })
        .await
    }

    async fn remove(&self, plan: Digest, key: &ReplicaKey) -> Result<(), EngineError> {
        self.call(format!("remove {key}"), Some(plan), |state| {
            state.containers.remove(key);
            Ok(())
        })
        .await
    }

    async fn kill(&self, plan: Digest, key: &ReplicaKey) -> Result<(), EngineError> {
        self.call(format!("kill {key}"), Some(plan), |state| {
            state.end(key, 137, false);
            Ok(())
        })
        .await
    }

    async fn update(&self, plan: Digest, key: &ReplicaKey) -> Result<(), EngineError> {
        self.call(format!("update {key}"), Some(plan), |state| {
            let limits = state.limits.get(&(plan, key.clone())).copied();
            if let Some(container) = state.containers.get_mut(key) {
                container.limits = limits;
            }
            Ok(())
        })
        .await
    }

    async fn stats(&self, _seconds: u32) -> Result<Traffic, EngineError> {
        Ok(self.state.lock().unwrap().traffic.clone())
    }

    async fn serve(&self, plan: Digest, what: &Serve) -> Result<(), EngineError> {
        let word = match what {
            Serve::None => "serve none",
            Serve::Maintenance => "serve maintenance",
            Serve::Paused => "serve paused",
            Serve::Slot { slot: Slot::B, .. } => "serve b",
            Serve::Slot { .. } => "serve",
        };
        self.call(word.to_owned(), Some(plan), |state| {
            state.serving = what.clone();
            state.served.push((plan, what.clone()));
            Ok(())
        })
        .await
    }

    async fn run_task(&self, plan: Digest, run: &TaskRun) -> Result<TaskExit, EngineError> {
        let call = format!("task {} {}", run.task, run.run);
        let id = (run.task.to_string(), run.run.clone());
        self.call(call, Some(plan), |state| {
            if !state.lasting.contains(run.task.as_str()) {
                let next = state.exits.get(run.task.as_str()).copied().unwrap_or(0);
                // The same id is the same run: its end does not change.
                state.ended_runs.entry(id.clone()).or_insert(next);
            }
            Ok(())
        })
        .await?;
        loop {
            let stopped = self.stopped.notified();
            if let Some(code) = self.state.lock().unwrap().ended_runs.get(&id) {
                return Ok(TaskExit {
                    code: *code,
                    oom_killed: false,
                    timed_out: false,
                });
            }
            stopped.await;
        }
    }

    async fn stop_task(&self, task: &ServiceName, run: &str) -> Result<(), EngineError> {
        self.call(format!("stop task {task} {run}"), None, |state| {
            let id = (task.to_string(), run.to_owned());
            state.ended_runs.entry(id).or_insert(143);
            self.stopped.notify_waiters();
            Ok(())
        })
        .await
    }

    async fn logs(&self, _of: &LogSource, _lines: u32) -> Result<Vec<u8>, EngineError> {
        self.call("logs".to_owned(), None, |_| Ok(b"last words\n".to_vec()))
            .await
    }

    async fn logs_after(&self, _of: &LogSource, bytes: u64) -> Result<Vec<u8>, EngineError> {
        let text: &[u8] = b"first line\nsecond line\n";
        let from = usize::try_from(bytes).map_or(text.len(), |from| from.min(text.len()));
        self.call("logs after".to_owned(), None, |_| Ok(text[from..].to_vec()))
            .await
    }

    async fn changed(&self) -> Result<(), EngineError> {
        if self.state.lock().unwrap().silent {
            std::future::pending::<()>().await;
        }
        self.changed.notified().await;
        Ok(())
    }
}
