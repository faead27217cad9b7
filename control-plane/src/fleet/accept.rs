//! The accept loop of every listener. Admission comes before the handshake: what is over the limit stays in the kernel's backlog, where it
//! costs nothing. Nobody silent holds a place for longer than the deadline.

use std::{
    io,
    net::SocketAddr,
    num::NonZeroUsize,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use rustls::ServerConfig;
use shop_proto::TrustDomain;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Sleep, sleep},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::server::Connected;

use crate::identity::Leaf;

/// From the permit to the end of the handshake.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
/// Handshakes at once for each core. They are CPU-bound: more of them only makes each slower.
const HANDSHAKES_PER_CORE: usize = 4;
/// Connections waiting in the kernel: a whole fleet coming back at once.
const BACKLOG: u32 = 4096;
/// After an error of accept itself, such as no file descriptors: long enough not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A peer whose network vanished is noticed after this, also while we write.
const USER_TIMEOUT: Duration = Duration::from_secs(20);
/// Connections that have shaken hands and wait to be served.
const READY: usize = 64;

/// What a listener admits.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections open at once.
    pub connections: usize,
    /// How long one may live; `None` for sessions, which have their own end.
    pub lifetime: Option<Duration>,
}

/// What a listener has seen, for metrics.
#[derive(Debug, Default)]
pub struct Seen {
    pub accepted: AtomicU64,
    pub handshake_failed: AtomicU64,
    pub handshake_timed_out: AtomicU64,
    pub accept_errors: AtomicU64,
}

/// Bytes both ways, over whatever network.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin + std::fmt::Debug {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + std::fmt::Debug> Socket for T {}

/// Where connections come from: TCP, or a network that a simulation makes up.
#[async_trait]
pub trait Listen: Send + Sync + 'static {
    /// The next connection, ready for its handshake.
    async fn accept(&self) -> io::Result<(Box<dyn Socket>, SocketAddr)>;
}

#[async_trait]
impl Listen for TcpListener {
    async fn accept(&self) -> io::Result<(Box<dyn Socket>, SocketAddr)> {
        let (tcp, address) = Self::accept(self).await?;
        // The peer may be gone already: its handshake will say so.
        if let Err(error) = prepare(&tcp) {
            tracing::debug!(%address, %error, "socket options");
        }
        Ok((Box::new(tcp), address))
    }
}

/// A listener before it is opened.
pub struct Gate {
    /// For logs.
    pub name: &'static str,
    pub listener: Box<dyn Listen>,
    pub tls: Arc<ServerConfig>,
    /// Where the client's certificate is read; `None` where clients have none.
    pub clients: Option<TrustDomain>,
    pub limits: Limits,
    pub seen: Arc<Seen>,
}

/// Who is at the other end.
#[derive(Debug, Clone)]
pub struct Peer {
    pub address: SocketAddr,
    /// The client's certificate, checked.
    pub leaf: Option<Arc<Leaf>>,
}

/// A connection after its handshake.
#[derive(Debug)]
pub struct Connection {
    stream: TlsStream<Box<dyn Socket>>,
    peer: Peer,
    closes: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

/// Binds with the backlog that a fleet needs.
///
/// # Errors
/// When the address is taken or not ours.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl Gate {
    /// Accepts until cancelled. Handshakes run on `tasks`.
    pub fn open(
        self,
        tasks: &TaskTracker,
        closing: CancellationToken,
    ) -> mpsc::Receiver<Connection> {
        let (ready, receiver) = mpsc::channel(READY);
        let own = tasks.clone();
        tasks.spawn(async move { self.accept(ready, &own, closing).await });
        receiver
    }

    async fn accept(
        self,
        ready: mpsc::Sender<Connection>,
        tasks: &TaskTracker,
        closing: CancellationToken,
    ) {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let handshakes = Arc::new(Semaphore::new(cores * HANDSHAKES_PER_CORE));
        let places = Arc::new(Semaphore::new(self.limits.connections));
        let gate = Arc::new(self);
        loop {
            let admitted = async {
                let place = places.clone().acquire_owned().await;
                let handshake = handshakes.clone().acquire_owned().await;
                (place, handshake, gate.listener.accept().await)
            };
            let (place, handshake, accepted) = tokio::select! {
                () = closing.cancelled() => return,
                admitted = admitted => admitted,
            };
            // The semaphores are never closed.
            let (Ok(place), Ok(handshake)) = (place, handshake) else {
                return;
            };
            match accepted {
                Ok((tcp, address)) => {
                    gate.seen.accepted.fetch_add(1, Ordering::Relaxed);
                    let (gate, ready, closing) = (gate.clone(), ready.clone(), closing.clone());
                    tasks.spawn(async move {
                        let connection = gate.shake_hands(tcp, address, place).await;
                        drop(handshake);
                        if let Some(connection) = connection {
                            tokio::select! {
                                () = closing.cancelled() => {}
                                // Nobody serves any more: the connection closes.
                                _ = ready.send(connection) => {}
                            }
                        }
                    });
                }
                Err(error) => {
                    gate.seen.accept_errors.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(listener = gate.name, %error, "accept failed");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn shake_hands(
        &self,
        tcp: Box<dyn Socket>,
        address: SocketAddr,
        place: OwnedSemaphorePermit,
    ) -> Option<Connection> {
        let acceptor = TlsAcceptor::from(self.tls.clone());
        let stream = match tokio::time::timeout(HANDSHAKE_DEADLINE, acceptor.accept(tcp)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                self.seen.handshake_failed.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(listener = self.name, %address, %error, "handshake refused");
                return None;
            }
            Err(_) => {
                self.seen
                    .handshake_timed_out
                    .fetch_add(1, Ordering::Relaxed);
                tracing::debug!(listener = self.name, %address, "handshake timed out");
                return None;
            }
        };
        let leaf = match &self.clients {
            None => None,
            Some(domain) => {
                let certificates = stream.get_ref().1.peer_certificates()?;
                let leaf = Leaf::parse(certificates.first()?, domain).ok()?;
                Some(Arc::new(leaf))
            }
        };
        Some(Connection {
            stream,
            peer: Peer { address, leaf },
            closes: self.limits.lifetime.map(|life| Box::pin(sleep(life))),
            _place: place,
        })
    }
}

fn prepare(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let millis = u32::try_from(USER_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
    rustix::net::sockopt::set_tcp_user_timeout(tcp, millis)?;
    Ok(())
}

impl Connection {
    /// Who is at the other end.
    #[must_use]
    pub const fn peer(&self) -> &Peer {
        &self.peer
    }

    fn check_lifetime(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let over = self
            .closes
            .as_mut()
            .is_some_and(|closes| closes.as_mut().poll(context).is_ready());
        if over {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_lifetime(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
