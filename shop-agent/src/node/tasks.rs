//! Background tasks with a name, an owner and an end: nothing runs that is not listed here.

use std::{future::Future, sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A group of tasks that end together. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    cancel: CancellationToken,
}

/// Blocking work that did not come back: it panicked, or the process is ending.
#[derive(Debug, thiserror::Error)]
#[error("background work did not finish")]
pub struct Unfinished;

impl Tasks {
    /// A group that ends with this one, or earlier.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            tracker: TaskTracker::new(),
            cancel: self.cancel.child_token(),
        }
    }

    /// Cancelled when the group is to end.
    #[must_use]
    pub const fn cancel(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Runs `work` until it ends or the group does. Its end is logged; who needs a result uses a channel.
    pub fn spawn(&self, kind: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let cancel = self.cancel.clone();
        let watched = async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = work => tracing::debug!(task = kind, "task ended"),
            }
        };
        drop(self.tracker.spawn(watched));
    }

    /// Cancels all and waits for them, at most `patience`.
    pub async fn end(&self, patience: Duration) {
        self.cancel.cancel();
        self.tracker.close();
        if tokio::time::timeout(patience, self.tracker.wait())
            .await
            .is_err()
        {
            tracing::warn!(left = self.tracker.len(), "tasks did not end in time");
        }
    }
}

/// File-system work off the async threads.
///
/// # Errors
/// When it panicked.
pub async fn blocking<S: Send + Sync + 'static, T: Send + 'static>(
    shared: &Arc<S>,
    work: impl FnOnce(&S) -> T + Send + 'static,
) -> Result<T, Unfinished> {
    let shared = Arc::clone(shared);
    crate::blocking::off_thread(move || work(&shared))
        .await
        .map_err(|_| Unfinished)
}
