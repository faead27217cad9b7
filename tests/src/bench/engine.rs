//! The Docker Engine API over its Unix socket, as raw as it gets: one connection a call, one JSON answer.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use anyhow::{Context, ensure};
use serde_json::Value;

const SOCKET: &str = "/var/run/docker.sock";
const DEADLINE: Duration = Duration::from_secs(120);

/// One call. A 404 on DELETE and a 304 count as done.
pub fn call(method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
    let mut stream = UnixStream::connect(SOCKET).context("no Docker at /var/run/docker.sock")?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    write!(
        stream,
        "{method} /v1.41{path} HTTP/1.0\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status: u16 = head
        .split_whitespace()
        .nth(1)
        .and_then(|code| code.parse().ok())
        .context("no HTTP status")?;
    let done = status < 300 || status == 304 || (method == "DELETE" && status == 404);
    ensure!(done, "{method} {path}: {status} {body}");
    Ok(serde_json::from_str(body).unwrap_or(Value::Null))
}
