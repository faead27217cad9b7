//! Updates through the whole loop: with every call failing once, every answer lost once, and the agent dying at every point.

use std::net::Ipv4Addr;

use shop_plan::address;

use super::*;
use crate::ledger::{Phase, Reason};

impl Machine {
    /// The node has rendered this revision.
    pub(super) fn knows(&self, generation: u64, revision: u64) -> Accepted {
        let mut order = fixtures::order(generation);
        order.spec = fixtures::revision(revision);
        self.renders(order)
    }

    /// The node has rendered this order.
    pub(super) fn renders(&self, order: Accepted) -> Accepted {
        let plan = fixtures::plan_of(&order.spec);
        let known = KnownPlan {
            generation: order.generation,
            plan: plan.digest(),
        };
        self.engine.know(known, hashes(&plan));
        order
    }

    fn address(&self, key: &ReplicaKey) -> Ipv4Addr {
        let network = match key.slot {
            Slot::B => NetworkName::AppB,
            Slot::A => NetworkName::AppA,
            Slot::Fixed => NetworkName::Data,
        };
        let part = address::replica(&self.plan, key, network).unwrap();
        [10, 200, 0, 32 * (network as u8) + part].into()
    }

    /// Its probe fails from now on, or the deep check through it.
    pub(super) fn ails(&self, key: &ReplicaKey, deep: bool) {
        let address = self.address(key);
        self.probes.1.lock().unwrap().insert((address, deep));
    }

    fn migrations(&self) -> Vec<String> {
        let migrates = |call: &String| call.starts_with("task migrate update-");
        self.engine.calls().into_iter().filter(migrates).collect()
    }

    pub(super) fn serves(&self, slot: Slot) -> bool {
        matches!(self.engine.serving(), Serve::Slot { slot: now, .. } if now == slot)
    }

    pub(super) fn in_slot(&self, slot: Slot) -> usize {
        let running = self.engine.running();
        running.iter().filter(|key| key.slot == slot).count()
    }
}

impl Agent {
    pub(super) async fn until_phase(&mut self, phase: Phase) -> Report {
        self.until(&format!("{phase:?}"), |report| {
            let update = report.changes.update.as_ref();
            update.is_some_and(|it| it.update.phase == phase)
        })
        .await
    }
}

pub(super) fn in_b(service: &str) -> ReplicaKey {
    ReplicaKey {
        slot: Slot::B,
        ..key(service)
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_moves_traffic_once_and_migrates_once() {
    let (machine, mut agent) = provisioned().await;
    machine.engine.forget_calls();
    agent.order(machine.knows(2, 2)).await.unwrap();
    let report = agent.until_phase(Phase::Switched).await;
    assert_eq!(
        report.state,
        State::Running,
        "buyers notice nothing: {report:#?}"
    );
    let report = agent.until_phase(Phase::Done).await;
    assert_eq!(report.changes.serving_revision, Some(2));
    assert!(machine.serves(Slot::B));
    assert_eq!((machine.in_slot(Slot::A), machine.in_slot(Slot::B)), (0, 2));
    assert_eq!(machine.migrations(), ["task migrate update-2"]);
    assert_eq!(machine.engine.broken(), Vec::<String>::new());
    let calls = machine.engine.calls();
    let at = |call: &str| calls.iter().position(|it| it == call).expect(call);
    assert!(at("start php-fpm-b-0") < at("task migrate update-2"));
    assert!(at("task migrate update-2") < at("serve b"));
    assert!(at("serve b") < at("stop web-a-0"));
    assert!(at("stop web-a-0") < at("stop php-fpm-a-0"));
    assert!(
        calls.iter().all(|call| !call.contains("-fixed-0")),
        "{calls:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_update_survives_every_failed_call_and_every_lost_answer() {
    let (machine, mut agent) = provisioned().await;
    machine.engine.forget_calls();
    agent.order(machine.knows(2, 2)).await.unwrap();
    agent.until_phase(Phase::Done).await;
    let calls: BTreeSet<String> = machine.engine.calls().into_iter().collect();
    for call in calls {
        for fault in [Fault::Fails, Fault::AnswerLost] {
            let (machine, mut agent) = provisioned().await;
            machine.engine.fault(&call, fault);
            agent.order(machine.knows(2, 2)).await.unwrap();
            agent.until_phase(Phase::Done).await;
            assert!(machine.serves(Slot::B), "{fault:?} of {call}");
            assert_eq!(machine.in_slot(Slot::A), 0, "{fault:?} of {call}");
            let runs: BTreeSet<String> = machine.migrations().into_iter().collect();
            assert_eq!(runs.len(), 1, "{fault:?} of {call}");
            assert_eq!(machine.engine.broken(), Vec::<String>::new());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_dies_at_any_point_of_an_update_goes_on_with_it() {
    for revision in [2, 4, 5] {
        let (machine, mut agent) = provisioned().await;
        machine.engine.forget_calls();
        agent.order(machine.knows(2, revision)).await.unwrap();
        agent.until_phase(Phase::Done).await;
        let all = machine.engine.calls().len();
        for deaths in 0..all {
            let (machine, agent) = provisioned().await;
            machine.engine.forget_calls();
            agent.order(machine.knows(2, revision)).await.unwrap();
            // The last calls are lists of a store in which all is done.
            let until = Instant::now() + Duration::from_secs(90);
            while machine.engine.calls().len() <= deaths && Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            agent.dies().await;
            let mut next = machine.agent();
            let report = next.until_phase(Phase::Done).await;
            assert_eq!(
                report.changes.serving_revision,
                Some(revision),
                "after {deaths}"
            );
            assert_eq!(machine.engine.broken(), Vec::<String>::new());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_that_is_never_ready_is_taken_back_and_buyers_notice_nothing() {
    let (machine, mut agent) = provisioned().await;
    machine.engine.forget_calls();
    machine.ails(&in_b("php-fpm"), false);
    agent.order(machine.knows(2, 4)).await.unwrap();
    let report = agent.until_phase(Phase::RolledBack).await;
    let taken = report.changes.taken_back.unwrap();
    assert_eq!(taken.failure.reason, Reason::UpdateNotReady);
    assert!(
        taken.failure.message.contains("php-fpm"),
        "{}",
        taken.failure.message
    );
    assert_eq!((taken.generation.get(), taken.revision), (2, 4));
    let calls = machine.engine.calls();
    assert!(
        calls.iter().all(|call| !call.starts_with("serve")),
        "{calls:?}"
    );
    // The control plane answers with what serves, as a newer order.
    agent.order(machine.knows(3, 1)).await.unwrap();
    agent
        .until("settled", |report| {
            report.order.is_some_and(|order| order.0.get() == 3) && report.state == State::Running
        })
        .await;
    while machine.in_slot(Slot::B) > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(machine.serves(Slot::A));
    assert_eq!(machine.engine.broken(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_release_that_is_bad_once_it_serves_is_taken_back() {
    for crashes in [false, true] {
        let (machine, mut agent) = provisioned().await;
        agent.order(machine.knows(2, 4)).await.unwrap();
        agent.until_phase(Phase::Switched).await;
        while !machine.serves(Slot::B) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if crashes {
            for _ in 0..2 {
                while !machine.engine.running().contains(&in_b("php-fpm")) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                machine.engine.kill(&in_b("php-fpm"), 70, false);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        } else {
            machine.ails(&in_b("web"), true);
        }
        let report = agent.until_phase(Phase::RolledBack).await;
        let taken = report.changes.taken_back.unwrap();
        assert_eq!(taken.failure.reason, Reason::UpdateBadMinute);
        agent
            .until("back", |report| report.changes.serving_revision == Some(1))
            .await;
        assert!(machine.serves(Slot::A));
        let told =
            |notice: Notice| matches!(notice, Notice::Event(it) if it.code == "update_rolled_back");
        let mut notices = Vec::new();
        while let Ok(notice) = agent.notices.try_recv() {
            notices.push(notice);
        }
        assert!(notices.into_iter().any(told));
        assert_eq!(machine.engine.broken(), Vec::<String>::new());
    }
}

/// Nothing is seen of what rests or is restarted: a release that crashes is found out in the window after that.
#[tokio::test(start_paused = true)]
async fn a_rest_is_no_part_of_the_window() {
    for restarts in [false, true] {
        let (machine, mut agent) = provisioned().await;
        agent.order(machine.knows(2, 4)).await.unwrap();
        agent.until_phase(Phase::Switched).await;
        let mut order = machine.knows(3, 4);
        order.spec.restart_seq = u64::from(restarts);
        if !restarts {
            order.spec.run_state = RunState::Stopped;
        }
        tokio::time::sleep(Duration::from_secs(40)).await;
        agent.order(machine.renders(order.clone())).await.unwrap();
        if !restarts {
            tokio::time::sleep(Duration::from_secs(600)).await;
            (order.generation, order.spec.run_state) =
                (fixtures::order(4).generation, RunState::Running);
            agent.order(machine.renders(order)).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(40)).await;
        for _ in 0..2 {
            while !machine.engine.running().contains(&in_b("php-fpm")) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            machine.engine.kill(&in_b("php-fpm"), 70, false);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        agent.until_phase(Phase::RolledBack).await;
        assert!(machine.serves(Slot::A), "restarts: {restarts}");
        assert_eq!(machine.engine.broken(), Vec::<String>::new());
    }
}

/// Each release has its own ends: what was taken back twice does not make the store, or the next release, look worse.
#[tokio::test(start_paused = true)]
async fn releases_that_crash_leave_nothing_behind() {
    let (machine, mut agent) = provisioned().await;
    for round in 0..3 {
        let generation = 2 + 2 * round;
        agent.order(machine.knows(generation, 4)).await.unwrap();
        agent.until_phase(Phase::Switched).await;
        for _ in 0..2 {
            while !machine.engine.running().contains(&in_b("php-fpm")) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            machine.engine.kill(&in_b("php-fpm"), 70, false);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        agent.until_phase(Phase::RolledBack).await;
        agent.order(machine.knows(generation + 1, 1)).await.unwrap();
        agent
            .until("runs", |report| {
                let current = report.order.is_some_and(|it| it.0.get() == generation + 1);
                current && report.state == State::Running
            })
            .await;
        while machine.in_slot(Slot::B) > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    assert_eq!(machine.engine.broken(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn code_that_the_data_has_outgrown_is_refused() {
    let (machine, mut agent) = provisioned().await;
    agent.order(machine.knows(2, 2)).await.unwrap();
    agent.until_phase(Phase::Done).await;
    agent.order(machine.knows(3, 3)).await.unwrap();
    agent
        .until("under the page", |report| report.changes.maintenance)
        .await;
    agent
        .until("served", |report| {
            report.changes.serving_revision == Some(3)
        })
        .await;
    let refused = agent.order(machine.knows(4, 2)).await.unwrap_err();
    assert_eq!(refused.code, "schema_too_new");
    assert_eq!(
        machine.migrations(),
        ["task migrate update-2", "task migrate update-3"]
    );
}

/// It fitted when it was taken, and the migration that it came too late for has made of the data what it cannot run on.
#[tokio::test(start_paused = true)]
async fn code_that_the_data_outgrows_after_it_was_ordered_does_not_follow() {
    let (machine, mut agent) = provisioned().await;
    agent.order(machine.knows(2, 2)).await.unwrap();
    agent.until_phase(Phase::Done).await;
    agent.order(machine.knows(3, 3)).await.unwrap();
    agent.until_phase(Phase::Preparing).await;
    let mut older = fixtures::order(4);
    older.spec = fixtures::revision(2);
    older.spec.revision.number = 9;
    agent.order(older.clone()).await.unwrap();
    let mut report = agent.until_phase(Phase::Done).await;
    let plan = fixtures::plan_of(&older.spec);
    let known = KnownPlan {
        generation: older.generation,
        plan: plan.digest(),
    };
    machine.engine.know(known, hashes(&plan));
    machine.engine.forget_calls();
    tokio::time::sleep(Duration::from_secs(120)).await;
    let calls = machine.engine.calls();
    assert!(
        !calls.iter().any(|call| call.starts_with("create")),
        "{calls:?}"
    );
    while let Ok(later) = agent.reports.try_recv() {
        report = later;
    }
    assert_eq!(report.changes.serving_revision, Some(3));
    assert_eq!(report.changes.schema.map(|data| data.schema), Some(3));
    let mut refused = Vec::new();
    while let Ok(notice) = agent.notices.try_recv() {
        if let Notice::Refusal(refusal) = notice {
            refused.push((refusal.generation, refusal.code));
        }
    }
    assert_eq!(refused, [(4, "schema_too_new")]);
    // At rest it runs no code.
    let mut rests = older;
    (rests.generation, rests.spec.run_state) = (fixtures::order(5).generation, RunState::Stopped);
    agent.order(rests).await.unwrap();
    agent.until_state(State::Stopped).await;
}

#[tokio::test(start_paused = true)]
async fn a_plan_the_node_has_not_rendered_is_waited_for_while_the_old_one_is_repaired() {
    let (machine, mut agent) = provisioned().await;
    let mut order = fixtures::order(2);
    order.spec = fixtures::revision(4);
    agent.order(order).await.unwrap();
    machine.engine.kill(&key("cache"), 1, false);
    agent.until_state(State::Degraded).await;
    agent.until_state(State::Running).await;
    machine.knows(2, 4);
    agent.until_phase(Phase::Done).await;
}

#[tokio::test(start_paused = true)]
async fn replicas_come_and_go_without_a_stop_of_who_serves() {
    let (machine, mut agent) = provisioned().await;
    let scaled = |generation, web, php| {
        let mut order = fixtures::order(generation);
        order.spec.scale = [("web", web), ("php-fpm", php)]
            .map(|(name, count)| (name.parse().unwrap(), count))
            .into();
        order
    };
    agent.order(scaled(2, 3, 2)).await.unwrap();
    let three =
        |serve: &Serve| matches!(serve, Serve::Slot { replicas, .. } if replicas.len() == 3);
    while !three(&machine.engine.serving()) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    agent.order(scaled(3, 1, 1)).await.unwrap();
    while machine.in_slot(Slot::A) > 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    agent.until_state(State::Running).await;
    assert_eq!(machine.engine.broken(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_store_of_the_release_before_is_updated_from_what_it_serves() {
    let (machine, agent) = provisioned().await;
    agent.dies().await;
    // That release did not remember what serves.
    let mut ledger = Ledger::open(machine.disk.path()).unwrap();
    ledger
        .change(|entries| (entries.serving, entries.slot, entries.schema) = (None, None, None))
        .unwrap();
    let mut agent = machine.agent();
    agent.until_state(State::Running).await;
    agent.order(machine.knows(2, 2)).await.unwrap();
    agent.until_phase(Phase::Done).await;
    assert!(machine.serves(Slot::B));
    assert_eq!(machine.engine.broken(), Vec::<String>::new());
}

/// The data are made for the first release's code, and the next one is asked for before anybody was served.
#[tokio::test(start_paused = true)]
async fn what_never_served_is_migrated_before_it_does() {
    let machine = Machine::new();
    let in_a = |service: &str| ReplicaKey {
        slot: Slot::A,
        ..key(service)
    };
    machine.ails(&in_a("web"), true);
    let mut agent = machine.agent();
    agent.order(fixtures::order(1)).await.unwrap();
    let installed = |report: &Report| {
        let mut steps = report.steps.iter();
        steps.any(|step| {
            step.name == "task:install" && step.state == crate::store::report::StepState::Done
        })
    };
    agent.until("installed", installed).await;
    agent.order(machine.knows(2, 2)).await.unwrap();
    machine.probes.1.lock().unwrap().clear();
    let report = agent.until_state(State::Running).await;
    assert_eq!(report.changes.serving_revision, Some(2));
    assert_eq!(machine.migrations(), ["task migrate update-2-0"]);
    assert_eq!(machine.installs().len(), 1);
    let calls = machine.engine.calls();
    let at = |call: &str| calls.iter().position(|it| it == call).expect(call);
    assert!(at("task migrate update-2-0") < at("serve"));
    assert_eq!(machine.engine.broken(), Vec::<String>::new());
}

/// A run that was begun for older code makes what that code expects, whatever was asked for until it ended.
#[test]
fn a_run_makes_what_it_was_begun_for() {
    let schema = |plan: &StorePlan| crate::ledger::Marks::of(plan).schema;
    let old = schema(&fixtures::plan_of(&fixtures::revision(1)));
    let new = schema(&fixtures::plan_of(&fixtures::revision(2)));
    assert!(old.schema < new.schema);
    let install = || "install".parse().unwrap();
    let mut entries = crate::ledger::Entries::default();
    entries.run_began(install(), "once-0".to_owned(), Some(old));
    // The agent died, and the next one attaches for another order.
    entries.run_began(install(), "once-0".to_owned(), Some(new));
    entries.run_ended(&install(), 0, Some(new));
    assert_eq!(entries.schema, Some(old));
    assert!(entries.open_runs.is_empty() && entries.run_schemas.is_empty());
    entries.run_began(install(), "once-1".to_owned(), Some(new));
    entries.run_ended(&install(), 1, Some(new));
    assert_eq!(entries.schema, Some(old), "it failed");
}
