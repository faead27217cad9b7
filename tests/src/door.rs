//! `shopctl proxy`: a local door to the REST API, open as long as the value lives.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use crate::http::{self, Answer};
use crate::load::client::{Client, Site};
use crate::wait::wait_every;

/// Between two looks at what is still going on.
const PAUSE: Duration = Duration::from_millis(250);

/// A running `shopctl proxy`.
#[derive(Debug)]
pub struct Door {
    child: Child,
    pub base: String,
}

impl Door {
    /// Opens the door on a free port.
    pub fn open() -> anyhow::Result<Self> {
        let mut child = Command::new("shopctl")
            .args(["--context", "quickstart", "proxy", "--port", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        let out = child.stdout.take().context("no standard output")?;
        let (send, receive) = mpsc::channel();
        // Reads on to the end, so that the proxy never blocks on a full pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if let Some(at) = line.find("http://127.0.0.1:") {
                    let url: String = line[at..]
                        .chars()
                        .take_while(|c| !c.is_whitespace())
                        .collect();
                    // Nobody listens any more once the first one was taken.
                    let _ = send.send(url);
                }
            }
        });
        let base = receive.recv_timeout(Duration::from_secs(20));
        let mut door = Self {
            child,
            base: String::new(),
        };
        door.base = base
            .context("shopctl proxy printed no address")?
            .trim_end_matches(['/', '.', ','])
            .to_owned();
        Ok(door)
    }

    /// A request; `path` begins with `/api/`. Answers with status and JSON (`null` when there is none).
    pub fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        args: &[&str],
    ) -> anyhow::Result<(u16, Value)> {
        let text = body.map(Value::to_string);
        let url = format!("{}{path}", self.base);
        let mut all = vec!["--request", method];
        all.extend_from_slice(args);
        if let Some(text) = &text {
            all.extend([
                "--header",
                "content-type: application/json",
                "--data-raw",
                text,
            ]);
        }
        all.push(&url);
        let Answer { status, body, .. } = http::curl(&all)?;
        let value = if body.trim().is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&body).unwrap_or(Value::String(body))
        };
        Ok((status, value))
    }

    /// Looks at `path` until `done`. Over one kept connection: buyers are being measured on the same cores, and a process for each look
    /// would take from them.
    pub fn wait(
        &self,
        path: &str,
        what: &str,
        limit: Duration,
        done: impl FnMut(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let authority = self.base.trim_start_matches("http://");
        let mut client = Client::new(Site {
            address: authority.parse()?,
            host: authority.to_owned(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let look = || {
            let reply = runtime.block_on(client.get(path))?;
            serde_json::from_str(&reply.body).context("not JSON")
        };
        wait_every(PAUSE, what, limit, look, done)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
