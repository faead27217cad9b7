//! What somebody does by hand to a store's parts: seen, told, repaired within seconds; while a hold lasts, seen and left alone.

use std::time::Duration;

use anyhow::Context;
use shop_tests::docker::{self, Container};
use shop_tests::fleet::{Fleet, Store};
use shop_tests::wait::wait_for;

/// "Within seconds", with a machine that does other things as well.
const SOON: Duration = Duration::from_secs(20);

fn container(store: &Store, service: &str) -> anyhow::Result<Container> {
    docker::service(&store.id()?, service)
}

fn events(store: &Store) -> anyhow::Result<String> {
    store.fleet.ctl(&["store", "events", &store.name])?.ok()
}

fn told(store: &Store, code: &str) -> anyhow::Result<()> {
    let what = format!("{code} is told");
    wait_for(&what, SOON, || events(store), |text| text.contains(code)).map(drop)
}

#[test]
fn what_is_changed_by_hand_is_repaired_and_told() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let store = fleet.create_running("drifting", &[])?;
    store.wait_serving(SOON)?;

    let cache = container(&store, "cache")?;
    docker::docker(&["stop", "--time", "5", &cache.name])?.ok()?;
    told(&store, "drift_stopped")?;
    wait_for(
        "the cache runs again",
        SOON,
        || container(&store, "cache"),
        |_| true,
    )?;
    store.wait_serving(SOON)?;

    let web = container(&store, "web")?;
    docker::docker(&["rm", "--force", &web.name])?.ok()?;
    told(&store, "drift_removed")?;
    store.wait_serving(SOON)?;

    let php = container(&store, "php-fpm")?;
    docker::docker(&["kill", "--signal", "KILL", &php.name])?.ok()?;
    told(&store, "drift_killed")?;
    store.wait_serving(SOON)?;

    let db = container(&store, "db")?;
    let limit = || -> anyhow::Result<String> {
        docker::docker(&[
            "inspect",
            "--format",
            "{{.HostConfig.CpuShares}} {{.HostConfig.Memory}}",
            &db.name,
        ])?
        .ok()
    };
    let right = limit()?;
    docker::docker(&[
        "update",
        "--memory",
        "900m",
        "--memory-swap",
        "900m",
        &db.name,
    ])?
    .ok()?;
    // They may be right again before anybody can look.
    told(&store, "drift_changed")?;
    wait_for("the limits are right again", SOON * 3, limit, |now| {
        *now == right
    })?;
    assert_eq!(container(&store, "db")?.started_at, db.started_at, "live");

    let fpm = container(&store, "php-fpm")?;
    let networks = docker::docker(&[
        "inspect",
        "--format",
        "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}",
        &fpm.name,
    ])?
    .ok()?;
    let data = networks
        .split_whitespace()
        .find(|name| name.ends_with("-data"))
        .context("php-fpm is on the data network")?;
    docker::docker(&["network", "disconnect", "--force", data, &fpm.name])?.ok()?;
    store.wait_serving(SOON * 3)?;
    store.delete()
}

#[test]
fn a_hold_shows_drift_and_leaves_it_alone() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let store = fleet.create_running("onhold", &[])?;
    store.wait_serving(SOON)?;
    let held = [
        "store", "hold", "onhold", "--for", "1h", "--reason", "a story", "--wait",
    ];
    fleet.ctl(&held)?.ok()?;
    let search = container(&store, "search")?;
    docker::docker(&["stop", "--time", "5", &search.name])?.ok()?;
    told(&store, "drift_stopped")?;
    assert!(container(&store, "search").is_err(), "it was started again");
    fleet.ctl(&["store", "release", "onhold", "--wait"])?.ok()?;
    told(&store, "drift_repaired")?;
    wait_for(
        "the search runs again",
        SOON,
        || container(&store, "search"),
        |_| true,
    )?;
    store.delete()
}
