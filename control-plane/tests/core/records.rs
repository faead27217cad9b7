//! What enrolment remembers, and the schema itself.

use crate::on_every_database;

on_every_database! {
    a_join_token_is_one_keys,
    certificates_supersede,
    migrations_repeat_and_newer_schemas_are_refused,
    a_dropped_transaction_leaves_nothing,
    who_writes_holds_up_only_his_own_database,
    a_store_is_saved_only_as_it_was_read,
}

mod body {
    use std::time::Duration;

    use control_plane::{
        app::{CreateJoinToken, Ids, RandomIds},
        db::{Db, DbError, JoinAttempt, JoinRefusal},
        domain::identity::{Certificate, Denied},
    };
    use secrecy::ExposeSecret;
    use shop_proto::{Digest, Identity, TokenText};

    use crate::harness::*;

    pub async fn a_join_token_is_one_keys(url: Option<&str>) {
        let (rig, _events) = Rig::idle(url, |_| {}).await;
        let token = async || {
            let token = rig
                .app
                .create_join_token(&owner(), CreateJoinToken { ttl_seconds: 600 })
                .await
                .unwrap();
            token.token.expose_secret().parse::<TokenText>().unwrap()
        };
        let attempt = |text: &TokenText, key: &[u8]| JoinAttempt {
            token_id: text.id().to_owned(),
            secret: Digest::of(text.secret().as_bytes()),
            spki: Digest::of(key),
            node_name: "n".to_owned(),
            new_node: RandomIds.node(),
            now: rig.now(),
        };
        let text = token().await;
        let mut wrong = attempt(&text, b"a");
        wrong.secret = Digest::of(b"guess");
        assert!(matches!(rig.db.join(wrong).await, Err(JoinRefusal::Secret)));
        let first = rig.db.join(attempt(&text, b"a")).await.unwrap();
        assert_eq!(
            rig.db.join(attempt(&text, b"a")).await.unwrap(),
            first,
            "the answer was lost"
        );
        assert!(matches!(
            rig.db.join(attempt(&text, b"b")).await,
            Err(JoinRefusal::Used)
        ));
        rig.pass(Duration::from_secs(301));
        assert!(matches!(
            rig.db.join(attempt(&text, b"a")).await,
            Err(JoinRefusal::Used)
        ));
        let late = token().await;
        rig.pass(Duration::from_secs(600));
        assert!(matches!(
            rig.db.join(attempt(&late, b"a")).await,
            Err(JoinRefusal::Expired)
        ));
        let unknown = TokenText::join("a".repeat(10), "b".repeat(52), Digest::of(b"root")).unwrap();
        assert!(matches!(
            rig.db.join(attempt(&unknown, b"a")).await,
            Err(JoinRefusal::Unknown)
        ));
        assert_eq!(rig.app.list_nodes().await.unwrap().len(), 1);
        // Many keys at once: one wins.
        let race = token().await;
        let keys: Vec<[u8; 1]> = (0..8).map(|key| [key]).collect();
        let results =
            futures::future::join_all(keys.iter().map(|key| rig.db.join(attempt(&race, key))))
                .await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        assert!(
            rig.app
                .create_join_token(&owner(), CreateJoinToken { ttl_seconds: 59 })
                .await
                .is_err()
        );
        rig.stop().await;
    }

    pub async fn certificates_supersede(url: Option<&str>) {
        let (rig, _events) = Rig::idle(url, |_| {}).await;
        let identity = Identity::Node("n00001".parse().unwrap());
        let leaf = |serial: &str, key: &[u8]| Certificate {
            serial: serial.to_owned(),
            identity: identity.clone(),
            spki: Digest::of(key),
            issued_at: rig.now(),
            not_after: rig.now() + Duration::from_secs(86_400),
            chain: vec![vec![1, 2], vec![3]],
            superseded_by: None,
        };
        rig.db
            .record_certificate(leaf("01", b"a"), None)
            .await
            .unwrap();
        rig.pass(Duration::from_secs(60));
        rig.db
            .record_certificate(leaf("02", b"b"), None)
            .await
            .unwrap();
        assert_eq!(
            rig.db.activate_certificate(&identity, "01").await.unwrap(),
            Some(true),
            "make before break"
        );
        assert_eq!(
            rig.db.activate_certificate(&identity, "02").await.unwrap(),
            Some(true)
        );
        assert_eq!(
            rig.db.activate_certificate(&identity, "01").await.unwrap(),
            Some(false)
        );
        assert_eq!(
            rig.db.activate_certificate(&identity, "03").await.unwrap(),
            None
        );
        let other = Identity::Node("n00002".parse().unwrap());
        assert_eq!(
            rig.db.activate_certificate(&other, "02").await.unwrap(),
            None
        );
        let since = rig.now() - Duration::from_secs(30);
        let found = rig
            .db
            .certificate_of_key(&identity, Digest::of(b"b"), since)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((found.serial.as_str(), found.chain.len()), ("02", 2));
        assert!(
            rig.db
                .certificate_of_key(&identity, Digest::of(b"a"), since)
                .await
                .unwrap()
                .is_none()
        );
        rig.db
            .deny(Denied::Serial("02".to_owned()), "test", rig.now())
            .await
            .unwrap();
        rig.db
            .deny(Denied::Serial("02".to_owned()), "test", rig.now())
            .await
            .unwrap();
        rig.db
            .deny(Denied::Identity(identity.clone()), "test", rig.now())
            .await
            .unwrap();
        let list = rig.db.deny_list().await.unwrap();
        assert!(list.serials.contains("02") && list.identities.contains(&identity));
        rig.stop().await;
    }

    pub async fn migrations_repeat_and_newer_schemas_are_refused(url: Option<&str>) {
        let directory = tempfile::tempdir().unwrap();
        let db = open(url, directory.path()).await;
        assert!(matches!(
            db.check_schema().await,
            Err(DbError::SchemaOlder { missing: 1 })
        ));
        assert!(db.migrate().await.unwrap().len() > 1);
        assert!(db.migrate().await.unwrap().is_empty());
        db.check_schema().await.unwrap();
        db.ping().await.unwrap();
        db.close().await;
    }

    pub async fn a_dropped_transaction_leaves_nothing(url: Option<&str>) {
        let (rig, _events) = Rig::idle(url, |_| {}).await;
        rig.app
            .create_store(&owner(), new_store("shop"))
            .await
            .unwrap();
        let id = rig.app.get_store("shop").await.unwrap().store.id;
        let hint = rig.db.changes();
        {
            let mut tx = rig.db.write().await.unwrap();
            let mut store = tx.store(&id).await.unwrap().unwrap();
            store.display_name = "changed".to_owned();
            tx.save_store(&mut store, rig.now()).await.unwrap();
        }
        let mut tx = rig.db.write().await.unwrap();
        assert_eq!(tx.store(&id).await.unwrap().unwrap().display_name, "shop");
        assert!(!hint.has_changed().unwrap(), "nothing was committed");
        drop(tx);
        let mut reader = rig.db.read().await.unwrap();
        let mut store = reader.store(&id).await.unwrap().unwrap();
        assert!(
            reader.save_store(&mut store, rig.now()).await.is_err(),
            "a reader wrote"
        );
        drop(reader);
        rig.stop().await;
    }

    pub async fn who_writes_holds_up_only_his_own_database(url: Option<&str>) {
        let (one, _one_events) = Rig::idle(url, |_| {}).await;
        let (other, _other_events) = Rig::idle(url, |_| {}).await;
        let held = one.db.write().await.unwrap();
        other.create("shop").await;
        drop(held);
        one.create("shop").await;
        one.stop().await;
        other.stop().await;
    }

    pub async fn a_store_is_saved_only_as_it_was_read(url: Option<&str>) {
        let (rig, _events) = Rig::idle(url, |_| {}).await;
        rig.app
            .create_store(&owner(), new_store("shop"))
            .await
            .unwrap();
        let mut old = rig.app.get_store("shop").await.unwrap().store;
        rig.app.stop_store(&owner(), act("shop")).await.unwrap();
        let mut tx = rig.db.write().await.unwrap();
        let stale = tx.save_store(&mut old, rig.now()).await;
        assert!(matches!(stale, Err(DbError::Stale { .. })), "{stale:?}");
        drop(tx);
        rig.stop().await;
    }

    /// SQLite only: what a newer release leaves behind, and who may read the file.
    #[tokio::test]
    async fn a_newer_schema_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let db = open(None, directory.path()).await;
        db.migrate().await.unwrap();
        db.close().await;
        let path = directory.path().join("control-plane.db");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", path.display()))
            .await
            .unwrap();
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', TRUE, x'00', 0)",
        )
        .execute(&pool)
        .await
        .unwrap();
        pool.close().await;
        let db = Db::open(&path.display().to_string()).await.unwrap();
        assert!(matches!(
            db.check_schema().await,
            Err(DbError::SchemaNewer { found: 9999 })
        ));
        assert!(matches!(
            db.migrate().await,
            Err(DbError::SchemaNewer { found: 9999 })
        ));
        assert!(matches!(Db::open("mysql://x").await, Err(DbError::Url)));
    }
}
