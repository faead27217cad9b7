//! Channels: gRPC over TLS over TCP (node agent) or over a Unix socket that the node agent forwards (shop agent).

use std::{fmt, io, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use async_trait::async_trait;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use shop_proto::SERVER_NAME;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// Longest dial, handshake included.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// A peer that does not answer a ping within `PING_TIMEOUT` of `PING_EVERY` is gone.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Nothing here needs more in flight; it bounds what a peer can make us hold.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 128 << 10;
/// An origin that tonic takes without its own TLS; ours is inside the connector.
const ORIGIN: &str = "http://control-plane.shopfleet";

/// Where a listener is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `host:port`.
    Tcp(String),
    /// Absolute path of a Unix socket.
    Unix(PathBuf),
    /// On a network that a simulation makes up.
    Simulated(Simulated),
}

/// A name and how to reach it; the name is what tells two apart.
#[derive(Clone)]
pub struct Simulated {
    /// For logs.
    pub name: String,
    /// Connects.
    pub dial: Arc<dyn Dial>,
}

/// The way to a listener.
#[async_trait]
pub trait Dial: Send + Sync {
    /// A new connection.
    async fn dial(&self) -> io::Result<Box<dyn Stream>>;
}

impl fmt::Debug for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Simulated").field(&self.name).finish()
    }
}

impl PartialEq for Simulated {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Simulated {}

/// A text that is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an address is host:port or unix:/absolute/path")]
pub struct AddressError;

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        // A host may be called `unix`.
        let path = text.strip_prefix("unix:");
        if let Some(path) = path.filter(|path| path.starts_with('/')) {
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        match text.rsplit_once(':') {
            Some((host, port))
                if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) =>
            {
                Ok(Self::Tcp(text.to_owned()))
            }
            _ => Err(AddressError),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Simulated(simulated) => f.write_str(&simulated.name),
        }
    }
}

/// Bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Address {
    /// Connects, without a deadline.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn dial(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Self::Simulated(simulated) => simulated.dial.dial().await?,
        })
    }

    async fn dial_tls(&self, config: Arc<ClientConfig>) -> io::Result<Box<dyn Stream>> {
        let name = ServerName::try_from(SERVER_NAME).map_err(io::Error::other)?;
        let stream = TlsConnector::from(config)
            .connect(name, self.dial().await?)
            .await?;
        Ok(Box::new(stream))
    }
}

/// A channel that is connected now; it does not reconnect by itself in a useful way, so drop it when a call fails.
///
/// # Errors
/// When the peer cannot be reached or does not prove itself within the deadline.
pub async fn channel(
    address: &Address,
    config: Arc<ClientConfig>,
) -> Result<Channel, tonic::transport::Error> {
    let address = address.clone();
    endpoint()
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_with_connector(service_fn(move |_: Uri| {
            let (address, config) = (address.clone(), config.clone());
            async move { within(address.dial_tls(config)).await.map(TokioIo::new) }
        }))
        .await
}

/// A channel without TLS, for the broker's socket. Connects when first used and again after a loss.
#[must_use]
pub fn plain_channel(address: &Address) -> Channel {
    let address = address.clone();
    endpoint().connect_with_connector_lazy(service_fn(move |_: Uri| {
        let address = address.clone();
        async move { within(address.dial()).await.map(TokioIo::new) }
    }))
}

fn endpoint() -> Endpoint {
    Endpoint::from_static(ORIGIN)
        .connect_timeout(CONNECT_DEADLINE)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .buffer_size(8)
}

async fn within<T>(dial: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(CONNECT_DEADLINE, dial)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!("cp:7442".parse(), Ok(Address::Tcp("cp:7442".to_owned())));
        assert_eq!(
            "[::1]:7442".parse(),
            Ok(Address::Tcp("[::1]:7442".to_owned()))
        );
        assert_eq!(
            "unix:/run/x.sock".parse(),
            Ok(Address::Unix("/run/x.sock".into()))
        );
        for bad in ["", "cp", "cp:", ":7442", "cp:0", "cp:99999", "unix:x.sock"] {
            assert_eq!(bad.parse::<Address>(), Err(AddressError), "{bad}");
        }
    }
}
