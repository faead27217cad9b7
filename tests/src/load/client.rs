//! A buyer's browser, as far as HTTP goes: one kept connection, one cookie jar. A request is sent once; only one that a kept connection closed
//! before anything of it was written goes out on another, as browsers do (RFC 9110 §9.2.2: it was not processed).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, COOKIE, HOST, LOCATION, RETRY_AFTER, SET_COOKIE};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A browser would have shown an error long before.
const PATIENCE: Duration = Duration::from_secs(30);
const REDIRECTS: usize = 3;

/// Where a shop is reached.
#[derive(Debug, Clone)]
pub struct Site {
    /// The door that is connected to.
    pub address: SocketAddr,
    /// The name that is asked for.
    pub host: String,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: String,
    /// The shop said when to come back.
    pub retry_after: bool,
}

/// One visitor.
#[derive(Debug)]
pub struct Client {
    site: Site,
    connection: Option<SendRequest<Full<Bytes>>>,
    cookies: BTreeMap<String, String>,
}

impl Client {
    #[must_use]
    pub const fn new(site: Site) -> Self {
        Self {
            site,
            connection: None,
            cookies: BTreeMap::new(),
        }
    }

    /// A page, redirects followed.
    ///
    /// # Errors
    /// When no answer comes: refused, reset, cut or too late.
    pub async fn get(&mut self, path: &str) -> anyhow::Result<Reply> {
        self.follow(Method::GET, path, String::new()).await
    }

    /// A form, redirects followed.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> anyhow::Result<Reply> {
        let body = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", encode(value)))
            .collect::<Vec<_>>()
            .join("&");
        self.follow(Method::POST, path, body).await
    }

    async fn follow(&mut self, method: Method, path: &str, body: String) -> anyhow::Result<Reply> {
        let (mut method, mut path, mut body) = (method, path.to_owned(), body);
        for _ in 0..=REDIRECTS {
            let (reply, onward) = timeout(PATIENCE, self.once(&method, &path, &body))
                .await
                .with_context(|| format!("{method} {path}: no answer in {PATIENCE:?}"))?
                .with_context(|| format!("{method} {path}"))?;
            let Some(onward) = onward else {
                return Ok(reply);
            };
            (method, path, body) = (Method::GET, onward, String::new());
        }
        bail!("{path}: more than {REDIRECTS} redirects")
    }

    async fn once(
        &mut self,
        method: &Method,
        path: &str,
        body: &str,
    ) -> anyhow::Result<(Reply, Option<String>)> {
        let (connection, answer) = self.send(method, path, body).await?;
        let status = answer.status().as_u16();
        let header = |name| {
            answer
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let onward = (answer.status().is_redirection())
            .then(|| header(LOCATION))
            .flatten();
        let retry_after = header(RETRY_AFTER).is_some();
        for cookie in answer.headers().get_all(SET_COOKIE) {
            let pair = cookie.to_str()?.split(';').next().unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=') {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let body = answer.into_body().collect().await?.to_bytes();
        // Only a connection that answered to the end is used again.
        self.connection = Some(connection);
        let reply = Reply {
            status,
            body: String::from_utf8_lossy(&body).into_owned(),
            retry_after,
        };
        Ok((reply, onward))
    }

    async fn send(
        &mut self,
        method: &Method,
        path: &str,
        body: &str,
    ) -> anyhow::Result<(SendRequest<Full<Bytes>>, Response<Incoming>)> {
        let kept = self.connection.is_some();
        let mut connection = self.connected().await?;
        match connection
            .send_request(self.request(method, path, body)?)
            .await
        {
            // Never written: the edge closed the idle connection in this very moment.
            Err(error) if kept && error.is_canceled() => {
                let mut fresh = self.connected().await?;
                let answer = fresh
                    .send_request(self.request(method, path, body)?)
                    .await?;
                Ok((fresh, answer))
            }
            answer => Ok((connection, answer?)),
        }
    }

    fn request(
        &self,
        method: &Method,
        path: &str,
        body: &str,
    ) -> anyhow::Result<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.site.host);
        if *method == Method::POST {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        if !self.cookies.is_empty() {
            request = request.header(COOKIE, self.jar());
        }
        Ok(request.body(Full::new(Bytes::from(body.to_owned())))?)
    }

    /// The kept connection, or a new one where it was closed while idle, as browsers do.
    async fn connected(&mut self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        if let Some(mut kept) = self.connection.take()
            && kept.ready().await.is_ok()
        {
            return Ok(kept);
        }
        let stream = TcpStream::connect(self.site.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Ends with the connection; what went wrong is seen by the request.
        tokio::spawn(async move { connection.await.ok() });
        Ok(sender)
    }

    fn jar(&self) -> String {
        self.cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("; ")
    }
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::encode;

    #[test]
    fn forms_are_encoded() {
        assert_eq!(encode("a b&c=é"), "a%20b%26c%3D%C3%A9");
    }
}
