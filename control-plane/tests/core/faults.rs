//! Bad days: what does not come up, nodes that go away, a control plane that forgot.

use crate::on_every_database;

on_every_database! {
    fails_at_the_deadline_with_the_cause,
    the_clock_stops_while_secrets_are_awaited,
    an_unreachable_node_is_said_and_over,
    a_node_that_forgot_is_told_again,
    a_control_plane_from_a_backup_orders_nothing,
    removed_nodes_finish_deletions,
    what_was_refused_is_offered_again_to_a_new_session,
    what_passes_by_itself_is_asked_again_and_told_once,
    a_locked_database_is_said_and_nothing_is_lost,
}

mod body {
    use std::time::Duration;

    use control_plane::{
        app::ListEvents,
        domain::session::{AgentOrder, FleetEvent, NodeOrder, ReplicaReport},
    };
    use shop_proto::{NodeId, ReplicaKey, StoreId};

    use crate::harness::*;

    pub async fn fails_at_the_deadline_with_the_cause(url: Option<&str>) {
        let rig = Rig::start(url).await;
        rig.node("one").await;
        let create = rig.create("shop").await;
        let id = rig.store("shop").await.id;
        let node = rig.prepare(&id).await;
        rig.enrol(&id, &node).await;
        let mut report = rig.report_of(&id, "starting").await;
        report.replicas = vec![ReplicaReport {
            key: ReplicaKey::parse("db", "fixed", 0).unwrap(),
            phase: "crash_looping".to_owned(),
            reason: "exited".to_owned(),
            exit_code: Some(137),
            oom_killed: true,
            restarts: 4,
            since_unix_ms: 0,
            last_log: None,
        }];
        rig.say(FleetEvent::Report {
            store: id.clone(),
            report,
        })
        .await;
        rig.until_status("shop", "provisioning").await;
        rig.until("the report is in", || async {
            let operation = rig.app.get_operation(&create.id).await.unwrap();
            if operation.replicas.is_empty() {
                Err(format!("{operation:?}"))
            } else {
                Ok(())
            }
        })
        .await;
        rig.pass(Duration::from_secs(601));
        let failed = rig.until_operation(&create.id, "failed").await;
        assert_eq!(failed.reason, "deadline_exceeded");
        for word in ["db", "crash_looping", "137", "out of memory", "shop"] {
            assert!(failed.message.contains(word), "{}", failed.message);
        }
        rig.until_status("shop", "failed").await;
        // It serves after all: that is what customers see, so that is what we say. The operation stays failed.
        rig.report(&id, "running").await;
        rig.until_status("shop", "running").await;
        rig.until_operation(&create.id, "failed").await;
        let delete = rig
            .app
            .delete_store(&owner(), now("shop"))
            .await
            .unwrap()
            .operation;
        rig.retired(&id, &node, "gone").await;
        rig.until_operation(&delete.id, "succeeded").await;
        rig.stop().await;
    }

    pub async fn the_clock_stops_while_secrets_are_awaited(url: Option<&str>) {
        let rig = Rig::start(url).await;
        rig.node("one").await;
        let create = rig.create("shop").await;
        let id = rig.store("shop").await.id;
        let node = rig.prepare(&id).await;
        rig.enrol(&id, &node).await;
        let mut report = rig.report_of(&id, "waiting").await;
        report.reason = "awaiting_secrets".to_owned();
        rig.say(FleetEvent::Report {
            store: id.clone(),
            report,
        })
        .await;
        rig.until_status("shop", "awaiting_secrets").await;
        rig.pass(Duration::from_secs(3600));
        rig.report(&id, "starting").await;
        rig.until_status("shop", "provisioning").await;
        let operation = rig.app.get_operation(&create.id).await.unwrap().operation;
        assert_eq!(operation.state.as_str(), "running", "{operation:?}");
        rig.pass(Duration::from_secs(601));
        rig.until_operation(&create.id, "failed").await;
        rig.stop().await;
    }

    pub async fn an_unreachable_node_is_said_and_over(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let (id, node) = rig.running("shop").await;
        rig.down(&node).await;
        assert_eq!(rig.store("shop").await.status.as_str(), "running");
        rig.pass(Duration::from_secs(31));
        rig.until_status("shop", "unreachable").await;
        rig.up_with(&node, &id, 1).await;
        rig.until_status("shop", "running").await;
        rig.stop().await;
    }

    pub async fn a_node_that_forgot_is_told_again(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let (id, node) = rig.running("shop").await;
        rig.forget_orders();
        rig.up_with(&node, &"zzzzzzzzzzzz".parse().unwrap(), 1)
            .await;
        rig.node_order("assigned again", |_, order| {
            matches!(order, NodeOrder::Assign { store, .. } if *store == id).then_some(())
        })
        .await;
        let warnings = rig.app.status().await.unwrap().warnings;
        assert!(
            warnings
                .iter()
                .any(|warning| warning.contains("zzzzzzzzzzzz")),
            "{warnings:?}"
        );
        // What is not ours is said and left alone.
        assert!(
            !rig.orders
                .nodes
                .lock()
                .unwrap()
                .iter()
                .any(|(_, order)| matches!(order, NodeOrder::Retire { .. }))
        );
        rig.stop().await;
    }

    pub async fn a_control_plane_from_a_backup_orders_nothing(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let (id, node) = rig.running("shop").await;
        rig.forget_orders();
        rig.up_with(&node, &id, 9).await;
        rig.say(FleetEvent::AgentUp {
            store: id.clone(),
            hello: agent_hello(9),
        })
        .await;
        rig.until_store("shop", "it says so", |store| {
            store.reason == "needs_review" && store.on_agent.generation == 9
        })
        .await;
        assert_eq!(rig.store("shop").await.status.as_str(), "running");
        let orders = rig.orders.nodes.lock().unwrap().clone();
        assert!(orders.is_empty(), "{orders:?}");
        // An operator's word takes it over, above what they hold.
        rig.app.restart_store(&owner(), act("shop")).await.unwrap();
        rig.agent_order("desired above 9", |_, order| match order {
            AgentOrder::Desired { generation, .. } if generation.get() == 10 => Some(()),
            _ => None,
        })
        .await;
        rig.report(&id, "running").await;
        rig.until_store("shop", "taken over", |store| {
            store.reason.is_empty() && store.status.as_str() == "running"
        })
        .await;
        rig.stop().await;
    }

    pub async fn removed_nodes_finish_deletions(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let (_, node) = rig.running("shop").await;
        let remove = || control_plane::app::RemoveNode {
            node: node.clone(),
            reason: String::new(),
        };
        let refused = rig.app.remove_node(&owner(), remove()).await.unwrap_err();
        assert_eq!(refused.code(), "node_has_stores");
        let delete = rig
            .app
            .delete_store(&owner(), now("shop"))
            .await
            .unwrap()
            .operation;
        rig.app.remove_node(&owner(), remove()).await.unwrap();
        rig.until_operation(&delete.id, "succeeded").await;
        let denied = rig.db.deny_list().await.unwrap();
        assert!(
            denied
                .identities
                .contains(&shop_proto::Identity::Node(node.clone()))
        );
        assert_eq!(
            rig.app
                .remove_node(&owner(), remove())
                .await
                .unwrap_err()
                .code(),
            "not_found"
        );
        rig.stop().await;
    }

    pub async fn what_was_refused_is_offered_again_to_a_new_session(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let node = rig.node("one").await;
        rig.create("shop").await;
        let id = rig.store("shop").await.id;
        let assigned =
            |_: &NodeId, order: &NodeOrder| matches!(order, NodeOrder::Assign { .. }).then_some(());
        rig.node_order("assigned", assigned).await;
        rig.assigned(&node, &id, ("refused", "template_untrusted"))
            .await;
        rig.until_store("shop", "the refusal is the reason", |store| {
            store.reason == "template_untrusted"
        })
        .await;
        rig.forget_orders();
        rig.say(FleetEvent::NodeUp {
            node,
            hello: hello(),
        })
        .await;
        rig.node_order("assigned again", assigned).await;
        rig.until_store("shop", "the reason is gone", |store| {
            store.reason.is_empty()
        })
        .await;
        rig.stop().await;
    }

    /// A full disk of a node, then of a vault: nobody has to do anything but make room.
    pub async fn what_passes_by_itself_is_asked_again_and_told_once(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let node = rig.node("one").await;
        rig.create("shop").await;
        let id = rig.store("shop").await.id;
        let assigned =
            |_: &NodeId, order: &NodeOrder| matches!(order, NodeOrder::Assign { .. }).then_some(());
        let reason = |wanted: &'static str| {
            let rig = &rig;
            async move {
                rig.until(wanted, || async {
                    let store = rig.store("shop").await;
                    if store.reason == wanted {
                        Ok(())
                    } else {
                        Err(format!("{store:?}"))
                    }
                })
                .await;
            }
        };
        for _ in 0..2 {
            rig.node_order("assigned", assigned).await;
            rig.forget_orders();
            rig.assigned(&node, &id, ("refused", "node_disk")).await;
            reason("node_disk").await;
        }
        rig.prepare(&id).await;
        reason("").await;
        rig.enrol(&id, &node).await;
        let desired = |_: &StoreId, order: &AgentOrder| {
            matches!(order, AgentOrder::Desired { .. }).then_some(())
        };
        rig.forget_orders();
        rig.say(FleetEvent::Refused {
            store: id.clone(),
            generation: 1,
            code: "ledger_failed".to_owned(),
            message: "no space left".to_owned(),
        })
        .await;
        reason("ledger_failed").await;
        rig.agent_order("desired again", desired).await;
        rig.report(&id, "running").await;
        rig.until_status("shop", "running").await;
        reason("").await;
        let events = rig
            .app
            .list_events(ListEvents {
                store: "shop".to_owned(),
                ..ListEvents::default()
            })
            .await
            .unwrap()
            .items;
        let told = |code: &str| events.iter().filter(|event| event.code == code).count();
        assert_eq!((told("node_disk"), told("ledger_failed")), (1, 1));
        rig.stop().await;
    }

    pub async fn a_locked_database_is_said_and_nothing_is_lost(url: Option<&str>) {
        let (rig, _events) = Rig::idle(url, |_| {}).await;
        rig.create("before").await;
        // Somebody else has the turn and does not give it back.
        let held = rig.db.write().await.unwrap();
        let refused = rig
            .app
            .create_store(&owner(), new_store("during"))
            .await
            .unwrap_err();
        assert_eq!(refused.code(), "database_busy");
        assert_eq!(
            rig.store("before").await.name.as_str(),
            "before",
            "reading goes on"
        );
        drop(held);
        rig.create("during").await;
        rig.stop().await;
    }
}
