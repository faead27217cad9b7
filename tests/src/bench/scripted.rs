//! Stores that exist on the wire alone: a node of them beside the real one, in the installed control plane. They go with the value, whichever
//! way that ends; after a kill, [`remove_leftovers`] finds what was left.

use std::collections::BTreeSet;
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
/// How the names of its stores begin.
const PREFIX: &str = "scripted-";

/// A process that plays a node and its shop agents.
pub struct Scripted<'a> {
    fleet: &'a Fleet,
    door: &'a Door,
    child: Child,
    node: String,
    /// Nothing of it is left.
    removed: bool,
}

impl Drop for Scripted<'_> {
    fn drop(&mut self) {
        if !self.removed
            && let Err(error) = self.take_down()
        {
            eprintln!(
                "node {} and its stores are left behind: {error:#}; the next `tests/bench rollout` removes them",
                self.node
            );
        }
        // It may have ended by itself; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl<'a> Scripted<'a> {
    /// Joins the installed control plane.
    pub fn join(fleet: &'a Fleet, door: &'a Door) -> anyhow::Result<Self> {
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
        let scripted = Self {
            fleet,
            door,
            child,
            removed: node.is_empty(),
            node,
        };
        if scripted.node.is_empty() {
            bail!("the scripted node did not join; what it printed above says why");
        }
        Ok(scripted)
    }

    /// Creates that many stores on it and waits until they run.
    pub fn fill(&self, count: u32, label: (&str, &str)) -> anyhow::Result<()> {
        for n in 0..count {
            let body = json!({
                "name": format!("{PREFIX}{n}"), "template": "refshop@2", "node": self.node, "labels": {label.0: label.1}
            });
            let (status, answer) = self.door.call("POST", "/api/v1/stores", Some(&body), &[])?;
            if status != 202 {
                bail!("store {n} of the scripted node: {status} {answer}");
            }
        }
        let running = |stores: &Vec<Value>| {
            stores
                .iter()
                .filter(|store| store["node"] == self.node.as_str() && store["status"] == "running")
                .count()
                == count as usize
        };
        wait_for(
            "all scripted stores run",
            LIMIT,
            || stores(self.door),
            running,
        )
        .map(drop)
    }

    /// Deletes its stores, then itself.
    pub fn remove(mut self) -> anyhow::Result<()> {
        self.take_down()
    }

    fn take_down(&mut self) -> anyhow::Result<()> {
        // Whatever comes of it, it is not tried twice.
        self.removed = true;
        for store in stores(self.door)? {
            if store["node"] == self.node.as_str() {
                delete(self.door, &store)?;
            }
        }
        // Nothing of its stores is anywhere but on the wire: they end with their node.
        remove_node(self.fleet, &self.node)
    }
}

/// Removes what a benchmark left that was killed: all stores with its label, and the nodes that nobody plays any more.
pub fn remove_leftovers(
    fleet: &Fleet,
    door: &Door,
    (key, value): (&str, &str),
) -> anyhow::Result<()> {
    let left = |stores: &Vec<Value>| -> Vec<Value> {
        let ours = stores.iter().filter(|it| it["labels"][key] == value);
        ours.cloned().collect()
    };
    let found = left(&stores(door)?);
    if found.is_empty() {
        return Ok(());
    }
    eprintln!(
        "removing {} stores that a run before this one left",
        found.len()
    );
    let mut played = BTreeSet::new();
    for store in &found {
        delete(door, store)?;
        if name(store)?.starts_with(PREFIX) {
            played.extend(store["node"].as_str().map(str::to_owned));
        }
    }
    for node in played {
        remove_node(fleet, &node)?;
    }
    let gone = |stores: &Vec<Value>| left(stores).is_empty();
    wait_for("nothing of it is left", LIMIT, || stores(door), gone).map(drop)
}

fn remove_node(fleet: &Fleet, node: &str) -> anyhow::Result<()> {
    fleet.ctl(&["node", "remove", node])?.ok().map(drop)
}

fn name(store: &Value) -> anyhow::Result<&str> {
    store["name"].as_str().context("a store has a name")
}

fn delete(door: &Door, store: &Value) -> anyhow::Result<()> {
    let path = format!("/api/v1/stores/{}?now=true", name(store)?);
    let (status, answer) = door.call("DELETE", &path, None, &[])?;
    if status != 202 {
        bail!("{path} answered {status}: {answer}");
    }
    Ok(())
}

/// All there are.
fn stores(door: &Door) -> anyhow::Result<Vec<Value>> {
    let (mut all, mut page) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/stores?page_size={PAGE}&page_token={page}");
        let (status, answer) = door.call("GET", &path, None, &[])?;
        if status != 200 {
            bail!("{path} answered {status}: {answer}");
        }
        let stores = answer["stores"].as_array().context("no list of stores")?;
        all.extend(stores.iter().cloned());
        page = answer["next_page_token"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if page.is_empty() {
            return Ok(all);
        }
    }
}
