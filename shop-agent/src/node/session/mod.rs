//! The node's session with the control plane: says who is here, hears orders, says what became of them. Everything that matters is on disk
//! before it is said, so a session may break at any point.

mod wire;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use shop_proto::wire::node::v1::{ControlMessage, NodeMessage, node_client::NodeClient};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use self::wire::Order;
use super::{capacity, context::Node, orders};
use crate::{
    identity::{self, Credential},
    uplink::{Backoff, Ended, channel, keep},
};

/// Messages on their way out; what does not fit waits in the outbox.
const QUEUE: usize = 16;
/// Longest wait for the session to open, and for a message to find room.
const OPEN: Duration = Duration::from_secs(15);
/// Between two words about capacity.
const CAPACITY: Duration = Duration::from_secs(30);
/// The largest message heard.
const MESSAGE_BYTES: usize = 1 << 20;

/// Whether an order can be read.
///
/// # Errors
/// Names the field that is wrong.
#[cfg(feature = "fuzzing")]
pub fn readable(message: ControlMessage) -> Result<(), shop_proto::wire::WireError> {
    wire::order(message).map(drop)
}

/// Keeps a session up until the node ends.
pub async fn hold(node: Arc<Node>) {
    let cancel = node.tasks.cancel().clone();
    keep("control-plane", cancel, || attempt(&node)).await;
}

/// Renews the certificate when it is due, and before a session when it has expired.
pub async fn renewals(node: Arc<Node>) {
    let mut backoff = Backoff::default();
    loop {
        let due = node
            .credential
            .load()
            .renew_in(Timestamp::now(), rand::random());
        tokio::time::sleep(due).await;
        match renew(&node).await {
            Ok(()) => {
                backoff = Backoff::default();
                node.renewed.notify_one();
            }
            Err(error) => {
                tracing::warn!(%error, "the certificate could not be renewed; trying again");
                tokio::time::sleep(backoff.next(rand::random()) + Duration::from_secs(1)).await;
            }
        }
    }
}

/// Why a certificate was not renewed.
#[derive(Debug, thiserror::Error)]
enum RenewError {
    #[error("no enrolment listener of the control plane answers")]
    Away,
    #[error(transparent)]
    Trust(#[from] identity::TrustError),
    #[error(transparent)]
    Enroll(#[from] identity::EnrollError),
    #[error(transparent)]
    File(#[from] super::state::files::FileError),
    #[error(transparent)]
    Unfinished(#[from] super::tasks::Unfinished),
}

async fn renew(node: &Node) -> Result<(), RenewError> {
    let config = node.trust.enrolment_config()?;
    let mut connected = None;
    for address in &node.args.enroll {
        if let Ok(channel) = channel(address, config.clone()).await {
            connected = Some(channel);
            break;
        }
    }
    let current = node.credential.load_full();
    let renewed = identity::renew(connected.ok_or(RenewError::Away)?, &current).await?;
    let paths = Arc::new(node.paths.clone());
    let bytes = renewed.encode();
    super::tasks::blocking(&paths, move |paths| {
        super::state::files::replace(&paths.credential_file(), &bytes, 0o600)
    })
    .await??;
    node.credential.store(Arc::new(renewed));
    tracing::info!("certificate renewed");
    Ok(())
}

async fn attempt(node: &Arc<Node>) -> Ended {
    let credential = node.credential.load_full();
    if !credential.valid_at(Timestamp::now())
        && let Err(error) = renew(node).await
    {
        return Ended::lost(format!("the certificate has expired: {error}"));
    }
    let channel = match dial(node, &credential).await {
        Ok(channel) => channel,
        Err(ended) => return ended,
    };
    let ended = talk(node, &credential, channel).await;
    node.connected.send_replace(false);
    ended
}

async fn dial(node: &Node, credential: &Credential) -> Result<Channel, Ended> {
    let config = node.trust.session_config(credential).map_err(Ended::lost)?;
    let mut last = Ended::lost("no address of the control plane is known");
    for address in &node.args.agents {
        match channel(address, config.clone()).await {
            Ok(channel) => return Ok(channel),
            Err(error) => last = Ended::lost(format!("{address}: {}", root_cause(&error))),
        }
    }
    Err(last)
}

async fn talk(node: &Arc<Node>, credential: &Credential, channel: Channel) -> Ended {
    let (out, queue) = mpsc::channel::<NodeMessage>(QUEUE);
    let hello = wire::hello(node, capacity::measure(node).await);
    if out.try_send(hello).is_err() {
        return Ended::lost("no room for the first word");
    }
    let mut client = NodeClient::new(channel).max_decoding_message_size(MESSAGE_BYTES);
    let opened = tokio::time::timeout(OPEN, client.session(ReceiverStream::new(queue))).await;
    let mut orders = match opened {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => {
            return Ended::lost(format!("{:?}: {}", status.code(), status.message()));
        }
        Err(_) => return Ended::lost("the session did not open in time"),
    };
    tracing::info!("session with the control plane stands");
    node.connected.send_replace(true);
    node.outbox.all_unsaid();
    let mut measure = tokio::time::interval(CAPACITY);
    measure.tick().await;
    loop {
        tokio::select! {
            order = orders.message() => match order {
                Ok(Some(message)) => if let Some(ended) = heard(node, message).await {
                    return ended;
                },
                Ok(None) => return Ended::lost("the control plane closed the session"),
                Err(status) => return Ended::lost(format!("{:?}: {}", status.code(), status.message())),
            },
            word = node.outbox.next() => if let Err(ended) = say(&out, wire::word(word, credential)).await {
                return ended;
            },
            _ = measure.tick() => {
                let message = wire::capacity(capacity::measure(node).await);
                if let Err(ended) = say(&out, message).await {
                    return ended;
                }
            }
            () = node.renewed.notified() => return Ended::come_back(Duration::ZERO),
        }
    }
}

/// A word that is lost here is said again: the next session starts with all of them.
async fn say(out: &mpsc::Sender<NodeMessage>, message: NodeMessage) -> Result<(), Ended> {
    match tokio::time::timeout(OPEN, out.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Ended::lost("the session's outgoing half is closed")),
        Err(_) => Err(Ended::lost("the control plane does not take messages")),
    }
}

async fn heard(node: &Arc<Node>, message: ControlMessage) -> Option<Ended> {
    match wire::order(message) {
        Ok(Order::Assign(assignment)) => orders::assign(node, *assignment).await,
        Ok(Order::Retire { store, generation }) => orders::retire(node, store, generation).await,
        Ok(Order::Retired(store)) => orders::retired(node, store).await,
        Ok(Order::Vouched { store, spki }) => orders::vouched(node, &store, spki),
        Ok(Order::Roster(roster)) => orders::roster(node, roster).await,
        Ok(Order::Reconnect(after)) => return Some(Ended::come_back(after)),
        Ok(Order::Nothing) => {}
        // One bad order must not keep the others away.
        Err(error) => tracing::warn!(%error, "an order could not be read"),
    }
    None
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
