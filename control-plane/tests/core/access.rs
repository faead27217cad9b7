//! Tokens, sealed relays, lists.

use crate::on_every_database;

on_every_database! {
    tokens_let_in_until_they_end,
    the_audit_chain_holds,
    lists_page_sort_and_select,
    changes_resume,
    a_sealed_answer_comes_from_the_store_that_was_asked,
    rosters_reach_who_comes_up,
}

mod body {
    use std::time::Duration;

    use control_plane::{
        app::{CreateToken, ListAudit, ListStores, Origin, PageRequest, SealedInput, StoreChanged},
        domain::{
            access::Role,
            audit::GENESIS,
            session::{AgentOrder, FleetEvent, NodeOrder, SealedResult},
        },
    };
    use secrecy::ExposeSecret;

    use crate::harness::*;

    fn origin() -> Origin {
        Origin {
            address: Some([127, 0, 0, 1].into()),
            request_id: "r1".to_owned(),
        }
    }

    pub async fn tokens_let_in_until_they_end(url: Option<&str>) {
        let (rig, _events) = Rig::idle(url, |_| {}).await;
        let admin = rig.app.reset_admin_token().await.unwrap();
        let text = admin.secret.expose_secret().to_owned();
        let caller = rig.app.authenticate(&text, &origin()).await.unwrap();
        assert_eq!(
            (
                caller.role,
                caller.source.as_str(),
                caller.request_id.as_str()
            ),
            (Role::Owner, "127.0.0.1", "r1")
        );
        let wrong = format!("{}{}", &text[..20], "a".repeat(text.len() - 20));
        for bad in ["", "sfk1_", wrong.as_str()] {
            assert_eq!(
                rig.app
                    .authenticate(bad, &origin())
                    .await
                    .unwrap_err()
                    .code(),
                "unauthorized"
            );
        }
        let input = CreateToken {
            name: "ci".to_owned(),
            role: "developer".to_owned(),
            ttl_seconds: 3600,
        };
        let ci = rig.app.create_token(&caller, input).await.unwrap();
        let ci_text = ci.secret.expose_secret().to_owned();
        assert_eq!(
            rig.app
                .authenticate(&ci_text, &origin())
                .await
                .unwrap()
                .role,
            Role::Developer
        );
        rig.pass(Duration::from_secs(3600));
        assert!(
            rig.app.authenticate(&ci_text, &origin()).await.is_err(),
            "expired"
        );
        rig.app.reset_admin_token().await.unwrap();
        assert!(
            rig.app.authenticate(&text, &origin()).await.is_err(),
            "a reset revokes the one before"
        );
        let error = rig
            .app
            .create_token(
                &caller,
                CreateToken {
                    name: String::new(),
                    role: "king".to_owned(),
                    ttl_seconds: u32::MAX,
                },
            )
            .await
            .err()
            .unwrap();
        let control_plane::app::AppError::Invalid { problems } = error else {
            panic!("{error}")
        };
        assert_eq!(problems.len(), 3);
        rig.app.revoke_token(&caller, &ci.token.id).await.unwrap();
        rig.app.revoke_token(&caller, &ci.token.id).await.unwrap();
        let listed = rig.app.list_tokens().await.unwrap();
        assert_eq!(listed.len(), 3);
        let shown = format!("{listed:?}");
        assert!(!shown.contains(&text[20..40]), "a secret is shown");
        rig.stop().await;
    }

    pub async fn the_audit_chain_holds(url: Option<&str>) {
        let (rig, _events) = Rig::idle(url, |_| {}).await;
        rig.app
            .create_store(&owner(), new_store("shop"))
            .await
            .unwrap();
        rig.app.stop_store(&owner(), act("shop")).await.unwrap();
        rig.app
            .authenticate("nonsense", &origin())
            .await
            .unwrap_err();
        rig.app
            .authenticate("nonsense", &origin())
            .await
            .unwrap_err();
        rig.app.delete_store(&owner(), now("shop")).await.unwrap();
        let page = rig.app.list_audit(ListAudit::default()).await.unwrap();
        let actions: Vec<&str> = page
            .entries
            .iter()
            .map(|entry| entry.record.action.as_str())
            .collect();
        assert_eq!(
            actions,
            ["store.create", "store.stop", "authenticate", "store.delete"],
            "denials are sampled"
        );
        let (mut seq, mut hash) = (0, GENESIS);
        for entry in &page.entries {
            assert!(entry.follows(seq, hash), "{entry:?}");
            (seq, hash) = (entry.seq, entry.hash);
        }
        assert_eq!((page.head_seq, page.head_hash), (seq, hash));
        rig.stop().await;
    }

    pub async fn lists_page_sort_and_select(url: Option<&str>) {
        let (rig, _events) = Rig::idle(url, |_| {}).await;
        for index in 0..7 {
            let mut input = new_store(&format!("shop-{index}"));
            input.labels = [(
                "tier".to_owned(),
                if index % 2 == 0 { "gold" } else { "tin" }.to_owned(),
            )]
            .into();
            rig.app.create_store(&owner(), input).await.unwrap();
            rig.pass(Duration::from_secs(1));
        }
        let all = async |selector: &str, sort: &str, size: u32| {
            let mut names = Vec::new();
            let mut token = None;
            loop {
                let page = rig
                    .app
                    .list_stores(ListStores {
                        page: PageRequest { size, token },
                        selector: selector.to_owned(),
                        status: "pending".to_owned(),
                        sort: sort.to_owned(),
                    })
                    .await
                    .unwrap();
                assert!(page.items.len() <= size as usize);
                names.extend(page.items.iter().map(|view| view.store.name.to_string()));
                token = page.next;
                if token.is_none() {
                    return names;
                }
            }
        };
        let names: Vec<String> = (0..7).map(|index| format!("shop-{index}")).collect();
        assert_eq!(all("", "name", 3).await, names);
        assert_eq!(all("", "", 7).await, names);
        assert_eq!(all("", "created", 2).await, names);
        let backwards: Vec<String> = names.iter().rev().cloned().collect();
        assert_eq!(all("", "-name", 4).await, backwards);
        assert_eq!(all("", "-created", 1).await, backwards);
        assert_eq!(
            all("tier!=gold", "name", 2).await,
            ["shop-1", "shop-3", "shop-5"]
        );
        let wrong = ListStores {
            selector: "x".to_owned(),
            status: "fine".to_owned(),
            sort: "size".to_owned(),
            ..ListStores::default()
        };
        let error = rig.app.list_stores(wrong).await.unwrap_err();
        let control_plane::app::AppError::Invalid { problems } = error else {
            panic!("{error}")
        };
        assert_eq!(problems.len(), 3);
        let mut page = ListStores::default();
        page.page.token = Some("!!".to_owned());
        assert_eq!(
            rig.app.list_stores(page).await.unwrap_err().code(),
            "invalid_request"
        );
        rig.stop().await;
    }

    pub async fn changes_resume(url: Option<&str>) {
        let (rig, _events) = Rig::idle(url, |_| {}).await;
        let mut hint = rig.app.changes();
        rig.app
            .create_store(&owner(), new_store("one"))
            .await
            .unwrap();
        hint.changed().await.unwrap();
        rig.app
            .create_store(&owner(), new_store("two"))
            .await
            .unwrap();
        let first = rig.app.stores_changed_after(0, None).await.unwrap();
        assert_eq!(first.len(), 2);
        let seen = first.last().unwrap().change_seq;
        assert!(
            rig.app
                .stores_changed_after(seen, None)
                .await
                .unwrap()
                .is_empty()
        );
        rig.app.delete_store(&owner(), now("one")).await.unwrap();
        let then = rig.app.stores_changed_after(seen, None).await.unwrap();
        assert!(
            matches!(&then[..], [change] if matches!(&change.what, StoreChanged::Gone { name, .. } if name.as_str() == "one"))
        );
        assert_eq!(
            rig.app.stores_changed_after(0, None).await.unwrap().len(),
            1,
            "the present state"
        );
        assert_eq!(
            rig.app
                .stores_changed_after(0, Some("two"))
                .await
                .unwrap()
                .len(),
            1
        );
        let ahead = rig
            .app
            .stores_changed_after(1_000_000, None)
            .await
            .unwrap_err();
        assert_eq!(ahead.code(), "change_seq_out_of_range");
        rig.stop().await;
    }

    pub async fn a_sealed_answer_comes_from_the_store_that_was_asked(url: Option<&str>) {
        let rig = Rig::start(url).await;
        rig.app
            .create_store(&owner(), new_store("one"))
            .await
            .unwrap();
        rig.app
            .create_store(&owner(), new_store("two"))
            .await
            .unwrap();
        let one = rig.app.get_store("one").await.unwrap().store.id;
        let two = rig.app.get_store("two").await.unwrap().store.id;
        let input = SealedInput {
            store: "one".to_owned(),
            operation_id: "op-1".to_owned(),
            kind: "reveal".to_owned(),
            subject: "admin".to_owned(),
            one_time_public_key: vec![1; 32],
            expires_unix_ms: 1,
            signer_key_id: "k".to_owned(),
            signature: vec![2; 64],
        };
        let app = rig.app.clone();
        let asked = tokio::spawn({
            let input = input.clone();
            async move { app.request_sealed(&owner(), input).await }
        });
        rig.agent_order("the request", |store, order| {
            (*store == one && matches!(order, AgentOrder::SealedRequest(request) if request.operation_id == "op-1"))
                .then_some(())
        })
        .await;
        let twice = rig.app.request_sealed(&owner(), input).await.unwrap_err();
        assert_eq!(twice.code(), "sealed_request_repeated");
        let answer = |code: &str| SealedResult {
            operation_id: "op-1".to_owned(),
            code: code.to_owned(),
            enc: vec![3],
            ciphertext: vec![4],
        };
        rig.say(FleetEvent::Sealed {
            store: two,
            result: answer("forged"),
        })
        .await;
        rig.say(FleetEvent::Sealed {
            store: one,
            result: answer("ok"),
        })
        .await;
        assert_eq!(asked.await.unwrap().unwrap().code, "ok");
        let bad = rig
            .app
            .request_sealed(&owner(), SealedInput::default())
            .await
            .unwrap_err();
        let control_plane::app::AppError::Invalid { problems } = bad else {
            panic!("{bad}")
        };
        assert_eq!(problems.len(), 6);
        rig.stop().await;
    }

    pub async fn rosters_reach_who_comes_up(url: Option<&str>) {
        let rig = Rig::start(url).await;
        rig.app
            .put_roster(&owner(), b"one".to_vec(), vec![0; 64])
            .await
            .unwrap();
        rig.app
            .put_roster(&owner(), b"two".to_vec(), vec![0; 64])
            .await
            .unwrap();
        rig.app
            .put_roster(&owner(), b"two".to_vec(), vec![0; 64])
            .await
            .unwrap();
        assert_eq!(
            rig.app
                .list_audit(ListAudit::default())
                .await
                .unwrap()
                .entries
                .len(),
            2,
            "the same changes nothing"
        );
        assert!(
            rig.app
                .put_roster(&owner(), Vec::new(), vec![0; 64])
                .await
                .is_err()
        );
        rig.node("one").await;
        rig.node_order("the newest roster", |_, order| {
            matches!(order, NodeOrder::Roster(roster) if roster.document == b"two").then_some(())
        })
        .await;
        rig.stop().await;
    }
}
