//! The rules, walked through by a simulated store in every order that chance gives: none is broken, it arrives, and nothing is left to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;
use shop_plan::{ServicePlan, StorePlan};
use shop_proto::{ReplicaKey, RunState, ServiceName, Slot, Spec};
use tokio::time::Instant;

use super::*;
use crate::{engine::Exit, store::fixtures};

mod tasks;
mod updates;

/// Some Monday, noon.
const WALL: Timestamp = Timestamp::constant(1_730_721_600, 0);

/// A store without containers, clocks or sockets.
struct Shop {
    plan: StorePlan,
    plans: BTreeMap<u64, (StorePlan, Digest)>,
    spec: Spec,
    generation: u64,
    watching: Watching,
    lingering: BTreeMap<ReplicaKey, Instant>,
    entries: Entries,
    replicas: BTreeMap<ReplicaKey, Replica>,
    delivered: BTreeSet<ServiceName>,
    serving: Serve,
    deep: bool,
    busy: BTreeMap<Target, Step>,
    drift: Drifts,
    wall: Timestamp,
    now: Instant,
}

impl Shop {
    fn new() -> Self {
        Self {
            plan: fixtures::plan(),
            plans: (1..=6)
                .map(|number| {
                    let plan = fixtures::plan_of(&fixtures::revision(number));
                    (number, (plan.clone(), plan.digest()))
                })
                .collect(),
            spec: fixtures::spec(),
            generation: 1,
            watching: Watching::since(Instant::now()),
            lingering: BTreeMap::new(),
            entries: Entries::default(),
            replicas: BTreeMap::new(),
            delivered: BTreeSet::new(),
            serving: Serve::None,
            deep: false,
            busy: BTreeMap::new(),
            drift: Drifts::default(),
            wall: WALL,
            now: Instant::now(),
        }
    }

    fn look<T>(&self, read: impl FnOnce(&Input<'_>) -> T) -> T {
        let asked = self.asked();
        let plan = |accepted: &Accepted| {
            let number = accepted.spec.revision.number;
            let (plan, digest) = &self.plans[&number];
            (if number == 1 { &self.plan } else { plan }, *digest)
        };
        let (asked_plan, asked_digest) = plan(&asked);
        let (force, digest) = plan(self.entries.serving.as_ref().unwrap_or(&asked));
        let update = self.entries.open_update().filter(|it| !it.past_return());
        read(&Input {
            plan: force,
            digest,
            next: update.map(|update| plan(&update.to)),
            asked: Asked {
                accepted: &asked,
                plan: asked_plan,
                digest: asked_digest,
                known: true,
            },
            watching: &self.watching,
            lingering: &self.lingering,
            spec: &self.spec,
            entries: &self.entries,
            replicas: &self.replicas,
            delivered: &self.delivered,
            serving: &self.serving,
            deep: self.deep,
            busy: &self.busy.keys().cloned().collect(),
            holds: &BTreeMap::new(),
            wall: self.wall,
            drift: &self.drift,
            tasks_until: self.now,
        })
    }

    fn asked(&self) -> Accepted {
        Accepted {
            spec: self.spec.clone(),
            ..fixtures::order(self.generation)
        }
    }

    /// The service that a container should be made from.
    fn service_of(&self, key: &ReplicaKey) -> ServicePlan {
        self.wanted(key).expect("it is wanted")
    }

    fn wanted(&self, key: &ReplicaKey) -> Option<ServicePlan> {
        self.look(|input| {
            let wanted = input.wanted().find(|it| it.key == *key)?;
            Some(wanted.service.clone())
        })
    }

    fn decide(&self) -> Steps {
        self.look(|input| steps(input, self.now))
    }

    /// Begins what was decided, after checking that it breaks no rule.
    fn begin(&mut self) -> usize {
        let decided = self.decide();
        assert_eq!(
            decided,
            self.decide(),
            "the same input gives the same steps"
        );
        let fresh = decided.now.len();
        for step in decided.now {
            self.check(&step);
            let twice = self.busy.insert(step.target(), step.clone());
            assert_eq!(twice, None, "{step:?} while its target is busy");
        }
        fresh
    }

    fn ready(&self, service: &ServiceName) -> bool {
        self.look(|input| input.service_ready(service))
    }

    fn check(&self, step: &Step) {
        match step {
            Step::Start(key) => {
                let service = self.service_of(key);
                assert!(
                    service.container.secrets.is_empty() || self.delivered.contains(&service.name),
                    "{key} started without its secrets"
                );
                if !service.kind.slotted() {
                    for needed in &service.depends_on {
                        assert!(
                            self.ready(needed),
                            "{key} started before {needed} was ready"
                        );
                    }
                }
                assert_eq!(
                    self.spec.run_state,
                    RunState::Running,
                    "{key} started in a stopped store"
                );
            }
            Step::Stop(key) if self.spec.run_state == RunState::Stopped => {
                assert_eq!(
                    self.serving,
                    Serve::None,
                    "{key} stopped while it may serve"
                );
                for (other, replica) in &self.replicas {
                    let dependent = self
                        .plan
                        .service(&other.service)
                        .is_some_and(|service| service.depends_on.contains(&key.service));
                    assert!(
                        !(dependent && replica.running()),
                        "{key} stopped while {other} depends on it"
                    );
                }
            }
            Step::RunTask(run) => {
                let migrates = update::is_migration(&run.run);
                let task = self.look(|input| {
                    let next = input.next.filter(|_| migrates).map(|next| next.0);
                    let task = next.unwrap_or(input.plan).task(&run.task);
                    task.cloned().expect("a task of the plan")
                });
                for needed in &task.after {
                    assert!(
                        self.ready(needed),
                        "{} ran before {needed} was ready",
                        task.name
                    );
                }
                assert!(task.container.secrets.is_empty() || self.delivered.contains(&task.source));
            }
            Step::Serve(Serve::Slot { slot, replicas }) => {
                let passed = self.deep || self.watching.passed > 0;
                assert!(passed, "served before the deep check");
                self.check_serve(*slot);
                assert!(!replicas.is_empty());
                for replica in replicas {
                    let key = ReplicaKey {
                        service: self.plan.edge.service.clone(),
                        slot: *slot,
                        replica: *replica,
                    };
                    assert!(self.replicas[&key].ready(), "{key} serves and is not ready");
                }
                assert!(
                    self.entries
                        .tasks_done
                        .contains(&"install".parse().unwrap())
                );
            }
            _ => {}
        }
    }

    /// Ends what is being done, well or badly.
    fn finish(&mut self, target: &Target, well: bool) {
        let step = self.busy.remove(target).expect("it was begun");
        if !well {
            return;
        }
        match step {
            Step::Deliver(consumer) => drop(self.delivered.insert(consumer)),
            Step::Create(key) => {
                // What it was made for may have been abandoned meanwhile.
                let service = self.wanted(&key);
                let stale = Digest::of(b"of a plan that is no more");
                let replica = Replica {
                    spec_hash: service.as_ref().map_or(stale, |it| it.spec_hash),
                    limits: service.map(|it| Limits::from(&it.container)),
                    state: ContainerState::Created,
                    health: Health::Unknown,
                };
                assert_eq!(self.replicas.insert(key, replica), None, "created twice");
            }
            Step::Start(key) => self.set(&key, ContainerState::Running { since_unix_ms: 1 }),
            Step::Stop(key) | Step::Kill(key) => self.set(&key, exited()),
            Step::Remove(key) => drop(self.replicas.remove(&key)),
            Step::RunTask(run) => self.task_ended(&run, 0),
            Step::Limit(key) => {
                if let Some(service) = self.wanted(&key) {
                    let limits = Limits::from(&service.container);
                    self.replicas.get_mut(&key).unwrap().limits = Some(limits);
                }
            }
            Step::Record(it) => self.moved(*it),
            Step::Admit => self.entries.admitted(),
            Step::Dismiss => self.entries.rotated(),
            Step::Run(run, by) => {
                let (runs, now) = (&mut self.entries.runs, self.wall.as_millisecond());
                runs.begin(&run.run, &run.task, by, now);
                runs.end(&run.run, RunOutcome::Done, Some(0), String::new(), now);
            }
            Step::EndRun(id, outcome, why) => {
                self.entries.runs.end(&id, outcome, None, why.to_owned(), 1);
            }
            Step::BeginSchedule(tasks) => {
                let now = self.wall.as_millisecond();
                self.entries.runs.begin_schedule(tasks, now);
            }
            Step::NoteDrift(drift) => self.entries.drift = drift,
            Step::StopTask(_) => {}
            Step::Serve(what) => self.served(what),
            Step::Restarted(seq) => self.entries.restarted(seq),
        }
    }

    fn set(&mut self, key: &ReplicaKey, state: ContainerState) {
        let replica = self.replicas.get_mut(key).expect("it exists");
        replica.state = state;
        replica.health = Health::Unknown;
    }

    /// One thing happens, chosen by chance. `false`: nothing can happen any more.
    fn happen(&mut self, chance: usize, well: bool) -> bool {
        let mut possible: Vec<Event> = self.busy.keys().cloned().map(Event::Ends).collect();
        possible.extend(
            self.replicas
                .iter()
                .filter(|(_, replica)| replica.running() && !replica.ready())
                .map(|(key, _)| Event::BecomesReady(key.clone())),
        );
        if !self.deep && self.look(|input| input.goal() == Goal::Run && serve::deep_due(input)) {
            possible.push(Event::DeepPasses);
        }
        let Some(event) =
            (!possible.is_empty()).then(|| possible.swap_remove(chance % possible.len()))
        else {
            return false;
        };
        match event {
            Event::Ends(target) => self.finish(&target, well),
            Event::BecomesReady(key) => self.replicas.get_mut(&key).unwrap().health = Health::Ready,
            Event::DeepPasses => self.deep = true,
        }
        true
    }

    /// Lets things happen until none can and nothing is to be done.
    fn settle(&mut self, chances: &[(usize, bool)]) {
        let mut chances = chances.iter();
        for _ in 0..10_000 {
            let begun = self.begin();
            // When chance is used up, the rest goes well.
            let (chance, well) = chances.next().copied().unwrap_or((0, true));
            if !self.happen(chance, well) && begun == 0 {
                if self.lingering.is_empty() {
                    return;
                }
                self.now += Duration::from_secs(2);
                self.lingering.clear();
            }
        }
        panic!("it does not come to rest: {:?}", self.decide());
    }

    fn serves(&self) -> bool {
        matches!(self.serving, Serve::Slot { slot: Slot::A, .. })
    }
}

enum Event {
    Ends(Target),
    BecomesReady(ReplicaKey),
    DeepPasses,
}

fn exited() -> ContainerState {
    ContainerState::Exited(Exit {
        code: 0,
        oom_killed: false,
        at_unix_ms: 1,
    })
}

fn chances() -> impl Strategy<Value = Vec<(usize, bool)>> {
    prop::collection::vec((any::<usize>(), prop::bool::weighted(0.8)), 0..200)
}

fn key(service: &str, slot: Slot) -> ReplicaKey {
    ReplicaKey {
        service: service.parse().unwrap(),
        slot,
        replica: 0,
    }
}

fn running() -> Shop {
    let mut shop = Shop::new();
    shop.settle(&[]);
    assert!(shop.serves());
    shop
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_new_store_comes_to_serve_and_then_rests(chances in chances()) {
        let mut shop = Shop::new();
        shop.settle(&chances);
        prop_assert!(shop.serves());
        prop_assert_eq!(shop.decide().now, vec![]);
    }

    #[test]
    fn a_stop_at_any_moment_stops_everything_and_a_start_brings_it_back(
        before in chances(), moments in 0..60_usize, after in chances(), again in chances(),
    ) {
        let mut shop = Shop::new();
        let mut early = before.iter().copied().chain(std::iter::repeat((0, true)));
        for _ in 0..moments {
            shop.begin();
            let (chance, well) = early.next().unwrap();
            shop.happen(chance, well);
        }
        shop.spec.run_state = RunState::Stopped;
        shop.deep = false;
        // What was begun before the stop ends first, as in life.
        while let Some(target) = shop.busy.keys().next().cloned() {
            shop.finish(&target, true);
        }
        shop.settle(&after);
        prop_assert_eq!(&shop.serving, &Serve::None);
        prop_assert!(shop.replicas.values().all(|replica| !replica.running()));
        prop_assert_eq!(shop.decide().now, vec![]);
        shop.spec.run_state = RunState::Running;
        shop.settle(&again);
        prop_assert!(shop.serves());
    }

    #[test]
    fn whatever_dies_is_started_again(victims in prop::collection::vec(0..5_usize, 1..4), chances in chances()) {
        let mut shop = running();
        for victim in victims {
            let key = shop.replicas.keys().nth(victim).unwrap().clone();
            shop.set(&key, exited());
        }
        shop.settle(&chances);
        prop_assert!(shop.serves());
        prop_assert!(shop.replicas.values().all(Replica::ready));
    }
}

#[test]
fn everything_is_created_and_delivered_at_once() {
    let shop = Shop::new();
    let decided = shop.decide();
    let created = decided
        .now
        .iter()
        .filter(|step| matches!(step, Step::Create(_)))
        .count();
    assert_eq!(created, shop.plan.services.len());
    let delivered = decided
        .now
        .iter()
        .filter(|step| matches!(step, Step::Deliver(_)))
        .count();
    assert_eq!(delivered, shop.plan.secret_consumers().len());
    assert_eq!(decided.now.len(), created + delivered);
}

#[test]
fn starts_go_two_at_a_time_in_the_order_in_which_others_wait_for_them() {
    let mut shop = Shop::new();
    let starts = |keys: &[ReplicaKey]| keys.iter().cloned().map(Step::Start).collect::<Vec<_>>();
    let fixed = |name| key(name, Slot::Fixed);
    let secrets = Target::Secrets("db".parse().unwrap());
    shop.begin();
    for target in shop.busy.keys().cloned().collect::<Vec<_>>() {
        if target != secrets {
            shop.finish(&target, true);
        }
    }
    // The database's place is kept while its secrets are on their way.
    assert_eq!(shop.decide().now, starts(&[fixed("cache")]));
    shop.begin();
    shop.finish(&secrets, true);
    assert_eq!(shop.decide().now, starts(&[fixed("db")]));
    shop.begin();
    assert_eq!(shop.decide().now, vec![], "two start");
    shop.finish(&Target::Replica(fixed("cache")), true);
    assert_eq!(shop.decide().now, starts(&[fixed("search")]));
    shop.begin();
    shop.finish(&Target::Replica(fixed("db")), true);
    assert_eq!(shop.decide().now, starts(&[key("php-fpm", Slot::A)]));
    shop.begin();
    shop.finish(&Target::Replica(fixed("search")), true);
    assert_eq!(shop.decide().now, vec![], "one place is left for install");
    shop.entries.tasks_done.insert("install".parse().unwrap());
    assert_eq!(shop.decide().now, starts(&[key("web", Slot::A)]));
}

#[test]
fn nobody_waits_for_secrets_that_do_not_come() {
    let mut shop = Shop::new();
    shop.begin();
    for target in shop.busy.keys().cloned().collect::<Vec<_>>() {
        let well = target != Target::Secrets("db".parse().unwrap());
        shop.finish(&target, well);
    }
    let later = shop.now + Duration::from_secs(1);
    let holds = BTreeMap::from([(Target::Secrets("db".parse().unwrap()), later)]);
    let decided = shop.look(|input| {
        steps(
            &Input {
                holds: &holds,
                ..*input
            },
            shop.now,
        )
    });
    let first = [key("cache", Slot::Fixed), key("search", Slot::Fixed)];
    assert_eq!(decided.now, first.map(Step::Start));
    assert_eq!(decided.wake, Some(later));
}

#[test]
fn a_restart_stops_all_then_starts_all() {
    let mut shop = running();
    shop.spec.restart_seq = 3;
    assert_eq!(shop.decide().goal, Goal::Restart);
    assert_eq!(shop.begin(), 1);
    assert_eq!(shop.busy.values().next(), Some(&Step::Serve(Serve::None)));
    shop.deep = false;
    shop.settle(&[]);
    assert!(shop.serves());
    assert_eq!(shop.entries.restart_seq, 3);
    assert_eq!(shop.decide().now, vec![]);
}

#[test]
fn a_changed_service_is_made_anew_and_no_other() {
    let mut shop = running();
    let cache = key("cache", Slot::Fixed);
    shop.replicas.get_mut(&cache).unwrap().spec_hash = Digest::of(b"older");
    assert_eq!(shop.decide().now, vec![Step::Stop(cache.clone())]);
    shop.settle(&[]);
    let hash = shop.plan.service(&cache.service).unwrap().spec_hash;
    assert_eq!(shop.replicas[&cache].spec_hash, hash);
    assert!(shop.replicas.values().all(Replica::ready));
}

#[test]
fn more_replicas_serve_when_ready_and_fewer_stop_serving_first() {
    let mut shop = running();
    let web: ServiceName = "web".parse().unwrap();
    shop.spec.scale.insert(web.clone(), 2);
    shop.settle(&[]);
    let two = Serve::Slot {
        slot: Slot::A,
        replicas: BTreeSet::from([0, 1]),
    };
    assert_eq!(shop.serving, two);
    shop.spec.scale.insert(web, 1);
    let one = Serve::Slot {
        slot: Slot::A,
        replicas: BTreeSet::from([0]),
    };
    let decided = shop.decide().now;
    assert!(decided.contains(&Step::Serve(one)));
    assert!(
        decided
            .iter()
            .all(|step| matches!(step, Step::Serve(_) | Step::Record(_)))
    );
    shop.settle(&[]);
    assert_eq!(
        shop.replicas
            .keys()
            .filter(|key| key.service.as_str() == "web")
            .count(),
        1
    );
}

#[test]
fn the_last_web_keeps_serving_while_it_is_restarted() {
    let mut shop = running();
    let web = key("web", Slot::A);
    shop.set(&web, exited());
    assert_eq!(shop.decide().now, vec![Step::Start(web)]);
    assert!(shop.serves());
}

#[test]
fn a_run_whose_end_was_not_seen_is_attached_to() {
    let mut shop = Shop::new();
    let install: ServiceName = "install".parse().unwrap();
    shop.entries
        .open_runs
        .insert(install.clone(), "once-0".to_owned());
    shop.entries.attempts.insert(install.clone(), 4);
    for _ in 0..100 {
        shop.begin();
        if let Some(Step::RunTask(run)) = shop.busy.get(&Target::Task(install.clone())) {
            assert_eq!(run.run, "once-0");
            return;
        }
        shop.happen(0, true);
    }
    panic!("it was never attached to");
}

#[test]
fn a_stop_waits_for_running_tasks_but_not_for_ever() {
    let shop = running();
    let task = Target::Task("cron".parse().unwrap());
    let (busy, spec) = (BTreeSet::from([task]), {
        let mut spec = shop.spec.clone();
        spec.run_state = RunState::Stopped;
        spec
    });
    let at = |now| {
        shop.look(|input| {
            let input = Input {
                spec: &spec,
                busy: &busy,
                serving: &Serve::None,
                tasks_until: shop.now + Duration::from_secs(15),
                ..*input
            };
            steps(&input, now)
        })
    };
    let waiting = at(shop.now);
    assert_eq!(waiting.now, vec![]);
    assert_eq!(waiting.wake, Some(shop.now + Duration::from_secs(15)));
    assert!(!at(shop.now + Duration::from_secs(15)).now.is_empty());
}
