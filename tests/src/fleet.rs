//! The installed system, asked through `shopctl`, and stores that stories make in it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::http::{self, Answer};
use crate::process::{self, Output};
use crate::wait::wait_for;

const STATE: &str = "/var/lib/shopfleet-quickstart/state";
const CONTEXT: &str = "quickstart";
/// Longer than anything an operation may take; a story that needs it has failed anyway.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A running system: the one that `deploy/quickstart` installed on this machine, or one of a story's own.
#[derive(Debug, Clone)]
pub struct Fleet {
    settings: BTreeMap<String, String>,
    /// `shopctl`, with what it needs to find this fleet.
    cli: Vec<String>,
    /// Where buyers come in, as `address:port`.
    edge: String,
}

/// A store, as `shopctl store get -o json` shows it.
#[derive(Debug, Clone, Deserialize)]
pub struct StoreView {
    pub id: String,
    pub name: String,
    pub status: String,
    pub reason: Option<String>,
    pub message: Option<String>,
    pub url: Option<String>,
    pub node: Option<String>,
    pub generation: u64,
    pub hosts: Vec<String>,
    pub replicas: Vec<ReplicaView>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct ReplicaView {
    pub service: String,
    pub phase: String,
    pub reason: Option<String>,
    pub restarts: u32,
}

/// A node, as `shopctl node list -o json` shows it.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeView {
    pub id: String,
    pub name: String,
    pub status: String,
    pub stores: u32,
}

/// A login that only the caller could open.
#[derive(Deserialize)]
pub struct Login {
    pub url: String,
    pub user: String,
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("url", &self.url)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Fleet {
    /// The installed system; an error says how to get one.
    pub fn installed() -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(STATE).with_context(|| {
            format!("{STATE} cannot be read: run tests/run system, which installs first")
        })?;
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let settings: BTreeMap<String, String> =
            pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let port = settings.get("edge_http").context("no port of the edge")?;
        Ok(Self {
            cli: ["shopctl", "--context", CONTEXT]
                .map(str::to_owned)
                .to_vec(),
            edge: format!("127.0.0.1:{port}"),
            settings,
        })
    }

    /// A control plane of a story's own, whose only context lies in `config`; buyers come in at `edge`.
    pub fn of_story(shopctl: &Path, config: &Path, edge: String) -> Self {
        Self {
            settings: BTreeMap::new(),
            cli: vec![
                shopctl.display().to_string(),
                "--config-dir".to_owned(),
                config.display().to_string(),
            ],
            edge,
        }
    }

    /// A value quickstart remembers.
    pub fn setting(&self, key: &str) -> anyhow::Result<&str> {
        self.settings
            .get(key)
            .map(String::as_str)
            .with_context(|| format!("quickstart's state has no {key}"))
    }

    /// Where buyers come in, as `address:port`.
    pub fn edge(&self) -> &str {
        &self.edge
    }

    /// `shopctl` with these arguments.
    pub fn ctl(&self, args: &[&str]) -> anyhow::Result<Output> {
        let mut all: Vec<&str> = self.cli.iter().map(String::as_str).collect();
        all.extend_from_slice(args);
        process::run(all[0], &all[1..], PATIENCE * 6)
    }

    /// `shopctl … -o json`, parsed.
    pub fn json<T: DeserializeOwned>(&self, args: &[&str]) -> anyhow::Result<T> {
        let mut all = args.to_vec();
        all.extend(["-o", "json"]);
        let text = self.ctl(&all)?.ok().with_context(|| args.join(" "))?;
        serde_json::from_str(&text).with_context(|| format!("{args:?} printed {text}"))
    }

    pub fn nodes(&self) -> anyhow::Result<Vec<NodeView>> {
        self.json(&["node", "list"])
    }

    pub fn stores(&self) -> anyhow::Result<Vec<StoreView>> {
        self.json(&["store", "list"])
    }

    /// A store that is there already, such as quickstart's `demo`; it is not deleted afterwards.
    pub fn existing(&self, name: &str) -> anyhow::Result<Store> {
        let store = Store {
            fleet: self.clone(),
            name: name.to_owned(),
            owned: false,
        };
        store.get()?;
        Ok(store)
    }

    /// Asks for a refshop and does not wait. It is deleted when the story ends, however it ends.
    pub fn create(&self, name: &str, args: &[&str]) -> anyhow::Result<Store> {
        let mut all = vec!["store", "create", name];
        if !args.contains(&"--template") {
            all.extend(["--template", "refshop"]);
        }
        all.extend_from_slice(args);
        let store = Store {
            fleet: self.clone(),
            name: name.to_owned(),
            owned: true,
        };
        self.ctl(&all)?.ok()?;
        Ok(store)
    }

    /// Asks for a refshop and waits until it runs.
    pub fn create_running(&self, name: &str, args: &[&str]) -> anyhow::Result<Store> {
        let store = self.create(name, args)?;
        store.wait_status("running")?;
        Ok(store)
    }

    /// A request as a buyer's browser would make it, wherever the name resolves to.
    pub fn get(&self, url: &str, args: &[&str]) -> anyhow::Result<Answer> {
        let to = format!("::{}", self.edge);
        let mut all = vec!["--connect-to", &to];
        all.extend_from_slice(args);
        all.push(url);
        http::curl(&all)
    }
}

/// A store of a story; deleted at its end.
pub struct Store {
    pub fleet: Fleet,
    pub name: String,
    owned: bool,
}

impl Store {
    pub fn get(&self) -> anyhow::Result<StoreView> {
        self.fleet.json(&["store", "get", &self.name])
    }

    pub fn id(&self) -> anyhow::Result<String> {
        Ok(self.get()?.id)
    }

    pub fn url(&self) -> anyhow::Result<String> {
        self.get()?
            .url
            .with_context(|| format!("store {} has no URL yet", self.name))
    }

    /// Waits for a status. `failed` ends the waiting at once, unless it is what is waited for.
    pub fn wait_status(&self, status: &str) -> anyhow::Result<StoreView> {
        let what = format!("store {} is {status}", self.name);
        let ended = |view: &StoreView| {
            view.status == status || (view.status == "failed" && status != "failed")
        };
        let view = wait_for(&what, PATIENCE * 2, || self.get(), ended)?;
        if view.status != status {
            bail!(
                "store {} is {} ({:?}: {:?}), not {status}",
                self.name,
                view.status,
                view.reason,
                view.message
            );
        }
        Ok(view)
    }

    /// As [`Store::wait_status`], while the control plane itself may be away for a moment.
    pub fn wait_status_through_outage(&self, status: &str) -> anyhow::Result<StoreView> {
        let what = format!("store {} is {status}", self.name);
        wait_for(
            &what,
            PATIENCE * 2,
            || self.get(),
            |view| view.status == status,
        )
    }

    /// One of start, stop, restart, and waits for its operation.
    pub fn act(&self, verb: &str) -> anyhow::Result<()> {
        self.fleet
            .ctl(&["store", verb, &self.name, "--wait"])?
            .ok()
            .map(drop)
    }

    pub fn delete(&self) -> anyhow::Result<()> {
        self.fleet
            .ctl(&["store", "delete", &self.name, "--yes", "--now", "--wait"])?
            .ok()
            .map(drop)
    }

    /// A request to this shop; `path` starts with a slash.
    pub fn request(&self, path: &str, args: &[&str]) -> anyhow::Result<Answer> {
        let url = self.url()?;
        self.fleet
            .get(&format!("{}{path}", url.trim_end_matches('/')), args)
    }

    /// Waits until the shop's deep check says 200 through the edge.
    pub fn wait_serving(&self, limit: Duration) -> anyhow::Result<Answer> {
        let url = self.url()?;
        let health = format!("{}/health", url.trim_end_matches('/'));
        wait_for(
            &format!("{health} answers 200"),
            limit,
            || self.fleet.get(&health, &["--max-time", "5"]),
            |answer| answer.status == 200,
        )
    }

    /// The shop admin's login. An agent whose session was just cut comes back within its longest pause.
    pub fn credentials(&self) -> anyhow::Result<Login> {
        let look = || {
            Ok(self
                .fleet
                .json::<Login>(&["store", "credentials", &self.name])
                .map_err(|error| format!("{error:#}")))
        };
        let seen = wait_for(
            "the agent answers",
            PATIENCE,
            look,
            |answer| !matches!(answer, Err(e) if e.contains("no session")),
        )?;
        seen.map_err(anyhow::Error::msg)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if self.owned {
            // Deleted already, or the system is down: the story itself has said so.
            let _ = self
                .fleet
                .ctl(&["store", "delete", &self.name, "--yes", "--now"]);
        }
    }
}
