//! Listeners and dialling on the simulated network. A connection can be cut from outside, as when a process in the middle dies.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use async_trait::async_trait;
use control_plane::fleet::{Listen, Socket};
use shop_agent::uplink::{Address, Dial, Simulated, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

/// Port of the enrolment listener.
pub const ENROLMENT: u16 = 7442;
/// Port of the agents listener.
pub const AGENTS: u16 = 7443;

/// A listener of the control plane.
pub struct Listener(TcpListener);

impl Listener {
    /// On all addresses of this host.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn bind(port: u16) -> io::Result<Box<dyn Listen>> {
        Ok(Box::new(Self(TcpListener::bind(("0.0.0.0", port)).await?)))
    }
}

#[async_trait]
impl Listen for Listener {
    async fn accept(&self) -> io::Result<(Box<dyn Socket>, SocketAddr)> {
        let (stream, address) = self.0.accept().await?;
        Ok((Box::new(stream), address))
    }
}

/// The way from one agent to the control plane: which instance of it answers, and whether what lies between is up.
#[derive(Default)]
pub struct Way {
    /// Connections of an older number are dead.
    cut: AtomicU64,
    closed: AtomicU64,
    host: Mutex<Option<&'static str>>,
}

impl Way {
    /// Breaks every connection there is.
    pub fn cut(&self) {
        self.cut.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether new connections can be made.
    pub fn open(&self, open: bool) {
        self.closed.store(u64::from(!open), Ordering::SeqCst);
    }

    /// Leads to this instance from now on.
    pub fn lead_to(&self, host: &'static str) {
        if let Ok(mut led) = self.host.lock() {
            *led = Some(host);
        }
    }

    /// As an address of a port at its end.
    #[must_use]
    pub fn address(self: &Arc<Self>, port: u16) -> Address {
        Address::Simulated(Simulated {
            name: format!("simulated:{port}"),
            dial: Arc::new(Dialler {
                way: self.clone(),
                port,
            }),
        })
    }
}

struct Dialler {
    way: Arc<Way>,
    port: u16,
}

#[async_trait]
impl Dial for Dialler {
    async fn dial(&self) -> io::Result<Box<dyn Stream>> {
        let host = self.way.host.lock().ok().and_then(|host| *host);
        let Some(host) = host.filter(|_| self.way.closed.load(Ordering::SeqCst) == 0) else {
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        let made_at = self.way.cut.load(Ordering::SeqCst);
        Ok(Box::new(Severable {
            stream: TcpStream::connect((host, self.port)).await?,
            way: self.way.clone(),
            made_at,
        }))
    }
}

struct Severable {
    stream: TcpStream,
    way: Arc<Way>,
    made_at: u64,
}

impl Severable {
    fn check(&self) -> io::Result<()> {
        if self.way.cut.load(Ordering::SeqCst) == self.made_at {
            Ok(())
        } else {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
}

impl AsyncRead for Severable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Severable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
