//! The whole loop over a scripted engine, in simulated time: a store is provisioned, killed, stopped and repaired,
//! with every call failing once, every answer lost once, and the agent dying at every point.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use shop_plan::{NetworkName, StorePlan};
use shop_proto::{Digest, ReplicaKey, RunState, Slot};
use tempfile::TempDir;
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};

use super::*;
use crate::{
    engine::{
        KnownPlan, Network, Serve,
        fake::{FakeEngine, Fault},
    },
    ledger::{Accepted, Ledger, Run, SharedLedger},
    store::{
        deliver::Mailbox,
        fixtures,
        probe::{NotReady, Probes, Question},
        report::State,
        sealed::Envelope,
        vault::{Content, Vault},
    },
};

mod drift;
mod images;
mod rotation;
mod tasks;
mod updates;

/// Everything that runs is ready, but for these ports, and these addresses, or their deep checks.
#[derive(Default)]
struct FakeProbes(
    std::sync::Mutex<BTreeSet<u16>>,
    std::sync::Mutex<BTreeSet<(std::net::Ipv4Addr, bool)>>,
);

#[async_trait]
impl Probes for FakeProbes {
    async fn ask(&self, question: &Question) -> Result<(), NotReady> {
        let deep =
            matches!(&question.probe, shop_plan::Probe::Http { path, .. } if path == "/health");
        let bad = self.1.lock().unwrap().contains(&(question.address, deep));
        match bad || self.0.lock().unwrap().contains(&question.probe.port()) {
            true => Err(NotReady::Starting),
            false => Ok(()),
        }
    }
}

/// A machine that survives its agent.
struct Machine {
    _memory: TempDir,
    disk: TempDir,
    mailbox: Mailbox,
    engine: Arc<FakeEngine>,
    probes: Arc<FakeProbes>,
    databases: Arc<rotation::FakeDatabase>,
    plan: StorePlan,
}

/// A running agent.
struct Agent {
    commands: mpsc::Sender<Command>,
    reports: mpsc::UnboundedReceiver<Report>,
    notices: mpsc::Receiver<Notice>,
    runs: watch::Receiver<Vec<Run>>,
    ledger: SharedLedger,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Machine {
    fn new() -> Self {
        // Secrets are delivered to memory only; this is memory on every Linux machine.
        let memory = tempfile::tempdir_in("/dev/shm").unwrap();
        let plan = fixtures::plan();
        for consumer in plan.secret_consumers().keys() {
            std::fs::create_dir(memory.path().join(consumer.as_str())).unwrap();
        }
        let engine = Arc::new(FakeEngine::default());
        let known = KnownPlan {
            generation: fixtures::order(1).generation,
            plan: plan.digest(),
        };
        engine.know(known, hashes(&plan));
        engine.networks(
            NetworkName::ALL
                .iter()
                .map(|name| Network {
                    name: *name,
                    base: [10, 200, 0, 32 * (*name as u8)].into(),
                })
                .collect(),
        );
        Self {
            mailbox: Mailbox {
                root: memory.path().to_owned(),
                boot_id: "boot-1".to_owned(),
            },
            databases: Arc::new(rotation::FakeDatabase::new(memory.path())),
            disk: tempfile::tempdir().unwrap(),
            engine,
            probes: Arc::default(),
            plan,
            _memory: memory,
        }
    }

    fn agent(&self) -> Agent {
        let key = || [7; 32].into();
        let vault = Vault::open(self.disk.path(), fixtures::store(), key())
            .or_else(|_| {
                Vault::create(
                    self.disk.path(),
                    fixtures::store(),
                    key(),
                    Content::generate().unwrap(),
                )
            })
            .unwrap();
        let vault = Arc::new(std::sync::Mutex::new(vault));
        let ledger = SharedLedger::new(Ledger::open(self.disk.path()).unwrap());
        let envelope = Envelope {
            store: fixtures::store(),
            root_pin: None,
            ledger: ledger.clone(),
            vault: vault.clone(),
            engine: self.engine.clone(),
            roster: std::sync::Mutex::default(),
        };
        let tools = Tools {
            engine: self.engine.clone(),
            vault,
            ledger,
            mailbox: self.mailbox.clone(),
            probes: self.probes.clone(),
            databases: self.databases.clone(),
            envelope: Arc::new(envelope),
        };
        let ledger = tools.ledger.clone();
        let (commands, command_queue) = mpsc::channel(8);
        let (notices, notice_queue) = mpsc::channel(256);
        let (reports, report_view) = watch::channel(Report::waiting(None, "", ""));
        let (runs, run_view) = watch::channel(Vec::new());
        let wires = Wires {
            commands: command_queue,
            reports,
            runs,
            notices,
        };
        let cancel = CancellationToken::new();
        let reconciler = Reconciler::new(fixtures::store(), Arc::new(tools), wires);
        Agent {
            task: tokio::spawn(reconciler.run(cancel.clone())),
            commands,
            reports: recorded(report_view),
            notices: notice_queue,
            runs: run_view,
            ledger,
            cancel,
        }
    }

    /// Runs of install that the engine saw.
    fn installs(&self) -> BTreeSet<String> {
        let install = |call: &String| call.starts_with("task install ");
        self.engine.calls().into_iter().filter(install).collect()
    }
}

impl Agent {
    async fn order(&self, accepted: Accepted) -> Result<(), Refusal> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Desired(Box::new(accepted), reply);
        self.commands.send(command).await.unwrap();
        answer.await.unwrap()
    }

    /// Waits for a report like this, after those waited for before. Simulated time: a generous deadline costs nothing.
    async fn until(&mut self, what: &str, mut like: impl FnMut(&Report) -> bool) -> Report {
        let mut last = None;
        let deadline = Instant::now() + Duration::from_secs(600);
        loop {
            match tokio::time::timeout_at(deadline, self.reports.recv()).await {
                Ok(Some(report)) if like(&report) => return report,
                Ok(Some(report)) => last = Some(report),
                Ok(None) | Err(_) => panic!("never {what}: {last:#?}"),
            }
        }
    }

    async fn until_state(&mut self, state: State) -> Report {
        self.until(&format!("{state:?}"), |report| report.state == state)
            .await
    }

    /// Dies at once, as by SIGKILL. What it was writing is over with it, as no thread of a killed process writes on beside its successor.
    async fn dies(self) {
        self.task.abort();
        assert!(self.task.await.is_err());
        while !self.ledger.is_left() {
            tokio::task::yield_now().await;
        }
    }
}

/// Every report, in order: the test itself may look too late to see one.
fn recorded(mut reports: watch::Receiver<Report>) -> mpsc::UnboundedReceiver<Report> {
    let (sender, receiver) = mpsc::unbounded_channel();
    reports.mark_changed();
    tokio::spawn(async move {
        while reports.changed().await.is_ok() {
            let report = reports.borrow_and_update().clone();
            if sender.send(report).is_err() {
                return;
            }
        }
    });
    receiver
}

fn hashes(plan: &StorePlan) -> Vec<(ReplicaKey, Digest)> {
    plan.services
        .iter()
        .flat_map(|service| {
            let slots: &[Slot] = if service.kind.slotted() {
                &[Slot::A, Slot::B]
            } else {
                &[Slot::Fixed]
            };
            slots.iter().flat_map(move |slot| {
                (0..3).map(move |replica| {
                    let key = ReplicaKey {
                        service: service.name.clone(),
                        slot: *slot,
                        replica,
                    };
                    (key, service.spec_hash)
                })
            })
        })
        .collect()
}

fn key(service: &str) -> ReplicaKey {
    ReplicaKey {
        service: service.parse().unwrap(),
        slot: Slot::Fixed,
        replica: 0,
    }
}

fn stopped(generation: u64) -> Accepted {
    let mut order = fixtures::order(generation);
    order.spec.run_state = RunState::Stopped;
    order
}

async fn provisioned() -> (Machine, Agent) {
    let machine = Machine::new();
    let mut agent = machine.agent();
    agent.order(fixtures::order(1)).await.unwrap();
    // One look for both: a report that says both at once is not followed by another.
    agent
        .until("provisioned", |report| {
            report.state == State::Running && report.changes.serving_revision == Some(1)
        })
        .await;
    (machine, agent)
}

#[tokio::test(start_paused = true)]
async fn an_order_becomes_a_serving_store() {
    let machine = Machine::new();
    let mut agent = machine.agent();
    agent.until_state(State::Waiting).await;
    agent.order(fixtures::order(1)).await.unwrap();
    let report = agent.until_state(State::Running).await;
    assert_eq!(report.reason, "");
    assert_eq!(report.serving, Some(Slot::A));
    assert!(
        report
            .replicas
            .iter()
            .all(|replica| replica.phase == "ready"),
        "{report:#?}"
    );
    assert!(
        report
            .steps
            .iter()
            .all(|step| step.state == crate::store::report::StepState::Done)
    );
    assert_eq!(machine.engine.running().len(), machine.plan.services.len());
    assert_eq!(machine.installs().len(), 1);
    let secrets = machine.mailbox.root.join("db");
    assert_eq!(std::fs::read(secrets.join(".ready")).unwrap(), b"boot-1");
    assert_eq!(
        std::fs::read(secrets.join("db_password")).unwrap().len(),
        32
    );
}

#[tokio::test(start_paused = true)]
async fn every_call_may_fail_once_and_every_answer_may_be_lost() {
    let (machine, _agent) = provisioned().await;
    let calls: BTreeSet<String> = machine.engine.calls().into_iter().collect();
    assert!(calls.len() > 10, "{calls:?}");
    for call in calls {
        for fault in [Fault::Fails, Fault::AnswerLost] {
            let machine = Machine::new();
            machine.engine.fault(&call, fault);
            let mut agent = machine.agent();
            agent.order(fixtures::order(1)).await.unwrap();
            agent
                .until(&format!("running with {fault:?} of {call}"), |report| {
                    report.state == State::Running
                })
                .await;
            assert_eq!(machine.engine.running().len(), machine.plan.services.len());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_dies_at_any_point_is_taken_up_by_the_next_without_a_second_install() {
    let (machine, _agent) = provisioned().await;
    let all = machine.engine.calls().len();
    for deaths in 0..all {
        let machine = Machine::new();
        let agent = machine.agent();
        agent.order(fixtures::order(1)).await.unwrap();
        while machine.engine.calls().len() <= deaths && machine.engine.serving() == Serve::None {
            tokio::task::yield_now().await;
        }
        agent.dies().await;
        let mut next = machine.agent();
        next.until_state(State::Running).await;
        assert_eq!(machine.installs().len(), 1, "after {deaths} calls");
        assert_eq!(machine.engine.running().len(), machine.plan.services.len());
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_restarts_adopts_what_runs() {
    let (machine, agent) = provisioned().await;
    agent.dies().await;
    machine.engine.forget_calls();
    let mut next = machine.agent();
    let ready = |report: &Report| {
        report.state == State::Running
            && report
                .replicas
                .iter()
                .all(|replica| replica.phase == "ready")
    };
    next.until("adopted", ready).await;
    let calls = machine.engine.calls();
    assert!(calls.iter().all(|call| call == "list"), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_killed_database_is_started_at_once_and_the_store_keeps_serving() {
    let (machine, mut agent) = provisioned().await;
    let began = Instant::now();
    machine.engine.kill(&key("db"), 137, false);
    agent.until_state(State::Degraded).await;
    agent.until_state(State::Running).await;
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    assert!(matches!(machine.engine.serving(), Serve::Slot { .. }));
    let told = |notice: Notice| matches!(notice, Notice::Event(event) if event.code == "service_restarted");
    assert!(agent.notices.try_recv().is_ok_and(told));
}

#[tokio::test(start_paused = true)]
async fn a_death_without_a_hint_is_found_by_the_next_list() {
    let machine = Machine::new();
    machine.engine.silence();
    let mut agent = machine.agent();
    agent.order(fixtures::order(1)).await.unwrap();
    agent.until_state(State::Running).await;
    machine.engine.kill(&key("cache"), 1, true);
    let report = agent.until_state(State::Degraded).await;
    assert_eq!(report.reason, "oom_killed");
    agent.until_state(State::Running).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_is_named_and_disturbs_nobody() {
    let (machine, mut agent) = provisioned().await;
    machine.engine.forget_calls();
    for _ in 0..6 {
        machine.engine.kill(&key("search"), 3, false);
        agent
            .until("noticed", |report| report.state == State::Degraded)
            .await;
        let mut look = tokio::time::interval(Duration::from_millis(50));
        while !machine.engine.running().contains(&key("search")) {
            look.tick().await;
        }
    }
    let report = agent
        .until("looping", |report| report.reason == "crash_looping")
        .await;
    let search = report
        .replicas
        .iter()
        .find(|replica| replica.key == key("search"))
        .unwrap();
    assert_eq!(search.phase, "crash_looping");
    let calls = machine.engine.calls();
    let others = |call: &&String| call.as_str() != "list" && !call.contains("search");
    assert_eq!(calls.iter().find(others), None, "{calls:?}");
    // A steady minute later all is well again.
    agent.until_state(State::Running).await;
}

#[tokio::test(start_paused = true)]
async fn stop_then_start() {
    let (machine, mut agent) = provisioned().await;
    machine.engine.forget_calls();
    agent.order(stopped(2)).await.unwrap();
    agent.until_state(State::Stopped).await;
    assert!(machine.engine.running().is_empty());
    assert_eq!(machine.engine.serving(), Serve::None);
    let calls: Vec<String> = machine
        .engine
        .calls()
        .into_iter()
        .filter(|call| call != "list")
        .collect();
    assert_eq!(
        calls[..3],
        ["serve none", "stop web-a-0", "stop php-fpm-a-0"]
    );

    // What was stopped stays stopped, whoever restarts.
    agent.dies().await;
    let mut agent = machine.agent();
    agent.until_state(State::Stopped).await;
    assert!(machine.engine.running().is_empty());

    agent.order(fixtures::order(3)).await.unwrap();
    agent.until_state(State::Running).await;
    assert_eq!(
        machine.installs().len(),
        0,
        "install runs once in a store's life"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_the_middle_of_provisioning_wins() {
    let (machine, _agent) = provisioned().await;
    let all = machine.engine.calls().len();
    for moment in 0..all {
        let machine = Machine::new();
        let mut agent = machine.agent();
        agent.order(fixtures::order(1)).await.unwrap();
        while machine.engine.calls().len() <= moment && machine.engine.serving() == Serve::None {
            tokio::task::yield_now().await;
        }
        agent.order(stopped(2)).await.unwrap();
        agent.until_state(State::Stopped).await;
        assert!(machine.engine.running().is_empty(), "after {moment} calls");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_install_is_told_and_tried_again_as_another_run() {
    let machine = Machine::new();
    machine.engine.task_ends("install", 9);
    let mut agent = machine.agent();
    agent.order(fixtures::order(1)).await.unwrap();
    let report = agent
        .until("told", |report| report.reason == "task_failed")
        .await;
    assert_eq!(report.state, State::Starting);
    machine.engine.task_ends("install", 0);
    agent.until_state(State::Running).await;
    assert!(machine.installs().len() >= 2);
}

#[tokio::test(start_paused = true)]
async fn an_unready_service_holds_back_serving_and_is_named() {
    let machine = Machine::new();
    let port = machine
        .plan
        .service(&"cache".parse().unwrap())
        .unwrap()
        .ready
        .port();
    machine.probes.0.lock().unwrap().insert(port);
    let mut agent = machine.agent();
    agent.order(fixtures::order(1)).await.unwrap();
    let report = agent
        .until("named", |report| report.reason == "probe_failed")
        .await;
    assert!(report.message.contains("cache"), "{}", report.message);
    assert_eq!(machine.engine.serving(), Serve::None);
    machine.probes.0.lock().unwrap().clear();
    agent.until_state(State::Running).await;
}

#[tokio::test(start_paused = true)]
async fn the_generation_rule_is_answered_and_survives() {
    let (machine, agent) = provisioned().await;
    let refused = |answer: Result<(), Refusal>| answer.unwrap_err().code;
    assert_eq!(
        agent.order(fixtures::order(1)).await,
        Ok(()),
        "again is fine"
    );
    assert_eq!(refused(agent.order(stopped(1)).await), "content_changed");
    agent.order(fixtures::order(5)).await.unwrap();
    agent.dies().await;
    let agent = machine.agent();
    assert_eq!(
        refused(agent.order(fixtures::order(4)).await),
        "generation_outdated"
    );
    let mut unknown = fixtures::order(6);
    unknown.render_version = 99;
    assert_eq!(
        refused(agent.order(unknown).await),
        "render_version_unsupported"
    );
    let mut foreign = fixtures::order(6);
    foreign.spec.revision.template_digest = Digest::of(b"foreign");
    assert_eq!(refused(agent.order(foreign).await), "template_untrusted");
    agent.cancel.cancel();
    agent.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_the_nodes_plan_nothing_is_done_and_another_plan_is_refused() {
    let machine = Machine::new();
    let mut order = fixtures::order(2);
    order.spec.revision.number = 2;
    let mut agent = machine.agent();
    agent.order(order.clone()).await.unwrap();
    agent
        .until("waiting", |report| report.reason == "unknown_plan")
        .await;
    let lie = KnownPlan {
        generation: order.generation,
        plan: Digest::of(b"something else"),
    };
    machine.engine.know(lie, []);
    agent
        .until("mismatch", |report| report.reason == "plan_mismatch")
        .await;
    let refusal = agent.notices.try_recv();
    assert!(matches!(refusal, Ok(Notice::Refusal(refusal)) if refusal.code == "plan_mismatch"));
    let calls = machine.engine.calls();
    assert!(calls.iter().all(|call| call == "list"), "{calls:?}");
}

/// A step that failed often enough to look hopeless, and then was done, says nothing about the store any more.
#[tokio::test(start_paused = true)]
async fn what_failed_for_long_and_is_done_is_forgiven() {
    let machine = Machine::new();
    let volume = machine.mailbox.root.join("db");
    std::fs::remove_dir(&volume).unwrap();
    let mut agent = machine.agent();
    agent.order(fixtures::order(1)).await.unwrap();
    let failing = |report: &Report| report.reason == "secrets_failed";
    agent.until("failing", failing).await;
    let long = Duration::from_secs(90);
    let never = tokio::time::timeout(long, &mut agent.task).await;
    assert!(never.is_err(), "the agent ended");
    std::fs::create_dir(&volume).unwrap();
    let report = agent.until_state(State::Running).await;
    assert_eq!(report.reason, "");
}
