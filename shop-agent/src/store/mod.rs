//! The shop-agent role: one store, its secrets, its services.
//!
//! [`steps`] decides, [`reconcile`] drives, [`act`] carries out, [`prober`] asks, [`report`] tells, [`session`] speaks with the control plane.
//! It reaches containers only through [`crate::engine::StoreEngine`].

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::Args;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Mutex, mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    engine::{BrokerEngine, Introduce, Introduction, StoreEngine},
    identity::Trust,
    ledger::{Ledger, SharedLedger},
    uplink::{Address, Backoff},
};

mod act;
mod credentials;
mod database;
mod deliver;
#[cfg(test)]
mod fixtures;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod order;
mod probe;
mod prober;
mod questions;
mod reconcile;
mod report;
mod sealed;
mod session;
mod steps;
mod supervise;
mod vault;
mod wire;
mod world;

pub use database::{Accept, DatabaseError, Databases};
pub use probe::{NotReady, Probes, Question};
pub use steps::update::PREPARE;

/// Arguments of `shop-agent run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Socket of the node agent's broker. `enroll.sock` and `session.sock` lie beside it.
    #[arg(
        long,
        env = "SHOPFLEET_BROKER",
        default_value = "/run/shopfleet/broker.sock"
    )]
    pub broker: PathBuf,
    /// Directory of the vault and the ledger: the agent's own volume.
    #[arg(long, env = "SHOPFLEET_VAULT", default_value = "/var/lib/shopfleet")]
    pub vault: PathBuf,
    /// Directory with one secrets volume per consumer.
    #[arg(long, env = "SHOPFLEET_SECRETS", default_value = "/secrets")]
    pub secrets: PathBuf,
}

/// Where an agent is: what it keeps, and whom it reaches how.
pub struct Place<E> {
    /// Directory of the vault and the ledger.
    pub vault: PathBuf,
    /// Directory with one secrets volume per consumer.
    pub secrets: PathBuf,
    /// Containers.
    pub engine: Arc<E>,
    /// Who learns our keys.
    pub broker: Arc<dyn Introduce>,
    /// Readiness.
    pub probes: Arc<dyn Probes>,
    /// Who is let in by databases.
    pub databases: Arc<dyn Databases>,
    /// Where enrolment is answered.
    pub enrolment: Address,
    /// Where sessions are answered.
    pub sessions: Address,
}

impl Place<BrokerEngine> {
    /// In a store's networks, with a node agent.
    fn inside(args: RunArgs) -> Self {
        let beside = |name: &str| Address::Unix(args.broker.with_file_name(name));
        Self {
            engine: Arc::new(BrokerEngine::new(&args.broker)),
            probes: Arc::new(probe::NetworkProbes),
            databases: Arc::new(database::NetworkDatabases),
            enrolment: beside("enroll.sock"),
            sessions: beside("session.sock"),
            broker: Arc::new(args.broker),
            vault: args.vault,
            secrets: args.secrets,
        }
    }
}

/// How long the last words may take.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Runs until SIGTERM or SIGINT. What it started keeps running.
///
/// # Errors
/// When the vault or the ledger cannot be used.
pub async fn run(args: RunArgs) -> anyhow::Result<()> {
    let cancel = CancellationToken::new();
    let place = Place::inside(args);
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let (introduction, vault) = tokio::select! {
        unlocked = unlock(&place) => unlocked?,
        _ = term.recv() => return Ok(()),
        _ = int.recv() => return Ok(()),
    };
    tracing::info!(store = %introduction.store, node = %introduction.node, "vault open");
    let mut tasks = start(place, introduction, vault, &cancel)?;
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
        ended = tasks.join_next() => {
            // Neither ends by itself: leaving lets the node agent start us afresh.
            cancel.cancel();
            anyhow::bail!("a part of the agent ended unexpectedly: {ended:?}");
        }
    }
    cancel.cancel();
    // What is not said by then, the next start says.
    let _ = tokio::time::timeout(LAST_WORDS, async {
        while tasks.join_next().await.is_some() {}
    })
    .await;
    Ok(())
}

/// Runs at a place until something of it ends unexpectedly or it is cancelled: [`run`] without the process around it.
///
/// # Errors
/// When the vault or the ledger cannot be used.
pub async fn serve<E: StoreEngine>(
    place: Place<E>,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let (introduction, vault) = unlock(&place).await?;
    let mut tasks = start(place, introduction, vault, &cancel)?;
    tasks.join_next().await;
    Ok(())
}

/// Shows our keys to the node, and opens the vault with the key it answers; makes both the first time.
async fn unlock<E>(place: &Place<E>) -> anyhow::Result<(Introduction, vault::Vault)> {
    let known = vault::public_keys(&place.vault).context("reading the vault's public keys")?;
    let (fresh, keys) = match known {
        Some(keys) => (None, keys),
        None => {
            let content = vault::Content::generate()?;
            let keys = content.public_keys();
            (Some(content), keys)
        }
    };
    let introduction = introduced(&*place.broker, &keys).await;
    let (store, key) = (introduction.store.clone(), introduction.vault_key.clone());
    let vault = match fresh {
        Some(content) => vault::Vault::create(&place.vault, store, key, content),
        None => vault::Vault::open(&place.vault, store, key),
    }
    .context("opening the vault")?;
    Ok((introduction, vault))
}

async fn introduced(broker: &dyn Introduce, keys: &vault::PublicKeys) -> Introduction {
    let mut backoff = Backoff::default();
    loop {
        match broker
            .introduce(keys.identity_spki.clone(), keys.sealing)
            .await
        {
            Ok(introduction) => return introduction,
            Err(error) => {
                tracing::warn!(%error, "the node agent does not answer");
                tokio::time::sleep(backoff.next(rand::random())).await;
            }
        }
    }
}

fn start<E: StoreEngine>(
    place: Place<E>,
    introduction: Introduction,
    vault: vault::Vault,
    cancel: &CancellationToken,
) -> anyhow::Result<JoinSet<()>> {
    let ledger = SharedLedger::new(Ledger::open(&place.vault).context("opening the ledger")?);
    let known_roots = vault
        .content()
        .credential
        .as_ref()
        .map(|credential| credential.roots().to_vec())
        .unwrap_or_default();
    let trust = Trust::new(introduction.root_pins.iter().copied(), known_roots)?;
    let vault: act::SharedVault = Arc::new(std::sync::Mutex::new(vault));
    let engine = place.engine;
    let envelope = Arc::new(sealed::Envelope {
        store: introduction.store.clone(),
        root_pin: introduction.operator_root_pin,
        ledger: ledger.clone(),
        vault: vault.clone(),
        engine: engine.clone(),
        roster: std::sync::Mutex::default(),
    });
    let tools = Arc::new(act::Tools {
        engine: engine.clone(),
        vault: vault.clone(),
        ledger: ledger.clone(),
        mailbox: deliver::Mailbox {
            root: place.secrets,
            boot_id: introduction.host_boot_id.clone(),
        },
        probes: place.probes,
        databases: place.databases,
        envelope: envelope.clone(),
    });
    let (commands, command_queue) = mpsc::channel(8);
    let (notices, notice_queue) = mpsc::channel(64);
    let (runs, run_view) = watch::channel(Vec::new());
    let (reports, report_view) = watch::channel(report::Report::waiting(None, "no_order", ""));
    let session = session::Session {
        certified: credentials::Certified {
            store: introduction.store.clone(),
            trust,
            vault,
            enrolment: place.enrolment,
            broker: place.broker,
        },
        agents: place.sessions,
        ledger,
        commands,
        reports: report_view,
        runs: run_view,
        notices: Mutex::new(notice_queue),
        envelope: envelope.clone(),
        boot_id: introduction.host_boot_id,
        receipt: introduction.receipt,
        previous: Mutex::default(),
    };
    let wires = reconcile::Wires {
        commands: command_queue,
        reports,
        runs,
        notices,
    };
    let reconciler = reconcile::Reconciler::new(introduction.store, tools, wires);
    let session_cancel = cancel.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(reconciler.run(cancel.clone()));
    tasks.spawn(async move {
        if let Some((document, signature)) = introduction.roster {
            envelope.believe(&document, &signature).await;
        }
        session.run(session_cancel).await;
    });
    Ok(tasks)
}
