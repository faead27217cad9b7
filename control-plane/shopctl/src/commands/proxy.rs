//! `proxy`: a door on 127.0.0.1 to the admin API, so that a browser or curl needs neither the token nor a certificate exception.
//!
//! Whoever can reach the door has the context's rights. So it listens on the loopback address only, and refuses what a web page of another
//! origin could send: foreign `Host` names (DNS rebinding) and foreign `Origin`s.

use std::{
    convert::Infallible,
    net::Ipv4Addr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use anyhow::Context as _;
use futures::FutureExt as _;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioIo, TokioTimer};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::ctrl_c,
    task::{JoinHandle, JoinSet},
};

use super::Session;
use crate::{
    cli,
    connect::{Dialer, Protocol},
    output::{note, write_out},
};

/// More than a browser opens.
const MAX_CONNECTIONS: usize = 64;
const HEADER_DEADLINE: Duration = Duration::from_secs(10);

type Body = BoxBody<Bytes, hyper::Error>;

struct Door {
    dialer: Dialer,
    token: SecretString,
    port: u16,
}

pub(super) async fn run(session: &Session, proxy: cli::Proxy) -> anyhow::Result<()> {
    let (name, context) = session.context()?;
    let dialer = Dialer::new(&context, Protocol::Http1, Arc::clone(&session.provider))
        .map_err(|error| error.failure(&context.url))?;
    // Tells at once when nothing is there to forward to.
    dialer
        .dial()
        .await
        .map_err(|error| error.failure(&context.url))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, proxy.port))
        .await
        .with_context(|| {
            format!(
                "cannot listen on 127.0.0.1:{}; choose another with --port",
                proxy.port
            )
        })?;
    let port = listener.local_addr()?.port();
    write_out(&format!("http://127.0.0.1:{port}\n"))?;
    note(&format!(
        "forwarding to {} as context `{name}`, with its token: whoever reaches this port has its rights. Ctrl-C ends it.\n\
         Try: curl http://127.0.0.1:{port}/api/v1/stores",
        context.url
    ));
    let door = Arc::new(Door {
        dialer,
        token: context.token,
        port,
    });
    serve(listener, door).await
}

/// Until Ctrl-C. Connections belong to this function and end with it.
async fn serve(listener: TcpListener, door: Arc<Door>) -> anyhow::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        tokio::select! {
            interrupted = ctrl_c() => {
                interrupted?;
                return Ok(());
            }
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                let (stream, _) = accepted?;
                connections.spawn(connection(stream, Arc::clone(&door)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, door: Arc<Door>) {
    let service = hyper::service::service_fn(move |request| {
        let door = Arc::clone(&door);
        async move { Ok::<_, Infallible>(door.answer(request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    // A client that goes away mid-request concerns nobody else.
    drop(served);
}

impl Door {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        if let Err(why) = admit(self.port, request.headers()) {
            return plain(StatusCode::FORBIDDEN, why);
        }
        match self.forward(request).await {
            Ok(response) => response.map(BodyExt::boxed),
            Err(problem) => plain(
                StatusCode::BAD_GATEWAY,
                &format!(
                    "cannot reach the control plane at {}: {problem:#}",
                    self.dialer.url()
                ),
            ),
        }
    }

    async fn forward(&self, mut request: Request<Incoming>) -> anyhow::Result<Response<Streamed>> {
        let stream = self.dialer.dial().await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let path = request
            .uri()
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str);
        *request.uri_mut() = path.parse::<Uri>()?;
        let headers = request.headers_mut();
        for hop in [
            header::CONNECTION,
            header::UPGRADE,
            header::TRANSFER_ENCODING,
            header::COOKIE,
        ] {
            headers.remove(hop);
        }
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {}", self.token.expose_secret()))?;
        authorization.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, authorization);
        headers.insert(
            header::HOST,
            HeaderValue::from_str(self.dialer.url().authority())?,
        );
        // Driven for as long as the answer's body flows, and no longer.
        let connection = Connection(tokio::spawn(connection.map(drop)));
        let mut response = sender.send_request(request).await?;
        response.headers_mut().remove(header::CONNECTION);
        Ok(response.map(|body| Streamed {
            body,
            _connection: connection,
        }))
    }
}

/// Whether a request can only come from this machine's own user, not from a web page of somebody else.
fn admit(port: u16, headers: &HeaderMap) -> Result<(), &'static str> {
    let ours = |authority: &str| {
        authority == format!("127.0.0.1:{port}") || authority == format!("localhost:{port}")
    };
    let text =
        |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    if !text(header::HOST).is_some_and(ours) {
        return Err("this door answers for 127.0.0.1 and localhost only");
    }
    match text(header::ORIGIN) {
        None => {}
        Some(origin) if origin.strip_prefix("http://").is_some_and(ours) => {}
        Some(_) => return Err("requests of other sites are refused"),
    }
    let site = headers
        .get("sec-fetch-site")
        .map(|value| value.to_str().unwrap_or(""));
    match site {
        None | Some("same-origin" | "none") => Ok(()),
        Some(_) => Err("requests of other sites are refused"),
    }
}

/// The task that moves one upstream connection's bytes; it ends with its owner.
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An answer's body that keeps its connection going.
struct Streamed {
    body: Incoming,
    _connection: Connection,
}

impl hyper::body::Body for Streamed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let body = Full::new(Bytes::from(format!("{text}\n")))
        .map_err(|never| match never {})
        .boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(headers: &[(&'static str, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_static(value));
        }
        super::admit(7441, &map).is_ok()
    }

    #[test]
    fn only_this_door_and_its_own_pages_are_let_in() {
        assert!(admit(&[("host", "127.0.0.1:7441")]));
        assert!(admit(&[
            ("host", "localhost:7441"),
            ("sec-fetch-site", "none")
        ]));
        assert!(admit(&[
            ("host", "localhost:7441"),
            ("origin", "http://localhost:7441"),
            ("sec-fetch-site", "same-origin")
        ]));
        let good = ("host", "127.0.0.1:7441");
        assert!(!admit(&[]));
        assert!(!admit(&[("host", "127.0.0.1:7442")]));
        assert!(!admit(&[("host", "rebound.example:7441")]));
        assert!(!admit(&[good, ("origin", "https://evil.example")]));
        assert!(!admit(&[good, ("origin", "null")]));
        assert!(!admit(&[good, ("sec-fetch-site", "cross-site")]));
        assert!(!admit(&[good, ("sec-fetch-site", "same-site")]));
    }
}
