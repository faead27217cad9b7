//! Waits for the first 200 of a store's deep check, asking every 10 ms.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::bail;

/// How often readiness is asked.
pub const EVERY: Duration = Duration::from_millis(10);
/// No shop takes longer; a peer that does has failed.
pub const LIMIT: Duration = Duration::from_secs(180);

/// Asks until the answer is 200; returns when that was.
pub fn wait(address: IpAddr, port: u16, host: &str) -> anyhow::Result<Instant> {
    let address = SocketAddr::new(address, port);
    let end = Instant::now() + LIMIT;
    while Instant::now() < end {
        if ask(address, host).is_ok_and(|status| status == 200) {
            return Ok(Instant::now());
        }
        std::thread::sleep(EVERY);
    }
    bail!("no 200 from {host} at {address} within {LIMIT:?}")
}

/// One `GET /health`; its status.
pub fn ask(address: SocketAddr, host: &str) -> anyhow::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(100))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET /health HTTP/1.0\r\nHost: {host}\r\n\r\n")?;
    let mut head = [0_u8; 12];
    stream.read_exact(&mut head)?;
    Ok(std::str::from_utf8(&head[9..])?.parse()?)
}

/// Waits until a TCP port of a container accepts and, where the server speaks first, has spoken a MySQL handshake.
pub fn wait_for_port(address: SocketAddr, speaks_mysql: bool) -> anyhow::Result<()> {
    let end = Instant::now() + LIMIT;
    while Instant::now() < end {
        if let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            let mut head = [0_u8; 5];
            if !speaks_mysql || (stream.read_exact(&mut head).is_ok() && head[4] == 10) {
                return Ok(());
            }
        }
        std::thread::sleep(EVERY);
    }
    bail!("{address} did not become ready within {LIMIT:?}")
}
