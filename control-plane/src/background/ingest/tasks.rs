//! What shop agents say of runs of tasks.

use shop_proto::StoreId;

use super::{After, event};
use crate::{
    app::{App, KEPT_TASK_RUNS},
    db::{DbError, Tx},
    domain::{
        event::Severity,
        session::{AgentOrder, TaskReport},
        task::{TaskRun, TaskState},
    },
};

/// Takes in how a run stands. An end is acknowledged once it is durable; one that is known already, again.
pub(super) async fn report(
    app: &App,
    tx: &mut Tx,
    store: &StoreId,
    report: TaskReport,
    after: &mut After,
) -> Result<(), DbError> {
    if tx.store(store).await?.is_none() {
        return Ok(());
    }
    let now = app.context().clock.now();
    let known = tx.task_run(store, &report.id).await?;
    let run = match &known {
        Some(known) => known.told(&report, now),
        None => began(store, &report, now).told(&report, now),
    };
    match &known {
        Some(known) if *known == run => {}
        Some(_) => tx.save_task_run(&run).await?,
        None => tx.insert_task_run(&run, KEPT_TASK_RUNS).await?,
    }
    if report.state.ended() {
        let recorded = AgentOrder::TaskRecorded {
            id: report.id.clone(),
        };
        after.to_agents.push((store.clone(), recorded));
    }
    if known.as_ref().is_none_or(|known| *known != run) && !run.scheduled {
        follow(app, tx, &run).await?;
    }
    Ok(())
}

/// The operation follows its run.
pub(in crate::background) async fn follow(
    app: &App,
    tx: &mut Tx,
    run: &TaskRun,
) -> Result<(), DbError> {
    let Some(before) = tx.operation(&run.id).await? else {
        return Ok(());
    };
    // Another store's agent cannot speak of it.
    if before.store != run.store || before.state.ended() {
        return Ok(());
    }
    let mut operation = run.operation(&before);
    if operation == before {
        return Ok(());
    }
    tx.save_operation(&mut operation).await?;
    if run.state.ended() {
        let (code, severity) = match run.state {
            TaskState::Done => ("task_done", Severity::Info),
            TaskState::Cancelled => ("task_cancelled", Severity::Info),
            _ => ("task_failed", Severity::Error),
        };
        let about = (Some(&run.store), None);
        tx.insert_event(&event(
            app,
            about,
            severity,
            code,
            operation.message.clone(),
        ))
        .await?;
    }
    Ok(())
}

/// A run that this control plane did not know: of the schedule, or asked for before it was restored from a backup.
fn began(store: &StoreId, report: &TaskReport, now: jiff::Timestamp) -> TaskRun {
    let began = jiff::Timestamp::from_millisecond(report.started_unix_ms);
    TaskRun {
        store: store.clone(),
        id: report.id.clone(),
        task: report.task.clone(),
        arguments: Vec::new(),
        scheduled: report.scheduled,
        requested_by: String::new(),
        state: TaskState::Pending,
        cancel: false,
        exit_code: None,
        message: String::new(),
        created_at: match began {
            Ok(began) if report.started_unix_ms > 0 => began.min(now),
            _ => now,
        },
        started_at: None,
        ended_at: None,
    }
}
