//! Each cause is found, named and shown, and the next command is the one that helps.

use shop_proto::{ReplicaKey, RunState, Slot};

use super::*;
use crate::domain::{
    node::Link,
    session::{Capacity, DriftReport, HeldBackReport, ReplicaReport, StoreReport, UpdateReport},
    testing::{at, operation, report, store},
};

fn node(link: Link) -> Node {
    Node {
        id: "n00001".parse().unwrap(),
        name: "host-1".to_owned(),
        capacity: Capacity::default(),
        agent_version: String::new(),
        engine_version: String::new(),
        boot_id: String::new(),
        render_versions: vec![1],
        joined_at: at(0),
        link,
        orphans: Vec::new(),
        breaker: crate::domain::breaker::Breaker::default(),
    }
}

fn up() -> Node {
    node(Link::Up { since: at(0) })
}

struct Scene {
    store: Store,
    node: Option<Node>,
    rooms: Vec<Room>,
    operations: Vec<Operation>,
    agent: bool,
}

impl Scene {
    fn running() -> Self {
        let mut store = store();
        store.status = StoreStatus::Running;
        store.on_agent.enrolled = true;
        store.report = Some(report(&store, "running"));
        Self {
            store,
            node: Some(up()),
            rooms: vec![Room {
                node: "host-1".to_owned(),
                connected: true,
                free: Reservation {
                    memory_bytes: 512 << 20,
                    cpu_millis: 250,
                },
                disk: DiskUse {
                    used: 40,
                    limit: 85,
                },
            }],
            operations: Vec::new(),
            agent: true,
        }
    }

    fn explain(&self) -> Explanation {
        explain(&Facts {
            store: &self.store,
            node: self.node.as_ref(),
            rooms: &self.rooms,
            operations: &self.operations,
            agent_connected: self.agent,
            now: at(100),
        })
    }

    fn codes(&self) -> Vec<&'static str> {
        self.explain()
            .causes
            .iter()
            .map(|cause| cause.code)
            .collect()
    }

    fn report(&mut self) -> &mut StoreReport {
        self.store.report.as_mut().unwrap()
    }

    fn replica(&mut self, service: &str, phase: &str, reason: &str) -> &mut ReplicaReport {
        let slotted = matches!(service, "web" | "php-fpm");
        let replica = ReplicaReport {
            key: ReplicaKey {
                service: service.parse().unwrap(),
                slot: if slotted { Slot::A } else { Slot::Fixed },
                replica: 0,
            },
            phase: phase.to_owned(),
            reason: reason.to_owned(),
            exit_code: None,
            oom_killed: false,
            restarts: 0,
            since_unix_ms: 0,
            last_log: None,
        };
        let replicas = &mut self.report().replicas;
        replicas.push(replica);
        replicas.last_mut().unwrap()
    }
}

#[test]
fn a_store_that_is_well_says_so_and_asks_for_nothing() {
    let explained = Scene::running().explain();
    assert!(explained.well, "{explained:?}");
    assert_eq!(explained.summary, "store `shop` is running, as asked");
    assert_eq!(explained.next, []);
}

#[test]
fn the_chain_goes_from_what_buyers_miss_to_what_lies_behind() {
    let mut scene = Scene::running();
    scene.store.status = StoreStatus::Degraded;
    scene.replica("web", "unready", "probe_failed");
    let fpm = scene.replica("php-fpm", "crash_looping", "oom_killed");
    fpm.oom_killed = true;
    fpm.exit_code = Some(137);
    fpm.restarts = 4;
    scene.replica("db", "ready", "");
    let explained = scene.explain();
    let codes: Vec<_> = explained.causes.iter().map(|cause| cause.code).collect();
    assert_eq!(codes, ["service_not_ready", "out_of_memory"]);
    assert!(explained.causes[0].what.starts_with("web"));
    assert_eq!(
        explained.causes[1].evidence,
        [
            "exit code 137",
            "limit of the template",
            "restarted 4 times"
        ]
    );
    assert_eq!(
        explained.next[0].command,
        "shopctl store update shop --resources php-fpm.memory=…"
    );
}

#[test]
fn a_database_that_ends_comes_before_what_needs_it() {
    let mut scene = Scene::running();
    scene.store.status = StoreStatus::Degraded;
    scene.replica("db", "crash_looping", "exited").exit_code = Some(1);
    scene.replica("web", "unready", "probe_failed");
    scene.replica("php-fpm", "unready", "probe_failed");
    let explained = scene.explain();
    let whats: Vec<_> = explained.causes.iter().map(|cause| &*cause.what).collect();
    assert_eq!(
        whats,
        [
            "web (a-0) is not ready",
            "php-fpm (a-0) is not ready",
            "db ends again and again soon after its start"
        ]
    );
}

#[test]
fn a_service_that_never_answers_is_told_from_one_that_is_starting() {
    let mut scene = Scene::running();
    scene.store.status = StoreStatus::Provisioning;
    scene.replica("php-fpm", "starting", "").since_unix_ms = at(90).as_millisecond();
    assert_eq!(scene.codes(), ["starting"]);
    scene.report().replicas[0].since_unix_ms = at(10).as_millisecond();
    assert_eq!(scene.codes(), ["probe_fails"]);
}

#[test]
fn what_keeps_a_store_from_a_place() {
    let mut scene = Scene::running();
    scene.store.placement = None;
    scene.node = None;
    scene.store.status = StoreStatus::Pending;
    scene.store.reason = "no_capacity".to_owned();
    assert_eq!(scene.codes(), ["not_placed", "no_capacity"]);
    let explained = scene.explain();
    assert!(
        explained.causes[1].evidence[0]
            .contains("host-1 has 512 MiB of memory and 0.250 cores left"),
        "{explained:?}"
    );
    scene.rooms[0].connected = false;
    assert_eq!(scene.codes(), ["not_placed", "no_nodes"]);
    scene.rooms.clear();
    let explained = scene.explain();
    assert_eq!(explained.next[0].command, "shopctl node join");
}

#[test]
fn who_is_away() {
    let mut scene = Scene::running();
    scene.agent = false;
    assert_eq!(scene.codes(), ["agent_away"]);
    scene.node = Some(node(Link::Down { since: at(40) }));
    let explained = scene.explain();
    assert_eq!(explained.causes[0].code, "node_away");
    assert!(
        explained.causes[0].evidence[0].contains("1 min ago"),
        "{explained:?}"
    );
}

#[test]
fn what_operators_did() {
    let mut scene = Scene::running();
    let mut stop = operation(&scene.store, OperationKind::Stop, OperationState::Succeeded);
    stop.requested_by = "token:ada".to_owned();
    stop.requested_reason = "stock-taking".to_owned();
    scene.operations = vec![stop];
    scene.store.lifecycle = Lifecycle::Live(RunState::Stopped);
    scene.store.status = StoreStatus::Stopped;
    let explained = scene.explain();
    assert_eq!(explained.causes[0].code, "stopped");
    let by = &explained.causes[0].evidence[0];
    assert!(
        by.contains("token:ada") && by.contains("stock-taking"),
        "{by}"
    );
    assert_eq!(explained.next[0].command, "shopctl store start shop");
    scene.store.lifecycle = Lifecycle::Live(RunState::Paused);
    scene.store.status = StoreStatus::Paused;
    assert_eq!(scene.codes(), ["paused"]);
}

#[test]
fn a_deletion_and_its_node_that_is_gone() {
    let mut scene = Scene::running();
    scene.store.lifecycle = Lifecycle::Grace {
        back: RunState::Running,
        until: at(5000),
    };
    assert_eq!(scene.codes(), ["deletion_in_grace"]);
    scene.store.lifecycle = Lifecycle::Deleting;
    scene.node = Some(node(Link::Down { since: at(40) }));
    let explained = scene.explain();
    assert_eq!(explained.causes[1].code, "node_away");
    let last = &explained.next.last().unwrap().command;
    assert_eq!(last, "shopctl store delete shop --force-forget");
}

#[test]
fn data_that_is_gone_is_said_before_anything_it_causes() {
    let mut scene = Scene::running();
    scene.store.status = StoreStatus::Failed;
    scene.replica("db", "absent", "volume_lost");
    scene.report().lost_volumes = vec!["db-data".to_owned()];
    let explained = scene.explain();
    assert_eq!(explained.causes[0].code, "volume_lost");
    assert!(explained.causes[0].what.contains("db-data"));
}

#[test]
fn what_holds_besides_is_said_of_a_running_store() {
    let mut scene = Scene::running();
    scene.store.spec.maintenance = true;
    scene.store.spec.hold_until_unix_ms = Some(at(3600).as_millisecond());
    scene.report().drift = vec![DriftReport {
        kind: "container".to_owned(),
        name: "cache".to_owned(),
        what: "stopped".to_owned(),
        seen_unix_ms: at(50).as_millisecond(),
        repaired_unix_ms: 0,
    }];
    scene.report().held_back = Some(HeldBackReport {
        generation: 2,
        revision: 3,
        reason: "update_bad_minute".to_owned(),
        message: "3 deep checks in a row failed".to_owned(),
        at_unix_ms: 0,
    });
    assert_eq!(
        scene.codes(),
        ["maintenance", "held", "drift", "taken_back"]
    );
    assert!(!scene.explain().well);
}

#[test]
fn a_hold_that_is_over_is_not_mentioned() {
    let mut scene = Scene::running();
    scene.store.spec.hold_until_unix_ms = Some(at(99).as_millisecond());
    assert_eq!(scene.codes(), [""; 0]);
}

#[test]
fn an_update_that_went_neither_forward_nor_back() {
    let mut scene = Scene::running();
    scene.store.status = StoreStatus::Degraded;
    scene.report().update = Some(UpdateReport {
        from_revision: 1,
        to_revision: 2,
        generation: 2,
        phase: "halted".to_owned(),
        slot: "b".to_owned(),
        began_unix_ms: 0,
        switched_unix_ms: 0,
        window_ends_unix_ms: 0,
        reason: "update_bad_minute".to_owned(),
        message: String::new(),
    });
    assert_eq!(scene.codes(), ["update_halted"]);
}

#[test]
fn node_or_agent_that_do_not_take_the_order() {
    let mut scene = Scene::running();
    scene.store.status = StoreStatus::Provisioning;
    scene.store.on_node.state = "error".to_owned();
    scene.store.on_node.code = "image_missing".to_owned();
    assert_eq!(scene.codes(), ["node_refuses"]);
    scene.store.on_node = crate::domain::store::NodeProgress::default();
    scene.store.on_agent.refused_generation = scene.store.generation.get();
    scene.store.on_agent.refused_code = "plan_mismatch".to_owned();
    assert_eq!(scene.codes(), ["agent_refuses"]);
    scene.store.on_agent.refused_code = "ledger_failed".to_owned();
    assert_eq!(scene.codes(), ["agent_cannot_write"]);
}

#[test]
fn nodes_with_room_and_full_disks_say_how_full() {
    let mut scene = Scene::running();
    scene.store.placement = None;
    scene.store.status = StoreStatus::Pending;
    scene.store.reason = "disk_pressure".to_owned();
    scene.rooms[0].disk = DiskUse {
        used: 91,
        limit: 90,
    };
    let said = scene.explain();
    let cause = said.causes.last().unwrap();
    assert_eq!(cause.code, "disk_pressure");
    assert_eq!(
        cause.evidence,
        ["node host-1 uses 91 % of its disk; from 90 % on it takes no new stores"]
    );
}

#[test]
fn a_full_disk_is_a_circumstance() {
    let mut scene = Scene::running();
    let node = scene.node.as_mut().unwrap();
    node.capacity.disk_total_bytes = 100;
    node.capacity.disk_free_bytes = 4;
    assert_eq!(scene.codes(), ["disk_nearly_full"]);
}

#[test]
fn a_deadline_that_passed() {
    let mut scene = Scene::running();
    scene.store.status = StoreStatus::Failed;
    let mut failed = operation(&scene.store, OperationKind::Create, OperationState::Failed);
    failed.reason = "deadline".to_owned();
    failed.message = "php-fpm was not ready in 10 minutes".to_owned();
    scene.operations = vec![failed];
    assert_eq!(scene.codes(), ["operation_failed"]);
}
