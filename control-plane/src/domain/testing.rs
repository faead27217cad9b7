//! A store and an operation for tests of rules.

use jiff::Timestamp;
use shop_proto::{Digest, Generation, Isolation, Revision, RunState, SPEC_FORMAT, Spec};

use super::{
    operation::{Deadline, Operation, OperationKind, OperationState},
    session::StoreReport,
    store::{
        AgentProgress, Environment, Lifecycle, NodeProgress, Placement, Reservation, Store,
        StoreStatus,
    },
};

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// Wanted running, placed at second 0, at generation 2.
pub(super) fn store() -> Store {
    Store {
        id: "k3v9q2m8x1aa".parse().unwrap(),
        organisation: "default".to_owned(),
        project: "default".to_owned(),
        name: "shop".parse().unwrap(),
        display_name: "shop".to_owned(),
        environment: Environment::Production,
        labels: std::collections::BTreeMap::new(),
        generation: Generation::new(2).unwrap(),
        spec: Spec {
            format: SPEC_FORMAT,
            store_name: "shop".parse().unwrap(),
            revision: Revision {
                number: 1,
                template: "refshop".to_owned(),
                template_digest: Digest::of(b"t"),
                parameters: std::collections::BTreeMap::new(),
                profiles: std::collections::BTreeMap::new(),
                images: std::collections::BTreeMap::new(),
                resources: std::collections::BTreeMap::new(),
                isolation: Isolation::Standard,
            },
            hosts: Vec::new(),
            scale: std::collections::BTreeMap::new(),
            run_state: RunState::Running,
            restart_seq: 0,
            maintenance: false,
            hold_until_unix_ms: None,
            watch: None,
            rotations: std::collections::BTreeMap::new(),
        },
        template_version: "1.0.0".to_owned(),
        admin_path: "/admin".to_owned(),
        render_version: 1,
        lifecycle: Lifecycle::Live(RunState::Running),
        pinned_node: None,
        placement: Some(Placement {
            node: "n00001".parse().unwrap(),
            at: at(0),
        }),
        reserved: Reservation {
            memory_bytes: 1 << 30,
            cpu_millis: 1000,
        },
        room: None,
        on_node: NodeProgress::default(),
        on_agent: AgentProgress::default(),
        report: None,
        status: StoreStatus::Provisioning,
        reason: String::new(),
        message: String::new(),
        created_at: at(0),
        updated_at: at(0),
        change_seq: 1,
    }
}

pub(super) fn stopped(mut store: Store) -> Store {
    store.lifecycle = Lifecycle::Live(RunState::Stopped);
    store.spec.run_state = RunState::Stopped;
    store
}

/// As an agent would say it now.
pub(super) fn report(store: &Store, state: &str) -> StoreReport {
    StoreReport {
        generation: store.generation.get(),
        spec_digest: store.spec.digest().to_string(),
        plan_digest: String::new(),
        state: state.to_owned(),
        reason: String::new(),
        message: String::new(),
        replicas: Vec::new(),
        steps: Vec::new(),
        serving_slot: String::new(),
        restart_seq: store.spec.restart_seq,
        serving_revision: store.spec.revision.number,
        update: None,
        held_back: None,
        drift: Vec::new(),
        lost_volumes: Vec::new(),
        maintenance: false,
        data: None,
    }
}

pub(super) fn operation(store: &Store, kind: OperationKind, state: OperationState) -> Operation {
    Operation {
        id: "0".to_owned(),
        kind,
        organisation: store.organisation.clone(),
        store: store.id.clone(),
        store_name: store.name.clone(),
        generation: store.generation,
        state,
        reason: String::new(),
        message: String::new(),
        steps: Vec::new(),
        requested_by: "token:a".to_owned(),
        requested_reason: String::new(),
        request_id: "r".to_owned(),
        created_at: at(0),
        started_at: None,
        ended_at: None,
        deadline: Deadline::None,
        change_seq: 1,
    }
}
