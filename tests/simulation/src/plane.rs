//! A control plane: the real one without its admin listener, on the simulated network, with orders and events that come twice, late or in
//! another order.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context as _;
use control_plane::{
    app::{App, RandomIds, Settings, SystemClock},
    background,
    db::Db,
    domain::session::{AgentOrder, Connected, FleetEvent, NodeOrder, Orders},
    fleet::{Fleet, Gate, Limits, Seen, serve_agents, serve_enrolment},
    identity::{
        Authority, DenySet, Enrolment, IdentityDir, Records,
        tls::{self, ServerIdentity},
    },
};
use jiff::Timestamp;
use shop_proto::{NodeId, StoreId, TrustDomain};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    chance::Dice,
    net::{AGENTS, ENROLMENT, Listener},
};

/// Work for the control plane's own runtime: what an operator asks.
pub type Job = Box<dyn FnOnce(App) -> futures_job::Future + Send>;

/// The type of a job's future.
pub mod futures_job {
    /// Boxed, so that jobs of all kinds share one queue.
    pub type Future = std::pin::Pin<Box<dyn std::future::Future<Output = ()> + Send>>;
}

/// What a control plane keeps, whatever happens to its process.
#[derive(Debug, Clone)]
pub struct Disk {
    /// Identity: made once, the same for every instance.
    pub identity: PathBuf,
    /// The database file.
    pub database: PathBuf,
}

/// How badly messages are treated, shared with the run that decides about it.
#[derive(Debug, Default)]
pub struct Rough(Mutex<Option<Dice>>);

impl Rough {
    /// Messages come twice, late and out of order, by these dice; not at all with `None`.
    pub fn set(&self, dice: Option<Dice>) {
        if let Ok(mut held) = self.0.lock() {
            *held = dice;
        }
    }

    fn roll<T>(&self, with: impl FnOnce(&mut Dice) -> T) -> Option<T> {
        self.0.lock().ok()?.as_mut().map(with)
    }
}

/// Makes an identity and an empty database.
///
/// # Errors
/// When the disk says no.
pub async fn init(disk: &Disk) -> anyhow::Result<()> {
    let domain: TrustDomain = "shopfleet".parse()?;
    Authority::create(
        &IdentityDir::new(disk.identity.clone()),
        &domain,
        Timestamp::now(),
    )?;
    Db::open_simulated(&disk.database)?.migrate().await?;
    Ok(())
}

/// Runs until its host is crashed.
///
/// # Errors
/// When the disk cannot be read.
pub async fn run(
    disk: Disk,
    rough: Arc<Rough>,
    mut jobs: mpsc::Receiver<Job>,
) -> anyhow::Result<()> {
    let now = Timestamp::now();
    let directory = IdentityDir::new(disk.identity.clone());
    let authority = Arc::new(Authority::load(&directory, now).context("reading the identity")?);
    let db = open(&disk.database)?;
    let (closing, tasks) = (CancellationToken::new(), TaskTracker::new());
    let records: Arc<dyn Records> = Arc::new(db.clone());
    let deny = DenySet::default();
    deny.replace(records.denied().await?);
    let rules = Arc::new(Enrolment::new(authority.clone(), records, deny.clone()));
    let (fleet, events) = Fleet::new(rules.clone(), deny.clone(), tasks.clone(), closing.clone());
    let settings = Settings::new("localhost".to_owned(), authority.root_pin());
    let orders = Arc::new(RoughOrders {
        fleet: fleet.clone(),
        rough: rough.clone(),
    });
    let app = App::with(
        db,
        orders,
        settings,
        Arc::new(SystemClock),
        Arc::new(RandomIds),
    );
    let (through, events_seen) = mpsc::channel(1024);
    tasks.spawn(rough_events(events, through, rough));
    background::start(&app, events_seen, &tasks, &closing);
    let names = vec!["control-plane.shopfleet".to_owned()];
    let identity = ServerIdentity::new(&authority, names, now)?;
    let enrolment = gate("enrolment", ENROLMENT, tls::enrolment(identity.clone())?).await?;
    let mut agents = gate(
        "agents",
        AGENTS,
        tls::agents(identity, &authority, deny.clone())?,
    )
    .await?;
    agents.clients = Some(authority.domain().clone());
    tasks.spawn(serve_enrolment(
        rules,
        enrolment.open(&tasks, closing.clone()),
        closing.clone(),
    ));
    tasks.spawn(serve_agents(
        fleet,
        agents.open(&tasks, closing.clone()),
        closing.clone(),
    ));
    while let Some(job) = jobs.recv().await {
        tasks.spawn(job(app.clone()));
    }
    std::future::pending().await
}

fn open(path: &Path) -> anyhow::Result<Db> {
    Db::open_simulated(path).context("opening the database")
}

async fn gate(
    name: &'static str,
    port: u16,
    tls: Arc<rustls::ServerConfig>,
) -> anyhow::Result<Gate> {
    Ok(Gate {
        name,
        listener: Listener::bind(port).await?,
        tls,
        clients: None,
        limits: Limits {
            connections: 100,
            lifetime: None,
        },
        seen: Arc::<Seen>::default(),
    })
}

/// Orders that are lost, come twice, or come late and so out of order. Losing one is fair: dispatch repeats what is not acknowledged.
struct RoughOrders {
    fleet: Fleet,
    rough: Arc<Rough>,
}

/// What becomes of one order.
struct Fate {
    copies: u64,
    late: Duration,
}

impl RoughOrders {
    fn fate(&self) -> Fate {
        let rolled = self.rough.roll(|dice| Fate {
            copies: match dice.roll(10) {
                0 => 0,
                1 | 2 => 2,
                _ => 1,
            },
            late: match dice.roll(4) {
                0 => dice.between(Duration::ZERO, Duration::from_secs(8)),
                _ => Duration::ZERO,
            },
        });
        rolled.unwrap_or(Fate {
            copies: 1,
            late: Duration::ZERO,
        })
    }

    fn send(&self, order: impl Fn(&Fleet) -> bool + Send + 'static) -> bool {
        let Fate { copies, late } = self.fate();
        if copies == 1 && late.is_zero() {
            return order(&self.fleet);
        }
        let fleet = self.fleet.clone();
        tokio::spawn(async move {
            for _ in 0..copies {
                tokio::time::sleep(late).await;
                order(&fleet);
            }
        });
        true
    }
}

impl Orders for RoughOrders {
    fn to_node(&self, node: &NodeId, order: NodeOrder) -> bool {
        let node = node.clone();
        self.send(move |fleet| fleet.to_node(&node, order.clone()))
    }

    fn to_agent(&self, store: &StoreId, order: AgentOrder) -> bool {
        // A sealed request is answered at once or not at all: it has its own tests.
        let store = store.clone();
        self.send(move |fleet| fleet.to_agent(&store, order.clone()))
    }

    fn connected(&self) -> Connected {
        self.fleet.connected()
    }
}

/// Of whom an event speaks: what one session says stays in its order, as on one connection.
fn speaker(event: &FleetEvent) -> String {
    match event {
        FleetEvent::NodeUp { node, .. }
        | FleetEvent::NodeDown { node }
        | FleetEvent::NodeCapacity { node, .. }
        | FleetEvent::Assignment { node, .. }
        | FleetEvent::Retirement { node, .. }
        | FleetEvent::Vouch { node, .. }
        | FleetEvent::NodeNote { node, .. } => format!("node {node}"),
        FleetEvent::AgentUp { store, .. }
        | FleetEvent::AgentDown { store }
        | FleetEvent::Report { store, .. }
        | FleetEvent::AgentNote { store, .. }
        | FleetEvent::Refused { store, .. }
        | FleetEvent::Task { store, .. }
        | FleetEvent::Sealed { store, .. }
        | FleetEvent::Escrow { store, .. } => format!("store {store}"),
        #[allow(unreachable_patterns, reason = "new kinds of events may come")]
        _ => "other".to_owned(),
    }
}

/// Events of different sessions overtake each other, and any may come twice in a row.
async fn rough_events(
    mut events: mpsc::Receiver<FleetEvent>,
    through: mpsc::Sender<FleetEvent>,
    rough: Arc<Rough>,
) {
    let mut queues: BTreeMap<String, mpsc::UnboundedSender<(FleetEvent, Duration)>> =
        BTreeMap::new();
    while let Some(event) = events.recv().await {
        let (twice, late) = rough
            .roll(|dice| {
                let late = match dice.roll(5) {
                    0 => dice.between(Duration::ZERO, Duration::from_secs(3)),
                    _ => Duration::ZERO,
                };
                (dice.one_in(6), late)
            })
            .unwrap_or_default();
        let queue = queues.entry(speaker(&event)).or_insert_with(|| {
            let (sender, mut queue) = mpsc::unbounded_channel();
            let through = through.clone();
            tokio::spawn(async move {
                while let Some((event, late)) = queue.recv().await {
                    tokio::time::sleep(late).await;
                    if through.send(event).await.is_err() {
                        return;
                    }
                }
            });
            sender
        });
        if twice {
            // The receiver lives as long as this process.
            let _ = queue.send((event.clone(), late));
        }
        let _ = queue.send((event, late));
    }
}
