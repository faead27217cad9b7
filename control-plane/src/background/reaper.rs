//! Forgets what nobody needs any more.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{app::App, db::DbError};

/// Often enough that a store whose agent says events as fast as it may does not fill the disk.
const INTERVAL: Duration = Duration::from_secs(60);
/// An idempotency key is good for a day.
const KEYS: SignedDuration = SignedDuration::from_hours(24);
/// Kept after their end, so that lists still explain what was.
const JOIN_TOKENS: SignedDuration = SignedDuration::from_hours(7 * 24);
const API_TOKENS: SignedDuration = SignedDuration::from_hours(30 * 24);
/// An expired leaf is good for a renewal for 90 days; after that its serial tells nothing.
const CERTIFICATES: SignedDuration = SignedDuration::from_hours(120 * 24);
/// Events of one store.
const EVENTS: u32 = 1000;

pub(super) async fn run(app: App) {
    super::every(app, "reaper", INTERVAL, tick).await;
}

async fn tick(app: App) -> Result<(), DbError> {
    let now = app.context().clock.now();
    let before = |age| now.saturating_sub(age).unwrap_or(Timestamp::MIN);
    let mut tx = app.context().db.write().await?;
    let forgotten = tx.forget_keys(before(KEYS)).await?
        + tx.forget_join_tokens(before(JOIN_TOKENS)).await?
        + tx.forget_tokens(before(API_TOKENS)).await?
        + tx.forget_certificates(before(CERTIFICATES)).await?
        + tx.prune_events(EVENTS).await?;
    tx.commit().await?;
    tracing::debug!(forgotten, "cleaned up");
    Ok(())
}
