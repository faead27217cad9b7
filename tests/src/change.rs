//! Changes of a live store, asked for through the REST API and followed to their end.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::door::Door;
use crate::fleet::Store;
use crate::load::client::Site;

/// Longer than a watch window and everything around it.
const LIMIT: Duration = Duration::from_secs(600);

/// An operation that has ended.
#[derive(Debug)]
pub struct Ended {
    pub state: String,
    pub reason: String,
    pub message: String,
    /// From the request to its end.
    pub took: Duration,
}

impl Ended {
    /// The operation, unless it did not succeed.
    pub fn succeeded(self) -> anyhow::Result<Self> {
        if self.state != "succeeded" {
            bail!("{}: {} ({})", self.state, self.message, self.reason);
        }
        Ok(self)
    }
}

/// Asks for a change of a store: `verb` is the last part of the path, such as `update`. Waits for its end.
pub fn change(door: &Door, store: &str, verb: &str, body: &Value) -> anyhow::Result<Ended> {
    let began = Instant::now();
    let id = ask(door, store, verb, body)?;
    follow(door, &id, began)
}

/// Asks, and answers with the operation's id.
pub fn ask(door: &Door, store: &str, verb: &str, body: &Value) -> anyhow::Result<String> {
    let path = format!("/api/v1/stores/{store}/{verb}");
    let (status, answer) = door.call("POST", &path, Some(body), &[])?;
    if status != 202 {
        bail!("{path} answered {status}: {answer}");
    }
    answer["id"]
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("no operation in {answer}"))
}

/// Waits until an operation has ended.
pub fn follow(door: &Door, id: &str, began: Instant) -> anyhow::Result<Ended> {
    let path = format!("/api/v1/operations/{id}");
    let ended = |operation: &Value| {
        matches!(
            operation["state"].as_str(),
            Some("succeeded" | "failed" | "cancelled")
        )
    };
    let what = format!("operation {id} ends");
    let operation = door.wait(&path, &what, LIMIT, ended)?;
    let text = |name: &str| operation[name].as_str().unwrap_or_default().to_owned();
    Ok(Ended {
        state: text("state"),
        reason: text("reason"),
        message: text("message"),
        took: began.elapsed(),
    })
}

/// A watch window of so many seconds, everything else as shipped.
#[must_use]
pub fn window(seconds: u32) -> Value {
    json!({"window_seconds": seconds, "failed_checks": 3, "restarts": 2, "error_permille": 10, "error_factor": 3, "min_requests": 50})
}

/// Where buyers reach a store.
pub fn site(store: &Store) -> anyhow::Result<Site> {
    let host = store.get()?.hosts.into_iter().next();
    Ok(Site {
        address: store.fleet.edge().parse()?,
        host: host.context("the store has no host name")?,
    })
}
