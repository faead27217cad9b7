//! A secret is rotated through the whole loop: whoever holds a password is let in at every moment, with every call failing once, every
//! answer lost once, and the agent dying at every point.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use secrecy::ExposeSecret as _;

use super::{updates::in_b, *};
use crate::{
    ledger::{Phase, Reason},
    store::database::{Accept, DatabaseError, Databases},
};

/// Consumers that log in.
const LOGS_IN: [&str; 2] = ["php-fpm", "install"];

/// A database that looks at who holds what, each time it is told something.
pub struct FakeDatabase {
    root: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    accepted: BTreeSet<String>,
    calls: Vec<usize>,
    faults: BTreeMap<usize, Fault>,
    too_old: bool,
    /// What a container that runs may still hold.
    held: BTreeSet<String>,
    broken: Vec<String>,
}

impl FakeDatabase {
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            state: Mutex::default(),
        }
    }

    fn file(&self, consumer: &str, name: &str) -> Option<String> {
        fs::read_to_string(self.root.join(consumer).join(name)).ok()
    }

    /// What is handed out is let in, now and after a start of the database.
    fn look(&self, when: &str) {
        let at_start: BTreeSet<String> = ["db_password", "db_password.next"]
            .iter()
            .filter_map(|name| self.file("db", name))
            .collect();
        let mut state = self.state.lock().unwrap();
        if state.accepted.is_empty() {
            state.accepted.clone_from(&at_start);
        }
        let handed_out: BTreeSet<String> = LOGS_IN
            .iter()
            .filter_map(|consumer| self.file(consumer, "db_password"))
            .collect();
        if !handed_out.is_subset(&state.accepted) {
            state.broken.push(format!("{when}: handed out, not let in"));
        }
        if !handed_out.is_subset(&at_start) {
            state
                .broken
                .push(format!("{when}: handed out, not let in after a start"));
        }
        if !state.held.is_subset(&state.accepted) {
            state.broken.push(format!("{when}: held, not let in"));
        }
    }

    fn broken(&self) -> Vec<String> {
        self.state.lock().unwrap().broken.clone()
    }

    fn accepted(&self) -> BTreeSet<String> {
        self.state.lock().unwrap().accepted.clone()
    }
}

#[async_trait]
impl Databases for FakeDatabase {
    async fn accept(&self, accept: &Accept) -> Result<(), DatabaseError> {
        self.look("before it is told");
        let told: BTreeSet<String> = accept
            .passwords
            .iter()
            .map(|password| password.expose_secret().to_owned())
            .collect();
        assert_eq!(accept.user, "shop");
        let fault = {
            let mut state = self.state.lock().unwrap();
            let count = state.calls.len();
            state.calls.push(told.len());
            if state.too_old && told.len() > 1 {
                return Err(DatabaseError::TooOld);
            }
            if told.is_disjoint(&state.accepted) {
                return Err(DatabaseError::Denied);
            }
            let fault = state.faults.remove(&count);
            if fault != Some(Fault::Fails) {
                state.accepted = told;
            }
            fault
        };
        self.look("after it was told");
        fault.map_or(Ok(()), |_| Err(DatabaseError::TimedOut))
    }
}

impl Machine {
    /// The order that this generation rotates the password with.
    fn rotates(&self, generation: u64, revision: u64) -> Accepted {
        let mut order = self.knows(generation, revision);
        order.spec.rotations = BTreeMap::from([("db_password".to_owned(), generation)]);
        order
    }

    fn password(&self) -> String {
        self.databases.file("php-fpm", "db_password").unwrap()
    }
}

impl Agent {
    async fn serves_revision(&mut self, revision: u64) {
        let serves = |report: &Report| report.changes.serving_revision == Some(revision);
        self.until("it serves", serves).await;
        self.until_phase(Phase::Done).await;
    }
}

/// Until a condition holds; looks at who holds what all the while.
async fn settled(machine: &Machine, what: &str, mut like: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(600);
    while !like() {
        machine.databases.look(what);
        assert!(Instant::now() < deadline, "never {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    machine.databases.look(what);
}

fn one_password(machine: &Machine) -> bool {
    machine.databases.file("db", "db_password.next").is_none()
        && machine.databases.accepted().len() == 1
}

fn entries(machine: &Machine) -> crate::ledger::Entries {
    Ledger::open(machine.disk.path()).unwrap().entries().clone()
}

#[tokio::test(start_paused = true)]
async fn a_new_password_comes_with_the_new_slot_and_the_old_one_goes_with_the_old() {
    let (machine, mut agent) = provisioned().await;
    machine.databases.look("provisioned");
    let old = machine.password();
    machine.engine.forget_calls();
    agent.order(machine.rotates(2, 7)).await.unwrap();
    agent.until_phase(Phase::Switched).await;
    // Containers of the old slot run until it is drained.
    machine
        .databases
        .state
        .lock()
        .unwrap()
        .held
        .insert(old.clone());
    assert_ne!(machine.password(), old);
    assert_eq!(machine.databases.accepted().len(), 2);
    agent.until_phase(Phase::Draining).await;
    settled(&machine, "drained", || machine.in_slot(Slot::A) == 0).await;
    machine.databases.state.lock().unwrap().held.clear();
    let report = agent.until_phase(Phase::Done).await;
    assert_eq!(report.changes.serving_revision, Some(7));
    assert!(machine.serves(Slot::B));
    assert_eq!(
        machine.databases.accepted(),
        BTreeSet::from([machine.password()])
    );
    assert_ne!(machine.password(), old);
    assert_eq!(machine.databases.file("db", "db_password.next"), None);
    assert_eq!(machine.databases.broken(), Vec::<String>::new());
    let calls = machine.engine.calls();
    assert!(
        calls.iter().all(|call| !call.contains("-fixed-0")),
        "the database is not touched: {calls:?}"
    );
    assert_eq!(machine.engine.broken(), Vec::<String>::new());
    assert_eq!(entries(&machine).rotating, None);
    let ledger = fs::read_to_string(machine.disk.path().join("ledger.json")).unwrap();
    for secret in [old, machine.password()] {
        assert!(!ledger.contains(&secret));
    }
}

#[tokio::test(start_paused = true)]
async fn going_back_to_an_older_revision_brings_no_older_password_back() {
    let (machine, mut agent) = provisioned().await;
    agent.order(machine.rotates(2, 7)).await.unwrap();
    agent.until_phase(Phase::Done).await;
    let new = machine.password();
    let told = machine.databases.state.lock().unwrap().calls.len();
    let mut back = machine.knows(3, 4);
    back.spec.rotations = BTreeMap::from([("db_password".to_owned(), 2)]);
    agent.order(back).await.unwrap();
    agent
        .until("back", |report| report.changes.serving_revision == Some(4))
        .await;
    agent.until_phase(Phase::Done).await;
    assert_eq!(machine.password(), new);
    assert_eq!(machine.databases.state.lock().unwrap().calls.len(), told);
    // Another rotation is another password.
    agent.order(machine.rotates(4, 8)).await.unwrap();
    agent
        .until("on", |report| report.changes.serving_revision == Some(8))
        .await;
    agent.until_phase(Phase::Done).await;
    assert_ne!(machine.password(), new);
    assert!(one_password(&machine));
    assert_eq!(machine.databases.broken(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_second_rotation_is_another_password_however_soon_it_is_asked_for() {
    for phase in [Phase::Preparing, Phase::Checking, Phase::Switched] {
        let (machine, mut agent) = provisioned().await;
        let old = machine.password();
        agent.order(machine.rotates(2, 7)).await.unwrap();
        agent.until_phase(phase).await;
        let first = machine.password();
        agent.order(machine.rotates(3, 8)).await.unwrap();
        agent.serves_revision(8).await;
        assert_ne!(machine.password(), old, "{phase:?}");
        if phase == Phase::Switched {
            assert_ne!(machine.password(), first);
        }
        assert!(one_password(&machine));
        let entries = entries(&machine);
        assert_eq!(
            (entries.rotating, entries.rotations["db_password"]),
            (None, 3)
        );
        assert_eq!(machine.databases.broken(), Vec::<String>::new());
        assert_eq!(machine.engine.broken(), Vec::<String>::new());
    }
}

/// The vault has forgotten the values that were taken back, and the ledger does not know it yet.
#[tokio::test(start_paused = true)]
async fn a_rotation_over_one_that_is_half_dismissed_brings_a_new_password() {
    for fault in [Fault::Fails, Fault::AnswerLost] {
        let (machine, mut agent) = provisioned().await;
        let old = machine.password();
        let told = machine.databases.state.lock().unwrap().calls.len();
        let faults = (1..4).map(|dismissal| (told + dismissal, fault)).collect();
        machine.databases.state.lock().unwrap().faults = faults;
        machine.ails(&in_b("php-fpm"), false);
        agent.order(machine.rotates(2, 7)).await.unwrap();
        agent.until_phase(Phase::RolledBack).await;
        let calls = || machine.databases.state.lock().unwrap().calls.len();
        settled(&machine, "half dismissed", || calls() == told + 2).await;
        assert!(entries(&machine).rotating.is_some());
        machine.probes.1.lock().unwrap().clear();
        agent.order(machine.rotates(3, 8)).await.unwrap();
        agent.serves_revision(8).await;
        assert_ne!(machine.password(), old, "{fault:?}");
        assert!(one_password(&machine));
        assert_eq!(entries(&machine).rotations["db_password"], 3);
        assert_eq!(machine.databases.broken(), Vec::<String>::new());
    }
}

/// What started before another password was handed out may hold the one that goes.
#[tokio::test(start_paused = true)]
async fn no_container_is_taken_over_into_a_rotation_or_out_of_one() {
    // What comes is made from the same as what the slot holds that it comes to.
    for (rotates, then, rotated, phase) in [
        (false, 4, 3, Phase::Preparing),
        (false, 4, 3, Phase::Checking),
        (false, 1, 3, Phase::Switched),
        (true, 1, 2, Phase::Switched),
        (true, 1, 2, Phase::Draining),
    ] {
        let (machine, mut agent) = provisioned().await;
        let first = match rotates {
            true => machine.rotates(2, 4),
            false => machine.knows(2, 4),
        };
        let again = || {
            let mut order = fixtures::order(3);
            order.spec = fixtures::revision(then);
            order.spec.revision.number = 8;
            order.spec.rotations = BTreeMap::from([("db_password".to_owned(), rotated)]);
            machine.renders(order)
        };
        agent.order(first).await.unwrap();
        agent.until_phase(phase).await;
        if phase == Phase::Preparing {
            settled(&machine, "begun", || machine.in_slot(Slot::B) > 0).await;
        }
        machine.engine.forget_calls();
        agent.order(again()).await.unwrap();
        agent.serves_revision(8).await;
        let calls = machine.engine.calls();
        let slot = if machine.serves(Slot::A) { "a" } else { "b" };
        assert!(
            calls.contains(&format!("create php-fpm-{slot}-0")),
            "{phase:?}: {calls:?}"
        );
        assert!(one_password(&machine));
        assert_eq!(machine.databases.broken(), Vec::<String>::new());
        assert_eq!(machine.engine.broken(), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotation_that_is_taken_back_leaves_the_old_password_alone() {
    for deep in [false, true] {
        let (machine, mut agent) = provisioned().await;
        let old = machine.password();
        if !deep {
            machine.ails(&in_b("php-fpm"), false);
        }
        agent.order(machine.rotates(2, 7)).await.unwrap();
        if deep {
            agent.until_phase(Phase::Switched).await;
            machine.ails(&in_b("web"), true);
        }
        agent.until_phase(Phase::RolledBack).await;
        settled(&machine, "one password", || one_password(&machine)).await;
        assert_eq!(machine.password(), old);
        assert_eq!(machine.databases.accepted(), BTreeSet::from([old.clone()]));
        assert_eq!(machine.in_slot(Slot::B), 0);
        // The control plane answers with what serves; the rotation is not tried again by that.
        let mut back = machine.knows(3, 1);
        back.spec.rotations = BTreeMap::from([("db_password".to_owned(), 2)]);
        agent.order(back).await.unwrap();
        let settled = |report: &Report| report.order.is_some_and(|it| it.0.get() == 3);
        agent.until("settled", settled).await;
        let mut next = machine.knows(4, 4);
        next.spec.rotations = BTreeMap::from([("db_password".to_owned(), 2)]);
        machine.probes.1.lock().unwrap().clear();
        agent.order(next).await.unwrap();
        agent
            .until("next", |report| report.changes.serving_revision == Some(4))
            .await;
        assert_eq!(machine.password(), old);
        assert_eq!(machine.databases.broken(), Vec::<String>::new());
        assert_eq!(machine.engine.broken(), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn a_database_that_cannot_take_two_is_left_as_it_is() {
    let (machine, mut agent) = provisioned().await;
    let old = machine.password();
    machine.databases.state.lock().unwrap().too_old = true;
    agent.order(machine.rotates(2, 7)).await.unwrap();
    let report = agent.until_phase(Phase::RolledBack).await;
    let taken = report.changes.taken_back.unwrap();
    assert_eq!(taken.failure.reason, Reason::UpdateNotReady);
    assert!(
        taken.failure.message.contains("second password"),
        "{}",
        taken.failure.message
    );
    settled(&machine, "one password", || {
        one_password(&machine) && entries(&machine).rotating.is_none()
    })
    .await;
    assert_eq!(machine.password(), old);
    assert_eq!(machine.databases.broken(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_rotation_survives_every_failed_call_and_every_lost_answer() {
    for fault in [Fault::Fails, Fault::AnswerLost] {
        for call in 0..2 {
            let (machine, mut agent) = provisioned().await;
            let old = machine.password();
            let faults = BTreeMap::from([(call, fault)]);
            machine.databases.state.lock().unwrap().faults = faults;
            agent.order(machine.rotates(2, 7)).await.unwrap();
            agent.until_phase(Phase::Done).await;
            assert_eq!(
                machine.databases.accepted(),
                BTreeSet::from([machine.password()])
            );
            assert_ne!(machine.password(), old);
            assert_eq!(machine.databases.broken(), Vec::<String>::new());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_dies_at_any_point_of_a_rotation_goes_on_with_it() {
    for (revision, bad) in [(7, false), (7, true)] {
        let begun = || async {
            let (machine, agent) = provisioned().await;
            if bad {
                machine.ails(&in_b("php-fpm"), false);
            }
            machine.engine.forget_calls();
            let old = machine.password();
            agent.order(machine.rotates(2, revision)).await.unwrap();
            (machine, agent, old)
        };
        let phase = if bad { Phase::RolledBack } else { Phase::Done };
        let (_machine, mut agent, _) = begun().await;
        let took = Instant::now();
        agent.until_phase(phase).await;
        let took = took.elapsed();
        // Early on much happens in a moment; later there is much waiting.
        let early = (0..60).map(Duration::from_millis);
        let late = (1..40).map(|part| took * part / 40);
        for dies_after in early.chain(late) {
            let (machine, agent, old) = begun().await;
            tokio::time::sleep(dies_after).await;
            agent.dies().await;
            machine.databases.look("dead");
            let mut next = machine.agent();
            next.until_phase(phase).await;
            settled(&machine, "one password", || {
                one_password(&machine) && entries(&machine).rotating.is_none()
            })
            .await;
            assert_eq!(machine.password() == old, bad, "after {dies_after:?}");
            assert_eq!(
                machine.databases.accepted(),
                BTreeSet::from([machine.password()])
            );
            assert_eq!(machine.databases.broken(), Vec::<String>::new());
            assert_eq!(machine.engine.broken(), Vec::<String>::new());
        }
    }
}
