//! Room for old and new side by side: an update waits for it, holds it while it is under way, and gives it back; what goes back never waits.

use crate::on_every_database;

on_every_database! {
    an_update_waits_for_room_and_gives_it_back,
    the_last_room_is_taken_once_however_many_ask,
    what_goes_back_and_what_stops_never_waits,
    more_replicas_wait_and_what_can_never_fit_is_refused,
    more_replicas_that_wait_are_taken_back,
    what_has_waited_for_long_is_not_overtaken,
    a_rollout_begins_no_more_than_fits_and_counts_no_waiting_as_failure,
    an_aborted_rollout_leaves_nothing_waiting,
}

mod body {
    use std::collections::BTreeMap;

    use control_plane::{
        app::{
            AmendStore, Amended, Amendment, CancelOperation, RolloutAction, RolloutView,
            StartRollout, UpdateStore,
        },
        domain::{
            operation::Operation,
            rollout::{MemberState, RolloutEvent},
            session::{AgentOrder, FleetEvent},
            store::Reservation,
        },
    };
    use shop_proto::{NodeId, StoreId};

    use crate::harness::*;

    async fn stores(rig: &Rig, names: &[&str]) -> (NodeId, Vec<StoreId>) {
        let node = rig.node("one").await;
        let mut ids = Vec::new();
        for name in names {
            rig.create(name).await;
            ids.push(rig.bring_up(name).await);
        }
        (node, ids)
    }

    async fn amend(rig: &Rig, name: &str, what: Amendment) -> Operation {
        let input = AmendStore {
            store: name.to_owned(),
            what,
            ..AmendStore::default()
        };
        match rig.app.amend(&owner(), input).await.unwrap() {
            Amended::Accepted(view) => view.operation,
            other => panic!("{other:?}"),
        }
    }

    fn renamed() -> Amendment {
        Amendment::Update(UpdateStore {
            parameters: BTreeMap::from([("shop_name".to_owned(), Some("New".to_owned()))]),
            ..UpdateStore::default()
        })
    }

    /// What an update of a store takes besides, as it is with room for it.
    async fn besides(rig: &Rig, name: &str) -> u64 {
        let input = AmendStore {
            store: name.to_owned(),
            what: renamed(),
            ..AmendStore::default()
        };
        let before = rig.store(name).await.reserved;
        rig.app.amend(&owner(), input).await.unwrap();
        let during = rig.store(name).await;
        let back = Amendment::Rollback {
            number: Some(1),
            allow_irreversible: false,
        };
        let back = amend(rig, name, back).await;
        rig.report(&during.id, "running").await;
        rig.until_operation(&back.id, "succeeded").await;
        assert_eq!(rig.store(name).await.reserved, before, "it is given back");
        during.reserved.memory_bytes - before.memory_bytes
    }

    /// A node with so much to reserve in all, beside the host's share.
    async fn has(rig: &Rig, node: &NodeId, bytes: u64) {
        let mut now = capacity(0);
        now.memory_bytes = if bytes < 3 << 30 {
            bytes / 3 * 4 + 8
        } else {
            bytes + (1 << 30)
        };
        let wanted = now.memory_bytes;
        rig.say(FleetEvent::NodeCapacity {
            node: node.clone(),
            capacity: now,
        })
        .await;
        rig.until("the node's room is known", || async {
            match rig.app.get_node(node).await {
                Ok(view) if view.node.capacity.memory_bytes == wanted => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    async fn until_reserved(rig: &Rig, name: &str, wanted: Reservation) {
        rig.until("so much is reserved", || async {
            let store = rig.store(name).await;
            match store.reserved == wanted {
                true => Ok(()),
                false => Err(format!("{store:?}")),
            }
        })
        .await;
    }

    fn told(rig: &Rig, id: &StoreId, wanted: u64) -> bool {
        rig.orders.agents.lock().unwrap().iter().any(|(store, order)| {
            matches!(order, AgentOrder::Desired { generation, .. } if store == id && generation.get() == wanted)
        })
    }

    pub async fn an_update_waits_for_room_and_gives_it_back(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let (node, ids) = stores(&rig, &["shop", "other"]).await;
        let more = besides(&rig, "shop").await;
        assert!(more > 0, "two slots take more than one");
        let before = rig.store("shop").await;
        let each = before.reserved.memory_bytes;
        has(&rig, &node, 2 * each + more / 2).await;
        let dry = AmendStore {
            store: "shop".to_owned(),
            what: renamed(),
            dry_run: true,
            ..AmendStore::default()
        };
        let Amended::Preview(preview) = rig.app.amend(&owner(), dry).await.unwrap() else {
            panic!("it was only asked");
        };
        assert_eq!(preview.refused, None);
        assert!(
            preview
                .warnings
                .iter()
                .any(|warning| warning.contains("wait for room")),
            "{preview:?}"
        );

        let update = amend(&rig, "shop", renamed()).await;
        assert_eq!(
            (update.state.as_str(), update.reason.as_str()),
            ("pending", "no_capacity")
        );
        assert!(update.message.contains("MiB"), "{}", update.message);
        let waits = rig.store("shop").await;
        assert_eq!(
            (waits.status.as_str(), waits.reason.as_str()),
            ("running", "no_capacity")
        );
        assert_eq!(waits.reserved, before.reserved);
        let explained = rig.app.explain_store("shop").await.unwrap();
        let codes: Vec<&str> = explained.causes.iter().map(|cause| cause.code).collect();
        assert!(
            codes.ends_with(&["change_waits", "no_capacity"]),
            "{explained:?}"
        );
        // Its agent goes on speaking of what was asked for before, and is heard.
        let mut worse = rig.report_of(&ids[0], "degraded").await;
        worse.generation = before.generation.get();
        worse.spec_digest = before.spec.digest().to_string();
        worse.serving_revision = 1;
        let said = |report| FleetEvent::Report {
            store: ids[0].clone(),
            report,
        };
        rig.say(said(worse.clone())).await;
        rig.until_status("shop", "degraded").await;
        rig.pass(std::time::Duration::from_secs(7200));
        worse.state = "running".to_owned();
        rig.say(said(worse)).await;
        rig.until_status("shop", "running").await;
        let still = rig.app.get_operation(&update.id).await.unwrap().operation;
        assert_eq!(
            still.state.as_str(),
            "pending",
            "waiting is no failure: {still:?}"
        );
        assert!(
            !told(&rig, &ids[0], update.generation.get()),
            "nothing is sent"
        );

        has(&rig, &node, 2 * each + more).await;
        rig.agent_order("the update is sent", |store, order| match order {
            AgentOrder::Desired { generation, .. } if *store == ids[0] => {
                (*generation == update.generation).then_some(())
            }
            _ => None,
        })
        .await;
        let during = rig.store("shop").await;
        assert_eq!(
            during.reserved.memory_bytes,
            before.reserved.memory_bytes + more
        );
        rig.report(&ids[0], "running").await;
        let ended = rig.until_operation(&update.id, "succeeded").await;
        assert!(
            ended.steps.iter().any(|step| step.name == "room"),
            "{ended:?}"
        );
        until_reserved(&rig, "shop", before.reserved).await;
        rig.stop().await;
    }

    pub async fn the_last_room_is_taken_once_however_many_ask(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let names = ["aa", "bb", "cc"];
        let (node, ids) = stores(&rig, &names).await;
        let more = besides(&rig, "aa").await;
        let one = rig.store("aa").await.reserved.memory_bytes;
        let room = 3 * one + more;
        has(&rig, &node, room).await;
        let (a, b, c) = tokio::join!(
            amend(&rig, "aa", renamed()),
            amend(&rig, "bb", renamed()),
            amend(&rig, "cc", renamed()),
        );
        let mut waiting: Vec<(usize, Operation)> = [a, b, c].into_iter().enumerate().collect();
        let mut ended = 0;
        while !waiting.is_empty() {
            let reserved = rig.app.get_node(&node).await.unwrap().reserved.memory_bytes;
            assert!(reserved <= room, "{reserved} of {room}");
            let going = rig
                .until("one has the room", || async {
                    let mut going = Vec::new();
                    for (index, operation) in &waiting {
                        let seen = rig.app.get_operation(&operation.id).await.unwrap();
                        if seen.operation.state.as_str() == "running" {
                            going.push(*index);
                        }
                    }
                    match going.as_slice() {
                        [one] => Ok(*one),
                        [] => Err("none".to_owned()),
                        many => panic!("{many:?} have the same room"),
                    }
                })
                .await;
            rig.report(&ids[going], "running").await;
            let index = waiting
                .iter()
                .position(|(index, _)| *index == going)
                .unwrap();
            let (_, operation) = waiting.remove(index);
            rig.until_operation(&operation.id, "succeeded").await;
            ended += 1;
        }
        assert_eq!(ended, names.len());
        rig.stop().await;
    }

    pub async fn what_goes_back_and_what_stops_never_waits(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let (node, ids) = stores(&rig, &["shop", "other"]).await;
        let before = rig.store("shop").await;
        let each = before.reserved.memory_bytes;
        has(&rig, &node, 2 * each + (1 << 20)).await;
        // Withdrawn by its own cancel, by a maintenance page, by a stop: each is sent at once.
        let update = amend(&rig, "shop", renamed()).await;
        let input = CancelOperation {
            operation: update.id.clone(),
            ..CancelOperation::default()
        };
        let back = rig.app.cancel_operation(&owner(), input).await.unwrap();
        rig.until_operation(&update.id, "cancelled").await;
        rig.report(&ids[0], "running").await;
        rig.until_operation(&back.operation.id, "succeeded").await;
        amend(&rig, "shop", renamed()).await;
        let page = amend(&rig, "shop", Amendment::Maintenance(true)).await;
        assert_eq!(page.state.as_str(), "running");
        let shown = rig.store("shop").await;
        assert!(
            shown.spec.maintenance && shown.spec.revision.number == 1,
            "{shown:?}"
        );
        amend(&rig, "shop", renamed()).await;
        let stop = rig.app.stop_store(&owner(), act("shop")).await.unwrap();
        assert_eq!(stop.operation.state.as_str(), "running");
        assert_eq!(rig.store("shop").await.spec.revision.number, 1);
        rig.report(&ids[0], "stopped").await;
        rig.until_operation(&stop.operation.id, "succeeded").await;
        rig.app.start_store(&owner(), act("shop")).await.unwrap();
        rig.report(&ids[0], "running").await;
        rig.until_status("shop", "running").await;

        // Updated while there was room, and back when there is none.
        has(&rig, &node, 64 << 30).await;
        let update = amend(&rig, "shop", renamed()).await;
        rig.report(&ids[0], "running").await;
        rig.until_operation(&update.id, "succeeded").await;
        has(&rig, &node, each).await;
        let back = Amendment::Rollback {
            number: Some(1),
            allow_irreversible: false,
        };
        let back = amend(&rig, "shop", back).await;
        assert_eq!(back.state.as_str(), "running", "{back:?}");
        rig.report(&ids[0], "running").await;
        rig.until_operation(&back.id, "succeeded").await;
        until_reserved(&rig, "shop", before.reserved).await;
        rig.stop().await;
    }

    pub async fn more_replicas_wait_and_what_can_never_fit_is_refused(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let (node, ids) = stores(&rig, &["shop", "other"]).await;
        let each = rig.store("shop").await.reserved.memory_bytes;
        has(&rig, &node, 2 * each + (1 << 20)).await;
        let scaled = || Amendment::Scale(BTreeMap::from([("php-fpm".to_owned(), 2)]));
        let scale = amend(&rig, "shop", scaled()).await;
        assert_eq!(
            (scale.state.as_str(), scale.reason.as_str()),
            ("pending", "no_capacity")
        );
        let six = AmendStore {
            store: "shop".to_owned(),
            what: Amendment::Scale(BTreeMap::from([
                ("php-fpm".to_owned(), 6),
                ("web".to_owned(), 6),
            ])),
            ..AmendStore::default()
        };
        let never = rig.app.amend(&owner(), six).await.unwrap_err();
        assert_eq!(never.code(), "no_capacity");
        rig.app.delete_store(&owner(), now("other")).await.unwrap();
        rig.retired(&ids[1], &node, "gone").await;
        rig.until_operation(&scale.id, "running").await;
        rig.report(&ids[0], "running").await;
        rig.until_operation(&scale.id, "succeeded").await;
        let after = rig.store("shop").await;
        assert!(after.reserved.memory_bytes > each && after.room.is_none());
        rig.stop().await;
    }

    fn scaled(count: u32) -> Amendment {
        Amendment::Scale(BTreeMap::from([("php-fpm".to_owned(), count)]))
    }

    fn cancel(operation: &Operation) -> CancelOperation {
        CancelOperation {
            operation: operation.id.clone(),
            ..CancelOperation::default()
        }
    }

    pub async fn more_replicas_that_wait_are_taken_back(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let (node, ids) = stores(&rig, &["shop", "other"]).await;
        let before = rig.store("shop").await;
        has(&rig, &node, 2 * before.reserved.memory_bytes + (1 << 20)).await;
        // By its own cancel, and by asking for what was before.
        for cancels in [true, false] {
            let scale = amend(&rig, "shop", scaled(2)).await;
            assert_eq!(
                (scale.state.as_str(), scale.reason.as_str()),
                ("pending", "no_capacity")
            );
            let explained = rig.app.explain_store("shop").await.unwrap();
            let way = format!("shopctl operation cancel {}", scale.id);
            assert!(
                explained.next.iter().any(|next| next.command == way),
                "{explained:?}"
            );
            let back = if cancels {
                let back = rig.app.cancel_operation(&owner(), cancel(&scale)).await;
                back.unwrap().operation
            } else {
                amend(&rig, "shop", scaled(1)).await
            };
            rig.until_operation(&scale.id, "cancelled").await;
            let after = rig.store("shop").await;
            assert_eq!(after.spec, before.spec);
            assert_eq!((after.reserved, after.room), (before.reserved, None));
            rig.report(&ids[0], "running").await;
            rig.until_operation(&back.id, "succeeded").await;
            assert!(
                !told(&rig, &ids[0], scale.generation.get()),
                "nothing of it was sent"
            );
        }
        // What has begun is ended by asking for the opposite.
        has(&rig, &node, 64 << 30).await;
        let scale = amend(&rig, "shop", scaled(2)).await;
        assert_eq!(scale.state.as_str(), "running");
        let late = rig.app.cancel_operation(&owner(), cancel(&scale)).await;
        assert_eq!(late.unwrap_err().code(), "not_cancellable");
        rig.stop().await;
    }

    fn called(name: &str) -> Amendment {
        Amendment::Update(UpdateStore {
            parameters: BTreeMap::from([("shop_name".to_owned(), Some(name.to_owned()))]),
            ..UpdateStore::default()
        })
    }

    pub async fn what_has_waited_for_long_is_not_overtaken(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let (node, ids) = stores(&rig, &["shop", "other", "third"]).await;
        let more = besides(&rig, "other").await;
        let each = rig.store("shop").await.reserved.memory_bytes;
        has(&rig, &node, 3 * each + 2 * more).await;
        let other = amend(&rig, "other", called("First")).await;
        // It fits when that is over.
        let large = amend(&rig, "shop", scaled(3)).await;
        assert_eq!(large.reason, "no_capacity");
        // What is smaller goes first meanwhile, one after the other.
        rig.pass(std::time::Duration::from_secs(400));
        let third = amend(&rig, "third", called("First")).await;
        assert_eq!(
            (other.state.as_str(), third.state.as_str()),
            ("running", "running")
        );
        rig.report(&ids[1], "running").await;
        rig.until_operation(&other.id, "succeeded").await;
        rig.pass(std::time::Duration::from_secs(300));
        let dry = AmendStore {
            store: "other".to_owned(),
            what: called("Second"),
            dry_run: true,
            ..AmendStore::default()
        };
        let Amended::Preview(preview) = rig.app.amend(&owner(), dry).await.unwrap() else {
            panic!("it was only asked");
        };
        let first = |warning: &String| warning.contains("goes first");
        assert!(preview.warnings.iter().any(first), "{preview:?}");
        let small = amend(&rig, "other", called("Second")).await;
        assert_eq!(
            (small.state.as_str(), small.reason.as_str()),
            ("pending", "no_capacity")
        );
        rig.until("it is told why", || async {
            let found = rig.app.get_operation(&small.id).await.unwrap().operation;
            match found.message.contains("goes first") {
                true => Ok(()),
                false => Err(format!("{found:?}")),
            }
        })
        .await;
        // There is its room; and for what waited behind it when there is more.
        rig.report(&ids[2], "running").await;
        rig.until_operation(&large.id, "running").await;
        has(&rig, &node, 64 << 30).await;
        rig.until_operation(&small.id, "running").await;
        // What needs more than comes free by itself keeps nobody waiting.
        rig.report(&ids[0], "running").await;
        rig.until_operation(&large.id, "succeeded").await;
        rig.report(&ids[1], "running").await;
        rig.until_operation(&small.id, "succeeded").await;
        let shop = rig.store("shop").await.reserved.memory_bytes;
        has(&rig, &node, shop + 2 * each + more).await;
        let never = amend(&rig, "shop", scaled(5)).await;
        assert_eq!(never.reason, "no_capacity");
        rig.pass(std::time::Duration::from_secs(660));
        let third = amend(&rig, "third", called("Second")).await;
        assert_eq!(third.state.as_str(), "running", "{third:?}");
        rig.stop().await;
    }

    fn wish() -> StartRollout {
        StartRollout {
            parameters: BTreeMap::from([("shop_name".to_owned(), Some("New".to_owned()))]),
            canary: 0,
            batch: "100%".to_owned(),
            ..StartRollout::default()
        }
    }

    async fn until(
        rig: &Rig,
        id: &str,
        what: &str,
        fits: impl Fn(&RolloutView) -> bool,
    ) -> RolloutView {
        rig.until(what, || async {
            let view = rig.app.get_rollout(id).await.unwrap();
            match fits(&view) {
                true => Ok(view),
                false => Err(format!("{view:?}")),
            }
        })
        .await
    }

    fn count(view: &RolloutView, state: MemberState) -> usize {
        view.members
            .iter()
            .filter(|member| member.state == state)
            .count()
    }

    pub async fn a_rollout_begins_no_more_than_fits_and_counts_no_waiting_as_failure(
        url: Option<&str>,
    ) {
        let rig = Rig::start(url).await;
        let (node, ids) = stores(&rig, &["aa", "bb", "cc", "dd"]).await;
        let more = besides(&rig, "aa").await;
        let each = rig.store("aa").await.reserved.memory_bytes;
        has(&rig, &node, 4 * each + more).await;
        let id = rig
            .app
            .start_rollout(&owner(), wish())
            .await
            .unwrap()
            .rollout
            .id;
        for done in 0..ids.len() {
            // One under way, one in line, the rest in their turn.
            let line = usize::from(done + 1 < ids.len());
            let view = until(&rig, &id, "one is under way and one in line", |view| {
                count(view, MemberState::Done) == done
                    && count(view, MemberState::Updating) == 1 + line
            })
            .await;
            let going = rig
                .until("one has the room", || async {
                    let mut going = Vec::new();
                    for member in &view.members {
                        let store = rig.store(member.store.as_str()).await;
                        if member.state == MemberState::Updating && store.room_awaited().is_none() {
                            going.push(store.id);
                        }
                    }
                    match going.len() {
                        0 => Err("none".to_owned()),
                        _ => Ok(going),
                    }
                })
                .await;
            assert_eq!(going.len(), 1, "{view:?}");
            rig.report(&going[0], "running").await;
        }
        let ended = until(&rig, &id, "the end", |view| view.rollout.state.ended()).await;
        assert_eq!(ended.rollout.state.as_str(), "succeeded");
        assert_eq!(count(&ended, MemberState::Done), ids.len());
        rig.stop().await;
    }

    pub async fn an_aborted_rollout_leaves_nothing_waiting(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let (node, _) = stores(&rig, &["aa", "bb"]).await;
        let each = rig.store("aa").await.reserved.memory_bytes;
        has(&rig, &node, 2 * each + (1 << 20)).await;
        let id = rig
            .app
            .start_rollout(&owner(), wish())
            .await
            .unwrap()
            .rollout
            .id;
        until(&rig, &id, "one waits", |view| {
            count(view, MemberState::Updating) == 1 && count(view, MemberState::Waiting) == 1
        })
        .await;
        let abort = RolloutAction {
            rollout: id.clone(),
            event: RolloutEvent::Abort,
            goes_back: false,
            reason: String::new(),
        };
        rig.app.control_rollout(&owner(), abort).await.unwrap();
        let ended = until(&rig, &id, "it is withdrawn", |view| {
            count(view, MemberState::Skipped) == 1
        })
        .await;
        assert_eq!(count(&ended, MemberState::Failed), 0);
        for name in ["aa", "bb"] {
            let store = rig.store(name).await;
            assert_eq!((store.spec.revision.number, store.room), (1, None));
        }
        rig.stop().await;
    }
}
