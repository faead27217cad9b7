//! A bad day between a node agent and its Docker: a proxy on a Unix socket that, when told, answers with errors, hangs, is slow,
//! loses or cuts off answers, and lets the event stream fall silent. What it was not told to spoil it passes on.

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use anyhow::Context;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What goes wrong with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Docker never hears of it; this status comes back.
    Status(u16),
    /// Docker never hears of it; nothing comes back.
    Hang,
    /// Docker does it, later.
    Slow(Duration),
    /// Docker does it; the connection breaks before a word of the answer.
    Lost,
    /// Docker does it; the answer breaks off in the middle of its body.
    Half,
    /// Headers come, then nothing for ever. For streams.
    Silent,
    /// The answer ends at once. For streams.
    Ended,
}

/// Which requests go wrong, how, and how many of them.
#[derive(Debug, Clone)]
pub struct Rule {
    pub method: &'static str,
    /// Part of the path behind the API version, such as `/containers/create` or `/start`.
    pub path: &'static str,
    pub fault: Fault,
    pub times: usize,
}

#[derive(Debug, Default)]
struct Rules {
    pending: Vec<Rule>,
    hit: Vec<String>,
}

/// Ends with everything that passes through it when dropped.
#[derive(Debug)]
pub struct EngineProxy {
    socket: PathBuf,
    rules: Arc<Mutex<Rules>>,
    runtime: Option<Runtime>,
}

impl EngineProxy {
    /// Listens on `socket` for what is meant for `engine`.
    pub fn start(socket: &Path, engine: &Path) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        if socket.exists() {
            fs::remove_file(socket)?;
        }
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(socket).with_context(|| socket.display().to_string())?
        };
        let rules = Arc::new(Mutex::new(Rules::default()));
        runtime.spawn(accept(listener, engine.to_path_buf(), rules.clone()));
        Ok(Self {
            socket: socket.to_path_buf(),
            rules,
            runtime: Some(runtime),
        })
    }

    /// Spoils the next requests that match. Of several rules the one told first comes first.
    pub fn spoil(&self, rule: Rule) {
        self.rules().pending.push(rule);
    }

    /// Takes all rules back.
    pub fn behave(&self) {
        self.rules().pending.clear();
    }

    /// The requests that were spoilt so far, as `METHOD path`.
    pub fn spoilt(&self) -> Vec<String> {
        self.rules().hit.clone()
    }

    fn rules(&self) -> std::sync::MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for EngineProxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        // Gone already is as good.
        let _ = fs::remove_file(&self.socket);
    }
}

impl Rules {
    fn take(&mut self, method: &str, path: &str) -> Option<Fault> {
        let path = behind_version(path);
        let at = self
            .pending
            .iter()
            .position(|rule| rule.method == method && path.contains(rule.path))?;
        let fault = self.pending[at].fault;
        self.pending[at].times -= 1;
        if self.pending[at].times == 0 {
            self.pending.remove(at);
        }
        self.hit.push(format!("{method} {path} {fault:?}"));
        Some(fault)
    }
}

/// `/v1.41/containers/json` is `/containers/json` to a rule.
fn behind_version(path: &str) -> &str {
    path.strip_prefix("/v")
        .and_then(|rest| rest.find('/').map(|at| &rest[at..]))
        .unwrap_or(path)
}

async fn accept(listener: UnixListener, engine: PathBuf, rules: Arc<Mutex<Rules>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (engine, rules) = (engine.clone(), rules.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let (engine, rules) = (engine.clone(), rules.clone());
                answer(request, engine, rules)
            });
            // A connection that ends badly was meant to, or its client went away.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    engine: PathBuf,
    rules: Arc<Mutex<Rules>>,
) -> Result<Response<Answer>, Failure> {
    let fault = rules
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take(request.method().as_str(), request.uri().path());
    match fault {
        Some(Fault::Status(status)) => {
            let text = r#"{"message":"spoilt on purpose"}"#;
            return Ok(Response::builder()
                .status(status)
                .header("content-type", "application/json")
                .body(Answer::Whole(Full::from(text)))?);
        }
        Some(Fault::Hang) => std::future::pending::<()>().await,
        Some(Fault::Slow(pause)) => tokio::time::sleep(pause).await,
        _ => {}
    }
    let (parts, body) = pass_on(request, &engine).await?.into_parts();
    let body = match fault {
        Some(Fault::Lost) => return Err("lost on purpose".into()),
        Some(Fault::Silent) => Answer::Silent,
        Some(Fault::Ended) => Answer::Whole(Full::default()),
        Some(Fault::Half) => {
            let whole = body.collect().await?.to_bytes();
            Answer::Half(Some(whole.slice(..whole.len() / 2)))
        }
        _ => Answer::Passed(body),
    };
    Ok(Response::from_parts(parts, body))
}

async fn pass_on(request: Request<Incoming>, engine: &Path) -> Result<Response<Incoming>, Failure> {
    let stream = UnixStream::connect(engine).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}

/// An answer's body, whole or spoilt.
enum Answer {
    Passed(Incoming),
    Whole(Full<Bytes>),
    /// What is still to come before it breaks.
    Half(Option<Bytes>),
    Silent,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        match &mut *self {
            Self::Passed(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::Whole(body) => Pin::new(body)
                .poll_frame(context)
                .map_err(|never: Infallible| match never {}),
            Self::Half(rest) => Poll::Ready(Some(match rest.take() {
                Some(bytes) => Ok(Frame::data(bytes)),
                None => Err("cut off on purpose".into()),
            })),
            Self::Silent => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_count_down_and_know_paths_without_the_version() {
        let mut rules = Rules::default();
        rules.pending.push(Rule {
            method: "POST",
            path: "/containers/create",
            fault: Fault::Status(500),
            times: 2,
        });
        assert_eq!(rules.take("GET", "/v1.41/containers/create"), None);
        for _ in 0..2 {
            assert_eq!(
                rules.take("POST", "/v1.41/containers/create"),
                Some(Fault::Status(500))
            );
        }
        assert_eq!(rules.take("POST", "/containers/create"), None);
        assert_eq!(rules.hit.len(), 2);
    }
}
