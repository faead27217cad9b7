//! The page that says "back soon": 503 with Retry-After, whatever was asked.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};

use super::file::{Answer, Table};

/// Connections at once.
const CONNECTIONS: usize = 256;
/// A peer that sends no request for this long is let go.
const HEADERS: Duration = Duration::from_secs(10);
/// When buyers may try again.
const RETRY_AFTER: &str = "10";
/// A pause lasts until somebody ends it.
const RETRY_A_PAUSED_SHOP_AFTER: &str = "600";
/// After the socket failed, which only a lack of resources does.
const PAUSE: Duration = Duration::from_millis(100);

/// The bound socket.
pub(super) struct Page {
    listener: TcpListener,
    table: Table,
}

impl Page {
    pub(super) async fn bind(address: SocketAddr, table: Table) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(address).await?,
            table,
        })
    }

    #[cfg(test)]
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until dropped.
    pub(super) async fn serve(self) {
        let table = self.table;
        serve(self.listener, move |request| answer(request, &table)).await;
    }
}

/// Answers requests that need no waiting, until dropped.
pub(super) async fn serve<A>(listener: TcpListener, answer: A)
where
    A: Fn(&Request<Incoming>) -> Response<Full<Bytes>> + Clone + Send + Sync + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                    let answer = answer.clone();
                    connections.spawn(async move {
                        let _place = place;
                        let service = service_fn(|request| {
                            std::future::ready(Ok::<_, Infallible>(answer(&request)))
                        });
                        // A peer that hangs up is no news.
                        let _ = http1::Builder::new()
                            .timer(TokioTimer::new())
                            .header_read_timeout(HEADERS)
                            .serve_connection(TokioIo::new(stream), service)
                            .await;
                    });
                },
                Err(_) => tokio::time::sleep(PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

fn answer(request: &Request<Incoming>, table: &Table) -> Response<Full<Bytes>> {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .map(|host| host.split(':').next().unwrap_or(host).to_ascii_lowercase());
    let (text, retry_after) = match host.and_then(|host| table.answer(&host)) {
        Some(Answer::Maintenance) => (include_str!("maintenance.html"), RETRY_AFTER),
        Some(Answer::Paused) => (include_str!("paused.html"), RETRY_A_PAUSED_SHOP_AFTER),
        _ => (include_str!("unavailable.html"), RETRY_AFTER),
    };
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static(retry_after));
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(super::PAGE_HEADER, HeaderValue::from_static("1"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // The next request may be for somebody who serves again.
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
