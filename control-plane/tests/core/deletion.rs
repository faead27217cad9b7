//! Deleting with a time of grace, taking it back, giving up on a node, and what the database itself refuses.

use crate::on_every_database;

on_every_database! {
    stopped_at_once_and_gone_when_the_time_is_over,
    taken_back_it_is_what_it_was,
    a_named_time_is_held_and_a_wrong_one_refused,
    now_ends_a_time_of_grace,
    forgotten_only_when_its_node_is_away_and_retired_there_on_return,
    an_assignment_that_arrives_after_the_end_is_taken_down,
    a_receipt_that_does_not_hold_keeps_the_record,
    the_database_refuses_what_the_state_machine_does,
}

mod body {
    use std::time::Duration;

    use control_plane::{
        app::ForgetStore,
        domain::session::{AgentOrder, FleetEvent, NodeOrder, RetireStatus, SignedReceipt},
    };
    use shop_proto::RunState;

    use crate::harness::*;

    const HOUR: Duration = Duration::from_secs(3600);

    pub async fn stopped_at_once_and_gone_when_the_time_is_over(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let (id, node) = rig.running("shop").await;
        let delete = rig
            .app
            .delete_store(&owner(), later("shop", ""))
            .await
            .unwrap()
            .operation;
        rig.agent_order("told to stop", |store, order| match order {
            AgentOrder::Desired { spec, .. } if *store == id => {
                (spec.run_state == RunState::Stopped).then_some(())
            }
            _ => None,
        })
        .await;
        rig.report(&id, "stopped").await;
        rig.until("the operation waits for its time", || async {
            let seen = rig.app.get_operation(&delete.id).await.unwrap().operation;
            match (seen.state.as_str(), seen.reason.as_str()) {
                ("pending", "in_grace") => Ok(()),
                _ => Err(format!("{seen:?}")),
            }
        })
        .await;
        let view = rig.store("shop").await;
        assert_eq!(view.status.as_str(), "deleting");
        assert!(view.message.contains("undelete shop"), "{}", view.message);
        for action in [
            rig.app.start_store(&owner(), act("shop")).await,
            rig.app.stop_store(&owner(), act("shop")).await,
            rig.app.restart_store(&owner(), act("shop")).await,
        ] {
            assert_eq!(action.unwrap_err().code(), "store_deleting");
        }
        // Asking again puts nothing off.
        let again = rig
            .app
            .delete_store(&owner(), later("shop", ""))
            .await
            .unwrap();
        assert_eq!(again.operation.id, delete.id);
        rig.pass(23 * HOUR);
        let retired = |order: &NodeOrder| matches!(order, NodeOrder::Retire { .. });
        let early = rig.orders.nodes.lock().unwrap().clone();
        assert!(!early.iter().any(|(_, order)| retired(order)), "{early:?}");
        rig.pass(HOUR);
        rig.retired(&id, &node, "gone").await;
        let ended = rig.until_operation(&delete.id, "succeeded").await;
        let steps: Vec<&str> = ended.steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!(
            steps,
            ["accepted", "grace over", "tombstoned", "stopped", "removed"]
        );
        assert_eq!(
            rig.app.store_receipt("shop").await.unwrap_err().code(),
            "no_receipt"
        );
        rig.stop().await;
    }

    pub async fn taken_back_it_is_what_it_was(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let (id, _) = rig.running("shop").await;
        let caller = owner();
        let undelete = || rig.app.undelete_store(&caller, act("shop"));
        assert_eq!(undelete().await.unwrap_err().code(), "store_live");
        let delete = rig
            .app
            .delete_store(&owner(), later("shop", "1h"))
            .await
            .unwrap()
            .operation;
        rig.report(&id, "stopped").await;
        let back = undelete().await.unwrap().operation;
        rig.until_operation(&delete.id, "cancelled").await;
        let store = rig.store("shop").await;
        assert_eq!(
            (store.lifecycle.as_str(), store.spec.run_state),
            ("running", RunState::Running)
        );
        rig.report(&id, "running").await;
        rig.until_operation(&back.id, "succeeded").await;
        // The time that was set before means nothing any more.
        rig.pass(48 * HOUR);
        rig.report(&id, "degraded").await;
        rig.until_status("shop", "degraded").await;
        rig.stop().await;
    }

    pub async fn a_named_time_is_held_and_a_wrong_one_refused(url: Option<&str>) {
        let rig = Rig::with(url, |settings| settings.delete_grace = 48 * HOUR).await;
        let (id, node) = rig.running("shop").await;
        for wrong in ["0s", "yesterday", "-1h", "9000h"] {
            let refused = rig.app.delete_store(&owner(), later("shop", wrong)).await;
            assert_eq!(refused.unwrap_err().code(), "invalid_request", "{wrong}");
        }
        let mut both = later("shop", "1h");
        both.now = true;
        let refused = rig.app.delete_store(&owner(), both).await.unwrap_err();
        assert_eq!(refused.code(), "invalid_request");
        rig.app
            .delete_store(&owner(), later("shop", "1h"))
            .await
            .unwrap();
        rig.report(&id, "stopped").await;
        rig.pass(HOUR);
        rig.retired(&id, &node, "tombstoned").await;
        let too_late = rig.app.undelete_store(&owner(), act("shop")).await;
        assert_eq!(too_late.unwrap_err().code(), "store_deleting");
        rig.stop().await;
    }

    pub async fn now_ends_a_time_of_grace(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let (id, node) = rig.running("shop").await;
        let waiting = rig
            .app
            .delete_store(&owner(), later("shop", ""))
            .await
            .unwrap()
            .operation;
        let at_once = rig
            .app
            .delete_store(&owner(), now("shop"))
            .await
            .unwrap()
            .operation;
        rig.until_operation(&waiting.id, "cancelled").await;
        rig.retired(&id, &node, "gone").await;
        rig.until_operation(&at_once.id, "succeeded").await;
        rig.stop().await;
    }

    pub async fn forgotten_only_when_its_node_is_away_and_retired_there_on_return(
        url: Option<&str>,
    ) {
        let rig = Rig::start(url).await;
        let (id, node) = rig.running("shop").await;
        let caller = owner();
        let forget = || {
            rig.app.forget_store(
                &caller,
                ForgetStore {
                    store: "shop".to_owned(),
                    reason: "the host burnt down".to_owned(),
                },
            )
        };
        assert_eq!(forget().await.unwrap_err().code(), "store_live");
        let delete = rig
            .app
            .delete_store(&owner(), now("shop"))
            .await
            .unwrap()
            .operation;
        assert_eq!(forget().await.unwrap_err().code(), "node_connected");
        rig.down(&node).await;
        rig.pass(Duration::from_secs(60));
        rig.until("it says why it is not gone", || async {
            let store = rig.store("shop").await;
            match (store.status.as_str(), store.reason.as_str()) {
                ("deleting", "node_unreachable") => Ok(()),
                _ => Err(format!("{store:?}")),
            }
        })
        .await;
        let forgotten = forget().await.unwrap().operation;
        assert_eq!(
            (forgotten.id.as_str(), forgotten.reason.as_str()),
            (delete.id.as_str(), "forgotten")
        );
        assert!(
            forgotten.message.contains("may still hold"),
            "{}",
            forgotten.message
        );
        assert_eq!(
            rig.app.get_store("shop").await.unwrap_err().code(),
            "not_found"
        );
        // Its name is free again, and the node is not asked to take the old one for the new one.
        rig.create("shop").await;
        rig.forget_orders();
        rig.up_with(&node, &id, 1).await;
        rig.retired(&id, &node, "gone").await;
        rig.node_order("its end there is recorded", |_, order| {
            matches!(order, NodeOrder::RetireRecorded { store } if *store == id).then_some(())
        })
        .await;
        let view = rig.app.get_node(&node).await.unwrap();
        assert!(view.node.orphans.is_empty(), "{:?}", view.node.orphans);
        rig.stop().await;
    }

    /// From a session or a replica that was slower than the deletion: the node has forgotten its tombstone and makes the store anew.
    pub async fn an_assignment_that_arrives_after_the_end_is_taken_down(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let (id, node) = rig.running("shop").await;
        let delete = rig
            .app
            .delete_store(&owner(), now("shop"))
            .await
            .unwrap()
            .operation;
        rig.retired(&id, &node, "gone").await;
        rig.until_operation(&delete.id, "succeeded").await;
        rig.forget_orders();
        rig.assigned(&node, &id, ("accepted", "")).await;
        rig.retired(&id, &node, "gone").await;
        rig.node_order("its second end is recorded", |_, order| {
            matches!(order, NodeOrder::RetireRecorded { store } if *store == id).then_some(())
        })
        .await;
        assert_eq!(
            rig.app.get_store("shop").await.unwrap_err().code(),
            "not_found"
        );
        rig.stop().await;
    }

    pub async fn a_receipt_that_does_not_hold_keeps_the_record(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let (id, node) = rig.running("shop").await;
        rig.app.delete_store(&owner(), now("shop")).await.unwrap();
        let generation = rig.store("shop").await.generation.get();
        rig.say(FleetEvent::Retirement {
            node: node.clone(),
            status: RetireStatus {
                store: id.clone(),
                generation,
                state: "gone".to_owned(),
                message: String::new(),
                receipt: Some(SignedReceipt {
                    document: format!(
                        r#"{{"store":"{id}","node":"{node}","generation":{generation}}}"#
                    ),
                    signature: vec![1; 70],
                }),
            },
        })
        .await;
        rig.until("it says that nothing is proven", || async {
            let store = rig.app.get_store("shop").await.map_err(|e| e.to_string())?;
            match store.store.reason.as_str() {
                "unproven" => Ok(()),
                _ => Err(format!("{store:?}")),
            }
        })
        .await;
        // An operator who looked at the node may end it.
        rig.app
            .forget_store(
                &owner(),
                ForgetStore {
                    store: "shop".to_owned(),
                    reason: "looked".to_owned(),
                },
            )
            .await
            .unwrap();
        rig.stop().await;
    }

    pub async fn the_database_refuses_what_the_state_machine_does(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let (id, node) = rig.running("shop").await;
        let raw = |sql: &'static str| rig.raw(sql, id.as_str());
        for illegal in [
            "UPDATE stores SET lifecycle = 'deleted' WHERE id = $1",
            "UPDATE stores SET lifecycle = 'nonsense' WHERE id = $1",
            "UPDATE stores SET lifecycle = 'grace' WHERE id = $1",
            "UPDATE stores SET grace_back = 'running' WHERE id = $1",
            "UPDATE stores SET generation = generation - 1 WHERE id = $1",
        ] {
            assert!(raw(illegal).await.is_err(), "{illegal}");
        }
        rig.app
            .delete_store(&owner(), later("shop", "1h"))
            .await
            .unwrap();
        for illegal in [
            "UPDATE stores SET lifecycle = 'stopped', grace_back = NULL, grace_until = NULL WHERE id = $1",
            "UPDATE stores SET lifecycle = 'deleted', grace_back = NULL, grace_until = NULL WHERE id = $1",
            "UPDATE stores SET grace_until = NULL WHERE id = $1",
        ] {
            assert!(raw(illegal).await.is_err(), "{illegal}");
        }
        rig.app.delete_store(&owner(), now("shop")).await.unwrap();
        for illegal in [
            "UPDATE stores SET lifecycle = 'running' WHERE id = $1",
            "UPDATE operations SET state = 'running' WHERE store_id = $1 AND state = 'cancelled'",
            "UPDATE operations SET state = 'failed' WHERE store_id = $1 AND state = 'succeeded'",
        ] {
            assert!(raw(illegal).await.is_err(), "{illegal}");
        }
        rig.retired(&id, &node, "gone").await;
        rig.until_gone("shop").await;
        for illegal in [
            "UPDATE stores SET lifecycle = 'deleting' WHERE id = $1",
            "UPDATE stores SET lifecycle = 'running' WHERE id = $1",
        ] {
            assert!(raw(illegal).await.is_err(), "{illegal}");
        }
        let legal = "UPDATE stores SET message = 'touched' WHERE id = $1";
        assert!(raw(legal).await.is_ok());
        rig.stop().await;
    }
}
