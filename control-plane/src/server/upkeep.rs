//! What the process does for itself while it serves: fresh server certificates, and the deny list as the database has it.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::identity::{Authority, DenySet, Records, tls::ServerIdentity};

/// How often the deny list is read again even without a change of ours: another process may have changed it.
const DENIALS_EVERY: Duration = Duration::from_secs(5);
/// At most so often, however much changes.
const DENIALS_PAUSE: Duration = Duration::from_millis(250);
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
            () = sleep(wait) => {}
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
pub async fn refresh_denials(
    records: Arc<dyn Records>,
    deny: DenySet,
    mut changes: watch::Receiver<u64>,
    closing: CancellationToken,
) {
    loop {
        tokio::select! {
            () = closing.cancelled() => return,
            () = next_refresh(&mut changes) => {}
        }
        match records.denied().await {
            Ok(list) => deny.replace(list),
            // What was denied stays denied.
            Err(error) => tracing::warn!(error = ?error, "the deny list could not be read"),
        }
    }
}

async fn next_refresh(changes: &mut watch::Receiver<u64>) {
    if let Ok(Err(_)) = timeout(DENIALS_EVERY, changes.changed()).await {
        // Nobody tells of changes any more; then only time counts.
        sleep(DENIALS_EVERY).await;
    }
    sleep(DENIALS_PAUSE).await;
}
