//! `repair`: each service killed in turn, a release that ends soon after its start, and two more replicas; how long until it is right again.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::json;

use super::stats::{self, Series};
use crate::change::{ask, change, follow, window};
use crate::docker::{self, service};
use crate::door::Door;
use crate::fleet::{Fleet, Store};
use crate::wait::wait_for;

const STATELESS: [&str; 2] = ["web", "php-fpm"];
const STATEFUL: [&str; 3] = ["db", "cache", "search"];
const LIMIT: Duration = Duration::from_secs(120);

/// Runs `rounds` rounds; `seconds` is the watch window of the bad release.
pub fn run(rounds: u32, seconds: u32) -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let door = Door::open()?;
    let store = fleet.create_running("bench-repair", &["--template", "refshop@2"])?;
    store.wait_serving(LIMIT)?;
    let mut killed: Vec<(&str, Series)> = STATELESS
        .into_iter()
        .chain(STATEFUL)
        .map(|name| (name, Series::default()))
        .collect();
    let (mut back, mut scaled) = (Series::default(), Series::default());
    for round in 1..=rounds {
        for (name, series) in &mut killed {
            series.push(kill(&store, name)?);
        }
        back.push(crashing(&door, &store, seconds)?);
        scaled.push(scale(&door, &store)?);
        eprintln!("round {round} of {rounds}");
    }
    store.delete()?;
    println!("{}", stats::heading());
    for (name, series) in &killed {
        println!("{}", series.row(&format!("{name} killed, serving")));
    }
    println!("{}", back.row("release that crashes, back"));
    println!("{}", scaled.row("web and php-fpm, 1 to 3"));
    let worst = |names: &[&str]| {
        killed
            .iter()
            .filter(|(name, _)| names.contains(name))
            .map(|(_, series)| series.median() / 1e3)
            .fold(f64::NAN, f64::max)
    };
    println!(
        "stateless_repair_s={:.2} stateful_repair_s={:.2} rollback_s={:.1} scale_1_to_3_s={:.2}",
        worst(&STATELESS),
        worst(&STATEFUL),
        back.median() / 1e3,
        scaled.median() / 1e3,
    );
    Ok(())
}

/// From the kill to a deep check that passes through another start of the service.
fn kill(store: &Store, name: &str) -> anyhow::Result<Duration> {
    let id = store.id()?;
    let before = service(&id, name)?;
    let began = Instant::now();
    docker::kill(&before.name)?;
    wait_for(
        &format!("{name} runs again"),
        LIMIT,
        || service(&id, name),
        |again| again.started_at != before.started_at,
    )?;
    store.wait_serving(LIMIT)?;
    let took = began.elapsed();
    // The next kill finds a settled shop.
    store.wait_status("running")?;
    Ok(took)
}

/// A release that ends soon after its start: from the request until the store runs the one before and says so.
fn crashing(door: &Door, store: &Store, seconds: u32) -> anyhow::Result<Duration> {
    let body = json!({"parameters": {"drill": "crash"}, "watch": window(seconds)});
    let ended = change(door, &store.name, "update", &body)?;
    if ended.state != "failed" {
        bail!("a release that crashes {}: {}", ended.state, ended.message);
    }
    store.wait_status("running")?;
    Ok(ended.took)
}

/// From one replica of web and php-fpm to three of each that serve, and back.
fn scale(door: &Door, store: &Store) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let three = json!({"replicas": {"web": 3, "php-fpm": 3}});
    let id = ask(door, &store.name, "scale", &three)?;
    let ended = follow(door, &id, began)?.succeeded().context("1 to 3")?;
    let one = json!({"replicas": {"web": 1, "php-fpm": 1}});
    change(door, &store.name, "scale", &one)?
        .succeeded()
        .context("3 to 1")?;
    Ok(ended.took)
}
