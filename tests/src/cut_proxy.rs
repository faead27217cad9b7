//! A bad day between the agents and their control plane: a TCP proxy that, when told, lets nothing through, breaks everything, or loses
//! the answer of an enrolment. It reads lengths of TLS records and no more; the session inside is end to end.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::Context;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// The longest piece that is passed on at once.
const PIECE: usize = 16 << 10;
/// A TLS record that carries what was encrypted: in TLS 1.3 everything after the first hellos.
const ENCRYPTED: u8 = 23;
/// An answer with certificates is longer than a kilobyte; settings, acknowledgements and refusals are a few hundred bytes.
const ANSWER: usize = 800;

/// How the line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// As it should be.
    Open,
    /// Connections stay and nothing comes through, as behind a firewall that drops.
    Silent,
    /// Every connection is broken, new ones at once.
    Broken,
}

/// Ends with everything that passes through it when dropped.
#[derive(Debug)]
pub struct CutProxy {
    line: watch::Sender<Line>,
    losses: Arc<Losses>,
    runtime: Option<Runtime>,
}

/// Answers that get lost.
#[derive(Debug, Default)]
struct Losses {
    to_come: AtomicUsize,
    had: AtomicUsize,
}

impl CutProxy {
    /// Listens on `port`, on every address, for what is meant for `to` on this machine.
    pub fn start(port: u16, to: u16) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
            .with_context(|| format!("port {port}"))?;
        let (line, seen) = watch::channel(Line::Open);
        let losses = Arc::<Losses>::default();
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, to));
        runtime.spawn(accept(listener, to, seen, losses.clone()));
        Ok(Self {
            line,
            losses,
            runtime: Some(runtime),
        })
    }

    /// From now on.
    pub fn be(&self, line: Line) {
        self.line.send_replace(line);
    }

    /// Of the next that many connections the server's answer is lost: the server has done what it was asked, and the connection breaks.
    pub fn lose_answers(&self, count: usize) {
        self.losses.to_come.fetch_add(count, Ordering::SeqCst);
    }

    /// How many answers were lost so far.
    pub fn lost(&self) -> usize {
        self.losses.had.load(Ordering::SeqCst)
    }
}

impl Drop for CutProxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Losses {
    /// Whether this answer is one of them.
    fn take(&self) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        let taken = self
            .to_come
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
            .is_ok();
        if taken {
            self.had.fetch_add(1, Ordering::SeqCst);
        }
        taken
    }
}

async fn accept(
    listener: TcpListener,
    to: SocketAddr,
    line: watch::Receiver<Line>,
    losses: Arc<Losses>,
) {
    while let Ok((client, _)) = listener.accept().await {
        let (mut broken, line, losses) = (line.clone(), line.clone(), losses.clone());
        tokio::spawn(async move {
            // A connection that ends badly was meant to, or one of its ends went away.
            tokio::select! {
                _ = broken.wait_for(|line| *line == Line::Broken) => {}
                _ = carry(client, to, line, &losses) => {}
            }
        });
    }
}

/// Until one end hangs up, or an answer is lost.
async fn carry(
    mut client: TcpStream,
    to: SocketAddr,
    mut line: watch::Receiver<Line>,
    losses: &Losses,
) -> anyhow::Result<()> {
    line.wait_for(|line| *line == Line::Open).await?;
    let mut server = TcpStream::connect(to).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    // The server's own handshake is through by the time the client encrypts for the first time.
    let asked = AtomicBool::new(false);
    let question = |record: Record| {
        if record.kind == ENCRYPTED {
            asked.store(true, Ordering::SeqCst);
        }
        true
    };
    let answer = |record: Record| {
        let is_one = record.kind == ENCRYPTED && record.length >= ANSWER;
        !(is_one && asked.load(Ordering::SeqCst) && losses.take())
    };
    tokio::select! {
        done = pass(from_client, to_server, line.clone(), question) => done,
        done = pass(from_server, to_client, line.clone(), answer) => done,
    }
}

/// Passes bytes on while the line is open, until their end or the first record that `may_pass` says no to.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut line: watch::Receiver<Line>,
    may_pass: impl Fn(Record) -> bool,
) -> anyhow::Result<()> {
    let mut records = Records::default();
    let mut piece = vec![0; PIECE];
    loop {
        let length = from.read(&mut piece).await?;
        if length == 0
            || !records
                .begun_in(&piece[..length])
                .into_iter()
                .all(&may_pass)
        {
            return Ok(());
        }
        line.wait_for(|line| *line == Line::Open).await?;
        to.write_all(&piece[..length]).await?;
    }
}

/// A TLS record, from the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Record {
    kind: u8,
    length: usize,
}

/// Finds records in bytes that come in pieces.
#[derive(Debug, Default)]
struct Records {
    /// What is known of a header that is not whole yet.
    header: Vec<u8>,
    /// Of the current record, still to come.
    left: usize,
}

impl Records {
    /// The records whose header is completed by this piece.
    fn begun_in(&mut self, mut piece: &[u8]) -> Vec<Record> {
        let mut begun = Vec::new();
        while !piece.is_empty() {
            let body = self.left.min(piece.len());
            self.left -= body;
            piece = &piece[body..];
            let Some((first, rest)) = piece.split_first() else {
                break;
            };
            self.header.push(*first);
            piece = rest;
            if let [kind, _, _, high, low] = self.header[..] {
                let length = usize::from(u16::from_be_bytes([high, low]));
                begun.push(Record { kind, length });
                self.header.clear();
                self.left = length;
            }
        }
        begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, length: u8) -> Vec<u8> {
        let mut bytes = vec![kind, 3, 3, 0, length];
        bytes.resize(5 + usize::from(length), 0xAA);
        bytes
    }

    #[test]
    fn records_are_found_however_they_are_cut() {
        let bytes = [record(22, 7), record(23, 0), record(23, 200)].concat();
        let all = [(22, 7), (23, 0), (23, 200)].map(|(kind, length)| Record { kind, length });
        for size in [1, 2, 4, 5, 6, 13, 500] {
            let mut records = Records::default();
            let found: Vec<Record> = bytes
                .chunks(size)
                .flat_map(|piece| records.begun_in(piece))
                .collect();
            assert_eq!(found, all, "in pieces of {size}");
        }
    }

    #[test]
    fn as_many_answers_are_lost_as_was_said() {
        let losses = Losses::default();
        assert!(!losses.take());
        losses.to_come.store(2, Ordering::SeqCst);
        assert_eq!(
            [losses.take(), losses.take(), losses.take()],
            [true, true, false]
        );
        assert_eq!(losses.had.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_silent_line_holds_and_a_broken_one_breaks() -> anyhow::Result<()> {
        let echo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let door = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (to, at) = (echo.local_addr()?, door.local_addr()?);
        let (line, seen) = watch::channel(Line::Open);
        tokio::spawn(accept(door, to, seen, Arc::default()));
        let mut client = TcpStream::connect(at).await?;
        let (mut server, _) = echo.accept().await?;
        let mut word = [0; 4];
        client.write_all(b"ping").await?;
        server.read_exact(&mut word).await?;
        assert_eq!(&word, b"ping");

        line.send_replace(Line::Silent);
        client.write_all(b"held").await?;
        let soon = std::time::Duration::from_millis(100);
        let held = tokio::time::timeout(soon, server.read_exact(&mut word)).await;
        assert!(held.is_err(), "it came through");
        line.send_replace(Line::Open);
        server.read_exact(&mut word).await?;
        assert_eq!(&word, b"held");

        line.send_replace(Line::Broken);
        assert!(matches!(client.read(&mut word).await, Ok(0) | Err(_)));
        let mut late = TcpStream::connect(at).await?;
        assert!(matches!(late.read(&mut word).await, Ok(0) | Err(_)));
        Ok(())
    }
}
