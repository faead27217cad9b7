//! kill -9 of each process of ours at seeded moments of an update and of a deletion: it ends as it should, with buyers served.

use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::json;
use shop_tests::change::{ask, follow, site, window};
use shop_tests::docker;
use shop_tests::door::Door;
use shop_tests::fleet::{Fleet, PATIENCE, Store};
use shop_tests::load::{Load, Rates};
use shop_tests::wait::wait_for;

use crate::kills::{CONTROL_PLANE, NODE_AGENT, next, services};

const UPDATES: u64 = 10;
const DELETIONS: u64 = 10;
/// An update without its window, on two cores.
const UPDATE_MS: u64 = 9000;
const DELETE_MS: u64 = 3000;

fn victim(round: u64, fleet: &Fleet, store: &str) -> anyhow::Result<String> {
    Ok(match round % 3 {
        0 => CONTROL_PLANE.to_owned(),
        1 => NODE_AGENT.to_owned(),
        _ => format!("sf-{}-{store}-agent", fleet.setting("node_id")?),
    })
}

fn at(started: Instant, moment: Duration) -> anyhow::Result<()> {
    wait_for(
        "the moment has come",
        moment + PATIENCE,
        || Ok(started.elapsed()),
        |past| *past >= moment,
    )
    .map(drop)
}

/// A door of its own each time, once there is one: the control plane may just have been killed.
fn door() -> anyhow::Result<Door> {
    let open = || Ok(Door::open().ok());
    let door = wait_for("the control plane answers", PATIENCE, open, Option::is_some)?;
    door.context("waited for")
}

fn update(store: &Store, name: &str) -> anyhow::Result<String> {
    let body = json!({"parameters": {"shop_name": name}, "watch": window(2)});
    ask(&door()?, &store.name, "update", &body)
}

#[test]
fn an_update_survives_kills_at_seeded_moments() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let store = fleet.create_running("hit-update", &["--template", "refshop@2"])?;
    store.wait_serving(Duration::from_secs(15))?;
    let id = store.id()?;
    let rates = Rates {
        pages: 20,
        buyers: 1,
    };
    let load = Load::start(&site(&store)?, rates)?;
    let mut seed = 0x5EED_0002_u64;
    for round in 0..UPDATES {
        let operation = update(&store, &format!("Round {round}"))?;
        let started = Instant::now();
        let moment = Duration::from_millis(next(&mut seed) % UPDATE_MS);
        let victim = victim(round, &fleet, &id)?;
        at(started, moment)?;
        let hit = docker::kill(&victim).is_ok();
        println!("round {round}: {victim} after {moment:?}, hit: {hit}");
        follow(&door()?, &operation, started)?.succeeded()?;
        store.wait_status_through_outage("running")?;
        let one_slot = |running: &Vec<(String, String)>| running.len() == 5;
        wait_for(
            "one copy of each service is left",
            PATIENCE,
            || services(&id),
            one_slot,
        )?;
    }
    let books = load.finish()?.books();
    assert_eq!(books.failures, [], "of {} requests", books.requests);
    assert_eq!(books.lost_carts, 0);
    store.delete()
}

#[test]
fn a_deletion_survives_kills_at_seeded_moments() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let mut seed = 0x5EED_0003_u64;
    for round in 0..DELETIONS {
        let name = format!("hit-delete-{round}");
        let store = fleet.create_running(&name, &["--profile", "search=none"])?;
        let id = store.id()?;
        let started = Instant::now();
        fleet
            .ctl(&["store", "delete", &name, "--yes", "--now"])?
            .ok()?;
        let moment = Duration::from_millis(next(&mut seed) % DELETE_MS);
        let victim = victim(round, &fleet, &id)?;
        at(started, moment)?;
        let hit = docker::kill(&victim).is_ok();
        println!("round {round}: {victim} after {moment:?}, hit: {hit}");
        wait_for(
            "nothing is left of it",
            PATIENCE,
            || docker::of_store(&id),
            Vec::is_empty,
        )?;
        wait_for(
            "the record is gone, too",
            PATIENCE,
            || fleet.ctl(&["store", "get", &name]),
            |said| said.code == Some(1) && said.stderr.contains("no store"),
        )?;
        let receipt = fleet.ctl(&["store", "receipt", &id])?.ok()?;
        assert!(receipt.contains(&id), "the receipt is of another store");
    }
    Ok(())
}
