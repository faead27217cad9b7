//! A control plane that comes from a backup, and agents that say what cannot be: nothing is removed by itself, and nothing runs full.

use crate::on_every_database;

on_every_database! {
    a_control_plane_from_a_backup_ends_no_time_of_grace,
    a_time_of_grace_ends_when_the_node_has_said_what_it_holds,
    an_agent_that_claims_a_generation_from_nowhere_keeps_nobody_from_deleting,
    an_agent_that_makes_runs_up_fills_nothing,
    an_agent_cannot_have_two_revisions_take_each_others_place_for_ever,
}

mod body {
    use std::time::Duration;

    use control_plane::domain::{
        session::{FleetEvent, HeldBackReport, NodeOrder, RetireStatus, TaskReport},
        task::TaskState,
    };
    use shop_proto::StoreId;

    use crate::harness::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn retires(rig: &Rig, id: &StoreId) -> bool {
        let orders = rig.orders.nodes.lock().unwrap();
        orders
            .iter()
            .any(|(_, order)| matches!(order, NodeOrder::Retire { store, .. } if store == id))
    }

    /// The backup was made while the store waited for its deletion; that was taken back afterwards.
    pub async fn a_control_plane_from_a_backup_ends_no_time_of_grace(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let (id, node) = rig.running("shop").await;
        rig.create("other").await;
        let other = rig.bring_up("other").await;
        rig.app
            .delete_store(&owner(), later("shop", "1h"))
            .await
            .unwrap();
        let also = rig
            .app
            .delete_store(&owner(), later("other", "2h"))
            .await
            .unwrap()
            .operation;
        let known = rig.store("shop").await.generation;
        rig.up_with(&node, &id, known.get() + 1).await;
        rig.until_store("shop", "it is known", |store| {
            store.on_node.generation == known.get() + 1
        })
        .await;
        // The other one's time is over later, and its node has not gone on without us.
        rig.pass(2 * HOUR);
        rig.retired(&other, &node, "gone").await;
        rig.until_operation(&also.id, "succeeded").await;
        let store = rig.store("shop").await;
        assert_eq!(
            (store.lifecycle.as_str(), store.reason.as_str()),
            ("grace", "needs_review")
        );
        assert!(!retires(&rig, &id), "nobody said that it is to go");
        // It can still be taken back, above what the node holds.
        rig.app.undelete_store(&owner(), act("shop")).await.unwrap();
        let store = rig.store("shop").await;
        assert_eq!(store.generation.get(), known.get() + 2);
        rig.stop().await;
    }

    pub async fn a_time_of_grace_ends_when_the_node_has_said_what_it_holds(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let (id, node) = rig.running("shop").await;
        rig.app
            .delete_store(&owner(), later("shop", "1h"))
            .await
            .unwrap();
        let known = rig.store("shop").await.generation;
        let there = rig.node("two").await;
        let mut elsewhere = new_store("other");
        elsewhere.node = there.to_string();
        rig.app.create_store(&owner(), elsewhere).await.unwrap();
        let other = rig.bring_up("other").await;
        let also = rig
            .app
            .delete_store(&owner(), later("other", "1h"))
            .await
            .unwrap()
            .operation;
        rig.down(&node).await;
        rig.pass(2 * HOUR);
        rig.retired(&other, &there, "gone").await;
        rig.until_operation(&also.id, "succeeded").await;
        let store = rig.store("shop").await;
        assert_eq!(store.lifecycle.as_str(), "grace");
        assert!(!retires(&rig, &id));
        rig.up_with(&node, &id, known.get()).await;
        rig.retired(&id, &node, "gone").await;
        rig.until_gone("shop").await;
        rig.stop().await;
    }

    pub async fn an_agent_that_claims_a_generation_from_nowhere_keeps_nobody_from_deleting(
        url: Option<&str>,
    ) {
        let rig = Rig::start(url).await;
        let (id, node) = rig.running("shop").await;
        let mut report = rig.report_of(&id, "running").await;
        report.generation = u64::MAX;
        let store = id.clone();
        rig.say(FleetEvent::Report { store, report }).await;
        rig.until_store("shop", "it is heard", |store| {
            store.on_agent.generation > 1 << 60
        })
        .await;
        let before = rig.store("shop").await.generation;
        rig.app.stop_store(&owner(), act("shop")).await.unwrap();
        rig.app.delete_store(&owner(), now("shop")).await.unwrap();
        let (_, generation) = rig
            .node_order("retired", |store, order| match order {
                NodeOrder::Retire { generation, .. } => Some((store.clone(), generation.get())),
                _ => None,
            })
            .await;
        assert_eq!(generation, before.get() + 2);
        rig.say(FleetEvent::Retirement {
            node,
            status: RetireStatus {
                store: id,
                generation,
                state: "gone".to_owned(),
                message: String::new(),
                receipt: None,
            },
        })
        .await;
        rig.until_gone("shop").await;
        rig.stop().await;
    }

    pub async fn an_agent_that_makes_runs_up_fills_nothing(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let (id, _) = rig.running("shop").await;
        for number in 0..150 {
            let report = TaskReport {
                id: format!("made-up-{number:03}"),
                task: "reindex".to_owned(),
                scheduled: number % 2 == 0,
                state: TaskState::Running,
                exit_code: None,
                message: String::new(),
                started_unix_ms: 0,
                ended_unix_ms: 0,
            };
            let store = id.clone();
            rig.say(FleetEvent::Task { store, report }).await;
        }
        let kept = rig
            .until("all are heard", || async {
                let mut tx = rig.db.read().await.unwrap();
                let runs = tx.task_runs(&id, 1000).await.unwrap();
                match runs.iter().any(|run| run.id == "made-up-149") {
                    true => Ok(runs.len()),
                    false => Err(format!("{}", runs.len())),
                }
            })
            .await;
        assert!(kept <= 100, "{kept}");
        rig.stop().await;
    }

    /// It says of whatever is wanted that it was tried in vain, and that the other one serves.
    pub async fn an_agent_cannot_have_two_revisions_take_each_others_place_for_ever(
        url: Option<&str>,
    ) {
        let rig = Rig::start(url).await;
        let (id, _) = rig.running("shop").await;
        let update = control_plane::app::AmendStore {
            store: "shop".to_owned(),
            what: control_plane::app::Amendment::Update(control_plane::app::UpdateStore {
                parameters: [("shop_name".to_owned(), Some("New".to_owned()))].into(),
                ..control_plane::app::UpdateStore::default()
            }),
            ..control_plane::app::AmendStore::default()
        };
        rig.app.amend(&owner(), update).await.unwrap();
        let lie = async || {
            let wanted = rig.store("shop").await;
            let number = wanted.spec.revision.number;
            let mut report = rig.report_of(&id, "running").await;
            report.serving_revision = 3 - number;
            report.held_back = Some(HeldBackReport {
                generation: u64::MAX,
                revision: number,
                reason: "update_bad_minute".to_owned(),
                message: String::new(),
                at_unix_ms: 1,
            });
            let store = id.clone();
            rig.say(FleetEvent::Report { store, report }).await;
            number
        };
        assert_eq!(lie().await, 2);
        rig.until("the first is wanted again", || async {
            let store = rig.store("shop").await;
            match store.spec.revision.number {
                1 => Ok(()),
                _ => Err(format!("{store:?}")),
            }
        })
        .await;
        let before = rig.store("shop").await;
        assert_eq!(lie().await, 1);
        // What is said after it has been heard.
        rig.create("other").await;
        rig.bring_up("other").await;
        let after = rig.store("shop").await;
        assert_eq!(
            (after.generation, after.spec.revision.number),
            (before.generation, 1)
        );
        rig.stop().await;
    }
}
