//! Waiting for conditions: the one place that sleeps, and it prints the last state when it gives up.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::bail;

/// Pause between two looks. Short, because a look costs a process and the pause is not what is measured.
pub const POLL: Duration = Duration::from_millis(20);

/// Looks until `done` says yes about what `look` saw; fails with the last thing seen after `limit`.
pub fn wait_for<T: Debug>(
    what: &str,
    limit: Duration,
    look: impl FnMut() -> anyhow::Result<T>,
    done: impl FnMut(&T) -> bool,
) -> anyhow::Result<T> {
    wait_every(POLL, what, limit, look, done)
}

/// As [`wait_for`], with longer pauses: for waits beside something that is measured.
pub fn wait_every<T: Debug>(
    pause: Duration,
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> anyhow::Result<T>,
    mut done: impl FnMut(&T) -> bool,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let seen = look();
        match seen {
            Ok(state) if done(&state) => return Ok(state),
            seen if Instant::now() > deadline => {
                bail!("gave up after {limit:?} waiting until {what}; last seen: {seen:?}")
            }
            _ => std::thread::sleep(pause),
        }
    }
}
