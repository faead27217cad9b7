//! `control-plane health`: for a container's health check, which has no other program to ask with.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::config::Config;

const DEADLINE: Duration = Duration::from_secs(3);
/// A status line and one sentence.
const ANSWER_BYTES: u64 = 4096;

/// Asks `/readyz`.
pub async fn run(config: &Config) -> anyhow::Result<()> {
    let address = reachable(config.listen.metrics);
    let answer = timeout(DEADLINE, ask(address))
        .await
        .with_context(|| format!("no answer from {address} within {DEADLINE:?}"))?
        .with_context(|| format!("asking {address}: is the control plane running?"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if head.starts_with("HTTP/1.1 200") || head.starts_with("HTTP/1.0 200") {
        println!("{}", body.trim());
        return Ok(());
    }
    bail!("not ready: {}", body.trim());
}

async fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn reachable(bound: SocketAddr) -> SocketAddr {
    let address = match bound.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    (address, bound.port()).into()
}
