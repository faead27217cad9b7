//! The shop agents' way to the control plane: bytes from a store's `enroll.sock` and `session.sock` to the control plane's listeners.
//! The TLS session inside is end to end; nothing is read here.

use std::{io, pin::pin, sync::Arc, time::Duration};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, copy, split};

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
/// When one side has hung up, what the other still has to say. A far end that fell silent would hold its place for as long as TCP hopes,
/// a quarter of an hour, and a store has few.
const LAST_WORDS: Duration = Duration::from_secs(5);
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

async fn carry(node: &Node, visitor: Visitor, way: Way) -> io::Result<()> {
    let (addresses, longest) = match way {
        Way::Enrolment => (&node.args.enroll, ENROLMENT),
        Way::Session => (&node.args.agents, SESSION),
    };
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match within(DIAL, address.dial()).await {
            Ok(far) => return within(longest, both_ways(visitor, far)).await,
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Until both sides have hung up, or one of them has and the other says nothing more that matters.
async fn both_ways(
    near: impl AsyncRead + AsyncWrite,
    far: impl AsyncRead + AsyncWrite,
) -> io::Result<()> {
    let ((from_near, to_near), (from_far, to_far)) = (split(near), split(far));
    let (mut up, mut down) = (pin!(pass(from_near, to_far)), pin!(pass(from_far, to_near)));
    tokio::select! {
        said = &mut up => {
            said?;
            within(LAST_WORDS, down).await
        }
        said = &mut down => {
            said?;
            within(LAST_WORDS, up).await
        }
    }
}

/// Passes bytes on to their end, and the end too.
async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    copy(&mut from, &mut to).await?;
    to.shutdown().await
}

async fn within<T>(deadline: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(deadline, work)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_said_before_hanging_up_arrives() {
        let (mut agent, near) = duplex(64);
        let (far, mut control_plane) = duplex(64);
        let talk = async {
            agent.write_all(b"question").await?;
            agent.shutdown().await?;
            let mut heard = String::new();
            control_plane.read_to_string(&mut heard).await?;
            control_plane.write_all(b"answer").await?;
            drop(control_plane);
            agent.read_to_string(&mut heard).await?;
            io::Result::Ok(heard)
        };
        let (carried, heard) = tokio::join!(both_ways(near, far), talk);
        carried.unwrap();
        assert_eq!(heard.unwrap(), "questionanswer");
    }

    #[tokio::test(start_paused = true)]
    async fn a_far_end_that_fell_silent_holds_no_place() {
        let (agent, near) = duplex(64);
        let (far, _silent) = duplex(64);
        drop(agent);
        let begun = tokio::time::Instant::now();
        let ended = both_ways(near, far).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed(), LAST_WORDS);
    }
}
