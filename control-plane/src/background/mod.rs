//! Everything that goes on without being asked: ingest, placement, dispatch, deadlines, cleaning up. One task a file.
//!
//! Each is level-triggered: it looks at what the database says and does what is missing. So a tick that fails is logged and tried again,
//! and a restart resumes everything.

mod deadlines;
mod dispatch;
mod ingest;
mod placer;
mod reaper;
mod rollouts;
mod sent;
mod take_back;
mod tasks;

use std::{future::Future, sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{app::App, db::DbError, domain::session::FleetEvent};
use sent::Sent;

/// A failed tick is tried again after so long.
const RETRY: Duration = Duration::from_secs(1);

/// Starts all background tasks on a tracker. They end soon after the token is cancelled.
pub fn start(
    app: &App,
    events: mpsc::Receiver<FleetEvent>,
    tracker: &TaskTracker,
    shutdown: &CancellationToken,
) {
    let sent = Arc::new(Sent::default());
    let spawn = |name: &'static str, task: futures::future::BoxFuture<'static, ()>| {
        let shutdown = shutdown.clone();
        tracker.spawn(async move {
            match shutdown.run_until_cancelled(task).await {
                Some(()) => tracing::error!(task = name, "a background task ended by itself"),
                None => tracing::debug!(task = name, "stopped"),
            }
        });
    };
    spawn(
        "ingest",
        Box::pin(ingest::run(app.clone(), events, Arc::clone(&sent))),
    );
    spawn("placer", Box::pin(placer::run(app.clone())));
    spawn("dispatch", Box::pin(dispatch::run(app.clone(), sent)));
    spawn("deadlines", Box::pin(deadlines::run(app.clone())));
    spawn("tasks", Box::pin(tasks::run(app.clone())));
    spawn("rollouts", Box::pin(rollouts::run(app.clone())));
    spawn("reaper", Box::pin(reaper::run(app.clone())));
}

/// Ticks when something changed and at least every `interval`; several changes make one tick.
async fn on_change<F, T>(app: App, name: &'static str, interval: Duration, mut tick: F)
where
    F: FnMut(App) -> T + Send,
    T: Future<Output = Result<(), DbError>> + Send,
{
    let mut changes = app.changes();
    loop {
        changes.mark_unchanged();
        if let Err(error) = tick(app.clone()).await {
            tracing::warn!(task = name, error = %error, cause = ?std::error::Error::source(&error), "a tick failed and is tried again");
            tokio::time::sleep(RETRY).await;
            continue;
        }
        // Nobody left to change anything, or the time is up: look anyway.
        if let Ok(Err(_)) = tokio::time::timeout(interval, changes.changed()).await {
            return;
        }
    }
}

/// Ticks at a fixed pace.
async fn every<F, T>(app: App, name: &'static str, interval: Duration, mut tick: F)
where
    F: FnMut(App) -> T + Send,
    T: Future<Output = Result<(), DbError>> + Send,
{
    let mut clock = tokio::time::interval(interval);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        if let Err(error) = tick(app.clone()).await {
            tracing::warn!(task = name, error = %error, cause = ?std::error::Error::source(&error), "a tick failed and is tried again");
        }
    }
}
