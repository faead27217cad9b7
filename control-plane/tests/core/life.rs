//! A store's life: created, placed, served, changed, deleted.

use crate::on_every_database;

on_every_database! {
    a_store_comes_up,
    waits_for_a_node_and_goes_on,
    stop_and_start,
    stop_during_provisioning_wins,
    delete_during_provisioning_wins,
    delete_of_what_was_never_placed,
    restart_counts,
    an_older_report_changes_nothing,
    twenty_at_once,
    custom_hosts_are_not_verified,
}

mod body {
    use crate::harness::*;
    use control_plane::domain::session::{AgentOrder, FleetEvent, NodeOrder, StepReport};

    pub async fn a_store_comes_up(url: Option<&str>) {
        let rig = Rig::start(url).await;
        rig.node("one").await;
        let created = rig
            .app
            .create_store(&owner(), new_store("shop"))
            .await
            .unwrap();
        assert_eq!(created.operation.kind.as_str(), "create");
        let id = rig.app.get_store("shop").await.unwrap().store.id;
        let node = rig.prepare(&id).await;
        rig.enrol(&id, &node).await;
        let mut report = rig.report_of(&id, "starting").await;
        report.steps = vec![StepReport {
            name: "start db".to_owned(),
            state: "running".to_owned(),
            started_unix_ms: 5,
            ended_unix_ms: 0,
        }];
        rig.say(FleetEvent::Report {
            store: id.clone(),
            report,
        })
        .await;
        let steps = rig
            .until("the agent's step is shown", || async {
                let steps = rig
                    .app
                    .get_operation(&created.operation.id)
                    .await
                    .unwrap()
                    .operation
                    .steps;
                if steps.iter().any(|step| step.name == "start db") {
                    Ok(steps)
                } else {
                    Err(format!("{steps:?}"))
                }
            })
            .await;
        let names: Vec<(&str, &str)> = steps
            .iter()
            .map(|step| (step.name.as_str(), step.state.as_str()))
            .collect();
        assert_eq!(
            names,
            [
                ("accepted", "done"),
                ("placed", "done"),
                ("prepared", "done"),
                ("enrolled", "done"),
                ("start db", "running"),
                ("serving", "pending")
            ]
        );
        rig.report(&id, "running").await;
        let ended = rig
            .until_operation(&created.operation.id, "succeeded")
            .await;
        assert!(
            ended.steps.iter().all(|step| step.state.as_str() == "done"),
            "{:?}",
            ended.steps
        );
        let view = rig.app.get_store("shop").await.unwrap();
        assert_eq!(view.store.status.as_str(), "running");
        assert_eq!(view.store.on_agent.sealing_public_key, vec![7; 32]);
        let url = view.url.unwrap();
        assert!(
            url.starts_with("http://shop-") && url.ends_with(".localhost:8080"),
            "{url}"
        );
        rig.stop().await;
    }

    pub async fn waits_for_a_node_and_goes_on(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let created = rig
            .app
            .create_store(&owner(), new_store("shop"))
            .await
            .unwrap();
        let reason = |wanted: &'static str| {
            let (app, id) = (rig.app.clone(), created.operation.id.clone());
            move || {
                let (app, id) = (app.clone(), id.clone());
                async move {
                    let operation = app.get_operation(&id).await.unwrap().operation;
                    if operation.reason == wanted && operation.state.as_str() == "pending" {
                        Ok(())
                    } else {
                        Err(format!("{operation:?}"))
                    }
                }
            }
        };
        rig.until("no node", reason("no_nodes")).await;
        let small = rig.join("small").await;
        let mut hello = hello();
        hello.capacity.memory_bytes = 64 << 20;
        rig.say(FleetEvent::NodeUp {
            node: small.clone(),
            hello,
        })
        .await;
        rig.until("no room", reason("no_capacity")).await;
        assert_eq!(
            rig.app.get_store("shop").await.unwrap().store.reason,
            "no_capacity"
        );
        let mut full = capacity(16);
        full.disk_free_bytes = 10 << 30;
        rig.say(FleetEvent::NodeCapacity {
            node: small.clone(),
            capacity: full,
        })
        .await;
        rig.until("no disk", reason("disk_pressure")).await;
        rig.say(FleetEvent::NodeCapacity {
            node: small,
            capacity: capacity(16),
        })
        .await;
        rig.bring_up("shop").await;
        rig.until_operation(&created.operation.id, "succeeded")
            .await;
        rig.stop().await;
    }

    pub async fn stop_and_start(url: Option<&str>) {
        let rig = Rig::start(url).await;
        rig.node("one").await;
        rig.app
            .create_store(&owner(), new_store("shop"))
            .await
            .unwrap();
        let id = rig.bring_up("shop").await;
        let stop = rig
            .app
            .stop_store(&owner(), act("shop"))
            .await
            .unwrap()
            .operation;
        rig.until_status("shop", "stopping").await;
        let same = rig
            .app
            .stop_store(&owner(), act("shop"))
            .await
            .unwrap()
            .operation;
        assert_eq!(same.id, stop.id, "asked again while it goes on");
        rig.report(&id, "stopped").await;
        rig.until_operation(&stop.id, "succeeded").await;
        rig.until_status("shop", "stopped").await;
        let again = rig
            .app
            .stop_store(&owner(), act("shop"))
            .await
            .unwrap()
            .operation;
        assert_eq!(
            (again.state.as_str(), again.reason.as_str()),
            ("succeeded", "unchanged")
        );
        let restart = rig
            .app
            .restart_store(&owner(), act("shop"))
            .await
            .unwrap_err();
        assert_eq!(restart.code(), "store_stopped");
        let start = rig
            .app
            .start_store(&owner(), act("shop"))
            .await
            .unwrap()
            .operation;
        rig.agent_order("desired running again", |_, order| match order {
            AgentOrder::Desired {
                generation, spec, ..
            } if generation.get() == 3 => {
                assert_eq!(spec.run_state.as_str(), "running");
                Some(())
            }
            _ => None,
        })
        .await;
        rig.report(&id, "running").await;
        rig.until_operation(&start.id, "succeeded").await;
        rig.stop().await;
    }

    pub async fn stop_during_provisioning_wins(url: Option<&str>) {
        let rig = Rig::start(url).await;
        rig.node("one").await;
        let create = rig
            .app
            .create_store(&owner(), new_store("shop"))
            .await
            .unwrap()
            .operation;
        let id = rig.app.get_store("shop").await.unwrap().store.id;
        let node = rig.prepare(&id).await;
        rig.enrol(&id, &node).await;
        let late = rig.report_of(&id, "running").await;
        let stop = rig
            .app
            .stop_store(&owner(), act("shop"))
            .await
            .unwrap()
            .operation;
        let create = rig.until_operation(&create.id, "cancelled").await;
        assert_eq!(create.reason, "superseded");
        // What the agent says about the generation before comes too late.
        rig.say(FleetEvent::Report {
            store: id.clone(),
            report: late,
        })
        .await;
        rig.report(&id, "stopped").await;
        rig.until_operation(&stop.id, "succeeded").await;
        rig.until_status("shop", "stopped").await;
        rig.stop().await;
    }

    pub async fn delete_during_provisioning_wins(url: Option<&str>) {
        let rig = Rig::start(url).await;
        rig.node("one").await;
        let create = rig
            .app
            .create_store(&owner(), new_store("shop"))
            .await
            .unwrap()
            .operation;
        let id = rig.app.get_store("shop").await.unwrap().store.id;
        let node = rig.prepare(&id).await;
        let delete = rig
            .app
            .delete_store(&owner(), now("shop"))
            .await
            .unwrap()
            .operation;
        rig.until_operation(&create.id, "cancelled").await;
        rig.retired(&id, &node, "tombstoned").await;
        rig.until_status("shop", "deleting").await;
        let refused = rig
            .app
            .start_store(&owner(), act("shop"))
            .await
            .unwrap_err();
        assert_eq!(refused.code(), "store_deleting");
        let taken = rig
            .app
            .create_store(&owner(), new_store("shop"))
            .await
            .unwrap_err();
        assert_eq!(taken.code(), "invalid_request");
        rig.retired(&id, &node, "gone").await;
        rig.until_operation(&delete.id, "succeeded").await;
        rig.node_order("recorded", |_, order| {
            matches!(order, NodeOrder::RetireRecorded { store } if *store == id).then_some(())
        })
        .await;
        assert_eq!(
            rig.app.get_store("shop").await.unwrap_err().code(),
            "not_found"
        );
        rig.app
            .create_store(&owner(), new_store("shop"))
            .await
            .unwrap();
        rig.stop().await;
    }

    pub async fn delete_of_what_was_never_placed(url: Option<&str>) {
        let rig = Rig::start(url).await;
        rig.app
            .create_store(&owner(), new_store("shop"))
            .await
            .unwrap();
        let delete = rig
            .app
            .delete_store(&owner(), now("shop"))
            .await
            .unwrap()
            .operation;
        assert_eq!(delete.state.as_str(), "succeeded");
        assert_eq!(
            rig.app.get_store("shop").await.unwrap_err().code(),
            "not_found"
        );
        rig.stop().await;
    }

    pub async fn restart_counts(url: Option<&str>) {
        let rig = Rig::start(url).await;
        rig.node("one").await;
        rig.app
            .create_store(&owner(), new_store("shop"))
            .await
            .unwrap();
        let early = rig
            .app
            .restart_store(&owner(), act("shop"))
            .await
            .unwrap_err();
        assert_eq!(early.code(), "operation_in_progress");
        let id = rig.bring_up("shop").await;
        let restart = rig
            .app
            .restart_store(&owner(), act("shop"))
            .await
            .unwrap()
            .operation;
        let mut report = rig.report_of(&id, "running").await;
        report.restart_seq = 0;
        rig.say(FleetEvent::Report {
            store: id.clone(),
            report,
        })
        .await;
        rig.until_status("shop", "provisioning").await;
        rig.report(&id, "running").await;
        rig.until_operation(&restart.id, "succeeded").await;
        rig.stop().await;
    }

    pub async fn an_older_report_changes_nothing(url: Option<&str>) {
        let rig = Rig::start(url).await;
        rig.node("one").await;
        rig.app
            .create_store(&owner(), new_store("shop"))
            .await
            .unwrap();
        let id = rig.bring_up("shop").await;
        let old = rig.report_of(&id, "failed").await;
        rig.app.stop_store(&owner(), act("shop")).await.unwrap();
        rig.report(&id, "stopped").await;
        rig.until_status("shop", "stopped").await;
        rig.say(FleetEvent::Report {
            store: id.clone(),
            report: old,
        })
        .await;
        rig.say(FleetEvent::AgentNote {
            store: id.clone(),
            note: control_plane::domain::session::Note {
                code: "marker".to_owned(),
                severity: "info".to_owned(),
                message: String::new(),
                at_unix_ms: 0,
                service: String::new(),
            },
        })
        .await;
        rig.until("the marker is in", || async {
            let events = rig
                .app
                .list_events(control_plane::app::ListEvents {
                    store: "shop".to_owned(),
                    ..Default::default()
                })
                .await
                .unwrap();
            if events.items.iter().any(|event| event.code == "marker") {
                Ok(())
            } else {
                Err(format!("{events:?}"))
            }
        })
        .await;
        let store = rig.app.get_store("shop").await.unwrap().store;
        assert_eq!(store.status.as_str(), "stopped");
        assert_eq!(store.report.unwrap().state, "stopped");
        rig.stop().await;
    }

    pub async fn twenty_at_once(url: Option<&str>) {
        let rig = Rig::with(url, |settings| settings.provisioning_per_node = 4).await;
        rig.node("one").await;
        rig.node("two").await;
        for node in rig.app.list_nodes().await.unwrap() {
            let mut big = capacity(64);
            big.cpu_millis = 64_000;
            rig.say(FleetEvent::NodeCapacity {
                node: node.node.id,
                capacity: big,
            })
            .await;
        }
        let names: Vec<String> = (0..20).map(|index| format!("shop-{index}")).collect();
        let creates = names.iter().map(|name| async {
            rig.app
                .create_store(&owner(), new_store(name))
                .await
                .unwrap()
                .operation
                .id
        });
        let operations = futures::future::join_all(creates).await;
        let mut most = 0;
        let mut waiting = names.clone();
        while !waiting.is_empty() {
            let placed: Vec<String> = rig
                .until("some are placed", || async {
                    let mut placed = Vec::new();
                    for name in &waiting {
                        if rig
                            .app
                            .get_store(name)
                            .await
                            .unwrap()
                            .store
                            .placement
                            .is_some()
                        {
                            placed.push(name.clone());
                        }
                    }
                    if placed.is_empty() {
                        Err("none".to_owned())
                    } else {
                        Ok(placed)
                    }
                })
                .await;
            most = most.max(placed.len());
            for name in &placed {
                rig.bring_up(name).await;
            }
            waiting.retain(|name| !placed.contains(name));
        }
        assert!(most <= 8, "{most} at once on two nodes");
        for id in operations {
            rig.until_operation(&id, "succeeded").await;
        }
        let nodes = rig.app.list_nodes().await.unwrap();
        assert!(nodes.iter().all(|node| node.stores >= 5), "{nodes:?}");
        rig.stop().await;
    }

    pub async fn custom_hosts_are_not_verified(url: Option<&str>) {
        let rig = Rig::start(url).await;
        rig.node("one").await;
        let mut input = new_store("shop");
        input.hosts = vec!["shop.example.com".to_owned()];
        rig.app.create_store(&owner(), input).await.unwrap();
        let store = rig.app.get_store("shop").await.unwrap().store;
        let hosts: Vec<bool> = store.spec.hosts.iter().map(|host| host.verified).collect();
        assert_eq!(hosts, [true, false]);
        let mut other = new_store("other");
        other.hosts = vec!["shop.example.com".to_owned()];
        let error = rig.app.create_store(&owner(), other).await.unwrap_err();
        let control_plane::app::AppError::Invalid { problems } = error else {
            panic!("{error}")
        };
        assert_eq!(
            (problems[0].pointer.as_str(), problems[0].code.as_str()),
            ("/hosts/0", "host_taken")
        );
        rig.stop().await;
    }
}
