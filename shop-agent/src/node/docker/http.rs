//! One small HTTP request over a Unix socket: for what bollard cannot say, and for the edge's admin socket.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// The largest answer that is read.
const ANSWER_BYTES: usize = 1 << 20;

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum UnixHttpError {
    /// The socket.
    #[error("could not connect to the socket")]
    Connect(#[source] std::io::Error),
    /// HTTP itself.
    #[error("the exchange failed")]
    Exchange(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Too slow.
    #[error("no answer in time")]
    Deadline,
}

/// Sends one request on a connection of its own; gives the status and the body.
///
/// # Errors
/// When there is no complete answer within the deadline.
pub async fn unix_request(
    socket: &Path,
    request: http::Request<Full<Bytes>>,
    deadline: Duration,
) -> Result<(u16, Bytes), UnixHttpError> {
    tokio::time::timeout(deadline, exchange(socket, request))
        .await
        .map_err(|_| UnixHttpError::Deadline)?
}

async fn exchange(
    socket: &Path,
    request: http::Request<Full<Bytes>>,
) -> Result<(u16, Bytes), UnixHttpError> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(UnixHttpError::Connect)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| UnixHttpError::Exchange(error.into()))?;
    let answer = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| UnixHttpError::Exchange(error.into()))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES)
            .collect()
            .await
            .map_err(UnixHttpError::Exchange)?;
        Ok((status, body.to_bytes()))
    };
    tokio::pin!(answer);
    tokio::pin!(connection);
    // The connection is driven here, not by a task of its own: it ends with the request.
    let mut closed = false;
    loop {
        tokio::select! {
            answer = &mut answer => return answer,
            result = &mut connection, if !closed => {
                closed = true;
                result.map_err(|error| UnixHttpError::Exchange(error.into()))?;
            }
        }
    }
}
