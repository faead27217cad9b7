//! HTTP: GET with the shop's own host name; 200 is ready. Redirects are not followed: they lead to the public name.

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::{NotReady, read_until};

pub async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    path: &str,
    host: &str,
) -> Result<(), NotReady> {
    // https as buyers use it: a shop that redirects plain requests answers the probe itself.
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Proto: https\r\nUser-Agent: shopfleet-probe\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let answer = read_until(stream, |answer| answer.contains(&b'\n')).await?;
    match status(&answer) {
        Some(200) => Ok(()),
        Some(status) => Err(NotReady::Status(status)),
        None => Err(NotReady::Unexpected),
    }
}

/// The status of `HTTP/1.x NNN …`.
fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let rest = line.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    std::str::from_utf8(rest).ok()?.parse().ok()
}
