//! Carries out one step. No decision is made here; every step may be repeated, and a crash in the middle of one is repaired by the next.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use shop_plan::StorePlan;
use shop_proto::{Digest, ServiceName};

use super::{
    database::{DatabaseError, Databases},
    deliver::{DeliveryError, Mailbox, Parcel},
    probe::Probes,
    sealed::Envelope,
    steps::{Step, Target, update::is_migration},
    vault::{Vault, VaultError},
    world::Problem,
};
use crate::{
    blocking::off_thread,
    engine::{EngineError, Serve, StoreEngine, TaskExit, TaskRun},
    ledger::{Ending, LedgerError, Marks, SharedLedger},
};

mod rotation;
mod runs;

pub use rotation::Logins;

/// A vault that several tasks use. Never locked across an await.
pub type SharedVault = Arc<Mutex<Vault>>;

/// What steps are carried out with.
pub struct Tools<E> {
    /// Containers.
    pub engine: Arc<E>,
    /// Secrets.
    pub vault: SharedVault,
    /// What must survive.
    pub ledger: SharedLedger,
    /// Where secrets are handed over.
    pub mailbox: Mailbox,
    /// Readiness.
    pub probes: Arc<dyn Probes>,
    /// Who is let in by databases.
    pub databases: Arc<dyn Databases>,
    /// What leaves sealed.
    pub envelope: Arc<Envelope<E>>,
}

/// A plan and its digest.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// The plan.
    pub plan: Arc<StorePlan>,
    /// Its digest, as the broker wants it.
    pub digest: Digest,
}

/// Plans whose containers share what a step makes: secrets are delivered to a service, whichever plan's containers read them.
#[derive(Debug, Clone)]
pub struct Beside {
    /// In force.
    pub force: Arc<StorePlan>,
    /// On its way in.
    pub next: Option<Arc<StorePlan>>,
    /// Those who log in are handed the values that are coming.
    pub hands_out_new: bool,
    /// Where the secrets that are rotated are checked.
    pub logins: Logins,
}

/// How a step ended.
#[derive(Debug)]
pub enum Outcome {
    /// As meant.
    Done,
    /// A task ended, with this.
    TaskEnded(TaskExit),
    /// A run of an operator or the schedule ended, with this.
    RunEnded(Ending),
    /// Not; try again.
    Failed(Failure),
}

/// Why a step did not work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The node.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Secrets.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
    /// The vault.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A task of ours died.
    #[error("an internal task ended unexpectedly")]
    Internal,
}

impl Failure {
    /// For reports.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let reason = match self {
            Self::Engine(error) => error.reason(),
            Self::Delivery(_) => "secrets_failed",
            Self::Vault(_) => "vault_failed",
            Self::Ledger(_) => "ledger_failed",
            Self::Database(_) => "database_login_failed",
            Self::Internal => "internal",
        };
        Problem {
            reason,
            message: self.to_string(),
            exit: None,
        }
    }
}

/// Locks the vault. A panic cannot leave it half changed: changes are made on a copy.
pub fn locked(vault: &SharedVault) -> std::sync::MutexGuard<'_, Vault> {
    vault.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Carries out a step.
pub async fn act<E: StoreEngine>(
    tools: &Tools<E>,
    rendered: &Rendered,
    beside: Beside,
    step: Step,
) -> Outcome {
    let done = match step {
        Step::RunTask(run) => {
            return match run_task(tools, rendered, run).await {
                Ok(exit) => Outcome::TaskEnded(exit),
                Err(failure) => Outcome::Failed(failure),
            };
        }
        Step::Run(run, by) => {
            return match runs::run(tools, rendered, run, by).await {
                Ok(ending) => Outcome::RunEnded(ending),
                Err(failure) => Outcome::Failed(failure),
            };
        }
        Step::StopTask(run) => tools
            .engine
            .stop_task(&run.task, &run.run)
            .await
            .map_err(Failure::from),
        Step::EndRun(id, outcome, why) => runs::end(tools, id, outcome, why).await,
        Step::BeginSchedule(names) => runs::begin_schedule(tools, names).await,
        Step::NoteDrift(drift) => tools
            .ledger
            .change(move |entries| entries.drift = drift)
            .await
            .map_err(Failure::from),
        Step::Deliver(consumer) => deliver(tools, beside, consumer).await,
        Step::Admit => rotation::admit(tools, beside).await,
        Step::Dismiss => rotation::dismiss(tools, beside).await,
        Step::Create(key) => tools
            .engine
            .create(rendered.digest, &key)
            .await
            .map_err(Failure::from),
        Step::Start(key) => tools
            .engine
            .start(rendered.digest, &key)
            .await
            .map_err(Failure::from),
        Step::Stop(key) => tools
            .engine
            .stop(rendered.digest, &key)
            .await
            .map_err(Failure::from),
        Step::Remove(key) => tools
            .engine
            .remove(rendered.digest, &key)
            .await
            .map_err(Failure::from),
        Step::Limit(key) => tools
            .engine
            .update(rendered.digest, &key)
            .await
            .map_err(Failure::from),
        Step::Kill(key) => tools
            .engine
            .kill(rendered.digest, &key)
            .await
            .map_err(Failure::from),
        Step::Record(it) => tools
            .ledger
            .change(move |entries| it.apply(entries))
            .await
            .map_err(Failure::from),
        Step::Serve(what) => serve(tools, rendered, &what).await,
        Step::Restarted(seq) => tools
            .ledger
            .change(move |entries| entries.restarted(seq))
            .await
            .map_err(Failure::from),
    };
    match done {
        Ok(()) => Outcome::Done,
        Err(failure) => Outcome::Failed(failure),
    }
}

async fn serve<E: StoreEngine>(
    tools: &Tools<E>,
    rendered: &Rendered,
    what: &Serve,
) -> Result<(), Failure> {
    Ok(tools.engine.serve(rendered.digest, what).await?)
}

/// Makes what is missing in the vault, on disk before anybody sees it, and hands a consumer its files.
async fn deliver<E: StoreEngine>(
    tools: &Tools<E>,
    beside: Beside,
    consumer: ServiceName,
) -> Result<(), Failure> {
    let (vault, mailbox) = (tools.vault.clone(), tools.mailbox.clone());
    off_thread(move || {
        let parcel = {
            let mut vault = locked(&vault);
            vault.ensure_secrets(&beside.force)?;
            if let Some(next) = &beside.next {
                vault.ensure_secrets(next)?;
            }
            parcel(&beside, &vault, consumer)?
        };
        Ok(mailbox.deliver(&parcel)?)
    })
    .await
    .unwrap_or(Err(Failure::Internal))
}

fn parcel(beside: &Beside, vault: &Vault, consumer: ServiceName) -> Result<Parcel, DeliveryError> {
    let names: BTreeSet<String> = [Some(&beside.force), beside.next.as_ref()]
        .into_iter()
        .flatten()
        .filter_map(|plan| Some(plan.secret_consumers().get(&consumer)?.secrets.clone()))
        .flatten()
        .collect();
    let mut files = Vec::new();
    for name in names {
        files.extend(rotation::files(beside, vault.content(), &consumer, name)?);
    }
    Ok(Parcel { consumer, files })
}

/// The run is on disk before it begins, so that a crash attaches to it; its end is on disk before anybody acts on it.
async fn run_task<E: StoreEngine>(
    tools: &Tools<E>,
    rendered: &Rendered,
    run: TaskRun,
) -> Result<TaskExit, Failure> {
    let once = rendered.plan.task(&run.task).is_some_and(|task| task.once);
    let marks = Marks::of(&rendered.plan);
    let migrates = is_migration(&run.run);
    let makes = (once || migrates).then_some(marks.schema);
    let (task, id) = (run.task.clone(), run.run.clone());
    tools
        .ledger
        .change(move |entries| entries.run_began(task, id, makes))
        .await?;
    let exit = tools.engine.run_task(rendered.digest, &run).await?;
    let at_unix_ms = Timestamp::now().as_millisecond();
    tools
        .ledger
        .change(move |entries| {
            entries.run_ended(&run.task, exit.code, makes);
            entries.migration_ended(&run.run, exit.code, marks, at_unix_ms);
            match exit.code {
                0 if once => {
                    entries.tasks_done.insert(run.task);
                }
                0 => {}
                // The next try is a run of its own; that of an update belongs to the update.
                _ if once || (migrates && entries.serving.is_none()) => {
                    *entries.attempts.entry(run.task).or_default() += 1;
                }
                _ => {}
            }
        })
        .await?;
    Ok(exit)
}

/// What a target is called in logs.
#[must_use]
pub fn name(target: &Target) -> String {
    match target {
        Target::Secrets(consumer) => format!("secrets of {consumer}"),
        Target::Replica(key) => key.to_string(),
        Target::Task(task) => format!("task {task}"),
        Target::Serve => "serve".to_owned(),
        Target::Ledger => "ledger".to_owned(),
        Target::Runs => "runs".to_owned(),
        Target::Drift => "drift".to_owned(),
        Target::StopTask(task) => format!("end of task {task}"),
        Target::Logins => "logins".to_owned(),
    }
}
