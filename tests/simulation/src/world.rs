//! One run: a control plane, two hosts, an operator, and trouble, all decided by one seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, bail};
use control_plane::{
    app::CreateJoinToken,
    identity::{Authority, IdentityDir},
};
use secrecy::ExposeSecret as _;
use shop_agent::store;
use shop_proto::{Digest, StoreId};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use turmoil::Sim;

use crate::{
    chance::{self, Dice},
    engine::Desk,
    logins::Rotations,
    look::{Difference, Glass, differences, look},
    machine::Machine,
    net::{AGENTS, ENROLMENT},
    node,
    operator::{Operator, caller},
    plane::{self, Disk, Job, Rough},
    trace::Trace,
};

mod trouble;
mod watch;

/// Everything happens in steps of this.
const TICK: Duration = Duration::from_millis(10);
/// Where simulated time begins: 2027-01-01.
const EPOCH: Duration = Duration::from_secs(1_798_761_600);
/// The host name of the control plane.
const PLANE: &str = "plane";
/// Lines of the trace that a failure is told with.
const KEPT: usize = 4000;
/// In memory, so that a run takes no time of a disk; secrets insist on it.
const MEMORY: &str = "/dev/shm";

/// How long until a shop agent that ended by itself is started again.
const RESTART: Duration = Duration::from_secs(1);

/// Calls that changed something, by host and store.
pub type Changes = BTreeMap<(&'static str, StoreId), u64>;

type Jobs = Arc<Mutex<Option<mpsc::Sender<Job>>>>;

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// Names everything that happened.
    pub digest: String,
    /// What must not be.
    pub problems: Vec<String>,
    /// The last of what happened.
    pub tail: Vec<String>,
    /// Simulated time it took.
    pub simulated: Duration,
    /// Rotations of passwords that came to an end.
    pub rotations: Rotations,
}

/// The fleet of one run.
pub struct World<'a> {
    /// The network and everybody's processes.
    pub sim: Sim<'a>,
    /// What happened.
    pub trace: Trace,
    /// Decides about trouble.
    pub dice: Dice,
    /// Hosts.
    pub machines: Vec<Arc<Machine>>,
    /// Who wants things.
    pub operator: Operator,
    /// How messages are treated.
    pub rough: Arc<Rough>,
    jobs: Jobs,
    disk: TempDir,
    root_pin: Digest,
    elapsed: Duration,
    agents: BTreeMap<(&'static str, StoreId), Process>,
    nodes: BTreeMap<&'static str, Process>,
    plane: Process,
    generations: BTreeMap<(&'static str, StoreId), u64>,
    due: Vec<(Duration, Box<dyn FnOnce() + Send>)>,
}

/// A process that can be killed.
#[derive(Debug, Clone)]
struct Process {
    host: String,
    runs: bool,
    /// When it is started again, if it is killed.
    back_at: Option<Duration>,
}

impl Process {
    fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            runs: true,
            back_at: None,
        }
    }
}

/// Identity and an empty database, made once for all runs.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<TempDir> = OnceLock::new();
    TEMPLATE
        .get_or_init(|| {
            let made = std::thread::spawn(|| -> anyhow::Result<TempDir> {
                chance::begin(0, EPOCH);
                let directory = tempfile::tempdir_in(MEMORY)?;
                let disk = disk(directory.path());
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?
                    .block_on(plane::init(&disk))?;
                Ok(directory)
            });
            match made.join() {
                Ok(Ok(directory)) => directory,
                other => panic!("no identity for the simulation: {other:?}"),
            }
        })
        .path()
}

/// A shop agent's process. One that ends by itself is started again by the node agent.
async fn lives(machine: Arc<Machine>, store: StoreId, root: Digest) -> turmoil::Result {
    loop {
        let place = place(&machine, &store, root);
        let ended = store::serve(place, CancellationToken::new()).await;
        let name = machine.name;
        machine
            .trace
            .say(format!("agent {store} on {name} ended: {ended:?}"));
        tokio::time::sleep(RESTART).await;
    }
}

/// Where a store's agent lives.
fn place(machine: &Arc<Machine>, store: &StoreId, root: Digest) -> store::Place<Desk> {
    let desk = Arc::new(Desk::new(machine.clone(), store.clone(), root));
    store::Place {
        vault: machine.vault(store),
        secrets: machine.secrets(store),
        engine: desk.clone(),
        broker: desk.clone(),
        probes: desk.clone(),
        databases: desk,
        enrolment: machine.way.address(ENROLMENT),
        sessions: machine.way.address(AGENTS),
    }
}

fn disk(directory: &Path) -> Disk {
    Disk {
        identity: directory.join("identity"),
        database: directory.join("control-plane.db"),
    }
}

/// Runs a story on a thread of its own, where randomness and time are the seed's.
pub fn on_its_own_thread(
    seed: u64,
    story: impl FnOnce(&mut World<'_>) -> anyhow::Result<()> + Send + 'static,
) -> Ended {
    let template = template().to_owned();
    let run = std::thread::Builder::new()
        .name(format!("seed-{seed}"))
        .stack_size(16 << 20)
        .spawn(move || {
            chance::begin(seed, EPOCH);
            shop_agent::blocking::on_the_spot();
            let trace = Trace::default();
            let mut simulated = Duration::ZERO;
            let mut rotations = Rotations::default();
            let told = World::new(seed, &template, trace.clone()).and_then(|mut world| {
                let told = story(&mut world);
                simulated = world.elapsed;
                for machine in &world.machines {
                    rotations += machine.rotations();
                }
                told
            });
            let mut problems = trace.violations();
            problems.extend(told.err().map(|error| format!("{error:#}")));
            Ended {
                digest: trace.digest(),
                problems,
                tail: trace.tail(KEPT),
                simulated,
                rotations,
            }
        })
        .map(std::thread::JoinHandle::join);
    match run {
        Ok(Ok(ended)) => ended,
        Ok(Err(_)) | Err(_) => Ended {
            digest: String::new(),
            problems: vec!["the run panicked".to_owned()],
            tail: Vec::new(),
            simulated: Duration::ZERO,
            rotations: Rotations::default(),
        },
    }
}

impl<'a> World<'a> {
    fn new(seed: u64, template: &Path, trace: Trace) -> anyhow::Result<Self> {
        let mut dice = Dice::new(seed ^ 0x5eed);
        let mut builder = turmoil::Builder::new();
        builder
            .rng_seed(seed)
            .tick_duration(TICK)
            .simulation_duration(Duration::from_secs(100_000))
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(20))
            .tcp_capacity(4096)
            .enable_random_order();
        let mut sim = builder.build();
        let directory = tempfile::tempdir_in(MEMORY)?;
        let root = Authority::load(
            &IdentityDir::new(disk(template).identity),
            jiff::Timestamp::now(),
        )?
        .root_pin();
        let plane_disk = Disk {
            identity: disk(template).identity,
            database: disk(directory.path()).database,
        };
        std::fs::copy(disk(template).database, &plane_disk.database)?;
        let (rough, jobs) = (Arc::<Rough>::default(), Jobs::default());
        let (plane_rough, plane_jobs) = (rough.clone(), jobs.clone());
        sim.host(PLANE, move || {
            let (sender, queue) = mpsc::channel(64);
            *plane_jobs.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
            let running = plane::run(plane_disk.clone(), plane_rough.clone(), queue);
            async move { running.await.map_err(Into::into) }
        });
        let operator = Operator::new(Dice::new(dice.bits()), trace.clone());
        let mut world = Self {
            sim,
            trace,
            dice,
            machines: Vec::new(),
            operator,
            rough,
            jobs,
            disk: directory,
            root_pin: root,
            elapsed: Duration::ZERO,
            agents: BTreeMap::new(),
            nodes: BTreeMap::new(),
            plane: Process::new(PLANE),
            generations: BTreeMap::new(),
            due: Vec::new(),
        };
        for name in ["north", "south"] {
            world.add_machine(name)?;
        }
        Ok(world)
    }

    /// A host with a node agent that joins.
    fn add_machine(&mut self, name: &'static str) -> anyhow::Result<()> {
        let token = self.token()?;
        let path = self.disk.path().join(name);
        std::fs::create_dir_all(&path)?;
        let dice = Dice::new(self.dice.bits());
        let machine = Machine::new(name, path, dice, self.trace.clone());
        machine.way.lead_to(PLANE);
        machine.way.open(true);
        self.machines.push(machine.clone());
        let root = self.root_pin;
        self.sim.host(name, move || {
            let running = node::run(machine.clone(), token.clone(), root);
            async move { running.await.map_err(Into::into) }
        });
        self.nodes.insert(name, Process::new(name));
        Ok(())
    }

    fn token(&mut self) -> anyhow::Result<String> {
        while !self.listens() {
            self.step()?;
        }
        let slot = Arc::new(Mutex::new(None));
        let answer = slot.clone();
        self.job(Box::new(move |app| {
            Box::pin(async move {
                let made = app
                    .create_join_token(&caller(), CreateJoinToken::default())
                    .await
                    .map(|made| made.token.expose_secret().to_owned());
                *answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(made);
            })
        }));
        for _ in 0..100 {
            self.step()?;
            if let Some(made) = slot.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return made.context("a join token");
            }
        }
        bail!("the control plane does not start")
    }

    fn job(&self, job: Job) {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = jobs.as_ref() {
            // Full, closed or absent: who waits for an answer asks again.
            let _ = sender.try_send(job);
        }
    }

    fn listens(&self) -> bool {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.is_some()
    }

    /// The operator wants something more.
    pub fn wish(&mut self) {
        let machines = self.machines.clone();
        self.operator.wish(|store| {
            machines.iter().any(|machine| {
                let inner = machine.lock();
                let bench = inner.stores.get(store);
                bench.is_some_and(crate::machine::Bench::steady)
            })
        });
    }

    /// Time since the beginning.
    #[must_use]
    pub const fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// One step of everything.
    ///
    /// # Errors
    /// When a process ends by itself with an error.
    pub fn step(&mut self) -> anyhow::Result<()> {
        self.elapsed += TICK;
        chance::set_now(EPOCH + self.elapsed);
        self.trace
            .at(u64::try_from(self.elapsed.as_millis()).unwrap_or_default());
        self.sim
            .step()
            .map_err(|error| anyhow::anyhow!("a process ended: {error}"))?;
        self.processes();
        let now = self.elapsed;
        for (_, what) in self.due.extract_if(.., |(at, _)| *at <= now) {
            what();
        }
        if self.plane.runs && self.listens() {
            let machines = self.machines.clone();
            let jobs = self.operator.turn(|store| {
                for machine in &machines {
                    machine.lock().condemned.insert(store.clone());
                }
            });
            for job in jobs {
                self.job(job);
            }
        }
        if self.elapsed.as_millis().is_multiple_of(500) {
            for machine in &self.machines {
                machine.drills();
            }
            self.watch();
        }
        Ok(())
    }

    /// Steps for so long.
    ///
    /// # Errors
    /// As [`World::step`].
    pub fn pass(&mut self, time: Duration) -> anyhow::Result<()> {
        let until = self.elapsed + time;
        while self.elapsed < until {
            self.step()?;
        }
        Ok(())
    }

    /// Starts what was killed and is due; keeps a process for every agent's container.
    fn processes(&mut self) {
        let now = self.elapsed;
        let due = |process: &mut Process| {
            let due = process.back_at.is_some_and(|at| at <= now);
            if due {
                process.back_at = None;
                process.runs = true;
            }
            due
        };
        if due(&mut self.plane) {
            self.trace.say("plane is started");
            self.operator.ask_again();
            self.sim.bounce(PLANE);
        }
        for (name, process) in &mut self.nodes {
            if due(process) {
                self.trace.say(format!("{name} is started"));
                self.sim.bounce(*name);
            }
        }
        for machine in self.machines.clone() {
            let (up, wanted): (bool, BTreeSet<StoreId>) = {
                let inner = machine.lock();
                let wanted = inner.stores.iter().filter(|(_, bench)| bench.agent);
                (inner.up, wanted.map(|(id, _)| id.clone()).collect())
            };
            for ((name, store), process) in &mut self.agents {
                if *name != machine.name {
                    continue;
                }
                if !wanted.contains(store) && process.runs {
                    process.runs = false;
                    process.back_at = None;
                    self.sim.crash(process.host.as_str());
                } else if wanted.contains(store) && !process.runs && process.back_at.is_none() {
                    process.back_at = Some(now);
                }
                // Only a node agent starts it.
                if up && wanted.contains(store) && due(process) {
                    self.trace
                        .say(format!("agent {store} on {name} is started"));
                    self.sim.bounce(process.host.as_str());
                }
            }
            for store in wanted {
                self.agent(&machine, store);
            }
        }
    }

    fn agent(&mut self, machine: &Arc<Machine>, store: StoreId) {
        let id = (machine.name, store.clone());
        if self.agents.contains_key(&id) {
            return;
        }
        let host = format!("agent-{}-{store}", machine.name);
        let (machine, root) = (machine.clone(), self.root_pin);
        self.trace
            .say(format!("agent {store} on {} begins", machine.name));
        self.sim.host(host.as_str(), move || {
            lives(machine.clone(), store.clone(), root)
        });
        self.agents.insert(id, Process::new(host));
    }

    /// Where the database is that every run begins with.
    #[must_use]
    pub fn template_database() -> PathBuf {
        disk(template()).database
    }

    /// As if the agent had once accepted something newer.
    pub fn remember_as_newer(&mut self, name: &'static str, store: &StoreId) {
        if let Some(seen) = self.generations.get_mut(&(name, store.clone())) {
            *seen += 1;
        }
    }

    /// Does something in a while.
    pub fn later(&mut self, after: Duration, what: impl FnOnce() + Send + 'static) {
        self.due.push((self.elapsed + after, Box::new(what)));
    }

    /// Everybody on a host, by the names of the network.
    #[must_use]
    pub fn hosts_of(&self, index: usize) -> Vec<String> {
        let Some(machine) = self.machines.get(index) else {
            return Vec::new();
        };
        let agents = self
            .agents
            .iter()
            .filter(|((name, _), _)| *name == machine.name);
        std::iter::once(machine.name.to_owned())
            .chain(agents.map(|(_, process)| process.host.clone()))
            .collect()
    }

    /// Looks until everything is as acknowledged, or something is not although its time has passed; what is not, in the end.
    ///
    /// # Errors
    /// As [`World::step`].
    pub fn settled(&mut self) -> anyhow::Result<Vec<String>> {
        let began = self.elapsed;
        let mut last = vec![Difference::from("nobody answers".to_owned())];
        loop {
            let glass = Glass::default();
            let operations = self.operator.acknowledged.iter().map(|(_, id)| id.clone());
            let job = look(operations.collect(), glass.clone());
            self.job(job);
            self.pass(Duration::from_millis(500))?;
            let view = glass.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(view) = view {
                last = differences(&view, &self.operator, &self.machines);
                if self.operator.waits() {
                    last.push("the operator waits for an answer".to_owned().into());
                }
            }
            if last.is_empty() {
                self.trace.say("settled");
                return Ok(Vec::new());
            }
            let waited = self.elapsed - began;
            if last.iter().any(|it| waited >= it.patience) {
                return Ok(last.into_iter().map(|it| it.what).collect());
            }
        }
    }

    /// Calls that changed something, ever, by store and host.
    #[must_use]
    pub fn changes(&self) -> Changes {
        let mut changes = BTreeMap::new();
        for machine in &self.machines {
            for (store, bench) in &machine.lock().stores {
                changes.insert((machine.name, store.clone()), bench.changes);
            }
        }
        changes
    }

    /// What was done to stores since then: those that are new are not counted.
    #[must_use]
    pub fn done_since(&self, before: &Changes) -> Vec<String> {
        let now = self.changes();
        before
            .iter()
            .filter(|(store, changes)| now.get(store) != Some(changes))
            .map(|((machine, store), _)| format!("{store} on {machine}"))
            .collect()
    }

    /// Where the control plane's database is.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        disk(self.disk.path()).database
    }
}
