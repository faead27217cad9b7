//! Stores that exist on the wire alone: a node of them beside the real one, in the installed control plane.

use std::env;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::chain;
use crate::door::Door;
use crate::fleet::Fleet;
use crate::wait::wait_for;

const LIMIT: Duration = Duration::from_secs(300);
const PAGE: usize = 200;

/// A process that plays a node and its shop agents; its node is removed by [`Scripted::remove`].
pub struct Scripted {
    child: Child,
    node: String,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Scripted {
    /// Joins the installed control plane.
    pub fn join(fleet: &Fleet) -> anyhow::Result<Self> {
        let program = env::var("SHOPFLEET_SCRIPTED_NODE")
            .context("SHOPFLEET_SCRIPTED_NODE names no program: start this by tests/bench")?;
        let work = tempfile::tempdir()?;
        let path = |name: &str| work.path().join(name).to_string_lossy().into_owned();
        let (roots, token) = (path("roots.pem"), path("token"));
        chain::shown(&mut std::fs::File::create(Path::new(&roots))?)?;
        fleet.ctl(&["node", "join", "--token-file", &token])?.ok()?;
        let mut child = Command::new(program)
            .args(["127.0.0.1", &roots, &token])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take().context("no standard output")?;
        let mut node = String::new();
        BufReader::new(out).read_line(&mut node)?;
        let node = node.trim().to_owned();
        let scripted = Self { child, node };
        if scripted.node.is_empty() {
            bail!("the scripted node did not join; what it printed above says why");
        }
        Ok(scripted)
    }

    /// Creates that many stores on it and waits until they run.
    pub fn fill(&self, door: &Door, count: u32, label: (&str, &str)) -> anyhow::Result<()> {
        for n in 0..count {
            let body = json!({
                "name": format!("scripted-{n}"), "template": "refshop@2", "node": self.node, "labels": {label.0: label.1}
            });
            let (status, answer) = door.call("POST", "/api/v1/stores", Some(&body), &[])?;
            if status != 202 {
                bail!("store {n} of the scripted node: {status} {answer}");
            }
        }
        let running = |stores: &Vec<Value>| {
            stores
                .iter()
                .filter(|store| store["status"] == "running")
                .count()
                == count as usize
        };
        wait_for(
            "all scripted stores run",
            LIMIT,
            || self.stores(door),
            running,
        )
        .map(drop)
    }

    /// Those that are on it.
    fn stores(&self, door: &Door) -> anyhow::Result<Vec<Value>> {
        let (mut all, mut page) = (Vec::new(), String::new());
        loop {
            let path = format!("/api/v1/stores?page_size={PAGE}&page_token={page}");
            let (status, answer) = door.call("GET", &path, None, &[])?;
            if status != 200 {
                bail!("{path} answered {status}: {answer}");
            }
            let stores = answer["stores"].as_array().context("no list of stores")?;
            all.extend(
                stores
                    .iter()
                    .filter(|store| store["node"] == self.node.as_str())
                    .cloned(),
            );
            page = answer["next_page_token"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            if page.is_empty() {
                return Ok(all);
            }
        }
    }

    /// Deletes its stores, then itself.
    pub fn remove(self, fleet: &Fleet, door: &Door) -> anyhow::Result<()> {
        for store in self.stores(door)? {
            let name = store["name"].as_str().context("a store has a name")?;
            let path = format!("/api/v1/stores/{name}?now=true");
            let (status, answer) = door.call("DELETE", &path, None, &[])?;
            if status != 202 {
                bail!("{path} answered {status}: {answer}");
            }
        }
        wait_for(
            "no scripted store is left",
            LIMIT,
            || self.stores(door),
            Vec::is_empty,
        )?;
        fleet.ctl(&["node", "remove", &self.node])?.ok().map(drop)
    }
}
