//! A second host: its own Docker in its own network namespace, joined by the command that `shopctl node join` prints.
//! Then a reboot of it with the control plane away, and its loss.

use std::time::Duration;

use shop_tests::docker;
use shop_tests::fleet::{Fleet, NodeView, PATIENCE};
use shop_tests::host::SecondHost;
use shop_tests::http;
use shop_tests::wait::wait_for;

const CONTROL_PLANE: &str = "shopfleet-control-plane";

#[test]
fn joins_takes_stores_reboots_alone_and_is_lost_alone() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let mut host = SecondHost::start()?;
    host.join(&fleet)?;
    let second = host.ready(&fleet)?;
    land_where_there_is_room(&fleet, &second)?;

    let runs =
        fleet.create_running("far-runs", &["--profile", "search=none", "--node", &second])?;
    let stopped = fleet.create_running(
        "far-stopped",
        &["--profile", "search=none", "--node", &second],
    )?;
    stopped.act("stop")?;
    assert_eq!(runs.get()?.node.as_deref(), Some(second.as_str()));
    let name = runs.get()?.hosts[0].clone();
    let serves = |host: &SecondHost| {
        http::curl(&[
            "--max-time",
            "5",
            "--header",
            &format!("Host: {name}"),
            &host.url("/health"),
        ])
    };
    wait_for(
        "node 2 serves its store",
        PATIENCE,
        || serves(&host),
        |a| a.status == 200,
    )?;

    docker::docker(&["stop", "--time", "10", CONTROL_PLANE])?.ok()?;
    let rebooted = (|| -> anyhow::Result<()> {
        host.reboot()?;
        wait_for(
            "it serves again without the control plane",
            PATIENCE,
            || serves(&host),
            |a| a.status == 200,
        )?;
        let stopped_id = host.running_services()?;
        assert!(
            !stopped_id.iter().any(|n| n.contains("far-stopped")),
            "what was stopped came up: {stopped_id:?}"
        );
        Ok(())
    })();
    docker::docker(&["start", CONTROL_PLANE])?.ok()?;
    rebooted?;
    wait_for(
        "node 2 reports again",
        PATIENCE,
        || runs.get(),
        |v| v.status == "running",
    )?;
    assert_eq!(stopped.get()?.status, "stopped");

    host.lose()?;
    let lost = |nodes: &Vec<NodeView>| {
        nodes
            .iter()
            .any(|n| n.id == second && n.status == "unreachable")
    };
    wait_for(
        "node 2 is shown unreachable",
        PATIENCE,
        || fleet.nodes(),
        lost,
    )?;
    fleet
        .existing("demo")?
        .wait_serving(Duration::from_secs(10))?;
    host.come_back()?;
    wait_for(
        "node 2 is back",
        PATIENCE,
        || runs.get(),
        |v| v.status == "running",
    )?;
    runs.delete()?;
    stopped.delete()?;
    fleet.ctl(&["node", "remove", &second])?.ok()?;
    Ok(())
}

/// Stores that name no node: both hosts are the same machine, so reservations alone decide, and each new store goes where fewer are.
fn land_where_there_is_room(fleet: &Fleet, second: &str) -> anyhow::Result<()> {
    let count = |id: &str| -> anyhow::Result<u32> {
        let nodes = fleet.nodes()?;
        Ok(nodes.iter().find(|n| n.id == id).map_or(0, |n| n.stores))
    };
    let first = fleet.setting("node_id")?.to_owned();
    let mut landed = Vec::new();
    for index in 0..4 {
        let (here, there) = (count(&first)?, count(second)?);
        let store =
            fleet.create_running(&format!("free-{index}"), &["--profile", "search=none"])?;
        let node = store.get()?.node.unwrap_or_default();
        println!("free-{index}: {here} stores on node 1, {there} on node 2, landed on {node}");
        landed.push((store, node));
    }
    for node in [first.as_str(), second] {
        assert!(
            landed.iter().any(|(_, n)| n == node),
            "no store landed on {node}"
        );
    }
    landed.iter().try_for_each(|(store, _)| store.delete())
}
