//! HTTP over connections that somebody else has accepted: HTTP/1.1 and HTTP/2, with limits, until closed.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use axum::{Router, extract::ConnectInfo};
use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::{Semaphore, mpsc},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

use crate::fleet::Connection;

/// A client that has not sent its request's head by then is gone.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams at once on one connection.
const STREAMS: u32 = 64;
const HEADERS: u32 = 16 << 10;
const BUFFER: usize = 64 << 10;
/// Probes and scrapers at once.
const PLAIN_CONNECTIONS: usize = 64;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the admin API over connections that have shaken hands.
pub async fn serve_tls(
    router: Router,
    mut connections: mpsc::Receiver<Connection>,
    tasks: TaskTracker,
    closing: CancellationToken,
) {
    while let Some(connection) = connections.recv().await {
        let address = connection.peer().address;
        tasks.spawn(serve(connection, address, router.clone(), closing.clone()));
    }
}

/// Serves probes and metrics in plain HTTP.
pub async fn serve_plain(
    router: Router,
    listener: TcpListener,
    tasks: TaskTracker,
    closing: CancellationToken,
) {
    let places = std::sync::Arc::new(Semaphore::new(PLAIN_CONNECTIONS));
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = closing.cancelled() => return,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let work = serve(stream, address, router.clone(), closing.clone());
                tasks.spawn(async move {
                    work.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept of the metrics listener failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve<S>(stream: S, address: SocketAddr, router: Router, closing: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(address));
        let router = router.clone();
        async move {
            // A router never fails.
            Ok::<_, Infallible>(
                router
                    .oneshot(request)
                    .await
                    .unwrap_or_else(|error| match error {}),
            )
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADERS);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut told = false;
    loop {
        tokio::select! {
            () = closing.cancelled(), if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%address, error = %error, "connection ended");
                }
                return;
            }
        }
    }
}
