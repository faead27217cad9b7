//! New values of generated secrets: what is asked for becomes a counter and a revision, and neither a rollback nor an agent that takes the
//! revision back makes the counter smaller.

use crate::on_every_database;

on_every_database! {
    a_rotation_is_a_revision_and_a_counter_that_only_grows,
    what_cannot_be_rotated_is_refused_by_name,
}

mod body {
    use control_plane::{
        app::{AmendStore, Amended, Amendment, AppError, RotateSecrets},
        domain::session::{FleetEvent, HeldBackReport},
    };
    use shop_proto::{Spec, StoreId};

    use crate::harness::*;

    const SECRET: &str = "db_password";

    fn rotate(names: &[&str]) -> AmendStore {
        AmendStore {
            store: "shop".to_owned(),
            what: Amendment::Rotate(RotateSecrets {
                names: names.iter().map(|name| (*name).to_owned()).collect(),
                all: names.is_empty(),
            }),
            ..AmendStore::default()
        }
    }

    fn back(number: u64) -> AmendStore {
        AmendStore {
            store: "shop".to_owned(),
            what: Amendment::Rollback {
                number: Some(number),
                allow_irreversible: false,
            },
            ..AmendStore::default()
        }
    }

    async fn spec(rig: &Rig) -> Spec {
        rig.app.get_store("shop").await.unwrap().store.spec
    }

    /// It says that it serves what is wanted.
    async fn serves(rig: &Rig, id: &StoreId) {
        let wanted = spec(rig).await.revision.number;
        let mut report = rig.report_of(id, "running").await;
        report.serving_revision = wanted;
        let store = id.clone();
        rig.say(FleetEvent::Report { store, report }).await;
        rig.until("it is heard", || async {
            let store = rig.app.get_store("shop").await.unwrap().store;
            match store.report.as_ref().map(|report| report.serving_revision) {
                Some(serving) if serving == wanted => Ok(()),
                _ => Err(format!("{store:?}")),
            }
        })
        .await;
    }

    async fn served(rig: &Rig) -> StoreId {
        rig.node("one").await;
        rig.app
            .create_store(&owner(), new_store("shop"))
            .await
            .unwrap();
        let id = rig.bring_up("shop").await;
        serves(rig, &id).await;
        id
    }

    pub async fn a_rotation_is_a_revision_and_a_counter_that_only_grows(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let id = served(&rig).await;
        let before = spec(&rig).await;
        assert!(before.rotations.is_empty());
        let text = serde_json::to_string(&before).unwrap();
        assert!(!text.contains("rotations"), "old digests stay: {text}");

        let mut look = rotate(&[]);
        look.dry_run = true;
        let Amended::Preview(preview) = rig.app.amend(&owner(), look).await.unwrap() else {
            panic!("a preview");
        };
        assert!(preview.slots && preview.refused.is_none(), "{preview:?}");
        assert_eq!(preview.settings[0].field, "secrets.db_password");
        assert_eq!(spec(&rig).await, before, "it was only asked");

        let mut asked = rotate(&[SECRET]);
        asked.idempotency_key = Some("once".to_owned());
        rig.app.amend(&owner(), asked.clone()).await.unwrap();
        rig.app.amend(&owner(), asked).await.unwrap();
        let rotated = spec(&rig).await;
        let generation = rig.app.get_store("shop").await.unwrap().store.generation;
        assert_eq!(rotated.rotations[SECRET], generation.get());
        assert_eq!(rotated.revision.number, before.revision.number + 1);
        assert_eq!(rotated.revision.parameters, before.revision.parameters);
        let busy = rig.app.amend(&owner(), rotate(&[SECRET])).await;
        assert_eq!(busy.unwrap_err().code(), "operation_in_progress");
        serves(&rig, &id).await;

        rig.app.amend(&owner(), back(1)).await.unwrap();
        let older = spec(&rig).await;
        assert_eq!(older.revision, before.revision);
        assert_eq!(older.rotations, rotated.rotations);
        serves(&rig, &id).await;

        // An agent that takes the revision back is not told to take the rotation back.
        rig.until("the last one is over", || async {
            match rig.app.amend(&owner(), rotate(&[SECRET])).await {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("{error}")),
            }
        })
        .await;
        let again = spec(&rig).await;
        assert!(again.rotations[SECRET] > rotated.rotations[SECRET]);
        let generation = rig.app.get_store("shop").await.unwrap().store.generation;
        let mut report = rig.report_of(&id, "running").await;
        report.serving_revision = 1;
        report.held_back = Some(HeldBackReport {
            generation: generation.get(),
            revision: again.revision.number,
            reason: "update_not_ready".to_owned(),
            message: String::new(),
            at_unix_ms: 1,
        });
        let store = id.clone();
        rig.say(FleetEvent::Report { store, report }).await;
        rig.until("the older one is wanted", || async {
            let spec = spec(&rig).await;
            match spec.revision.number {
                1 => Ok(()),
                _ => Err(format!("{spec:?}")),
            }
        })
        .await;
        assert_eq!(spec(&rig).await.rotations, again.rotations);
        rig.stop().await;
    }

    pub async fn what_cannot_be_rotated_is_refused_by_name(url: Option<&str>) {
        let rig = Rig::start(url).await;
        rig.node("one").await;
        rig.app
            .create_store(&owner(), new_store("shop"))
            .await
            .unwrap();
        let early = rig.app.amend(&owner(), rotate(&[SECRET])).await;
        assert_eq!(early.unwrap_err().code(), "not_served_yet");
        let id = rig.bring_up("shop").await;
        serves(&rig, &id).await;
        let refused = rig
            .app
            .amend(&owner(), rotate(&["app_key", SECRET, "no_such"]))
            .await;
        let Err(AppError::Invalid { problems }) = refused else {
            panic!("{refused:?}");
        };
        let found: Vec<(&str, &str)> = problems
            .iter()
            .map(|problem| (&*problem.pointer, &*problem.code))
            .collect();
        assert_eq!(
            found,
            [
                ("/secrets/0", "secret_not_rotatable"),
                ("/secrets/2", "unknown_secret")
            ]
        );
        assert!(spec(&rig).await.rotations.is_empty());
        rig.stop().await;
    }
}
