//! Readiness, asked in each service's own protocol. One question, one deadline, a bounded answer.
//!
//! A probe knows no state: what to do about the answer is decided in [`super::steps`].

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use async_trait::async_trait;
use secrecy::SecretString;
use shop_plan::Probe;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite},
    net::TcpStream,
};

mod fastcgi;
mod http;
mod mysql;
mod postgres;
mod redis;

/// Longest wait for one answer, connection included.
pub const DEADLINE: Duration = Duration::from_secs(1);
/// The deep check may touch every tier.
pub const DEEP_DEADLINE: Duration = Duration::from_secs(5);
/// No protocol here needs more to say that it is ready.
const LARGEST_ANSWER: usize = 16 << 10;

/// What a probe asks and of whom. Has no `Debug`: it may hold a password.
#[derive(Clone)]
pub struct Question {
    /// Container.
    pub address: Ipv4Addr,
    /// Protocol and port.
    pub probe: Probe,
    /// Sent as `Host`.
    pub host: String,
    /// For AUTH, when the plan names a secret.
    pub password: Option<SecretString>,
    /// Longest wait.
    pub deadline: Duration,
}

/// Why a service is not ready. Never carries bytes that the service sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// Nothing listens, or the connection broke.
    #[error("no connection ({0})")]
    Connection(io::ErrorKind),
    /// It took too long.
    #[error("no answer in time")]
    TimedOut,
    /// It answered with this HTTP status.
    #[error("answered with status {0}")]
    Status(u16),
    /// It says that it is still starting.
    #[error("still starting")]
    Starting,
    /// It refuses our password.
    #[error("refuses our password")]
    Unauthenticated,
    /// It speaks, but not as expected.
    #[error("an unexpected answer")]
    Unexpected,
}

impl From<io::Error> for NotReady {
    fn from(error: io::Error) -> Self {
        Self::Connection(error.kind())
    }
}

/// Whoever can ask: the network, or a test.
#[async_trait]
pub trait Probes: Send + Sync + 'static {
    /// Asks once.
    async fn ask(&self, question: &Question) -> Result<(), NotReady>;
}

/// Asks over the store's networks.
pub struct NetworkProbes;

#[async_trait]
impl Probes for NetworkProbes {
    async fn ask(&self, question: &Question) -> Result<(), NotReady> {
        ask(question).await
    }
}

/// Asks once.
///
/// # Errors
/// When the service is not ready.
pub async fn ask(question: &Question) -> Result<(), NotReady> {
    tokio::time::timeout(question.deadline, asked(question))
        .await
        .unwrap_or(Err(NotReady::TimedOut))
}

async fn asked(question: &Question) -> Result<(), NotReady> {
    let address = SocketAddrV4::new(question.address, question.probe.port());
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    speak(&mut stream, question).await
}

/// Asks over a connection that stands.
pub(super) async fn speak(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    question: &Question,
) -> Result<(), NotReady> {
    match &question.probe {
        Probe::Http { path, .. } => http::ask(stream, path, &question.host).await,
        Probe::Fastcgi { path, expect, .. } => fastcgi::ask(stream, path, expect).await,
        Probe::Mysql { .. } => mysql::ask(stream).await,
        Probe::Postgres { .. } => postgres::ask(stream).await,
        Probe::Redis { .. } => redis::ask(stream, question.password.as_ref()).await,
        Probe::Tcp { .. } => Ok(()),
    }
}

/// Reads until `enough` says so, the peer closes, or the bound is reached.
async fn read_until(
    stream: &mut (impl AsyncRead + Unpin),
    enough: impl Fn(&[u8]) -> bool,
) -> Result<Vec<u8>, NotReady> {
    let mut answer = Vec::with_capacity(512);
    while !enough(&answer) {
        if answer.len() >= LARGEST_ANSWER {
            return Err(NotReady::Unexpected);
        }
        let room = (LARGEST_ANSWER - answer.len()).min(4096) as u64;
        if (&mut *stream).take(room).read_buf(&mut answer).await? == 0 {
            break;
        }
    }
    Ok(answer)
}

#[cfg(test)]
mod tests;
