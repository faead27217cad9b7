//! The shop agents' way to the control plane: bytes from a store's `enroll.sock` and `session.sock` to the control plane's listeners.
//! The TLS session inside is end to end; nothing is read here.

use std::{io, sync::Arc, time::Duration};

use tokio::io::copy_bidirectional;

use super::{
    context::{Node, Store},
    socket::{Door, Visitor},
};

/// Connections of one store at once: one in use, one replacing it, and room for a mistake.
pub const PLACES: usize = 4;
/// Longest dial of one address.
const DIAL: Duration = Duration::from_secs(5);
/// Enrolment is one call.
const ENROLMENT: Duration = Duration::from_secs(60);
/// Leaves are valid for a day; no session outlives them.
const SESSION: Duration = Duration::from_secs(26 * 60 * 60);
/// After the socket itself failed, which only a lack of resources does.
const PAUSE: Duration = Duration::from_millis(500);

/// Which listener is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// For agents without a certificate.
    Enrolment,
    /// For agents with one.
    Session,
}

/// Forwards until the store's tasks end.
pub async fn forward(node: Arc<Node>, store: Arc<Store>, door: Door, way: Way) {
    loop {
        match door.next().await {
            Ok(visitor) => {
                let node = node.clone();
                store.tasks.spawn("forward", async move {
                    if let Err(error) = carry(&node, visitor, way).await {
                        tracing::debug!(%error, ?way, "a forwarded connection ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, store = %store.id, ?way, "a store's socket failed");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn carry(node: &Node, mut visitor: Visitor, way: Way) -> io::Result<()> {
    let (addresses, longest) = match way {
        Way::Enrolment => (&node.args.enroll, ENROLMENT),
        Way::Session => (&node.args.agents, SESSION),
    };
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        let carried = match within(DIAL, address.dial()).await {
            Ok(mut stream) => within(longest, copy_bidirectional(&mut visitor, &mut stream)).await,
            Err(error) => {
                last = error;
                continue;
            }
        };
        return carried.map(|_| ());
    }
    Err(last)
}

async fn within<T>(deadline: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(deadline, work)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
