//! Older code never runs on what newer code has made of a database, whichever way would lead back to it.

use crate::on_every_database;

on_every_database! {
    no_way_back_leads_past_what_the_database_has_become,
    what_was_taken_back_makes_room_for_what_serves_and_for_nothing_else,
}

mod body {
    use std::collections::BTreeMap;

    use control_plane::{
        app::{
            AmendStore, Amended, Amendment, CancelOperation, RotateSecrets, StoreAction,
            UpdateStore,
        },
        domain::{
            operation::Operation,
            session::{FleetEvent, HeldBackReport, StoreReport},
        },
    };
    use shop_plan::Schema;
    use shop_proto::StoreId;

    use crate::harness::*;

    const TOO_NEW: &str = "schema_too_new";

    /// What the newest version makes of the database: no older code works on it.
    const NEWEST: Schema = Schema {
        schema: 3,
        works_from: 3,
    };

    fn of_shop(what: Amendment) -> AmendStore {
        AmendStore {
            store: "shop".to_owned(),
            what,
            ..AmendStore::default()
        }
    }

    fn renamed(name: &str) -> Amendment {
        Amendment::Update(UpdateStore {
            parameters: BTreeMap::from([("shop_name".to_owned(), Some(name.to_owned()))]),
            ..UpdateStore::default()
        })
    }

    const fn back(number: Option<u64>) -> Amendment {
        Amendment::Rollback {
            number,
            allow_irreversible: true,
        }
    }

    async fn accepted(rig: &Rig, what: Amendment) -> Operation {
        match rig.app.amend(&owner(), of_shop(what)).await.unwrap() {
            Amended::Accepted(view) => view.operation,
            other => panic!("{other:?}"),
        }
    }

    /// The agent says how it stands, and is heard.
    async fn says(rig: &Rig, id: &StoreId, change: impl FnOnce(&mut StoreReport)) {
        let mut report = rig.report_of(id, "running").await;
        change(&mut report);
        let (store, said) = (id.clone(), report.clone());
        rig.say(FleetEvent::Report {
            store,
            report: said,
        })
        .await;
        rig.until("it is heard", || async {
            let store = rig.app.get_store("shop").await.unwrap().store;
            match store.report.as_ref() == Some(&report) {
                true => Ok(()),
                false => Err(format!("{store:?}")),
            }
        })
        .await;
    }

    /// A store of the version before the newest, at its second revision.
    async fn served(rig: &Rig) -> StoreId {
        rig.node("one").await;
        let mut store = new_store("shop");
        store.template = "refshop@2".to_owned();
        rig.app.create_store(&owner(), store).await.unwrap();
        let id = rig.bring_up("shop").await;
        says(rig, &id, |_| {}).await;
        let update = accepted(rig, renamed("Second")).await;
        says(rig, &id, |_| {}).await;
        rig.until_operation(&update.id, "succeeded").await;
        id
    }

    pub async fn no_way_back_leads_past_what_the_database_has_become(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let id = served(&rig).await;
        let act = || StoreAction {
            store: "shop".to_owned(),
            ..StoreAction::default()
        };
        // From a backup: it knows nothing of the update after which the agent says this.
        says(&rig, &id, |report| report.data = Some(NEWEST)).await;
        let before = rig.store("shop").await;
        let replicas = BTreeMap::from([("web".to_owned(), 2)]);
        let rotate = RotateSecrets {
            names: Vec::new(),
            all: true,
        };
        for what in [
            back(None),
            back(Some(1)),
            renamed("Third"),
            Amendment::Rotate(rotate),
            Amendment::Scale(replicas),
            Amendment::Maintenance(true),
            Amendment::Hold(std::time::Duration::from_secs(60)),
        ] {
            let mut asked = of_shop(what);
            let refused = rig.app.amend(&owner(), asked.clone()).await.unwrap_err();
            assert_eq!(refused.code(), TOO_NEW, "{asked:?}");
            assert!(refused.to_string().contains("shopctl template list"));
            asked.dry_run = true;
            let Amended::Preview(preview) = rig.app.amend(&owner(), asked.clone()).await.unwrap()
            else {
                panic!("it was only asked");
            };
            let refused = preview.refused.map(|(code, _)| code);
            assert_eq!(refused.as_deref(), Some(TOO_NEW), "{asked:?}");
        }
        let restart = rig.app.restart_store(&owner(), act()).await.unwrap_err();
        assert_eq!(restart.code(), TOO_NEW);
        assert_eq!(rig.store("shop").await, before, "nothing was written");

        // What rests runs no code, and nothing keeps data from being kept.
        rig.app.stop_store(&owner(), act()).await.unwrap();
        let start = rig.app.start_store(&owner(), act()).await.unwrap_err();
        assert_eq!(start.code(), TOO_NEW);
        rig.app
            .delete_store(&owner(), later("shop", "1h"))
            .await
            .unwrap();
        rig.app.undelete_store(&owner(), act()).await.unwrap();
        // Forward is the way.
        accepted(
            &rig,
            Amendment::Update(UpdateStore {
                template: "refshop@3".to_owned(),
                allow_irreversible: true,
                ..UpdateStore::default()
            }),
        )
        .await;
        rig.stop().await;
    }

    pub async fn what_was_taken_back_makes_room_for_what_serves_and_for_nothing_else(
        url: Option<&str>,
    ) {
        let rig = Rig::start(url).await;
        let id = served(&rig).await;
        let update = accepted(&rig, renamed("Third")).await;
        let taken_back = |serving: u64, data: Schema| {
            let generation = update.generation.get();
            move |report: &mut StoreReport| {
                report.serving_revision = serving;
                report.data = Some(data);
                report.held_back = Some(HeldBackReport {
                    generation,
                    revision: 3,
                    reason: "update_bad_minute".to_owned(),
                    message: String::new(),
                    at_unix_ms: 1,
                });
            }
        };
        let wanted = || async { rig.store("shop").await.spec.revision.number };
        says(&rig, &id, |report| {
            (report.serving_revision, report.data) = (2, Some(NEWEST));
        })
        .await;
        let cancel = CancelOperation {
            operation: update.id.clone(),
            ..CancelOperation::default()
        };
        let refused = rig.app.cancel_operation(&owner(), cancel).await;
        assert_eq!(refused.unwrap_err().code(), TOO_NEW);
        let own = Schema {
            schema: 2,
            works_from: 1,
        };
        // Another control plane's revision, of which this one, from a backup, knows nothing.
        says(&rig, &id, taken_back(9, own)).await;
        assert_eq!(wanted().await, 3, "nothing is guessed");
        // Its database has outgrown what it says that it serves: nobody is sent there.
        says(&rig, &id, taken_back(2, NEWEST)).await;
        assert_eq!(wanted().await, 3);
        let mut report = rig.report_of(&id, "running").await;
        taken_back(2, own)(&mut report);
        let store = id.clone();
        rig.say(FleetEvent::Report { store, report }).await;
        rig.until("what serves is wanted", || async {
            match wanted().await {
                2 => Ok(()),
                other => Err(format!("r{other}")),
            }
        })
        .await;
        rig.stop().await;
    }
}
