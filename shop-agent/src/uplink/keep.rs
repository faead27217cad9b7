//! Keeps one session going: attempt, wait, again, until cancelled.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Backoff;

/// How an attempt ended.
#[derive(Debug)]
pub struct Ended {
    /// For the log.
    pub reason: String,
    /// The peer said when to come back; otherwise the backoff decides.
    pub come_back_in: Option<Duration>,
}

impl Ended {
    /// Lost, for a reason.
    pub fn lost(reason: impl ToString) -> Self {
        Self {
            reason: reason.to_string(),
            come_back_in: None,
        }
    }

    /// The peer asked us to come back after a while.
    #[must_use]
    pub fn come_back(after: Duration) -> Self {
        Self {
            reason: "asked to come back later".to_owned(),
            come_back_in: Some(after),
        }
    }
}

/// Calls `attempt` again and again. An attempt holds its session for as long as it lasts.
pub async fn keep<F>(what: &'static str, cancel: CancellationToken, mut attempt: impl FnMut() -> F)
where
    F: Future<Output = Ended>,
{
    let mut backoff = Backoff::default();
    loop {
        let began = Instant::now();
        let ended = tokio::select! {
            () = cancel.cancelled() => return,
            ended = attempt() => ended,
        };
        backoff.lived(began.elapsed());
        let wait = ended
            .come_back_in
            .unwrap_or_else(|| backoff.next(rand::random()));
        tracing::info!(session = what, reason = %ended.reason, wait_ms = wait.as_millis() as u64, "session ended");
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}
