//! The host's Docker, as the person at the console would ask it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;

use crate::process::{self, Output};

const LIMIT: Duration = Duration::from_secs(120);

/// A container, running or not.
#[derive(Debug, Clone)]
pub struct Container {
    pub id: String,
    pub name: String,
    pub running: bool,
    pub labels: BTreeMap<String, String>,
    /// Network name → address.
    pub addresses: BTreeMap<String, String>,
    pub started_at: String,
}

impl Container {
    /// The value of one of our labels, or nothing.
    pub fn label(&self, key: &str) -> &str {
        self.labels
            .get(&format!("shopfleet.{key}"))
            .map_or("", String::as_str)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    name: String,
    state: State,
    config: Config,
    network_settings: Networks,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    running: bool,
    started_at: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Networks {
    networks: BTreeMap<String, Network>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Network {
    #[serde(rename = "IPAddress")]
    ip_address: String,
}

/// Runs `docker` with these arguments.
pub fn docker(args: &[&str]) -> anyhow::Result<Output> {
    process::run("docker", args, LIMIT)
}

/// Containers that match all filters (`label=…`, `name=…`), stopped ones included.
pub fn containers(filters: &[&str]) -> anyhow::Result<Vec<Container>> {
    let mut args = vec!["ps", "--all", "--quiet", "--no-trunc"];
    for filter in filters {
        args.extend(["--filter", filter]);
    }
    let listed = docker(&args)?.ok()?;
    let ids: Vec<&str> = listed.split_whitespace().collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut args = vec!["container", "inspect"];
    args.extend(&ids);
    // One that went between the two calls makes docker exit 1 and still print the others.
    let inspected: Vec<Inspected> =
        serde_json::from_str(&docker(&args)?.stdout).context("docker inspect")?;
    Ok(inspected.into_iter().map(Container::from).collect())
}

/// The containers of one store.
pub fn of_store(store: &str) -> anyhow::Result<Vec<Container>> {
    containers(&[&format!("label=shopfleet.store={store}")])
}

/// The one running container of a store's service.
pub fn service(store: &str, service: &str) -> anyhow::Result<Container> {
    let found = containers(&[
        &format!("label=shopfleet.store={store}"),
        &format!("label=shopfleet.service={service}"),
    ])?;
    found
        .into_iter()
        .find(|c| c.running)
        .with_context(|| format!("no running {service} in store {store}"))
}

/// kill -9 of a container's first process, from outside: Docker itself is not told that this was wanted.
pub fn kill(container: &str) -> anyhow::Result<()> {
    let pid = docker(&[
        "container",
        "inspect",
        "--format",
        "{{.State.Pid}}",
        container,
    ])?
    .ok()?;
    let pid = pid.trim();
    anyhow::ensure!(pid != "0", "{container} does not run");
    process::run("kill", &["-9", pid], LIMIT)?.ok().map(drop)
}

impl From<Inspected> for Container {
    fn from(from: Inspected) -> Self {
        let networks = from.network_settings.networks.into_iter();
        Self {
            id: from.id,
            name: from.name.trim_start_matches('/').to_owned(),
            running: from.state.running,
            started_at: from.state.started_at,
            labels: from.config.labels.unwrap_or_default(),
            addresses: networks
                .filter(|(_, n)| !n.ip_address.is_empty())
                .map(|(k, n)| (k, n.ip_address))
                .collect(),
        }
    }
}
