//! Disk work off the async threads. Where time is simulated it is done on the spot instead: a thread beside would make no two runs alike.

use std::cell::Cell;

use tokio::task::{JoinError, spawn_blocking};

thread_local! {
    static ON_THE_SPOT: Cell<bool> = const { Cell::new(false) };
}

/// From here on, disk work of this thread's tasks is done on this thread. For simulations.
pub fn on_the_spot() {
    ON_THE_SPOT.set(true);
}

/// Runs work that waits for the disk.
///
/// # Errors
/// When it panicked, or the process is ending.
pub async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    if ON_THE_SPOT.get() {
        return Ok(work());
    }
    spawn_blocking(work).await
}
