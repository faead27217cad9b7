//! The typed service of one store: what its shop agent may ask of Docker, and nothing else.
//!
//! The socket says which store is meant. A request names a replica key of a plan that this node rendered itself; the node writes every
//! field of the container.

mod introduce;
mod limits;
mod own;
mod replies;
mod service;
mod tasks;

use std::{sync::Arc, time::Duration};

use futures::stream;
use shop_proto::wire::broker::v1::broker_server::BrokerServer;
use tonic::transport::Server;

use self::service::StoreBroker;
use super::{
    context::{Node, Store},
    socket::Door,
};

/// The keys that an agent shows.
///
/// # Errors
/// When they are none.
#[cfg(feature = "fuzzing")]
pub fn keys(
    request: &shop_proto::wire::broker::v1::IntroduceRequest,
) -> Result<super::state::AgentKeys, tonic::Status> {
    introduce::keys(request)
}

/// Connections of one agent at once: one in use, one replacing it, and room for a mistake.
pub const PLACES: usize = 4;
/// Calls at once on a connection: each replica of a store, a watch, a few tasks.
const CALLS: usize = 64;
/// The largest request: a key and a few words.
const REQUEST_BYTES: usize = 64 << 10;
/// After the socket itself failed, which only a lack of resources does.
const PAUSE: Duration = Duration::from_millis(500);
/// A peer that answers no ping is gone.
const PING_EVERY: Duration = Duration::from_secs(20);

/// Serves until the store's tasks end.
pub async fn serve(node: Arc<Node>, store: Arc<Store>, door: Door) {
    let cancel = store.tasks.cancel().clone();
    let visitors = stream::unfold(door, |door| async {
        let visitor = door.next().await;
        if visitor.is_err() {
            // The server asks for the next one at once, and there will be none while descriptors or memory are short.
            tokio::time::sleep(PAUSE).await;
        }
        Some((visitor, door))
    });
    let id = store.id.clone();
    let broker =
        BrokerServer::new(StoreBroker::new(node, store)).max_decoding_message_size(REQUEST_BYTES);
    let served = Server::builder()
        .concurrency_limit_per_connection(CALLS)
        .http2_keepalive_interval(Some(PING_EVERY))
        .add_service(broker)
        .serve_with_incoming_shutdown(visitors, cancel.cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::warn!(%error, store = %id, "a store's broker ended");
    }
}
