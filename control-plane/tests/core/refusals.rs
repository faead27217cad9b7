//! What is refused, and that nothing is written then.

use crate::on_every_database;

on_every_database! {
    everything_wrong_at_once,
    the_same_key_again,
    if_match,
    vouchers_come_from_the_stores_node_only,
    nothing_older_is_acknowledged,
}

mod body {
    use control_plane::{
        app::{AppError, CreateStore, DeleteStore, ListAudit},
        domain::session::{AssignmentStatus, FleetEvent, NodeOrder, RetireStatus, Vouch},
    };
    use shop_proto::Digest;

    use crate::harness::*;

    pub async fn everything_wrong_at_once(url: Option<&str>) {
        let (rig, _events) = Rig::idle(url, |_| {}).await;
        rig.app
            .create_store(&owner(), new_store("taken"))
            .await
            .unwrap();
        let before = rig.db.read().await.unwrap().change_seq().await.unwrap();
        let input = CreateStore {
            name: "taken".to_owned(),
            template: "refshop".to_owned(),
            environment: "prod".to_owned(),
            isolation: "strict".to_owned(),
            hosts: vec!["localhost".to_owned(), "x.localhost".to_owned()],
            labels: [("Bad Key".to_owned(), "v".to_owned())].into(),
            profiles: [("web".to_owned(), "iis".to_owned())].into(),
            parameters: [("nope/what".to_owned(), "v".to_owned())].into(),
            node: "n00000".to_owned(),
            reason: "a\nb".to_owned(),
            project: "none".to_owned(),
            ..CreateStore::default()
        };
        let error = rig.app.create_store(&owner(), input).await.unwrap_err();
        let AppError::Invalid { problems } = error else {
            panic!("{error}")
        };
        let found: Vec<(&str, &str)> = problems
            .iter()
            .map(|problem| (problem.pointer.as_str(), problem.code.as_str()))
            .collect();
        for expected in [
            ("/environment", "unknown_environment"),
            ("/isolation", "unknown_isolation"),
            ("/hosts/0", "host_shape"),
            ("/hosts/1", "host_reserved"),
            ("/labels/Bad Key", "label_shape"),
            ("/profiles/web", "profile_choice"),
            ("/parameters/nope~1what", "unknown_parameter"),
            ("/node", "unknown_node"),
            ("/reason", "text_shape"),
            ("/project", "unknown_project"),
        ] {
            assert!(found.contains(&expected), "{expected:?} not in {found:?}");
        }
        let name = CreateStore {
            name: "taken".to_owned(),
            ..new_store("taken")
        };
        let error = rig.app.create_store(&owner(), name).await.unwrap_err();
        let AppError::Invalid { problems } = error else {
            panic!("{error}")
        };
        assert_eq!(problems[0].code, "name_taken");
        let after = rig.db.read().await.unwrap().change_seq().await.unwrap();
        assert_eq!(before, after, "something was written");
        rig.stop().await;
    }

    pub async fn the_same_key_again(url: Option<&str>) {
        let (rig, _events) = Rig::idle(url, |_| {}).await;
        let input = CreateStore {
            idempotency_key: Some("k1".to_owned()),
            ..new_store("shop")
        };
        let first = rig
            .app
            .create_store(&owner(), input.clone())
            .await
            .unwrap()
            .operation;
        let second = rig
            .app
            .create_store(&owner(), input)
            .await
            .unwrap()
            .operation;
        assert_eq!(first.id, second.id);
        let other = CreateStore {
            idempotency_key: Some("k1".to_owned()),
            ..new_store("other")
        };
        let error = rig.app.create_store(&owner(), other).await.unwrap_err();
        assert_eq!(error.code(), "idempotency_mismatch");
        assert_eq!(
            rig.app
                .list_stores(Default::default())
                .await
                .unwrap()
                .items
                .len(),
            1
        );
        let mut somebody = owner();
        somebody.actor = "token:else".to_owned();
        let other = CreateStore {
            idempotency_key: Some("k1".to_owned()),
            ..new_store("other")
        };
        rig.app.create_store(&somebody, other).await.unwrap();
        let mut stop = act("shop");
        stop.idempotency_key = Some("k2".to_owned());
        let first = rig
            .app
            .stop_store(&owner(), stop.clone())
            .await
            .unwrap()
            .operation;
        let second = rig
            .app
            .stop_store(&owner(), stop.clone())
            .await
            .unwrap()
            .operation;
        assert_eq!(first.id, second.id);
        let error = rig
            .app
            .delete_store(
                &owner(),
                DeleteStore {
                    action: stop,
                    ..DeleteStore::default()
                },
            )
            .await
            .unwrap_err();
        assert_eq!(error.code(), "idempotency_mismatch");
        rig.stop().await;
    }

    pub async fn if_match(url: Option<&str>) {
        let (rig, _events) = Rig::idle(url, |_| {}).await;
        rig.app
            .create_store(&owner(), new_store("shop"))
            .await
            .unwrap();
        let mut stop = act("shop");
        stop.if_generation = Some(2);
        let error = rig
            .app
            .stop_store(&owner(), stop.clone())
            .await
            .unwrap_err();
        assert_eq!(error.code(), "generation_mismatch");
        stop.if_generation = Some(1);
        rig.app.stop_store(&owner(), stop).await.unwrap();
        rig.stop().await;
    }

    pub async fn vouchers_come_from_the_stores_node_only(url: Option<&str>) {
        let rig = Rig::start(url).await;
        rig.node("one").await;
        rig.app
            .create_store(&owner(), new_store("shop"))
            .await
            .unwrap();
        let id = rig.app.get_store("shop").await.unwrap().store.id;
        let node = rig.prepare(&id).await;
        let thief = rig.node("thief").await;
        let spki = Digest::of(b"stolen");
        rig.say(FleetEvent::Vouch {
            node: thief.clone(),
            vouch: Vouch {
                store: id.clone(),
                spki,
                sealing_public_key: vec![1; 32],
            },
        })
        .await;
        // Another node may end nothing either.
        rig.say(FleetEvent::Retirement {
            node: thief,
            status: RetireStatus {
                store: id.clone(),
                generation: 1,
                state: "gone".to_owned(),
                message: String::new(),
                receipt: None,
            },
        })
        .await;
        rig.until("the attempt is in the audit chain", || async {
            let audit = rig.app.list_audit(ListAudit::default()).await.unwrap();
            let seen = audit.entries.iter().any(|entry| {
                entry.record.action == "store.vouch" && entry.record.decision.as_str() == "denied"
            });
            if seen {
                Ok(())
            } else {
                Err(format!("{audit:?}"))
            }
        })
        .await;
        assert!(rig.db.vouched(&id, spki).await.unwrap().is_none());
        assert!(rig.db.newest_voucher(&id).await.unwrap().is_none());
        rig.enrol(&id, &node).await;
        assert!(rig.db.vouched(&id, spki).await.unwrap().is_none());
        let own = Digest::of(id.as_str().as_bytes());
        assert_eq!(rig.db.vouched(&id, own).await.unwrap().unwrap().node, node);
        assert!(rig.app.get_store("shop").await.is_ok());
        rig.stop().await;
    }

    pub async fn nothing_older_is_acknowledged(url: Option<&str>) {
        let rig = Rig::start(url).await;
        rig.node("one").await;
        rig.app
            .create_store(&owner(), new_store("shop"))
            .await
            .unwrap();
        let id = rig.bring_up("shop").await;
        let node = rig
            .app
            .get_store("shop")
            .await
            .unwrap()
            .store
            .placement
            .unwrap()
            .node;
        rig.app.stop_store(&owner(), act("shop")).await.unwrap();
        rig.say(FleetEvent::Assignment {
            node: node.clone(),
            status: AssignmentStatus {
                store: id.clone(),
                generation: 1,
                plan_digest: None,
                state: "error".to_owned(),
                code: "image_missing".to_owned(),
                message: "old news".to_owned(),
            },
        })
        .await;
        rig.node_order(
            "the new generation goes out all the same",
            |_, order| match order {
                NodeOrder::Assign { generation, .. } if generation.get() == 2 => Some(()),
                _ => None,
            },
        )
        .await;
        rig.report(&id, "stopped").await;
        rig.until_status("shop", "stopped").await;
        let store = rig.app.get_store("shop").await.unwrap().store;
        assert_eq!(
            (store.on_node.code.as_str(), store.reason.as_str()),
            ("", "")
        );
        rig.stop().await;
    }
}
