//! Everything that goes on without being asked: ingest, placement, dispatch, deadlines, cleaning up.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{app::App, domain::session::FleetEvent};

/// Starts all background tasks on a tracker. They end soon after the token is cancelled.
pub fn start(
    _app: &App,
    _events: mpsc::Receiver<FleetEvent>,
    _tracker: &TaskTracker,
    _shutdown: &CancellationToken,
) {
    let _ = Arc::new(());
}
