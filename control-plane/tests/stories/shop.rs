//! A shop agent that follows its node's script: vouched enrolment, a session, reports about what it was told last.

use std::sync::{Arc, Mutex};

use shop_proto::wire::{
    agent::v1::{self as wire, agent_message::Message as Up, control_message::Message as Down},
    common::v1 as common,
    enrollment::v1::EnrollResponse,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tonic::Status;

use crate::{
    client::{Key, agent_hello, agent_session_with, enrol_store},
    node::{RECONNECT, Script},
    plane::Place,
};

/// What stands for something only the caller can open.
pub const SEALED_ANSWER: &[u8] = b"sealed-canary-2b90: nobody else reads it";

/// What becomes of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// Comes up, and stops when told.
    Serve,
    /// On its way, and gets no further.
    Starting,
    /// A service crashes again and again.
    Crash {
        service: String,
        exit_code: i32,
    },
    AwaitSecrets,
    /// Serves one revision, and is so far with any other: a phase of an update, with its reason where it has ended badly.
    Updating {
        serving: u64,
        phase: &'static str,
        reason: &'static str,
    },
    /// Takes what it is told and says nothing.
    Silent,
    /// Does not take what it is told.
    Refuse {
        code: &'static str,
    },
}

/// What it holds: survives its sessions.
#[derive(Default)]
struct Ledger {
    credential: Option<EnrollResponse>,
    desired: Option<wire::Desired>,
    /// Into the session it has now.
    voice: Option<mpsc::Sender<wire::AgentMessage>>,
    roster: Option<Vec<u8>>,
    tasks: Vec<Down>,
}

pub struct Shop {
    store: String,
    key: Arc<Key>,
    ledger: Arc<Mutex<Ledger>>,
    task: Option<JoinHandle<()>>,
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shop {
    pub fn new(store: &str) -> Self {
        Self {
            store: store.to_owned(),
            key: Arc::new(Key::new()),
            ledger: Arc::default(),
            task: None,
        }
    }

    pub fn spki(&self) -> String {
        self.key.spki().to_string()
    }

    pub fn credential(&self) -> Option<(EnrollResponse, Arc<Key>)> {
        let ledger = self.ledger.lock().unwrap();
        ledger
            .credential
            .clone()
            .map(|answer| (answer, self.key.clone()))
    }

    pub fn desired(&self) -> Option<wire::Desired> {
        self.ledger.lock().unwrap().desired.clone()
    }

    pub fn roster(&self) -> Option<Vec<u8>> {
        self.ledger.lock().unwrap().roster.clone()
    }

    /// What was said about tasks, in order.
    pub fn tasks(&self) -> Vec<Down> {
        self.ledger.lock().unwrap().tasks.clone()
    }

    /// Something that is not in the script.
    pub fn speak(&self, message: Up) {
        let voice = self.ledger.lock().unwrap().voice.clone();
        let message = wire::AgentMessage {
            message: Some(message),
        };
        voice.expect("a session").try_send(message).unwrap();
    }

    pub fn start(
        &mut self,
        place: watch::Receiver<Place>,
        script: watch::Receiver<Script>,
        seen: watch::Sender<u64>,
    ) {
        if self.task.is_some() {
            return;
        }
        let runner = Runner {
            store: self.store.clone(),
            key: self.key.clone(),
            ledger: self.ledger.clone(),
            place,
            script,
            seen,
        };
        self.task = Some(tokio::spawn(runner.run()));
    }

    pub fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        self.ledger.lock().unwrap().voice.take();
    }
}

struct Runner {
    store: String,
    key: Arc<Key>,
    ledger: Arc<Mutex<Ledger>>,
    place: watch::Receiver<Place>,
    script: watch::Receiver<Script>,
    seen: watch::Sender<u64>,
}

impl Runner {
    async fn run(mut self) {
        loop {
            if self.script.wait_for(|script| script.uplink).await.is_err() {
                return;
            }
            if let Err(status) = self.once().await {
                tracing::debug!(%status, store = self.store, "the scripted shop agent's session ended");
            }
            // Kept, it would hold the session open.
            self.ledger.lock().unwrap().voice.take();
            tokio::time::sleep(RECONNECT).await;
        }
    }

    async fn once(&mut self) -> Result<(), Status> {
        let target = self.place.borrow().target.clone();
        let known = self.ledger.lock().unwrap().credential.clone();
        let credential = match known {
            Some(credential) => credential,
            None => {
                let answer = enrol_store(&target, &self.store, &self.key).await?;
                self.ledger.lock().unwrap().credential = Some(answer.clone());
                answer
            }
        };
        let desired = self.ledger.lock().unwrap().desired.clone();
        let (generation, digest) =
            desired.map_or((0, String::new()), |it| (it.generation, it.spec_digest));
        let mut hello = agent_hello(generation);
        if let Some(Up::Hello(hello)) = &mut hello.message {
            hello.spec_digest = digest;
        }
        let mut session = agent_session_with(&target, (&credential, &self.key), hello).await?;
        self.ledger.lock().unwrap().voice = Some(session.up.clone());
        self.tell(&session.up).await?;
        loop {
            tokio::select! {
                order = session.down.message() => {
                    let Some(order) = order? else { return Ok(()) };
                    self.seen.send_modify(|seen| *seen += 1);
                    match order.message {
                        Some(Down::Desired(desired)) => match self.accept(desired) {
                            Ok(()) => self.tell(&session.up).await?,
                            Err(refusal) => self.say(&session.up, Up::Refusal(refusal)).await?,
                        },
                        Some(Down::SealedRequest(request)) => {
                            self.say(&session.up, Up::SealedResult(answered(request))).await?;
                        }
                        Some(Down::Roster(roster)) => {
                            self.ledger.lock().unwrap().roster = Some(roster.document);
                        }
                        Some(
                            order @ (Down::RunTask(_) | Down::CancelTask(_) | Down::TaskRecorded(_)),
                        ) => self.ledger.lock().unwrap().tasks.push(order),
                        _ => {}
                    }
                }
                changed = self.script.changed() => {
                    if changed.is_err() || !self.script.borrow().uplink {
                        return Ok(());
                    }
                    self.tell(&session.up).await?;
                }
            }
        }
    }

    /// The generation rule.
    fn accept(&self, desired: wire::Desired) -> Result<(), wire::Refusal> {
        let mut ledger = self.ledger.lock().unwrap();
        if let Behaviour::Refuse { code } = self.script.borrow().shops {
            return Err(wire::Refusal {
                generation: desired.generation,
                code: code.to_owned(),
                message: "by the script".to_owned(),
            });
        }
        let code = match &ledger.desired {
            Some(held) if desired.generation < held.generation => "generation_outdated",
            Some(held)
                if desired.generation == held.generation
                    && desired.spec_digest != held.spec_digest =>
            {
                "content_changed"
            }
            _ => {
                ledger.desired = Some(desired);
                return Ok(());
            }
        };
        Err(wire::Refusal {
            generation: desired.generation,
            code: code.to_owned(),
            message: "by the generation rule".to_owned(),
        })
    }

    /// How the store is, as the script has it.
    async fn tell(&self, up: &mpsc::Sender<wire::AgentMessage>) -> Result<(), Status> {
        let behaviour = self.script.borrow().shops.clone();
        let desired = self.ledger.lock().unwrap().desired.clone();
        let Some(desired) = desired else {
            return Ok(());
        };
        if behaviour == Behaviour::Silent {
            return Ok(());
        }
        let starting = report(&desired, &Behaviour::Starting);
        self.say(up, Up::Report(starting)).await?;
        if behaviour == Behaviour::Starting {
            return Ok(());
        }
        self.say(up, Up::Report(report(&desired, &behaviour))).await
    }

    async fn say(&self, up: &mpsc::Sender<wire::AgentMessage>, message: Up) -> Result<(), Status> {
        self.seen.send_modify(|seen| *seen += 1);
        let message = wire::AgentMessage {
            message: Some(message),
        };
        up.send(message)
            .await
            .map_err(|_| Status::unavailable("the session is over"))
    }
}

/// What an agent says about what it was told, when it behaves so.
pub fn report(desired: &wire::Desired, behaviour: &Behaviour) -> common::StoreReport {
    let spec = desired.spec.clone().unwrap_or_default();
    let running = spec.run_state == "running";
    let (state, reason) = match behaviour {
        Behaviour::Serve | Behaviour::Updating { .. } if running => ("running", ""),
        Behaviour::Serve | Behaviour::Updating { .. } => ("stopped", ""),
        Behaviour::AwaitSecrets => ("waiting", "awaiting_secrets"),
        _ if running => ("starting", ""),
        _ => ("stopping", ""),
    };
    let mut report = common::StoreReport {
        generation: desired.generation,
        spec_digest: desired.spec_digest.clone(),
        state: state.to_owned(),
        reason: reason.to_owned(),
        restart_seq: spec.restart_seq,
        steps: vec![common::StepStatus {
            name: "start db".to_owned(),
            state: if state == "starting" {
                "running"
            } else {
                "done"
            }
            .to_owned(),
            started_unix_ms: 1,
            ended_unix_ms: 0,
        }],
        ..common::StoreReport::default()
    };
    let wanted = spec.revision.map_or(0, |revision| revision.number);
    report.maintenance = spec.maintenance;
    if state == "running" {
        report.serving_revision = wanted;
    }
    if let Behaviour::Updating {
        serving,
        phase,
        reason,
    } = behaviour
        && running
        && wanted != *serving
    {
        report.serving_revision = *serving;
        report.update = Some(common::UpdateStatus {
            from_revision: *serving,
            to_revision: wanted,
            generation: desired.generation,
            phase: (*phase).to_owned(),
            slot: "b".to_owned(),
            reason: (*reason).to_owned(),
            message: reason.replace('_', " "),
            ..common::UpdateStatus::default()
        });
        if *phase == "rolled_back" {
            report.held_back = Some(common::HeldBack {
                generation: desired.generation,
                revision: wanted,
                reason: (*reason).to_owned(),
                message: "php-fpm exits with code 1".to_owned(),
                at_unix_ms: 1,
            });
        }
    }
    if let Behaviour::Crash { service, exit_code } = behaviour {
        report.replicas = vec![common::ReplicaStatus {
            key: Some(common::ReplicaKey {
                service: service.clone(),
                slot: "fixed".to_owned(),
                replica: 0,
            }),
            phase: "crash_looping".to_owned(),
            reason: "exited".to_owned(),
            has_exit_code: true,
            exit_code: *exit_code,
            restarts: 4,
            ..common::ReplicaStatus::default()
        }];
    }
    report
}

/// Opaque to everybody but who asked.
fn answered(request: wire::SealedRequest) -> wire::SealedResult {
    wire::SealedResult {
        operation_id: request.operation_id,
        code: "ok".to_owned(),
        enc: vec![1; 32],
        ciphertext: SEALED_ANSWER.to_vec(),
    }
}
