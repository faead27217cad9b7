//! Tells agents which tasks operators want run or ended, until they answer. Orders are repeated; the agent knows a run by its id.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::ingest::follow_task;
use crate::{
    app::App,
    db::DbError,
    domain::{
        session::AgentOrder,
        store::Lifecycle,
        task::{TaskRun, TaskState},
    },
};

/// Looks at least so often, whatever was missed.
const INTERVAL: Duration = Duration::from_secs(2);
/// An order that is not answered is repeated after so long.
const REPEAT: Duration = Duration::from_secs(5);
/// A run that was taken is asked after so often: its end may have been said to nobody.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// What was said of each run, and when.
type Said = HashMap<String, (bool, Instant)>;

pub(super) async fn run(app: App) {
    let mut changes = app.changes();
    let mut said = Said::new();
    loop {
        changes.mark_unchanged();
        if let Err(error) = tick(&app, &mut said).await {
            tracing::warn!(task = "tasks", error = %error, "a tick failed and is tried again");
            tokio::time::sleep(super::RETRY).await;
            continue;
        }
        // Nobody left to change anything, or the time is up: look anyway.
        if let Ok(Err(_)) = tokio::time::timeout(INTERVAL, changes.changed()).await {
            return;
        }
    }
}

async fn tick(app: &App, said: &mut Said) -> Result<(), DbError> {
    let open = app.context().db.read().await?.open_task_runs().await?;
    said.retain(|id, _| open.iter().any(|run| run.id == *id));
    for run in open {
        if gone(app, &run).await? {
            continue;
        }
        let last = said
            .get(&run.id)
            .filter(|(cancel, _)| *cancel == run.cancel);
        let pause = if run.state == TaskState::Pending || run.cancel {
            REPEAT
        } else {
            ASK_AGAIN
        };
        if last.is_some_and(|(_, at)| at.elapsed() < pause) {
            continue;
        }
        let (store, id, cancel) = (run.store.clone(), run.id.clone(), run.cancel);
        if app.context().orders.to_agent(&store, order(run)) {
            said.insert(id, (cancel, Instant::now()));
        }
    }
    Ok(())
}

fn order(run: TaskRun) -> AgentOrder {
    let TaskRun {
        id,
        task,
        arguments,
        cancel,
        ..
    } = run;
    if cancel {
        AgentOrder::CancelTask { id, task }
    } else {
        AgentOrder::RunTask {
            id,
            task,
            arguments,
        }
    }
}

/// Ends runs of stores that are being deleted: nobody will tell of them any more.
async fn gone(app: &App, run: &TaskRun) -> Result<bool, DbError> {
    let context = app.context();
    let lifecycle = |store: Option<crate::domain::store::Store>| store.map(|it| it.lifecycle);
    let deleted =
        |it: Option<Lifecycle>| matches!(it, None | Some(Lifecycle::Deleting | Lifecycle::Deleted));
    if !deleted(lifecycle(context.db.read().await?.store(&run.store).await?)) {
        return Ok(false);
    }
    let mut tx = context.db.write().await?;
    if let Some(run) = tx.task_run(&run.store, &run.id).await?
        && !run.state.ended()
    {
        let ended = run.given_up("the store is being deleted", context.clock.now());
        tx.save_task_run(&ended).await?;
        follow_task(app, &mut tx, &ended).await?;
        tx.commit().await?;
    }
    Ok(true)
}
