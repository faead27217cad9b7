//! A buyer's requests, made by `curl` through the edge of this host, and the API's, made through its own door.

use std::time::Duration;

use anyhow::Context;

use crate::process;

/// An answer. `status` 0: none came (refused, reset or timed out).
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub body: String,
    pub seconds: f64,
}

/// Marks the end of the body in curl's output; a page would have to repeat it to confuse the parser.
const TRAILER: &str = "\u{1}answer ";

/// One request; `args` are curl's own.
pub fn curl(args: &[&str]) -> anyhow::Result<Answer> {
    let trailer = format!("{TRAILER}%{{http_code}} %{{time_total}}");
    let mut all = vec![
        "--silent",
        "--show-error",
        "--max-time",
        "30",
        "--write-out",
        &trailer,
    ];
    all.extend_from_slice(args);
    let out = process::run("curl", &all, Duration::from_secs(60))?;
    let (body, trailer) = out
        .stdout
        .rsplit_once(TRAILER)
        .with_context(|| format!("curl said {:?} {:?}", out.stdout, out.stderr))?;
    let (status, seconds) = trailer
        .trim()
        .split_once(' ')
        .context("no status in curl's trailer")?;
    Ok(Answer {
        status: status.parse()?,
        body: body.to_owned(),
        seconds: seconds.parse()?,
    })
}
