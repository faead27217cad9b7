//! The running control plane: what is bound, what runs, and how it stops. Only wiring; every decision is elsewhere.

mod http;
mod metrics;
mod probes;
mod upkeep;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use shop_proto::{Digest, NodeId, StoreId};
use tokio::{net::TcpListener, signal::unix, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    app::App,
    background,
    config::Config,
    db::Db,
    fleet::{
        AgentOrder, Connected, Fleet, Gate, Limits, NodeOrder, Orders, Seen, bind, serve_agents,
        serve_enrolment,
    },
    identity::{
        Authority, DenySet, Enrolment, Records,
        tls::{self, ServerIdentity},
    },
};
use metrics::Metrics;
use probes::Probes;

/// Time for Reconnect orders to leave before sessions are ended.
const FAREWELL: Duration = Duration::from_millis(300);
/// After this, whatever still runs is dropped: its work is resumed from the database.
const DRAIN: Duration = Duration::from_secs(5);
/// Sessions of one control plane: more than ten thousand stores, each twice during a hand-over.
const AGENT_CONNECTIONS: usize = 25_000;
const ENROLMENT_CONNECTIONS: usize = 512;
const ADMIN_CONNECTIONS: usize = 1024;
/// Enrolment is one call; nobody needs the connection longer.
const ENROLMENT_LIFETIME: Duration = Duration::from_secs(60);

/// No sessions at all, for commands on the host.
pub struct NoSessions;

impl Orders for NoSessions {
    fn to_node(&self, _node: &NodeId, _order: NodeOrder) -> bool {
        false
    }

    fn to_agent(&self, _store: &StoreId, _order: AgentOrder) -> bool {
        false
    }

    fn connected(&self) -> Connected {
        Connected::default()
    }
}

/// Where the listeners are bound.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    pub admin: SocketAddr,
    pub enrolment: SocketAddr,
    pub agents: SocketAddr,
    pub metrics: SocketAddr,
}

/// A control plane that serves.
pub struct Server {
    app: App,
    addresses: Addresses,
    root_pin: Digest,
    fleet: Fleet,
    /// Without any of these it is no control plane: when one ends, all end.
    vital: JoinSet<(&'static str, anyhow::Result<()>)>,
    tasks: TaskTracker,
    closing: CancellationToken,
}

struct Listeners {
    admin: TcpListener,
    enrolment: TcpListener,
    agents: TcpListener,
    metrics: TcpListener,
}

impl Listeners {
    fn bind(config: &Config) -> anyhow::Result<Self> {
        let at = |what: &str, address: SocketAddr| {
            bind(address).with_context(|| format!("binding the {what} listener to {address}"))
        };
        Ok(Self {
            admin: at("admin", config.listen.admin)?,
            enrolment: at("enrolment", config.listen.enrolment)?,
            agents: at("agents", config.listen.agents)?,
            metrics: at("metrics", config.listen.metrics)?,
        })
    }

    fn addresses(&self) -> std::io::Result<Addresses> {
        Ok(Addresses {
            admin: self.admin.local_addr()?,
            enrolment: self.enrolment.local_addr()?,
            agents: self.agents.local_addr()?,
            metrics: self.metrics.local_addr()?,
        })
    }
}

impl Server {
    /// Binds and starts everything. When this returns, it serves.
    ///
    /// # Errors
    /// When identity, database or an address is not there.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let now = Timestamp::now();
        let authority =
            Arc::new(Authority::load(&config.identity(), now).context("reading the identity")?);
        let db = open_database(&config).await?;
        let listeners = Listeners::bind(&config)?;
        let addresses = listeners.addresses()?;

        let closing = CancellationToken::new();
        let tasks = TaskTracker::new();
        let records: Arc<dyn Records> = Arc::new(db.clone());
        let deny = DenySet::default();
        deny.replace(records.denied().await.context("reading the deny list")?);
        let rules = Arc::new(Enrolment::new(
            authority.clone(),
            records.clone(),
            deny.clone(),
        ));
        let (fleet, events) =
            Fleet::new(rules.clone(), deny.clone(), tasks.clone(), closing.clone());
        let settings = config.settings(authority.root_pin());
        let app = App::new(db, Arc::new(fleet.clone()), settings);
        background::start(&app, events, &tasks, &closing);

        let identity = ServerIdentity::new(&authority, config.server_names(), now)?;
        let mut server = Self {
            app,
            addresses,
            root_pin: authority.root_pin(),
            fleet,
            vital: JoinSet::new(),
            tasks,
            closing,
        };
        server.serve(listeners, &identity, &authority, &deny, rules)?;
        server.keep_up(identity, authority, records, deny);
        tracing::info!(
            admin = %addresses.admin,
            enrolment = %addresses.enrolment,
            agents = %addresses.agents,
            metrics = %addresses.metrics,
            root_pin = %server.root_pin,
            "serving"
        );
        Ok(server)
    }

    fn serve(
        &mut self,
        listeners: Listeners,
        identity: &Arc<ServerIdentity>,
        authority: &Authority,
        deny: &DenySet,
        rules: Arc<Enrolment>,
    ) -> anyhow::Result<()> {
        let (admin_seen, enrolment_seen, agents_seen) = (
            Arc::<Seen>::default(),
            Arc::<Seen>::default(),
            Arc::<Seen>::default(),
        );
        let gate = |name, listener: TcpListener, tls, connections, seen: &Arc<Seen>| Gate {
            name,
            listener: Box::new(listener),
            tls,
            clients: None,
            limits: Limits {
                connections,
                lifetime: None,
            },
            seen: seen.clone(),
        };
        let (tasks, closing) = (self.tasks.clone(), self.closing.clone());

        let admin = gate(
            "admin",
            listeners.admin,
            tls::admin(identity.clone())?,
            ADMIN_CONNECTIONS,
            &admin_seen,
        )
        .open(&tasks, closing.clone());
        let router = crate::api::router(self.app.clone()).context("building the admin API")?;
        let serving = http::serve_tls(router, admin, tasks.clone(), closing.clone());
        self.vital.spawn(async {
            ("admin API", {
                serving.await;
                Ok(())
            })
        });

        let mut enrolment = gate(
            "enrolment",
            listeners.enrolment,
            tls::enrolment(identity.clone())?,
            ENROLMENT_CONNECTIONS,
            &enrolment_seen,
        );
        enrolment.limits.lifetime = Some(ENROLMENT_LIFETIME);
        let serving = serve_enrolment(
            rules,
            enrolment.open(&tasks, closing.clone()),
            closing.clone(),
        );
        self.vital
            .spawn(async { ("enrolment", serving.await.map_err(Into::into)) });

        let mut agents = gate(
            "agents",
            listeners.agents,
            tls::agents(identity.clone(), authority, deny.clone())?,
            AGENT_CONNECTIONS,
            &agents_seen,
        );
        agents.clients = Some(authority.domain().clone());
        let serving = serve_agents(
            self.fleet.clone(),
            agents.open(&tasks, closing.clone()),
            closing.clone(),
        );
        self.vital
            .spawn(async { ("agents", serving.await.map_err(Into::into)) });

        let probes = probes::router(Probes {
            app: self.app.clone(),
            metrics: Metrics {
                fleet: self.fleet.clone(),
                listeners: BTreeMap::from([
                    ("admin", admin_seen),
                    ("enrolment", enrolment_seen),
                    ("agents", agents_seen),
                ]),
                started_at: self.app.context().started_at,
            },
            closing: closing.clone(),
        });
        let serving = http::serve_plain(probes, listeners.metrics, tasks, closing);
        self.vital.spawn(async {
            ("metrics", {
                serving.await;
                Ok(())
            })
        });
        Ok(())
    }

    fn keep_up(
        &mut self,
        identity: Arc<ServerIdentity>,
        authority: Arc<Authority>,
        records: Arc<dyn Records>,
        deny: DenySet,
    ) {
        let renewing = upkeep::renew_server_leaf(identity, authority, self.closing.clone());
        self.vital.spawn(async {
            ("certificate renewal", {
                renewing.await;
                Ok(())
            })
        });
        let changes = self.app.changes();
        let refreshing = upkeep::refresh_denials(records, deny, changes, self.closing.clone());
        self.vital.spawn(async {
            ("deny list", {
                refreshing.await;
                Ok(())
            })
        });
    }

    /// Where it is bound.
    #[must_use]
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// What joiners pin.
    #[must_use]
    pub const fn root_pin(&self) -> Digest {
        self.root_pin
    }

    /// The use-cases.
    #[must_use]
    pub const fn app(&self) -> &App {
        &self.app
    }

    /// Serves until SIGTERM or SIGINT, or until a vital part fails.
    ///
    /// # Errors
    /// When a vital part failed.
    pub async fn run_until_signal(mut self) -> anyhow::Result<()> {
        let mut terminate = unix::signal(unix::SignalKind::terminate())?;
        let mut interrupt = unix::signal(unix::SignalKind::interrupt())?;
        let failed = tokio::select! {
            _ = terminate.recv() => None,
            _ = interrupt.recv() => None,
            ended = self.vital.join_next() => Some(ended),
        };
        self.stop().await;
        match failed {
            None => Ok(()),
            Some(Some(Ok((part, Err(error))))) => Err(error.context(format!("{part} failed"))),
            Some(Some(Ok((part, Ok(()))))) => bail!("{part} ended by itself"),
            Some(Some(Err(panic))) => Err(panic).context("a vital part panicked"),
            Some(None) => bail!("nothing was running"),
        }
    }

    /// Tells every session to come back, then ends everything within the drain time.
    pub async fn stop(mut self) {
        tracing::info!("stopping");
        if self.fleet.counts() != (0, 0) {
            self.fleet.ask_to_reconnect();
            tokio::time::sleep(FAREWELL).await;
        }
        self.closing.cancel();
        self.tasks.close();
        let drained = tokio::time::timeout(DRAIN, async {
            self.tasks.wait().await;
            while self.vital.join_next().await.is_some() {}
        })
        .await;
        // Without it, SQLite's log may still be open when we say that we have stopped, and a copy made then is not whole.
        let closed = tokio::time::timeout(DRAIN, self.app.context().db.close()).await;
        match drained.and(closed) {
            Ok(()) => tracing::info!("stopped"),
            Err(_) => tracing::warn!("stopped, with some connections still open"),
        }
    }
}

async fn open_database(config: &Config) -> anyhow::Result<Db> {
    let db = Db::open(config.database.url.reveal())
        .await
        .with_context(|| format!("opening the database {}", config.database.url))?;
    for name in db.migrate().await.context("migrating the database")? {
        tracing::info!(migration = name, "migrated");
    }
    Ok(db)
}
