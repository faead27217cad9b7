//! Updates, in every order that chance gives: whatever fails, and whatever is asked for meanwhile, no rule is broken.

use super::*;
use crate::{
    engine::{Second, Traffic},
    ledger::{Marks, Move, Phase, Reason, Update},
};

mod back;

const WINDOW: Duration = Duration::from_secs(60);

impl Shop {
    /// Another revision is asked for.
    fn ask(&mut self, revision: u64) {
        self.generation += 1;
        let run_state = self.spec.run_state;
        let scale = std::mem::take(&mut self.spec.scale);
        self.spec = Spec {
            run_state,
            scale,
            restart_seq: self.spec.restart_seq,
            ..fixtures::revision(revision)
        };
    }

    pub(super) fn task_ended(&mut self, run: &TaskRun, code: i32) {
        self.entries.open_runs.remove(&run.task);
        let before = self.phase();
        let marks = self.look(|input| {
            let plan = input.next.map_or(input.plan, |next| next.0);
            crate::ledger::Marks::of(plan)
        });
        self.entries.migration_ended(&run.run, code, marks, 1);
        self.watch(before);
        if code == 0 && !update::is_migration(&run.run) {
            self.entries.tasks_done.insert(run.task.clone());
        }
    }

    pub(super) fn moved(&mut self, it: Move) {
        let before = self.phase();
        match &it {
            Move::Switch { .. } | Move::Commit(_) => self.deep = true,
            Move::Enter(Phase::Migrating) | Move::Migrated(_) => self.deep = false,
            _ => {}
        }
        it.apply(&mut self.entries);
        self.watch(before);
        // Secrets are delivered anew; it is not what is tested here.
        let consumers = self.look(|input| input.consumers());
        self.delivered.extend(consumers.into_keys());
    }

    fn watch(&mut self, before: Option<Phase>) {
        if self.phase() != before {
            self.watching = Watching::since(self.now);
        }
    }

    pub(super) fn served(&mut self, what: Serve) {
        let replicas = |serve: &Serve| match serve {
            Serve::Slot { slot, replicas } => replicas.iter().map(|it| (*slot, *it)).collect(),
            _ => BTreeSet::new(),
        };
        for (slot, replica) in replicas(&self.serving).difference(&replicas(&what)) {
            let key = ReplicaKey {
                service: "web".parse().unwrap(),
                slot: *slot,
                replica: *replica,
            };
            self.lingering
                .insert(key, self.now + Duration::from_millis(1250));
        }
        self.serving = what;
    }

    pub(super) fn check_serve(&self, slot: Slot) {
        let preferred = self.look(|input| serve::new_slot(input).map(|new| new.1));
        assert!(
            slot == self.entries.slot.unwrap_or(Slot::A) || Some(slot) == preferred,
            "{slot} serves before its time: {:?}",
            self.entries.update
        );
    }

    fn phase(&self) -> Option<Phase> {
        self.entries.update.as_ref().map(|update| update.phase)
    }

    /// Buyers are never sent to nobody while somebody could answer.
    fn check_buyers(&self) {
        let Serve::Slot { slot, replicas } = &self.serving else {
            return;
        };
        let somebody = |slot: Slot| {
            let runs = |service: &str, replica| {
                let key = ReplicaKey {
                    service: service.parse().unwrap(),
                    slot,
                    replica,
                };
                self.replicas.get(&key).is_some_and(Replica::running)
            };
            replicas.iter().any(|it| runs("web", *it)) && runs("php-fpm", 0)
        };
        assert!(
            somebody(*slot),
            "nobody answers in {slot}: {:?}",
            self.entries.update
        );
    }

    /// At most one step of time or chance, then what is due is done; everything goes well but for `failing` containers.
    fn live(&mut self, chance: usize, calm: bool) {
        self.begin();
        if !self.happen(chance, true) {
            self.now += Duration::from_secs(5);
            let now = self.now;
            self.lingering.retain(|_, until| *until > now);
        }
        if calm {
            self.check_buyers();
        }
        let checked = self.look(|input| {
            let update = input.entries.open_update();
            update.is_some_and(|it| matches!(it.phase, Phase::Checking | Phase::Switched))
                && input.wanted().all(|it| it.ready(input))
        });
        if checked {
            self.watching.passed += 1;
            self.watching.traffic.get_or_insert_default();
        }
    }

    fn until(&mut self, phase: Phase) {
        for _ in 0..2000 {
            if self.phase() == Some(phase) {
                return;
            }
            self.live(0, true);
        }
        panic!(
            "never {phase:?}: {:?} {:?}",
            self.entries.update,
            self.decide()
        );
    }

    /// Until the update task runs.
    fn until_migration(&mut self) -> TaskRun {
        let migrates = |step: &Step| match step {
            Step::RunTask(run) if update::is_migration(&run.run) => Some(run.clone()),
            _ => None,
        };
        for _ in 0..2000 {
            self.begin();
            if let Some(run) = self.busy.values().find_map(migrates) {
                return run;
            }
            self.live(0, false);
        }
        panic!("it never migrates: {:?}", self.entries.update);
    }

    fn arrives(&mut self, revision: u64, chances: &[(usize, bool)]) {
        let mut chances = chances.iter();
        for _ in 0..4000 {
            let chance = chances.next().map_or(0, |it| it.0);
            self.live(chance, true);
            let serving = self.entries.serving.as_ref();
            let there = serving.is_some_and(|it| it.spec.revision.number == revision);
            if there
                && self.entries.open_update().is_none()
                && self.busy.is_empty()
                && self.decide().now.is_empty()
                && self.lingering.is_empty()
                && matches!(self.serving, Serve::Slot { .. })
            {
                return;
            }
        }
        panic!(
            "never at {revision}: {:?} {:?}",
            self.entries.update,
            self.decide()
        );
    }

    fn containers(&self) -> BTreeSet<String> {
        self.replicas.keys().map(ToString::to_string).collect()
    }

    fn slot_hashes(&self, slot: Slot) -> Vec<(ReplicaKey, Replica)> {
        let of = |key: &ReplicaKey| key.slot == slot;
        let replicas = self.replicas.iter().filter(|(key, _)| of(key));
        replicas
            .map(|(key, it)| (key.clone(), it.clone()))
            .collect()
    }

    fn update(&self) -> &Update {
        self.entries.update.as_ref().unwrap()
    }
}

fn running() -> Shop {
    let mut shop = super::running();
    // That it serves is recorded.
    shop.settle(&[]);
    assert!(shop.entries.serving.is_some());
    shop
}

/// It came between the first answer to buyers and the record of that.
#[test]
fn an_order_that_needs_a_migration_is_not_in_force_before_it() {
    let mut shop = super::running();
    (shop.entries.serving, shop.entries.slot) = (None, None);
    let schema = |shop: &Shop, revision| Marks::of(&shop.plans[&revision].0).schema;
    shop.entries.schema = Some(schema(&shop, 1));
    shop.ask(2);
    let settles = |shop: &Shop| {
        let mut steps = shop.decide().now.into_iter();
        steps.any(|step| matches!(step, Step::Record(it) if matches!(*it, Move::Settle(..))))
    };
    assert!(!settles(&shop));
    shop.until_migration();
    shop.entries.schema = Some(schema(&shop, 2));
    assert!(settles(&shop));
}

#[test]
fn a_reversible_update_moves_to_the_free_slot_and_leaves_nothing_behind() {
    let mut shop = running();
    let before = shop.containers();
    let old = shop.slot_hashes(Slot::A);
    shop.ask(2);
    shop.until(Phase::Switched);
    assert_eq!(
        shop.slot_hashes(Slot::A),
        old,
        "the old slot is not touched before the switch"
    );
    shop.arrives(2, &[]);
    assert_eq!(shop.entries.slot, Some(Slot::B));
    assert!(matches!(shop.serving, Serve::Slot { slot: Slot::B, .. }));
    let moved: BTreeSet<String> = before.iter().map(|key| key.replace("-a-", "-b-")).collect();
    assert_eq!(shop.containers(), moved);
    assert_eq!(shop.phase(), Some(Phase::Done));
    assert_eq!(shop.entries.schema.unwrap().schema, 2);
    // And back: the code of schema 1 works on schema 2.
    shop.ask(1);
    shop.arrives(1, &[]);
    assert_eq!(shop.containers(), before);
}

#[test]
fn new_containers_that_do_not_come_up_are_taken_back_and_not_tried_again() {
    let mut shop = running();
    shop.ask(4);
    shop.until(Phase::Preparing);
    let served = shop.serving.clone();
    shop.watching.ends = 3;
    shop.watching.complaint = Some("php-fpm ended by itself (exit code 70)".to_owned());
    shop.until(Phase::RolledBack);
    let failure = shop.update().failure.clone().unwrap();
    assert_eq!(failure.reason, Reason::UpdateNotReady);
    assert!(
        failure.message.contains("exit code 70"),
        "{}",
        failure.message
    );
    shop.settle(&[]);
    assert_eq!(shop.serving, served);
    assert!(shop.slot_hashes(Slot::B).is_empty());
    assert_eq!(
        shop.phase(),
        Some(Phase::RolledBack),
        "it is not tried again by itself"
    );
    // An operator's new word is.
    shop.generation += 1;
    shop.arrives(4, &[]);
}

#[test]
fn a_bad_minute_goes_back_to_a_slot_that_was_kept_ready() {
    let bad: [fn(&mut Shop); 3] = [
        |shop| (shop.watching.failed, shop.watching.passed) = (3, 0),
        |shop| shop.watching.ends = 2,
        |shop| {
            let at = shop.wall.as_second() + 2;
            let second = Second {
                at,
                requests: 100,
                errors: 9,
            };
            shop.watching.traffic = Some(Traffic {
                seconds: vec![second],
                complete: true,
            });
        },
    ];
    for happens in bad {
        let mut shop = running();
        let old = shop.slot_hashes(Slot::A);
        shop.ask(2);
        shop.until(Phase::Switched);
        while !matches!(shop.serving, Serve::Slot { slot: Slot::B, .. }) {
            shop.live(0, true);
        }
        happens(&mut shop);
        shop.until(Phase::RolledBack);
        assert_eq!(
            shop.update().failure.as_ref().unwrap().reason,
            Reason::UpdateBadMinute
        );
        assert_eq!(shop.slot_hashes(Slot::A), old);
        while !matches!(shop.serving, Serve::Slot { slot: Slot::A, .. }) {
            shop.live(0, true);
        }
        shop.arrives(1, &[]);
        assert!(shop.slot_hashes(Slot::B).is_empty());
    }
}

#[test]
fn errors_are_held_against_the_minutes_before() {
    let mut shop = running();
    shop.ask(4);
    shop.until(Phase::Checking);
    let second = |at, requests, errors| Second {
        at,
        requests,
        errors,
    };
    let wall = shop.wall.as_second();
    // Two of a hundred were errors before, five of a hundred are now: not three times as many.
    let before = second(wall - 10, 100, 2);
    shop.watching.traffic = Some(Traffic {
        seconds: vec![before],
        complete: true,
    });
    shop.until(Phase::Switched);
    assert_eq!(shop.update().before.unwrap().errors, 2);
    let seconds = vec![before, second(wall + 3, 100, 5)];
    shop.watching.traffic = Some(Traffic {
        seconds,
        complete: true,
    });
    shop.live(0, true);
    assert_eq!(shop.phase(), Some(Phase::Switched));
    let seconds = vec![before, second(wall + 3, 100, 6)];
    shop.watching.traffic = Some(Traffic {
        seconds,
        complete: true,
    });
    shop.until(Phase::RolledBack);
}

#[test]
fn a_way_without_return_is_gone_under_the_page_and_halts_when_it_fails() {
    let mut shop = running();
    shop.ask(2);
    shop.arrives(2, &[]);
    shop.ask(3);
    shop.until(Phase::Migrating);
    assert!(shop.update().closed);
    shop.until_migration();
    assert_eq!(
        shop.serving,
        Serve::Maintenance,
        "nobody is served while it migrates"
    );
    let old = shop.slot_hashes(Slot::B);
    assert!(
        old.iter().all(|(_, replica)| !replica.running()),
        "the old code works on no new data"
    );
    assert_eq!(old.len(), 2, "but is kept, should it fail");
    shop.until(Phase::Switched);
    assert_eq!(shop.serving, Serve::Maintenance);
    let mut good = running();
    good.ask(2);
    good.arrives(2, &[]);
    good.ask(3);
    good.until(Phase::Switched);
    good.arrives(3, &[]);
    assert!(matches!(good.serving, Serve::Slot { slot: Slot::A, .. }));

    shop.watching.failed = 3;
    shop.until(Phase::Halted);
    shop.settle(&[]);
    assert_eq!(shop.serving, Serve::Maintenance);
    assert_eq!(
        shop.entries.serving.as_ref().unwrap().spec.revision.number,
        3
    );
    // A scale or a label does not bring it back, a restart does.
    shop.generation += 1;
    shop.settle(&[]);
    assert_eq!(shop.phase(), Some(Phase::Halted));
    let mut restarted = shop.entries.clone();
    assert!(restarted.taken_back.is_some());
    restarted.restarted(1);
    assert_eq!(
        restarted.taken_back, None,
        "it is in force and serves again"
    );
    shop.spec.restart_seq += 1;
    shop.generation += 1;
    shop.deep = false;
    shop.settle(&[]);
    assert!(matches!(shop.serving, Serve::Slot { .. }));
}

#[test]
fn a_migration_that_fails_brings_the_old_slot_back() {
    for (from, to) in [(1, 2), (2, 3)] {
        let mut shop = running();
        if from == 2 {
            shop.ask(2);
            shop.arrives(2, &[]);
        }
        shop.ask(to);
        let run = shop.until_migration();
        shop.busy.remove(&Target::Task(run.task.clone()));
        shop.task_ended(&run, 3);
        assert_eq!(shop.phase(), Some(Phase::RolledBack));
        assert_eq!(
            shop.update().failure.as_ref().unwrap().reason,
            Reason::MigrationFailed
        );
        shop.arrives(from, &[]);
        assert!(matches!(shop.serving, Serve::Slot { .. }));
    }
}

#[test]
fn what_changes_in_place_changes_one_after_the_other() {
    let mut shop = running();
    let web = shop.slot_hashes(Slot::A);
    shop.ask(5);
    shop.arrives(5, &[]);
    assert_eq!(shop.slot_hashes(Slot::A), web, "stateless containers stay");
    let db = &shop.replicas[&key("db", Slot::Fixed)];
    let plan = &shop.plans[&5].0;
    assert_eq!(
        db.spec_hash,
        plan.service(&"db".parse().unwrap()).unwrap().spec_hash
    );
}

#[test]
fn limits_alone_change_live() {
    let mut shop = running();
    let before = shop.containers();
    shop.ask(6);
    shop.arrives(6, &[]);
    assert_eq!(shop.containers(), before);
    let php = &shop.replicas[&key("php-fpm", Slot::A)];
    assert_eq!(php.limits.unwrap().memory_bytes, 512 << 20);
    assert!(shop.entries.update.is_none());
}

#[test]
fn a_frozen_replica_is_left_out_and_killed_when_another_one_answers() {
    let mut shop = running();
    shop.spec.scale.insert("php-fpm".parse().unwrap(), 2);
    shop.settle(&[]);
    let frozen = key("php-fpm", Slot::A);
    shop.replicas.get_mut(&frozen).unwrap().health = Health::Frozen;
    assert_eq!(shop.decide().now, vec![Step::Kill(frozen)]);
    let mut alone = running();
    let frozen = key("php-fpm", Slot::A);
    alone.replicas.get_mut(&frozen).unwrap().health = Health::Frozen;
    assert_eq!(alone.decide().now, vec![]);
}

#[test]
fn maintenance_and_pause_have_their_pages_and_end() {
    let mut shop = running();
    shop.spec.maintenance = true;
    shop.settle(&[]);
    assert_eq!(shop.serving, Serve::Maintenance);
    assert!(
        shop.replicas.values().all(Replica::ready),
        "all goes on running"
    );
    shop.spec.maintenance = false;
    shop.settle(&[]);
    assert!(shop.serves());
    shop.spec.run_state = RunState::Paused;
    shop.deep = false;
    shop.settle(&[]);
    assert_eq!(shop.serving, Serve::Paused);
    assert!(shop.replicas.values().all(|replica| !replica.running()));
    shop.spec.run_state = RunState::Running;
    shop.settle(&[]);
    assert!(shop.serves());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Buyers are answered at every moment (checked in `live`), and what was asked for last is what comes.
    #[test]
    fn orders_at_any_moment_lose_nobody(
        orders in prop::collection::vec((prop::sample::select(vec![1_u64, 2, 4, 5, 6]), 0..120_usize), 1..5),
        chances in chances(),
    ) {
        let mut shop = running();
        let mut chance = chances.iter().map(|it| it.0).chain(std::iter::repeat(0));
        for (revision, moments) in &orders {
            shop.ask(*revision);
            for _ in 0..*moments {
                shop.live(chance.next().unwrap(), true);
            }
        }
        let last = orders.last().unwrap().0;
        shop.arrives(last, &chances);
        prop_assert!(shop.now > shop.now.checked_sub(WINDOW).unwrap());
        let slots: BTreeSet<Slot> = shop.replicas.keys().map(|key| key.slot).collect();
        prop_assert_eq!(slots.len(), 2, "one slot and what is fixed: {:?}", shop.containers());
    }

    #[test]
    fn a_stop_at_any_moment_of_an_update_stops_and_a_start_goes_on(
        revision in prop::sample::select(vec![2_u64, 4, 5]), moments in 0..80_usize, chances in chances(),
    ) {
        let mut shop = running();
        shop.ask(revision);
        for index in 0..moments {
            shop.live(chances.get(index).map_or(0, |it| it.0), true);
        }
        shop.spec.run_state = RunState::Stopped;
        shop.generation += 1;
        shop.deep = false;
        shop.watching.passed = 0;
        while let Some(target) = shop.busy.keys().next().cloned() {
            shop.finish(&target, true);
        }
        shop.settle(&[]);
        prop_assert!(shop.replicas.values().all(|replica| !replica.running()));
        shop.spec.run_state = RunState::Running;
        shop.generation += 1;
        shop.settle_into(revision);
    }
}

impl Shop {
    /// As [`Shop::arrives`], from a stop: nobody is served at first.
    fn settle_into(&mut self, revision: u64) {
        for _ in 0..4000 {
            self.live(0, false);
            let serving = self.entries.serving.as_ref();
            if serving.is_some_and(|it| it.spec.revision.number == revision)
                && self.entries.open_update().is_none()
                && matches!(self.serving, Serve::Slot { .. })
            {
                return;
            }
        }
        panic!(
            "never at {revision}: {:?} {:?}",
            self.entries.update,
            self.decide()
        );
    }
}
