//! Rollouts, cancelled operations, clones, and a node where one new store after the other fails.

use crate::on_every_database;

on_every_database! {
    wave_after_wave_until_all_are_updated,
    a_failure_halts_it_in_the_canary_wave_and_resume_forgives,
    a_wave_may_fail_as_far_as_was_said_and_the_canary_never,
    a_key_begins_one_rollout_however_often_it_comes,
    who_cannot_take_part_is_skipped_and_nothing_is_written_on_a_dry_run,
    an_abort_leaves_what_is_done_or_takes_it_back,
    operations_are_cancelled_while_that_is_possible,
    a_clone_has_the_configuration_and_nothing_else,
    a_node_where_stores_fail_gets_no_more_until_one_comes_up,
}

mod body {
    use std::{collections::BTreeMap, time::Duration};

    use control_plane::{
        app::{
            AppError, CancelOperation, CloneStore, PageRequest, RolloutAction, RolloutView,
            StartRollout,
        },
        domain::{
            rollout::{MemberState, RolloutEvent},
            session::{FleetEvent, HeldBackReport},
        },
    };
    use shop_proto::StoreId;

    use crate::harness::*;

    /// Stores a, b, c that run.
    async fn three(rig: &Rig) -> Vec<StoreId> {
        rig.node("one").await;
        let mut ids = Vec::new();
        for name in ["aa", "bb", "cc"] {
            rig.create(name).await;
            ids.push(rig.bring_up(name).await);
        }
        ids
    }

    fn wish() -> StartRollout {
        StartRollout {
            parameters: BTreeMap::from([("shop_name".to_owned(), Some("New".to_owned()))]),
            canary: 1,
            batch: "1".to_owned(),
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
            if fits(&view) {
                Ok(view)
            } else {
                Err(format!("{view:?}"))
            }
        })
        .await
    }

    fn states(view: &RolloutView) -> Vec<&'static str> {
        view.members
            .iter()
            .map(|member| member.state.as_str())
            .collect()
    }

    async fn act_on(rig: &Rig, id: &str, event: RolloutEvent) -> Result<RolloutView, AppError> {
        let action = RolloutAction {
            rollout: id.to_owned(),
            event,
            goes_back: false,
            reason: String::new(),
        };
        rig.app.control_rollout(&owner(), action).await
    }

    /// The agent tried the wanted revision and took it back.
    async fn take_back(rig: &Rig, id: &StoreId) {
        let store = rig.store(id.as_str()).await;
        let mut report = rig.report_of(id, "running").await;
        report.serving_revision = 1;
        report.held_back = Some(HeldBackReport {
            generation: store.generation.get(),
            revision: store.spec.revision.number,
            reason: "update_bad_minute".to_owned(),
            message: "pages failed".to_owned(),
            at_unix_ms: 1,
        });
        rig.say(FleetEvent::Report {
            store: id.clone(),
            report,
        })
        .await;
    }

    pub async fn wave_after_wave_until_all_are_updated(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let stores = three(&rig).await;
        let rollout = rig.app.start_rollout(&owner(), wish()).await.unwrap();
        let id = rollout.rollout.id;
        let waves: Vec<u32> = rollout.members.iter().map(|member| member.wave).collect();
        assert_eq!(waves, [0, 1, 2]);
        let order = ["updating", "waiting", "waiting"];
        until(&rig, &id, "the canary is updated", |view| {
            states(view) == order
        })
        .await;
        rig.report(&stores[0], "running").await;
        let order = ["done", "updating", "waiting"];
        let second = until(&rig, &id, "the next wave", |view| {
            states(view) == order && view.rollout.wave == 1
        })
        .await;
        let operation = second.members[1].operation.clone().unwrap();
        let operation = rig.app.get_operation(&operation).await.unwrap().operation;
        assert_eq!(operation.requested_by, format!("rollout:{id}"));
        // Nothing begins while it is paused, and what goes on comes to its end.
        act_on(&rig, &id, RolloutEvent::Pause).await.unwrap();
        rig.report(&stores[1], "running").await;
        let order = ["done", "done", "waiting"];
        until(&rig, &id, "its end", |view| states(view) == order).await;
        act_on(&rig, &id, RolloutEvent::Resume).await.unwrap();
        let order = ["done", "done", "updating"];
        until(&rig, &id, "the last wave", |view| states(view) == order).await;
        rig.report(&stores[2], "running").await;
        let ended = until(&rig, &id, "the end", |view| view.rollout.state.ended()).await;
        assert_eq!(ended.rollout.state.as_str(), "succeeded");
        assert!(ended.rollout.ended_at.is_some());
        for event in [RolloutEvent::Pause, RolloutEvent::Abort] {
            let refused = act_on(&rig, &id, event).await.unwrap_err();
            assert_eq!(refused.code(), "rollout_ended");
        }
        let again = rig.app.start_rollout(&owner(), wish()).await.unwrap_err();
        assert_eq!(again.code(), "no_stores", "all are there already");
        let listed = rig.app.list_rollouts(PageRequest::default()).await.unwrap();
        assert_eq!(listed.items.len(), 1);
        rig.stop().await;
    }

    pub async fn a_failure_halts_it_in_the_canary_wave_and_resume_forgives(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let stores = three(&rig).await;
        let rollout = rig.app.start_rollout(&owner(), wish()).await.unwrap();
        let id = rollout.rollout.id;
        until(&rig, &id, "the canary is updated", |view| {
            view.members[0].state == MemberState::Updating
        })
        .await;
        take_back(&rig, &stores[0]).await;
        let halted = until(&rig, &id, "it halts", |view| {
            view.rollout.state.as_str() == "halted"
        })
        .await;
        assert_eq!(states(&halted), ["failed", "waiting", "waiting"]);
        assert_eq!(halted.rollout.reason, "too_many_failures");
        assert_eq!(halted.rollout.wave, 0);
        assert!(halted.rollout.message.contains("aa"), "{halted:?}");
        assert_eq!(halted.members[0].reason, "update_bad_minute");
        for name in ["bb", "cc"] {
            let store = rig.store(name).await;
            assert_eq!(store.spec.revision.number, 1, "{name} was not touched");
        }
        act_on(&rig, &id, RolloutEvent::Resume).await.unwrap();
        let order = ["failed", "updating", "waiting"];
        until(&rig, &id, "it goes on", |view| states(view) == order).await;
        rig.stop().await;
    }

    pub async fn a_wave_may_fail_as_far_as_was_said_and_the_canary_never(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let stores = three(&rig).await;
        let mut tolerant = wish();
        tolerant.max_failures = 1;
        let both = StartRollout {
            max_failures_percent: 50,
            ..tolerant.clone()
        };
        match rig.app.start_rollout(&owner(), both).await {
            Err(AppError::Invalid { problems }) => {
                assert_eq!(problems[0].pointer, "/max_failures_percent");
            }
            other => panic!("{other:?}"),
        }
        let id = rig
            .app
            .start_rollout(&owner(), tolerant)
            .await
            .unwrap()
            .rollout
            .id;
        let updating = |index: usize| {
            move |view: &RolloutView| view.members[index].state == MemberState::Updating
        };
        until(&rig, &id, "the canary is updated", updating(0)).await;
        take_back(&rig, &stores[0]).await;
        let halted = until(&rig, &id, "it halts", |view| {
            view.rollout.state.as_str() == "halted"
        })
        .await;
        assert!(halted.rollout.message.contains("wave 0"), "{halted:?}");
        act_on(&rig, &id, RolloutEvent::Resume).await.unwrap();
        until(&rig, &id, "it goes on", updating(1)).await;
        take_back(&rig, &stores[1]).await;
        // One of its wave may, and what was forgiven before is not counted again.
        until(&rig, &id, "the next wave begins", updating(2)).await;
        rig.report(&stores[2], "running").await;
        let ended = until(&rig, &id, "the end", |view| view.rollout.state.ended()).await;
        assert_eq!(ended.rollout.state.as_str(), "succeeded");
        assert_eq!(states(&ended), ["failed", "failed", "done"]);
        rig.stop().await;
    }

    pub async fn a_key_begins_one_rollout_however_often_it_comes(url: Option<&str>) {
        let rig = Rig::start(url).await;
        three(&rig).await;
        let keyed = || StartRollout {
            idempotency_key: Some("once".to_owned()),
            ..wish()
        };
        let start = |input: StartRollout| {
            let app = rig.app.clone();
            async move { app.start_rollout(&owner(), input).await }
        };
        // A preview begins nothing, and uses no key up.
        let dry = StartRollout {
            dry_run: true,
            ..keyed()
        };
        start(dry).await.unwrap();
        let (first, second) = tokio::join!(start(keyed()), start(keyed()));
        let (first, second) = (first.unwrap().rollout.id, second.unwrap().rollout.id);
        assert_eq!(first, second);
        until(&rig, &first, "the canary is updated", |view| {
            view.members[0].state == MemberState::Updating
        })
        .await;
        assert_eq!(start(keyed()).await.unwrap().rollout.id, first);
        let listed = rig.app.list_rollouts(PageRequest::default()).await.unwrap();
        assert_eq!(listed.items.len(), 1);
        let other = StartRollout {
            canary: 2,
            ..keyed()
        };
        let refused = start(other).await.unwrap_err();
        assert_eq!(refused.code(), "idempotency_mismatch");
        // One key is one request, whatever is asked for.
        let mut store = new_store("dd");
        store.idempotency_key = Some("once".to_owned());
        let refused = rig.app.create_store(&owner(), store).await.unwrap_err();
        assert_eq!(refused.code(), "idempotency_mismatch");
        rig.stop().await;
    }

    pub async fn who_cannot_take_part_is_skipped_and_nothing_is_written_on_a_dry_run(
        url: Option<&str>,
    ) {
        let rig = Rig::start(url).await;
        let stores = three(&rig).await;
        rig.app.stop_store(&owner(), act("bb")).await.unwrap();
        rig.report(&stores[1], "stopped").await;
        rig.until_status("bb", "stopped").await;
        let mut dry = wish();
        dry.dry_run = true;
        let preview = rig.app.start_rollout(&owner(), dry).await.unwrap();
        let seen: Vec<(&str, &str)> = preview
            .members
            .iter()
            .map(|member| (member.name.as_str(), member.reason.as_str()))
            .collect();
        assert_eq!(seen, [("aa", ""), ("cc", ""), ("bb", "stopped")]);
        let listed = rig.app.list_rollouts(PageRequest::default()).await.unwrap();
        assert!(listed.items.is_empty());
        let nothing = StartRollout {
            batch: "0%".to_owned(),
            selector: "=".to_owned(),
            ..StartRollout::default()
        };
        match rig.app.start_rollout(&owner(), nothing).await {
            Err(AppError::Invalid { problems }) => assert_eq!(problems.len(), 3, "{problems:?}"),
            other => panic!("{other:?}"),
        }
        let mut nobody = wish();
        nobody.selector = "team=nobody".to_owned();
        let refused = rig.app.start_rollout(&owner(), nobody).await.unwrap_err();
        assert_eq!(refused.code(), "no_stores");
        // Stopped after the start: it sits out when its turn comes.
        let rollout = rig.app.start_rollout(&owner(), wish()).await.unwrap();
        let id = rollout.rollout.id;
        until(&rig, &id, "the canary is updated", |view| {
            view.members[0].state == MemberState::Updating
        })
        .await;
        rig.app.stop_store(&owner(), act("cc")).await.unwrap();
        rig.report(&stores[0], "running").await;
        let ended = until(&rig, &id, "the end", |view| view.rollout.state.ended()).await;
        assert_eq!(states(&ended), ["done", "skipped", "skipped"]);
        rig.stop().await;
    }

    pub async fn an_abort_leaves_what_is_done_or_takes_it_back(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let stores = three(&rig).await;
        let rollout = rig.app.start_rollout(&owner(), wish()).await.unwrap();
        let id = rollout.rollout.id;
        until(&rig, &id, "the canary is updated", |view| {
            view.members[0].state == MemberState::Updating
        })
        .await;
        rig.report(&stores[0], "running").await;
        until(&rig, &id, "the next wave", |view| {
            view.members[1].state == MemberState::Updating
        })
        .await;
        let left = act_on(&rig, &id, RolloutEvent::Abort).await.unwrap();
        assert_eq!(left.rollout.state.as_str(), "aborted");
        let touched = rig.store("aa").await;
        assert_eq!(touched.spec.revision.number, 2);
        let back = RolloutAction {
            rollout: id.clone(),
            event: RolloutEvent::Abort,
            goes_back: true,
            reason: "looks wrong".to_owned(),
        };
        rig.app.control_rollout(&owner(), back).await.unwrap();
        until(&rig, &id, "the first goes back", |view| {
            view.members[0].state == MemberState::WentBack
        })
        .await;
        let touched = rig.store("aa").await;
        assert_eq!(touched.spec.revision.number, 1);
        // The one under way comes to its end first.
        rig.report(&stores[1], "running").await;
        until(&rig, &id, "the second goes back too", |view| {
            states(view) == ["went_back", "went_back", "waiting"]
        })
        .await;
        rig.stop().await;
    }

    pub async fn operations_are_cancelled_while_that_is_possible(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let cancel = |operation: &str| {
            let input = CancelOperation {
                operation: operation.to_owned(),
                ..CancelOperation::default()
            };
            let app = rig.app.clone();
            async move { app.cancel_operation(&owner(), input).await }
        };
        assert_eq!(cancel("nothing").await.unwrap_err().code(), "not_found");
        let create = rig.create("shop").await;
        let stop = cancel(&create.id).await.unwrap().operation;
        assert_eq!(stop.kind.as_str(), "stop");
        rig.until_operation(&create.id, "cancelled").await;
        rig.until_status("shop", "stopped").await;
        assert_eq!(
            cancel(&create.id).await.unwrap_err().code(),
            "operation_ended"
        );

        rig.node("one").await;
        rig.app.start_store(&owner(), act("shop")).await.unwrap();
        let id = rig.bring_up("shop").await;
        let delete = rig
            .app
            .delete_store(&owner(), later("shop", "1h"))
            .await
            .unwrap()
            .operation;
        let undelete = cancel(&delete.id).await.unwrap().operation;
        assert_eq!(undelete.kind.as_str(), "undelete");
        rig.report(&id, "running").await;
        rig.until_operation(&undelete.id, "succeeded").await;

        let rollout = rig.app.start_rollout(&owner(), wish()).await.unwrap();
        let updating = until(&rig, &rollout.rollout.id, "it is updated", |view| {
            view.members[0].state == MemberState::Updating
        })
        .await;
        let update = updating.members[0].operation.clone().unwrap();
        let back = cancel(&update).await.unwrap().operation;
        assert_eq!(back.kind.as_str(), "rollback");
        let overtaken = until(&rig, &rollout.rollout.id, "it is overtaken", |view| {
            view.rollout.state.ended()
        })
        .await;
        assert_eq!(overtaken.members[0].reason, "overtaken");
        rig.report(&id, "running").await;
        rig.until_operation(&back.id, "succeeded").await;

        let restart = rig.app.restart_store(&owner(), act("shop")).await.unwrap();
        let refused = cancel(&restart.operation.id).await.unwrap_err();
        assert_eq!(refused.code(), "not_cancellable");
        let gone = rig
            .app
            .delete_store(&owner(), now("shop"))
            .await
            .unwrap()
            .operation;
        assert_eq!(cancel(&gone.id).await.unwrap_err().code(), "too_late");
        rig.stop().await;
    }

    pub async fn a_clone_has_the_configuration_and_nothing_else(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let mut first = new_store("first");
        first.labels.insert("team".to_owned(), "a".to_owned());
        first.hosts = vec!["shop.example".to_owned()];
        rig.app.create_store(&owner(), first).await.unwrap();
        let input = CloneStore {
            store: "first".to_owned(),
            name: "second".to_owned(),
            labels: BTreeMap::from([("tier".to_owned(), "test".to_owned())]),
            environment: "staging".to_owned(),
            ..CloneStore::default()
        };
        rig.app.clone_store(&owner(), input.clone()).await.unwrap();
        let first = rig.store("first").await;
        let second = rig.store("second").await;
        assert_ne!(first.id, second.id);
        assert_eq!(
            first.spec.revision.parameters,
            second.spec.revision.parameters
        );
        assert_eq!(
            first.spec.revision.template_digest,
            second.spec.revision.template_digest
        );
        assert_eq!(second.labels.len(), 2);
        assert_eq!(second.environment.as_str(), "staging");
        assert_eq!(second.spec.hosts.len(), 1, "{:?}", second.spec.hosts);
        let taken = rig.app.clone_store(&owner(), input).await.unwrap_err();
        assert_eq!(taken.code(), "invalid_request");
        let unknown = CloneStore {
            store: "nothing".to_owned(),
            name: "third".to_owned(),
            ..CloneStore::default()
        };
        let unknown = rig.app.clone_store(&owner(), unknown).await.unwrap_err();
        assert_eq!(unknown.code(), "not_found");
        rig.stop().await;
    }

    pub async fn a_node_where_stores_fail_gets_no_more_until_one_comes_up(url: Option<&str>) {
        let rig = Rig::start(url).await;
        let node = rig.node("one").await;
        for name in ["aa", "bb", "cc"] {
            rig.create(name).await;
            let id = rig.store(name).await.id;
            rig.prepare(&id).await;
        }
        rig.pass(Duration::from_secs(700));
        for name in ["aa", "bb", "cc"] {
            rig.until_status(name, "failed").await;
        }
        let view = rig.app.get_node(&node).await.unwrap();
        assert_eq!(view.node.breaker.failures, 3);
        assert!(view.node.breaker.until.is_some());
        let waits = rig.create("dd").await;
        rig.until("it waits with the reason", || async {
            let seen = rig.app.get_operation(&waits.id).await.unwrap().operation;
            match seen.reason.as_str() {
                "node_tripped" => Ok(()),
                _ => Err(format!("{seen:?}")),
            }
        })
        .await;
        rig.pass(Duration::from_secs(301));
        // Anything that changes makes the placer look; so does time.
        rig.bring_up("dd").await;
        let view = rig.app.get_node(&node).await.unwrap();
        assert_eq!(view.node.breaker.failures, 0);
        assert_eq!(view.node.breaker.until, None);
        rig.stop().await;
    }
}
