//! Which passwords a store's database lets its shop in with, and who holds which. The real agent makes and delivers them; the database and
//! those who log in are made up.
//!
//! What must be true of them is what decision record 18 promises: whoever holds a password is let in at every moment. Two count at most, and
//! only during a rotation. When it is over the new one counts alone, or the old one alone where it was taken back.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use shop_agent::{
    engine::EngineError,
    ledger::{Entries, Ledger, Rotating},
    store::DatabaseError,
};
use shop_plan::ServicePlan;
use shop_proto::{Digest, ReplicaKey, RunState, ServiceName, Slot, StoreId};

use crate::machine::{Bench, Held, Machine};

/// The secret that can be rotated.
pub const PASSWORD: &str = "db_password";
/// Who checks it.
pub const DATABASE: &str = "db";
/// Most passwords that count at once.
const MOST: usize = 2;

/// Rotations in which two passwords counted, by how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rotations {
    /// The new password counts.
    pub finished: u64,
    /// The old one does.
    pub taken_back: u64,
}

/// How a database does not do what it is told, and says that it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It goes on letting in with both.
    Deaf,
    /// It goes on letting in with the other one.
    Contrary,
}

impl std::ops::AddAssign for Rotations {
    fn add_assign(&mut self, more: Self) {
        self.finished += more.finished;
        self.taken_back += more.taken_back;
    }
}

/// The shop's user in a store's database, and the files that passwords are handed over in.
#[derive(Debug, Clone)]
pub struct Logins {
    files: PathBuf,
    /// On the database's volume.
    accepted: BTreeSet<String>,
    /// What counted alone before two did.
    before: Option<String>,
    /// Rotations that are over, by the generation that asked: whether the new password is in force.
    pub over: BTreeMap<u64, bool>,
    /// What became of those in which two counted.
    pub rotations: Rotations,
    /// On purpose.
    pub flaw: Option<Flaw>,
}

impl Logins {
    /// Of a database that has not started yet.
    #[must_use]
    pub const fn new(files: PathBuf) -> Self {
        Self {
            files,
            accepted: BTreeSet::new(),
            before: None,
            over: BTreeMap::new(),
            rotations: Rotations {
                finished: 0,
                taken_back: 0,
            },
            flaw: None,
        }
    }

    /// What a consumer reads now.
    #[must_use]
    pub fn handed(&self, consumer: &str) -> Option<String> {
        self.file(consumer, PASSWORD)
    }

    fn file(&self, consumer: &str, name: &str) -> Option<String> {
        fs::read_to_string(self.files.join(consumer).join(name)).ok()
    }

    /// The host has lost its memory, and the files with it.
    pub fn forget_files(&self) {
        let consumers = fs::read_dir(&self.files).into_iter().flatten().flatten();
        let files = consumers.filter_map(|consumer| fs::read_dir(consumer.path()).ok());
        for file in files.flatten().flatten() {
            // What is not there is gone.
            let _ = fs::remove_file(file.path());
        }
    }

    /// Passwords that count.
    #[must_use]
    pub const fn accepted(&self) -> &BTreeSet<String> {
        &self.accepted
    }

    /// What counted alone before two did.
    #[must_use]
    pub fn before(&self) -> Option<String> {
        self.before.clone()
    }

    /// Changes what counts behind everybody's back.
    pub const fn tamper(&mut self) -> &mut BTreeSet<String> {
        &mut self.accepted
    }

    /// The database starts, and lets in what its files say.
    pub fn started(&mut self) {
        let next = format!("{PASSWORD}.next");
        let files = [PASSWORD, &next];
        let read = files.iter().filter_map(|name| self.file(DATABASE, name));
        let read = read.collect();
        self.count(read);
    }

    fn told(
        &mut self,
        passwords: BTreeSet<String>,
        rotating: Option<&Rotating>,
    ) -> Result<Option<&'static str>, DatabaseError> {
        if passwords.is_disjoint(&self.accepted) {
            return Err(DatabaseError::Denied);
        }
        self.count(passwords);
        let only = self.accepted.first().filter(|_| self.accepted.len() == 1);
        let Some((only, rotating)) = only.zip(rotating) else {
            let held = self.before.as_ref();
            let kept = held.is_none_or(|old| self.accepted.contains(old));
            return Ok((!kept).then_some("the old password does not count during a rotation"));
        };
        let counter = rotating.secrets.get(PASSWORD).copied().unwrap_or_default();
        self.over.entry(counter).or_insert(rotating.kept);
        let Some(old) = self.before.take() else {
            return Ok(None);
        };
        Ok(match (rotating.kept, *only == old) {
            (true, true) => Some("a rotation left the old password"),
            (false, false) => Some("a rotation that was taken back left the new password"),
            (true, false) => {
                self.rotations.finished += 1;
                None
            }
            (false, true) => {
                self.rotations.taken_back += 1;
                None
            }
        })
    }

    fn count(&mut self, mut passwords: BTreeSet<String>) {
        match self.flaw.filter(|_| passwords.len() == 1) {
            Some(Flaw::Deaf) => passwords.clone_from(&self.accepted),
            Some(Flaw::Contrary) if self.accepted.len() > 1 => {
                passwords = &self.accepted - &passwords;
            }
            Some(Flaw::Contrary) | None => {}
        }
        if passwords.len() > 1 && self.before.is_none() {
            self.before = self.accepted.first().cloned();
        }
        self.accepted = passwords;
    }
}

/// Whether a service logs into the database.
#[must_use]
pub fn logs_in(service: &ServicePlan) -> bool {
    service.name.as_str() != DATABASE && reads(&service.container.secrets)
}

/// Whether the password is among these secrets.
#[must_use]
pub fn reads(secrets: &[String]) -> bool {
    secrets.iter().any(|name| name == PASSWORD)
}

impl Bench {
    /// A container has started: what it reads then, and what is wrong with that.
    pub fn reads_its_secrets(&mut self, key: &ReplicaKey, service: &ServicePlan) -> Option<String> {
        if service.name.as_str() == DATABASE {
            self.logins.started();
            let none = self.logins.accepted.is_empty();
            return none.then(|| format!("{key} started without its secrets"));
        }
        if !logs_in(service) {
            return None;
        }
        let password = self.logins.handed(service.name.as_str());
        let none = password.is_none();
        if let Some(held) = self.containers.get_mut(key) {
            held.password = password;
        }
        none.then(|| format!("{key} started without its secrets"))
    }

    /// What a task reads when it begins.
    ///
    /// # Errors
    /// When the node has not rendered the plan.
    pub fn task_password(
        &self,
        plan: Digest,
        task: &ServiceName,
    ) -> Result<Option<String>, EngineError> {
        let plan = self.plan(plan)?;
        let task = plan.task(task).filter(|it| reads(&it.container.secrets));
        Ok(task.and_then(|it| self.logins.handed(it.source.as_str())))
    }

    /// The end of a task's run is seen.
    ///
    /// # Errors
    /// When it was lost with the host's power.
    pub fn task_ended(&mut self, id: &(String, String)) -> Result<(), EngineError> {
        let run = self
            .runs
            .get_mut(id)
            .ok_or_else(|| EngineError::Unavailable(format!("no run {} {}", id.0, id.1)))?;
        run.seen = true;
        self.schema = self.schema.max(run.makes.unwrap_or_default());
        Ok(())
    }

    /// A rotation was taken back. A container in force that started meanwhile was handed the new password, as its service's only file had
    /// it; PHP reads the file at each use, and it has the old one again.
    fn read_again(&mut self, slot: Slot) {
        let Self {
            containers, logins, ..
        } = self;
        let read = containers
            .values_mut()
            .filter(|held| held.container.key.slot == slot && held.password.is_some());
        for held in read {
            held.password = logins.handed(held.container.key.service.as_str());
        }
    }

    /// The database, which runs, is told what to let in. Gives what is wrong with that.
    ///
    /// # Errors
    /// When none of the passwords counts now.
    pub fn told(
        &mut self,
        passwords: BTreeSet<String>,
        entries: &Entries,
    ) -> Result<Option<&'static str>, DatabaseError> {
        let ends = passwords.len() == 1;
        let wrong = self.logins.told(passwords, entries.rotating.as_ref())?;
        let kept = entries.rotating.as_ref().is_none_or(|it| it.kept);
        if let Some(slot) = entries.slot.filter(|_| ends && !kept) {
            self.read_again(slot);
        }
        Ok(wrong)
    }

    /// Whether the PHP of a container can log in, now and with what it read when it started.
    #[must_use]
    pub fn lets_in(&self, held: &Held) -> bool {
        let counts = |password: &String| self.logins.accepted.contains(password);
        let now = self.logins.handed(held.container.key.service.as_str());
        held.password.as_ref().is_some_and(counts) && now.as_ref().is_some_and(counts)
    }

    /// Whoever holds a password that does not count, and how many count that should not. `rotating`: the agent has not ended a rotation.
    #[must_use]
    pub fn wrong_logins(&self, rotating: bool, now_ms: u64) -> Vec<String> {
        let database = |held: &&Held| held.container.key.service.as_str() == DATABASE;
        let mut wrong = Vec::new();
        if !self.containers.values().filter(database).any(Held::runs) {
            return wrong;
        }
        let counts = |password: &String| self.logins.accepted.contains(password);
        let running = self.containers.values().filter(|held| held.runs());
        for held in running.filter(|held| !held.password.iter().all(counts)) {
            let key = &held.container.key;
            wrong.push(format!("{key} holds a password that does not count"));
        }
        let tasks = self.runs.iter().filter(|(_, run)| run.runs(now_ms));
        for ((task, run), _) in tasks.filter(|(_, run)| !run.password.iter().all(counts)) {
            wrong.push(format!(
                "task {task} {run} holds a password that does not count"
            ));
        }
        let consumers: BTreeSet<&str> = self
            .plans
            .iter()
            .flat_map(|(_, plan)| &plan.services)
            .filter(|service| logs_in(service))
            .map(|service| service.name.as_str())
            .collect();
        for consumer in consumers {
            if !self.logins.handed(consumer).iter().all(counts) {
                wrong.push(format!(
                    "{consumer} is handed a password that does not count"
                ));
            }
        }
        let most = if rotating { MOST } else { 1 };
        if self.logins.accepted.len() > most {
            wrong.push(format!(
                "{} passwords count, and a rotation is under way: {rotating}",
                self.logins.accepted.len()
            ));
        }
        wrong
    }
}

impl Machine {
    /// What a store's agent has written down; empty before it has.
    #[must_use]
    pub fn entries(&self, store: &StoreId) -> Entries {
        let ledger = Ledger::open(&self.vault(store));
        ledger.map_or_else(|_| Entries::default(), |it| it.entries().clone())
    }

    /// Says of a store what is wrong with its logins.
    pub fn watch_logins(&self, store: &StoreId) {
        let now = u64::try_from(crate::chance::now_unix_ms()).unwrap_or_default();
        let rotating = self.entries(store).rotating.is_some();
        let bench_says = |bench: &Bench| bench.wrong_logins(rotating, now);
        let wrong = self.lock().stores.get(store).map(bench_says);
        for what in wrong.into_iter().flatten() {
            self.trace.violated(format!("{store}: {what}"));
        }
    }

    /// Whether an agent stops what keeps data for nothing but a rotation.
    #[must_use]
    pub fn disturbs(&self, store: &StoreId, key: &ReplicaKey) -> bool {
        let entries = self.entries(store);
        let asked_to_run = entries.accepted.as_ref().is_some_and(|accepted| {
            accepted.spec.run_state == RunState::Running
                && accepted.spec.restart_seq == entries.restart_seq
        });
        let inner = self.lock();
        let bench = inner.stores.get(store);
        let made_anew = bench.is_some_and(|bench| {
            let held = bench.containers.get(key);
            let made_from = held.map(|held| held.container.spec_hash);
            let mut plans = bench.plans.iter();
            plans.any(|(_, plan)| plan.service(&key.service).map(|it| it.spec_hash) != made_from)
        });
        key.slot == Slot::Fixed && entries.rotating.is_some() && asked_to_run && !made_anew
    }
}
