//! Ours, as an operator uses it: `shopctl store create`, then the first 200 at the web container and through the edge.

use std::{
    env,
    net::{IpAddr, Ipv4Addr},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use serde_json::Value;

use super::{deep, engine};
use crate::process;

const LIMIT: Duration = Duration::from_secs(180);

/// When a store answered, directly and through the edge.
#[derive(Debug, Clone, Copy)]
pub struct Ready {
    pub direct: Instant,
    pub edge: Instant,
}

/// Creates a store and waits for both answers.
pub fn create(name: &str) -> anyhow::Result<Ready> {
    shopctl(&["store", "create", name, "--template", "refshop"])?;
    watch(name)
}

/// Stops it and waits until it is stopped.
pub fn stop(name: &str) -> anyhow::Result<()> {
    shopctl(&["store", "stop", name, "--wait"])
}

/// Starts it again and waits for both answers.
pub fn start(name: &str) -> anyhow::Result<Ready> {
    shopctl(&["store", "start", name])?;
    watch(name)
}

/// Removes it and waits until it is gone.
pub fn delete(name: &str) -> anyhow::Result<()> {
    shopctl(&["store", "delete", name, "--yes", "--now", "--wait"])
}

fn shopctl(args: &[&str]) -> anyhow::Result<()> {
    process::run("shopctl", args, LIMIT)?.ok().map(drop)
}

fn watch(name: &str) -> anyhow::Result<Ready> {
    let text = process::run("shopctl", &["store", "get", name, "-o", "json"], LIMIT)?.ok()?;
    let store: Value = serde_json::from_str(&text)?;
    let field = |name: &str| {
        store[name]
            .as_str()
            .map(str::to_owned)
            .with_context(|| format!("the store has no {name}"))
    };
    let id = field("id")?;
    let host = store["hosts"][0]
        .as_str()
        .context("the store has no host")?
        .to_owned();
    let port = edge_port()?;
    thread::scope(|scope| {
        let edge = scope.spawn(|| deep::wait(IpAddr::V4(Ipv4Addr::LOCALHOST), port, &host));
        let direct = wait_as_edge(web_address(&id)?, &host)?;
        let edge = edge.join().map_err(|_| anyhow!("the watcher panicked"))??;
        Ok(Ready { direct, edge })
    })
}

/// The firewall lets only the edge reach a web container, so the question is asked under the edge's uid, by this program again.
fn wait_as_edge(address: IpAddr, host: &str) -> anyhow::Result<Instant> {
    let uid = edge_uid()?;
    let program = env::current_exe()?;
    let args = [
        "--reuid",
        &uid,
        "--regid",
        &uid,
        "--clear-groups",
        program.to_str().context("path")?,
        "wait-deep",
        &address.to_string(),
        host,
    ];
    process::run("setpriv", &args, LIMIT)?.ok()?;
    Ok(Instant::now())
}

/// The uid that the edge container runs under.
fn edge_uid() -> anyhow::Result<String> {
    let list = engine::call(
        "GET",
        "/containers/json?filters={%22label%22:[%22shopfleet.kind=edge%22]}",
        None,
    )?;
    let id = list[0]["Id"].as_str().context("no edge is running")?;
    let edge = engine::call("GET", &format!("/containers/{id}/json"), None)?;
    let user = edge["Config"]["User"].as_str().unwrap_or_default();
    let uid = user.split(':').next().unwrap_or_default();
    anyhow::ensure!(!uid.is_empty(), "the edge runs under no uid of its own");
    Ok(uid.to_owned())
}

/// The fixed address of the store's web container, as soon as the container exists.
fn web_address(store: &str) -> anyhow::Result<IpAddr> {
    let end = Instant::now() + LIMIT;
    let filter = format!("{{\"label\":[\"shopfleet.store={store}\",\"shopfleet.service=web\"]}}")
        .replace('"', "%22");
    while Instant::now() < end {
        let list = engine::call(
            "GET",
            &format!("/containers/json?all=1&filters={filter}"),
            None,
        )?;
        if let Some(id) = list[0]["Id"].as_str() {
            // It may be replaced between the two questions.
            let Ok(container) = engine::call("GET", &format!("/containers/{id}/json"), None) else {
                continue;
            };
            let networks = container["NetworkSettings"]["Networks"]
                .as_object()
                .context("no networks")?;
            for network in networks.values() {
                if let Some(address) = network["IPAMConfig"]["IPv4Address"].as_str() {
                    return Ok(address.parse()?);
                }
            }
        }
        thread::sleep(deep::EVERY);
    }
    bail!("store {store} got no web container within {LIMIT:?}")
}

/// The plain port of this host's edge, as the first node reports it.
fn edge_port() -> anyhow::Result<u16> {
    let text = process::run("shopctl", &["node", "list", "-o", "json"], LIMIT)?.ok()?;
    let nodes: Value = serde_json::from_str(&text)?;
    let first = nodes
        .get("nodes")
        .unwrap_or(&nodes)
        .get(0)
        .context("no node")?;
    let url = first["edge_url"].as_str().context("no edge_url")?;
    Ok(url
        .trim_end_matches('/')
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok())
        .unwrap_or(80))
}
