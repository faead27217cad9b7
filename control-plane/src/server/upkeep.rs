//! What the process does for itself while it serves: fresh server certificates, and the deny list as the database has it.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::identity::{Authority, DenySet, Records, tls::ServerIdentity};

/// How often the deny list is read again: another process, or another replica, may have changed it.
const DENIALS_EVERY: Duration = Duration::from_secs(5);
/// After a failure to renew: long before the leaf ends.
const RENEW_AGAIN: Duration = Duration::from_secs(60);

/// Replaces the server's leaf at half of its life, for ever.
pub async fn renew_server_leaf(
    identity: Arc<ServerIdentity>,
    authority: Arc<Authority>,
    closing: CancellationToken,
) {
    let mut wait = ServerIdentity::renew_after();
    loop {
        tokio::select! {
            () = closing.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = match identity.renew(&authority, Timestamp::now()) {
            Ok(()) => {
                tracing::info!("the server certificate was renewed");
                ServerIdentity::renew_after()
            }
            Err(error) => {
                tracing::error!(error = ?error, "the server certificate could not be renewed");
                RENEW_AGAIN
            }
        };
    }
}

/// Keeps the deny set as the database has it, for ever.
pub async fn refresh_denials(records: Arc<dyn Records>, deny: DenySet, closing: CancellationToken) {
    let mut ticks = interval(DENIALS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = closing.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match records.denied().await {
            Ok(list) => deny.replace(list),
            // What was denied stays denied.
            Err(error) => tracing::warn!(error = ?error, "the deny list could not be read"),
        }
    }
}
