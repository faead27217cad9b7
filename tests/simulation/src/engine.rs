//! What a shop agent sees of its host: the broker's verbs, the answers of its services, the node that vouches. With latency and faults.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use secrecy::ExposeSecret as _;
use shop_agent::{
    engine::{
        Container, ContainerState, EngineError, Exit, Introduce, Introduction, Limits, Listing,
        LogSource, Serve, StoreEngine, TaskExit, TaskRun, Traffic,
    },
    store::{Accept, DatabaseError, Databases, NotReady, Probes, Question},
};
use shop_proto::{Digest, ReplicaKey, ServiceName, Slot, StoreId};
use zeroize::Zeroizing;

use crate::{
    chance,
    machine::{Bench, Held, Machine, Run},
};

/// The deep check has more time than a probe.
const DEEP: Duration = Duration::from_secs(5);
/// A call that hangs is given up after so long.
const HANG: Duration = Duration::from_secs(20);
/// How long the work of a task takes, whatever it does: long enough for others to act in between.
const TASK: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(2));

/// One store's door to its host.
pub struct Desk {
    machine: Arc<Machine>,
    store: StoreId,
    root_pin: Digest,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Fails,
    AnswerLost,
    Hangs,
    Slow,
}

impl Desk {
    /// Of a store on a host.
    #[must_use]
    pub const fn new(machine: Arc<Machine>, store: StoreId, root_pin: Digest) -> Self {
        Self {
            machine,
            store,
            root_pin,
        }
    }

    /// How long a call takes, and what goes wrong with it.
    fn fate(&self) -> (Duration, Fault) {
        let mut inner = self.machine.lock();
        let fault = match inner.rough.then(|| inner.dice.roll(24)) {
            Some(0) => Fault::Fails,
            Some(1) => Fault::AnswerLost,
            Some(2) => Fault::Slow,
            Some(3) if inner.dice.one_in(3) => Fault::Hangs,
            _ => Fault::None,
        };
        let latency = match fault {
            Fault::Slow => inner
                .dice
                .between(Duration::from_secs(1), Duration::from_secs(6)),
            _ => inner.latency(),
        };
        (latency, fault)
    }

    /// Tells the database at an address, if it answers.
    fn tell(&self, accept: &Accept) -> Result<(), DatabaseError> {
        let told = accept.passwords.iter();
        let told: BTreeSet<String> = told.map(|it| it.expose_secret().to_owned()).collect();
        let count = told.len();
        let entries = self.machine.entries(&self.store);
        let done = {
            let mut inner = self.machine.lock();
            let refused = DatabaseError::Connection(std::io::ErrorKind::ConnectionRefused);
            let bench = inner.stores.get_mut(&self.store);
            let held = bench.as_ref().and_then(|it| it.at(*accept.address.ip()));
            let answers = held.is_some_and(|held| held.ready(now_ms()));
            let bench = bench.filter(|_| answers).ok_or(refused)?;
            bench.told(told, &entries)
        };
        let (trace, name, store) = (&self.machine.trace, self.machine.name, &self.store);
        trace.say(format!("{name} {store} lets in with {count} passwords"));
        let wrong = match done {
            Ok(wrong) => wrong,
            Err(_) => Some("nobody can tell its database any more"),
        };
        if let Some(wrong) = wrong {
            trace.violated(format!("{store}: {wrong}"));
        }
        done.map(|_| ())
    }

    async fn call<T>(
        &self,
        what: String,
        plan: Option<Digest>,
        body: impl FnOnce(&mut Bench) -> Result<T, EngineError> + Send,
    ) -> Result<T, EngineError> {
        let (latency, fault) = self.fate();
        tokio::time::sleep(latency).await;
        let away = || EngineError::Unavailable("the node agent is away".to_owned());
        if !self.machine.lock().up {
            return Err(away());
        }
        if fault == Fault::Hangs {
            tokio::time::sleep(HANG).await;
            return Err(EngineError::TimedOut(HANG));
        }
        if self.machine.lock().full && ["create ", "serve "].iter().any(|it| what.starts_with(it)) {
            return Err(EngineError::Unavailable(format!("no room for {what}")));
        }
        if fault == Fault::Fails {
            return Err(EngineError::Unavailable(format!("500 on {what}")));
        }
        let done = {
            let mut inner = self.machine.lock();
            let bench = inner.bench(&self.store)?;
            match plan.map(|digest| bench.plan(digest)) {
                Some(Err(unknown)) => Err(unknown),
                _ => body(bench),
            }
        };
        let of_any_plan = ["stop-task ", "stop ", "remove "];
        if plan.is_some() || of_any_plan.iter().any(|it| what.starts_with(it)) {
            // The store's own schedule goes on whatever happens.
            if !what.contains("task ") {
                let mut inner = self.machine.lock();
                if let Ok(bench) = inner.bench(&self.store) {
                    bench.changes += 1;
                }
            }
            let word = match &done {
                Ok(_) => "",
                Err(_) => " (refused)",
            };
            self.machine
                .trace
                .say(format!("{} {} {what}{word}", self.machine.name, self.store));
            self.machine.ring(&self.store);
        }
        match fault {
            Fault::AnswerLost => Err(EngineError::Unavailable(format!("answer of {what} lost"))),
            _ => done,
        }
    }
}

/// Unix milliseconds of the simulated time of day.
fn now() -> i64 {
    chance::now_unix_ms()
}

fn now_ms() -> u64 {
    u64::try_from(now()).unwrap_or_default()
}

fn limits(service: &shop_plan::ServicePlan) -> Limits {
    Limits {
        memory_bytes: service.container.memory_bytes,
        cpu_millis: service.container.cpu_millis,
    }
}

#[async_trait]
impl StoreEngine for Desk {
    async fn list(&self) -> Result<Listing, EngineError> {
        self.call("list".to_owned(), None, |bench| {
            Ok(Listing {
                containers: bench
                    .containers
                    .values()
                    .map(|held| held.container.clone())
                    .collect(),
                plans: bench.plans.iter().map(|(known, _)| known.clone()).collect(),
                serving: bench.serving.clone(),
                networks: bench.networks(),
                ..Listing::default()
            })
        })
        .await
    }

    async fn create(&self, plan: Digest, key: &ReplicaKey) -> Result<(), EngineError> {
        self.call(format!("create {key}"), Some(plan), |bench| {
            let rendered = bench.plan(plan)?;
            let service = rendered
                .service(&key.service)
                .filter(|_| rendered.allows(key))
                .ok_or_else(|| EngineError::Refused(format!("{key} is not of the plan")))?;
            let drill = service
                .container
                .env
                .get("SHOP_DRILL")
                .cloned()
                .unwrap_or_default();
            bench.containers.entry(key.clone()).or_insert(Held {
                container: Container {
                    key: key.clone(),
                    spec_hash: service.spec_hash,
                    state: ContainerState::Created,
                    limits: Some(limits(service)),
                },
                ready_at: 0,
                drill,
                schema: rendered.schema(),
                started_at: 0,
                password: None,
            });
            Ok(())
        })
        .await
    }

    async fn start(&self, plan: Digest, key: &ReplicaKey) -> Result<(), EngineError> {
        let warm = {
            let mut inner = self.machine.lock();
            inner
                .dice
                .between(Duration::from_millis(20), Duration::from_millis(900))
        };
        let (trace, store) = (self.machine.trace.clone(), self.store.clone());
        let done = self
            .call(format!("start {key}"), Some(plan), |bench| {
                let rendered = bench.plan(plan)?;
                let held = bench
                    .containers
                    .get_mut(key)
                    .ok_or_else(|| EngineError::Unavailable(format!("404: no container {key}")))?;
                if !held.runs() {
                    held.container.state = ContainerState::Running {
                        since_unix_ms: now(),
                    };
                    held.started_at = now_ms();
                    held.ready_at = now_ms() + u64::try_from(warm.as_millis()).unwrap_or_default();
                    let service = rendered.service(&key.service);
                    if let Some(wrong) = service.and_then(|it| bench.reads_its_secrets(key, it)) {
                        trace.violated(format!("{store}: {wrong}"));
                    }
                }
                Ok(())
            })
            .await;
        self.machine.watch_logins(&self.store);
        done
    }

    /// As the real node: who goes may be of a plan that nobody knows any more.
    async fn stop(&self, _plan: Digest, key: &ReplicaKey) -> Result<(), EngineError> {
        if self.machine.disturbs(&self.store, key) {
            let store = &self.store;
            self.machine
                .trace
                .violated(format!("{store}: {key} is stopped for a rotation"));
        }
        self.call(format!("stop {key}"), None, |bench| {
            if let Some(held) = bench.containers.get_mut(key).filter(|held| held.runs()) {
                held.container.state = ContainerState::Exited(Exit {
                    code: 0,
                    oom_killed: false,
                    at_unix_ms: now(),
                });
            }
            Ok(())
        })
        .await
    }

    async fn remove(&self, _plan: Digest, key: &ReplicaKey) -> Result<(), EngineError> {
        self.call(format!("remove {key}"), None, |bench| {
            match bench.containers.get(key) {
                Some(held) if held.runs() => {
                    Err(EngineError::Unavailable(format!("409: {key} runs")))
                }
                _ => {
                    bench.containers.remove(key);
                    Ok(())
                }
            }
        })
        .await
    }

    async fn kill(&self, plan: Digest, key: &ReplicaKey) -> Result<(), EngineError> {
        self.stop(plan, key).await
    }

    async fn update(&self, plan: Digest, key: &ReplicaKey) -> Result<(), EngineError> {
        self.call(format!("update {key}"), Some(plan), |bench| {
            let limits = bench.plan(plan)?.service(&key.service).map(limits);
            if let Some(held) = bench.containers.get_mut(key) {
                held.container.limits = limits;
            }
            Ok(())
        })
        .await
    }

    async fn stats(&self, _seconds: u32) -> Result<Traffic, EngineError> {
        self.call("stats".to_owned(), None, |_| Ok(Traffic::default()))
            .await
    }

    async fn stop_task(&self, task: &ServiceName, run: &str) -> Result<(), EngineError> {
        self.call(format!("stop-task {task} {run}"), None, |_| Ok(()))
            .await
    }

    async fn logs_after(&self, of: &LogSource, _bytes: u64) -> Result<Vec<u8>, EngineError> {
        self.logs(of, 0).await
    }

    async fn serve(&self, plan: Digest, what: &Serve) -> Result<(), EngineError> {
        let trace = self.machine.trace.clone();
        let store = self.store.clone();
        self.call(format!("serve {what:?}"), Some(plan), move |bench| {
            if let Serve::Slot { slot, .. } = what {
                let other = match slot {
                    Slot::A => Slot::B,
                    Slot::B | Slot::Fixed => Slot::A,
                };
                let ready = bench.slot_ready(*slot, now_ms()) || bench.unheard(*slot, now_ms());
                if !ready && bench.slot_ready(other, now_ms()) {
                    trace.violated(format!(
                        "{store}: traffic moved to slot {slot:?}, where nothing is ready, from {other:?}"
                    ));
                }
            }
            bench.serving = what.clone();
            if matches!(what, Serve::Slot { .. }) && bench.served.first() != Some(&plan) {
                bench.served.insert(0, plan);
                bench.served.truncate(2);
            }
            Ok(())
        })
        .await
    }

    async fn run_task(&self, plan: Digest, run: &TaskRun) -> Result<TaskExit, EngineError> {
        let id = (run.task.to_string(), run.run.clone());
        let takes = self.machine.lock().dice.between(TASK.0, TASK.1);
        let what = format!("task {} {}", run.task, run.run);
        let ends_at = self
            .call(what, Some(plan), |bench| {
                let schema = bench.plan(plan)?.schema();
                let password = bench.task_password(plan, &run.task)?;
                // Attached to, a run does nothing again.
                let begun = bench.runs.entry(id.clone()).or_insert(Run {
                    ends_at: now_ms() + u64::try_from(takes.as_millis()).unwrap_or_default(),
                    makes: matches!(run.task.as_str(), "install" | "migrate").then_some(schema),
                    seen: false,
                    password,
                });
                Ok(begun.ends_at)
            })
            .await?;
        let left = ends_at.saturating_sub(now_ms());
        tokio::time::sleep(Duration::from_millis(left)).await;
        self.call("wait".to_owned(), None, |bench| bench.task_ended(&id))
            .await?;
        Ok(TaskExit {
            code: 0,
            oom_killed: false,
            timed_out: false,
        })
    }

    async fn logs(&self, _of: &LogSource, _lines: u32) -> Result<Vec<u8>, EngineError> {
        self.call("logs".to_owned(), None, |_| Ok(b"last words\n".to_vec()))
            .await
    }

    async fn changed(&self) -> Result<(), EngineError> {
        let hint = {
            let mut inner = self.machine.lock();
            if !inner.up {
                return Err(EngineError::Unavailable("no hints".to_owned()));
            }
            inner.bench(&self.store)?.hint.clone()
        };
        hint.notified().await;
        Ok(())
    }
}

#[async_trait]
impl Probes for Desk {
    async fn ask(&self, question: &Question) -> Result<(), NotReady> {
        let latency = self.machine.lock().latency();
        tokio::time::sleep(latency).await;
        let inner = self.machine.lock();
        let bench = inner.stores.get(&self.store);
        let held = bench.and_then(|bench| bench.at(question.address));
        let deep = question.deadline >= DEEP;
        match held {
            Some(held) if deep => {
                let well = bench.is_some_and(|it| it.healthy(held.container.key.slot, now_ms()));
                well.then_some(()).ok_or(NotReady::Status(503))
            }
            Some(held) if held.ready(now_ms()) => Ok(()),
            Some(held) if held.runs() => Err(NotReady::Starting),
            _ => Err(NotReady::Connection(std::io::ErrorKind::ConnectionRefused)),
        }
    }
}

#[async_trait]
impl Databases for Desk {
    async fn accept(&self, accept: &Accept) -> Result<(), DatabaseError> {
        let (latency, fault) = self.fate();
        tokio::time::sleep(latency).await;
        if fault == Fault::Hangs {
            tokio::time::sleep(HANG).await;
        }
        if matches!(fault, Fault::Fails | Fault::Hangs) {
            return Err(DatabaseError::TimedOut);
        }
        self.tell(accept)?;
        self.machine.watch_logins(&self.store);
        match fault {
            Fault::AnswerLost => Err(DatabaseError::TimedOut),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Introduce for Desk {
    async fn introduce(
        &self,
        identity_spki: Vec<u8>,
        sealing: [u8; 32],
    ) -> Result<Introduction, EngineError> {
        let latency = self.machine.lock().latency();
        tokio::time::sleep(latency).await;
        let mut inner = self.machine.lock();
        let node = inner
            .node
            .clone()
            .filter(|_| inner.up)
            .ok_or_else(|| EngineError::Unavailable("the node agent is away".to_owned()))?;
        let bench = inner.bench(&self.store)?;
        let spki = Digest::of(&identity_spki);
        // Shown again, it is vouched for again.
        bench.introduced = Some((spki, sealing));
        bench.vouched = false;
        let mut vault_key = Zeroizing::new([0; 32]);
        vault_key.copy_from_slice(Digest::of(self.store.as_str().as_bytes()).as_bytes());
        Ok(Introduction {
            store: self.store.clone(),
            node,
            root_pins: vec![self.root_pin],
            trust_domain: "shopfleet"
                .parse()
                .map_err(|_| EngineError::Refused("trust domain".to_owned()))?,
            vault_key,
            receipt: Vec::new(),
            networks: bench.networks(),
            uid_base: 200_000,
            operator_root_pin: None,
            host_boot_id: "boot".to_owned(),
            roster: None,
        })
    }
}
