//! An `App` on a real database with a clock and a fleet that tests drive.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use control_plane::{
    app::{App, Clock, CreateStore, DeleteStore, Ids, RandomIds, Settings, StoreAction},
    background,
    db::{Db, JoinAttempt},
    domain::{
        access::Caller,
        session::{
            AgentHello, AgentOrder, AssignmentStatus, Capacity, Connected, FleetEvent, NodeHello,
            NodeOrder, Orders, RetireStatus, StoreReport, Vouch,
        },
    },
};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use shop_proto::{Digest, NodeId, StoreId, TokenText};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Generous: only a broken program reaches it.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// Remembers every order; all sessions are up.
#[derive(Default)]
pub struct Recorder {
    pub nodes: Mutex<Vec<(NodeId, NodeOrder)>>,
    pub agents: Mutex<Vec<(StoreId, AgentOrder)>>,
}

impl Orders for Recorder {
    fn to_node(&self, node: &NodeId, order: NodeOrder) -> bool {
        self.nodes.lock().unwrap().push((node.clone(), order));
        true
    }

    fn to_agent(&self, store: &StoreId, order: AgentOrder) -> bool {
        self.agents.lock().unwrap().push((store.clone(), order));
        true
    }

    fn connected(&self) -> Connected {
        Connected::default()
    }
}

pub struct Rig {
    pub app: App,
    pub db: Db,
    pub orders: Arc<Recorder>,
    pub events: mpsc::Sender<FleetEvent>,
    clock: Arc<TestClock>,
    shutdown: CancellationToken,
    tracker: TaskTracker,
    /// URL of the database.
    place: String,
    /// Kept: the SQLite file is in it.
    _directory: tempfile::TempDir,
}

/// Which databases a test runs on: SQLite always, PostgreSQL when there is one.
pub fn databases() -> Vec<Option<String>> {
    let mut urls = vec![None];
    urls.extend(std::env::var("SHOPFLEET_TEST_POSTGRES").ok().map(Some));
    urls
}

/// An empty database: a file, or a schema of its own.
pub async fn open(url: Option<&str>, directory: &std::path::Path) -> Db {
    Db::open(&place(url, directory).await).await.unwrap()
}

/// Where an empty database is.
async fn place(url: Option<&str>, directory: &std::path::Path) -> String {
    let Some(url) = url else {
        let path = directory.join("control-plane.db");
        return format!("sqlite://{}", path.display());
    };
    use sqlx::Connection;
    let schema = format!("test_{}", RandomIds.base32(12));
    let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
    let create = format!("CREATE SCHEMA {schema}");
    sqlx::query(sqlx::AssertSqlSafe(create))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    format!("{url}?options[search_path]={schema}")
}

impl Rig {
    /// With background tasks running.
    pub async fn start(url: Option<&str>) -> Self {
        let rig = Self::idle(url, |_| {}).await;
        rig.0.run(rig.1)
    }

    pub async fn with(url: Option<&str>, change: impl FnOnce(&mut Settings)) -> Self {
        let rig = Self::idle(url, change).await;
        rig.0.run(rig.1)
    }

    /// Without background tasks.
    pub async fn idle(
        url: Option<&str>,
        change: impl FnOnce(&mut Settings),
    ) -> (Self, mpsc::Receiver<FleetEvent>) {
        let directory = crate::memory::directory();
        let place = place(url, directory.path()).await;
        let db = Db::open(&place).await.unwrap();
        db.migrate().await.unwrap();
        let mut settings = Settings::new("localhost".to_owned(), Digest::of(b"root"));
        change(&mut settings);
        let orders = Arc::new(Recorder::default());
        let clock = Arc::new(TestClock(AtomicI64::new(1_800_000_000_000)));
        let app = App::with(
            db.clone(),
            orders.clone(),
            settings,
            clock.clone(),
            Arc::new(RandomIds),
        );
        let (events, receiver) = mpsc::channel(64);
        let rig = Self {
            app,
            db,
            orders,
            events,
            clock,
            shutdown: CancellationToken::new(),
            tracker: TaskTracker::new(),
            place,
            _directory: directory,
        };
        (rig, receiver)
    }

    fn run(self, events: mpsc::Receiver<FleetEvent>) -> Self {
        background::start(&self.app, events, &self.tracker, &self.shutdown);
        self
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.tracker.close();
        self.tracker.wait().await;
        self.db.close().await;
    }

    /// A statement that goes around all our code, with one argument.
    pub async fn raw(&self, sql: &'static str, argument: &str) -> Result<u64, sqlx::Error> {
        use sqlx::Connection;
        if self.place.starts_with("sqlite:") {
            let mut connection = sqlx::SqliteConnection::connect(&self.place).await?;
            let done = sqlx::query(sql).bind(argument).execute(&mut connection);
            Ok(done.await?.rows_affected())
        } else {
            let mut connection = sqlx::PgConnection::connect(&self.place).await?;
            let done = sqlx::query(sql).bind(argument).execute(&mut connection);
            Ok(done.await?.rows_affected())
        }
    }

    pub fn pass(&self, duration: Duration) {
        let ms = i64::try_from(duration.as_millis()).unwrap();
        self.clock.0.fetch_add(ms, Ordering::SeqCst);
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Waits for a condition; says what it saw last when it gives up.
    pub async fn until<T, F>(&self, what: &str, mut look: impl FnMut() -> F) -> T
    where
        F: Future<Output = Result<T, String>>,
    {
        let give_up = tokio::time::Instant::now() + PATIENCE;
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        loop {
            looks.tick().await;
            let seen = match look().await {
                Ok(value) => return value,
                Err(seen) => seen,
            };
            assert!(
                tokio::time::Instant::now() < give_up,
                "never: {what}; last seen: {seen}"
            );
        }
    }

    pub async fn until_status(&self, store: &str, status: &str) {
        self.until(&format!("{store} is {status}"), || async {
            match self.app.get_store(store).await {
                Ok(view) if view.store.status.as_str() == status => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    pub async fn until_operation(
        &self,
        id: &str,
        state: &str,
    ) -> control_plane::domain::operation::Operation {
        self.until(&format!("operation {id} is {state}"), || async {
            match self.app.get_operation(id).await {
                Ok(view) if view.operation.state.as_str() == state => Ok(view.operation),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }

    /// The first order to a node that fits.
    pub async fn node_order<T>(
        &self,
        what: &str,
        mut fits: impl FnMut(&NodeId, &NodeOrder) -> Option<T>,
    ) -> T {
        self.until(what, || {
            let orders = self.orders.nodes.lock().unwrap().clone();
            let found = orders.iter().find_map(|(node, order)| fits(node, order));
            std::future::ready(found.ok_or_else(|| format!("{orders:?}")))
        })
        .await
    }

    pub async fn agent_order<T>(
        &self,
        what: &str,
        mut fits: impl FnMut(&StoreId, &AgentOrder) -> Option<T>,
    ) -> T {
        self.until(what, || {
            let orders = self.orders.agents.lock().unwrap().clone();
            let found = orders.iter().find_map(|(store, order)| fits(store, order));
            std::future::ready(found.ok_or_else(|| format!("{orders:?}")))
        })
        .await
    }

    pub async fn say(&self, event: FleetEvent) {
        self.events.send(event).await.unwrap();
    }

    /// Joins a node by a token, as enrolment does, and brings its session up.
    pub async fn node(&self, name: &str) -> NodeId {
        let id = self.join(name).await;
        self.say(FleetEvent::NodeUp {
            node: id.clone(),
            hello: hello(),
        })
        .await;
        id
    }

    pub async fn join(&self, name: &str) -> NodeId {
        let token = self
            .app
            .create_join_token(&owner(), control_plane::app::CreateJoinToken::default())
            .await
            .unwrap();
        let text: TokenText = token.token.expose_secret().parse().unwrap();
        self.db
            .join(JoinAttempt {
                token_id: text.id().to_owned(),
                secret: Digest::of(text.secret().as_bytes()),
                spki: Digest::of(name.as_bytes()),
                node_name: name.to_owned(),
                new_node: RandomIds.node(),
                now: self.now(),
            })
            .await
            .unwrap()
    }

    /// Plays node and agent until a store serves.
    pub async fn bring_up(&self, store: &str) -> StoreId {
        let id = self.app.get_store(store).await.unwrap().store.id;
        let node = self.prepare(&id).await;
        self.enrol(&id, &node).await;
        self.report(&id, "running").await;
        self.until_status(store, "running").await;
        id
    }

    pub async fn prepare(&self, id: &StoreId) -> NodeId {
        let (node, generation) = self
            .node_order("assignment", |node, order| match order {
                NodeOrder::Assign {
                    store, generation, ..
                } if store == id => Some((node.clone(), generation.get())),
                _ => None,
            })
            .await;
        self.say(FleetEvent::Assignment {
            node: node.clone(),
            status: AssignmentStatus {
                store: id.clone(),
                generation,
                plan_digest: None,
                state: "prepared".to_owned(),
                code: String::new(),
                message: String::new(),
            },
        })
        .await;
        node
    }

    pub async fn enrol(&self, id: &StoreId, node: &NodeId) {
        self.say(FleetEvent::Vouch {
            node: node.clone(),
            vouch: Vouch {
                store: id.clone(),
                spki: Digest::of(id.as_str().as_bytes()),
                sealing_public_key: vec![7; 32],
            },
        })
        .await;
        self.node_order("voucher recorded", |_, order| {
            matches!(order, NodeOrder::VouchRecorded { store, .. } if store == id).then_some(())
        })
        .await;
        self.say(FleetEvent::AgentUp {
            store: id.clone(),
            hello: agent_hello(0),
        })
        .await;
        self.agent_order("desired", |store, order| {
            (store == id && matches!(order, AgentOrder::Desired { .. })).then_some(())
        })
        .await;
    }

    /// A report about the store's present generation.
    pub async fn report(&self, id: &StoreId, state: &str) {
        let report = self.report_of(id, state).await;
        self.say(FleetEvent::Report {
            store: id.clone(),
            report,
        })
        .await;
    }

    pub async fn report_of(&self, id: &StoreId, state: &str) -> StoreReport {
        let store = self.app.get_store(id.as_str()).await.unwrap().store;
        StoreReport {
            generation: store.generation.get(),
            spec_digest: store.spec.digest().to_string(),
            plan_digest: String::new(),
            state: state.to_owned(),
            reason: String::new(),
            message: String::new(),
            replicas: Vec::new(),
            steps: Vec::new(),
            serving_slot: String::new(),
            restart_seq: store.spec.restart_seq,
            serving_revision: store.spec.revision.number,
            update: None,
            held_back: None,
            drift: Vec::new(),
            lost_volumes: Vec::new(),
            maintenance: false,
            data: None,
        }
    }

    pub async fn retired(&self, id: &StoreId, node: &NodeId, state: &str) {
        let generation = self
            .node_order("retire", |_, order| match order {
                NodeOrder::Retire { store, generation } if store == id => Some(generation.get()),
                _ => None,
            })
            .await;
        self.say(FleetEvent::Retirement {
            node: node.clone(),
            status: RetireStatus {
                store: id.clone(),
                generation,
                state: state.to_owned(),
                message: String::new(),
                receipt: None,
            },
        })
        .await;
    }
}

pub fn owner() -> Caller {
    Caller::system("test")
}

pub fn new_store(name: &str) -> CreateStore {
    CreateStore {
        name: name.to_owned(),
        template: "refshop".to_owned(),
        parameters: [("shop_name", "Test"), ("admin_email", "admin@example.com")]
            .into_iter()
            .filter(|(name, _)| {
                shop_plan::Catalogue::builtin()
                    .find("refshop")
                    .is_some_and(|template| {
                        template
                            .manifest
                            .parameters
                            .keys()
                            .any(|known| known.as_str() == *name)
                    })
            })
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        ..CreateStore::default()
    }
}

pub fn act(store: &str) -> StoreAction {
    StoreAction {
        store: store.to_owned(),
        ..StoreAction::default()
    }
}

/// A deletion without a time of grace.
pub fn now(store: &str) -> DeleteStore {
    DeleteStore {
        action: act(store),
        now: true,
        ..DeleteStore::default()
    }
}

/// A deletion as it is by default.
pub fn later(store: &str, grace: &str) -> DeleteStore {
    DeleteStore {
        action: act(store),
        now: false,
        grace: grace.to_owned(),
    }
}

pub fn hello() -> NodeHello {
    NodeHello {
        render_versions: vec![1],
        agent_version: "0.1.0".to_owned(),
        engine_version: "20.10.24".to_owned(),
        boot_id: "b".to_owned(),
        inventory: Vec::new(),
        capacity: capacity(16),
    }
}

pub fn capacity(gib: u64) -> Capacity {
    Capacity {
        memory_bytes: gib << 30,
        cpu_millis: 8000,
        disk_total_bytes: 100 << 30,
        disk_free_bytes: 50 << 30,
        disk_limit_percent: 0,
        edge_scheme: "http".to_owned(),
        edge_port: 8080,
        images: Vec::new(),
        allowed_images: Vec::new(),
    }
}

pub fn agent_hello(generation: u64) -> AgentHello {
    AgentHello {
        render_versions: vec![1],
        generation,
        spec_digest: None,
        boot_id: "b".to_owned(),
        agent_version: "0.1.0".to_owned(),
        sealing_public_key: vec![7; 32],
        receipt: Vec::new(),
    }
}
