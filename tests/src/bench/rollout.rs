//! `rollout`: a poisoned change for many real stores and more scripted ones; it is to halt inside the canary wave, and nobody else's buyers
//! are to notice. The canary is a real store: real stores are older than the scripted ones.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::scripted::{Scripted, remove_leftovers};
use crate::change::{site, window};
use crate::door::Door;
use crate::fleet::{Fleet, Store};
use crate::load::{Load, Rates};

const LIMIT: Duration = Duration::from_secs(900);
/// The release is sick from the twelfth second on; a shorter window would not see it.
const SHORTEST_WINDOW: u32 = 20;
/// Of all its stores.
const LABEL: (&str, &str) = ("bench", "rollout");

/// Runs it over that many real stores and `scripted` others; `seconds` is the watch window.
pub fn run(count: u32, scripted: u32, seconds: u32) -> anyhow::Result<()> {
    if seconds < SHORTEST_WINDOW {
        bail!(
            "a window of {seconds} s is over before the release is sick: take {SHORTEST_WINDOW} or more"
        );
    }
    let fleet = Fleet::installed()?;
    let door = Door::open()?;
    remove_leftovers(&fleet, &door, LABEL)?;
    let stores = create(&fleet, count)?;
    let others = Scripted::join(&fleet, &door)?;
    others.fill(scripted, LABEL)?;
    let loads: Vec<Load> = stores
        .iter()
        .map(|store| {
            let rates = Rates {
                pages: 2,
                buyers: 0,
            };
            Load::start(&site(store)?, rates)
        })
        .collect::<anyhow::Result<_>>()?;
    let began = Instant::now();
    let body = json!({
        "selector": "bench=rollout", "parameters": {"drill": "sick"}, "watch": window(seconds),
        "canary": 1, "batch": "10%", "max_failures": 0
    });
    let (status, answer) = door.call("POST", "/api/v1/rollouts", Some(&body), &[])?;
    if !matches!(status, 201 | 202) {
        bail!("/api/v1/rollouts answered {status}: {answer}");
    }
    let id = answer["id"].as_str().context("a rollout has an id")?;
    let path = format!("/api/v1/rollouts/{id}");
    let ended = |rollout: &Value| {
        !matches!(
            rollout["state"].as_str(),
            Some("pending" | "running" | "pausing")
        )
    };
    let rollout = door.wait(&path, "the rollout halts", LIMIT, ended)?;
    let took = began.elapsed().as_secs_f64();
    let touched: Vec<&str> = rollout["stores"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|store| store["state"].as_str() != Some("waiting"))
        .filter_map(|store| store["store_name"].as_str())
        .collect();
    let mut failed = 0;
    for (store, load) in stores.iter().zip(loads) {
        let books = load.finish()?.books();
        if !touched.contains(&store.name.as_str()) {
            failed += books.failures.len();
        }
    }
    for store in &stores {
        store.delete()?;
    }
    others.remove()?;
    println!("touched: {}", touched.join(", "));
    println!("state: {}, {}", rollout["state"], rollout["message"]);
    println!("stores: {count} real, {scripted} scripted");
    println!(
        "stores={} failed_requests={failed} halted_in_wave={} seconds={took:.1}",
        count + scripted,
        rollout["wave"]
    );
    Ok(())
}

/// A few at a time: all are wanted, not how fast they come.
fn create(fleet: &Fleet, count: u32) -> anyhow::Result<Vec<Store>> {
    let stores: Vec<Store> = (0..count)
        .map(|n| {
            fleet.create(
                &format!("bench-wave-{n}"),
                &[
                    "--template",
                    "refshop@2",
                    // Twenty with search leave no room on 24 GB for the second slot of one.
                    "--profile",
                    "search=none",
                    "--label",
                    "bench=rollout",
                ],
            )
        })
        .collect::<anyhow::Result<_>>()?;
    for store in &stores {
        store.wait_status("running")?;
        store.wait_serving(LIMIT)?;
    }
    Ok(stores)
}
