//! `agent-footprint`: what the parts cost when nothing happens, with one store running.

use std::{fs, thread, time::Duration};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::engine;

/// Long enough for a CPU share of 0.2 % to be many clock ticks.
const WINDOW: Duration = Duration::from_secs(60);
/// `USER_HZ`: what `/proc/<pid>/stat` counts in on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Measures and prints the last line.
pub fn run() -> anyhow::Result<()> {
    let agent = pid_of("shopfleet.kind=agent")?;
    let node = pid_named("shopfleet-node")?;
    let plane = pid_named("shopfleet-control-plane")?;
    let before = cpu_ticks(agent)?;
    thread::sleep(WINDOW);
    let spent = cpu_ticks(agent)? - before;
    let cpu = 100.0 * spent / TICKS_PER_SECOND / WINDOW.as_secs_f64();
    let image = engine::call("GET", "/images/shopfleet/shop-agent:1/json", None)?;
    let image = image["Size"]
        .as_f64()
        .context("no image shopfleet/shop-agent:1")?
        / 1e6;
    let (agent, node, plane) = (rss_mb(agent)?, rss_mb(node)?, rss_mb(plane)?);
    println!("{:<28} {:>10} {:>10}", "", "measured", "reach");
    println!("{:<28} {agent:>7.1} MB {:>7} MB", "idle shop agent, RSS", 8);
    println!("{:<28} {cpu:>8.2} % {:>8} %", "idle shop agent, CPU", 0.2);
    println!("{:<28} {image:>7.1} MB {:>7} MB", "shop agent's image", 8);
    println!("{:<28} {node:>7.1} MB {:>7} MB", "node agent, RSS", 60);
    println!("{:<28} {plane:>7.1} MB {:>7} MB", "control plane, RSS", 60);
    println!(
        "agent_rss_mb={agent:.1} agent_cpu_pct={cpu:.2} agent_image_mb={image:.1} node_agent_rss_mb={node:.1} control_plane_rss_mb={plane:.1}"
    );
    Ok(())
}

fn pid_of(label: &str) -> anyhow::Result<u64> {
    let filter = format!("{{%22label%22:[%22{label}%22]}}");
    let list = engine::call("GET", &format!("/containers/json?filters={filter}"), None)?;
    let id = list[0]["Id"]
        .as_str()
        .with_context(|| format!("no running container with {label}"))?;
    pid(id)
}

fn pid_named(prefix: &str) -> anyhow::Result<u64> {
    let filter = format!("{{%22name%22:[%22^/{prefix}%22]}}");
    let list = engine::call("GET", &format!("/containers/json?filters={filter}"), None)?;
    let id = list[0]["Id"]
        .as_str()
        .with_context(|| format!("no running container named {prefix}…"))?;
    pid(id)
}

fn pid(id: &str) -> anyhow::Result<u64> {
    let container: Value = engine::call("GET", &format!("/containers/{id}/json"), None)?;
    let pid = container["State"]["Pid"].as_u64().unwrap_or(0);
    ensure!(pid > 0, "container {id} is not running");
    Ok(pid)
}

fn rss_mb(pid: u64) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .context("no VmRSS")?
        .parse()?;
    Ok(kib * 1024.0 / 1e6)
}

fn cpu_ticks(pid: u64) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(") ").context("no stat")?.1;
    let field = |index: usize| -> anyhow::Result<f64> {
        Ok(after_name
            .split_whitespace()
            .nth(index)
            .context("short stat")?
            .parse()?)
    };
    // utime and stime are fields 14 and 15 of the whole line, 11 and 12 after the name.
    Ok(field(11)? + field(12)?)
}
