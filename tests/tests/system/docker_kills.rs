//! Docker itself killed, and its containerd with it, at seeded moments while stores are made, changed and deleted. On a host of the
//! story's own: Docker's death takes every store of its host down for a moment.
//!
//! `SHOPFLEET_DOCKER_KILLS=40` looks further: so many kills in each story, at other moments.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value;
use shop_tests::fleet::{Fleet, PATIENCE, Store};
use shop_tests::host::{SecondHost, gateway};
use shop_tests::orders;
use shop_tests::plane::{Database, Plane};
use shop_tests::wait::wait_for;

use crate::engine_faults::{bought, gone, one_of_each};
use crate::kills::next;

/// How often it is killed while a store is made.
const MAKINGS: u64 = 4;
/// How often while one store is updated or taken back, and another one deleted.
const CHANGES: u64 = 10;
/// A store is made in so many milliseconds, on two cores; an update takes so many, a deletion so many.
const MAKE_MS: u64 = 2500;
const UPDATE_MS: u64 = 8000;
const DELETE_MS: u64 = 3000;
/// How the second release says its version.
const SECOND: &str = "\"2.0.0\"";
/// Without search: one container less to wait for.
const ARGS: [&str; 4] = ["--template", "refshop@1", "--profile", "search=none"];

struct Scene {
    _plane: Plane,
    host: SecondHost,
    fleet: Fleet,
}

fn open() -> anyhow::Result<Scene> {
    let plane = Plane::start(&Database::Sqlite, &gateway(), &[])?;
    let mut host = SecondHost::start()?;
    let fleet = plane.fleet(host.edge());
    host.join(&fleet)?;
    host.ready(&fleet)?;
    Ok(Scene {
        _plane: plane,
        host,
        fleet,
    })
}

/// How many rounds there are, and where their moments come from.
fn rounds(shipped: u64, seed: u64) -> anyhow::Result<(u64, u64)> {
    match std::env::var("SHOPFLEET_DOCKER_KILLS") {
        Ok(text) => {
            let more = text.parse()?;
            Ok((more, seed ^ (more << 32)))
        }
        Err(_) => Ok((shipped, seed)),
    }
}

/// A moment below so many milliseconds.
fn moment(seed: &mut u64, below: u64) -> Duration {
    Duration::from_millis(next(seed) % below)
}

fn at(began: Instant, moment: Duration) -> anyhow::Result<()> {
    wait_for(
        "the moment has come",
        moment + PATIENCE,
        || Ok(began.elapsed()),
        |past| *past >= moment,
    )
    .map(drop)
}

impl Scene {
    /// The store runs, answers, and has one container of each service; or the error shows what the host looks like.
    fn whole(&self, store: &Store) -> anyhow::Result<String> {
        let look = || -> anyhow::Result<String> {
            store.wait_status_through_outage("running")?;
            let health = store.wait_serving(Duration::from_secs(60))?;
            one_of_each(&self.host, store)?;
            self.host.none_forgotten()?;
            Ok(health.body)
        };
        look().with_context(|| self.picture(store))
    }

    /// What the store and the host say, for a story that gives up.
    fn picture(&self, store: &Store) -> String {
        let said = |answer: anyhow::Result<String>| answer.unwrap_or_else(|e| format!("{e:#}"));
        let health = store.request("/health", &["--max-time", "5"]);
        format!(
            "{}\n/health: {}\n{}",
            said(
                self.fleet
                    .ctl(&["store", "explain", &store.name])
                    .and_then(|out| out.ok())
            ),
            said(health.map(|answer| format!("{} {}", answer.status, answer.body))),
            said(self.host.picture()),
        )
    }
}

#[test]
fn docker_killed_while_stores_are_made() -> anyhow::Result<()> {
    let mut scene = open()?;
    let (makings, mut seed) = rounds(MAKINGS, 0x5EED_0D0C)?;
    for round in 0..makings {
        let store = scene.fleet.create(&format!("docked-{round}"), &ARGS)?;
        let id = store.id()?;
        let began = Instant::now();
        let moment = moment(&mut seed, MAKE_MS);
        at(began, moment)?;
        scene.host.kill_docker()?;
        scene.whole(&store)?;
        println!(
            "round {round}: Docker killed after {moment:?}, running after {:?}",
            began.elapsed()
        );
        gone(&scene.host, &store, &id)?;
        scene.host.none_forgotten()?;
    }
    Ok(())
}

#[test]
fn docker_killed_while_one_store_changes_and_another_goes() -> anyhow::Result<()> {
    let mut scene = open()?;
    let live = scene.fleet.create_running("docked-live", &ARGS)?;
    live.wait_serving(Duration::from_secs(30))?;
    let mut ordered = BTreeSet::new();
    let (changes, mut seed) = rounds(CHANGES, 0x5EED_0D0D)?;
    for round in 0..changes {
        ordered.insert(bought(&live)?);
        let name = format!("docked-away-{round}");
        let away = scene.fleet.create_running(&name, &ARGS)?;
        let id = away.id()?;
        let (of_update, of_deletion) = (moment(&mut seed, UPDATE_MS), moment(&mut seed, DELETE_MS));
        let kill = of_update.max(of_deletion);
        let began = Instant::now();
        let mut operation = String::new();
        // Whichever is to be further on when Docker dies begins first.
        let mut begin = [(kill - of_update, true), (kill - of_deletion, false)];
        begin.sort_unstable();
        for (when, update) in begin {
            at(began, when)?;
            if update {
                operation = change(&live)?;
            } else {
                scene
                    .fleet
                    .ctl(&["store", "delete", &name, "--yes", "--now"])?
                    .ok()?;
            }
        }
        at(began, kill)?;
        scene.host.kill_docker()?;
        wait_for(
            "nothing is left of the one that goes",
            PATIENCE,
            || scene.host.left_of(&id),
            Vec::is_empty,
        )
        .with_context(|| scene.picture(&away))?;
        settled(&live, &operation).with_context(|| scene.picture(&live))?;
        let health = scene.whole(&live)?;
        let release = if health.contains(SECOND) { 2 } else { 1 };
        let (kept, _) = orders::all(&live)?;
        let lost: Vec<_> = ordered.difference(&kept).collect();
        assert!(lost.is_empty(), "orders are lost: {lost:?}");
        println!(
            "round {round}: Docker killed {of_update:?} into the change and {of_deletion:?} into the deletion; release {release} serves and the other is gone after {:?}",
            began.elapsed()
        );
    }
    gone(&scene.host, &live, &live.id()?)?;
    scene.host.none_forgotten()
}

/// Asks for the other release; gives the operation's id.
fn change(store: &Store) -> anyhow::Result<String> {
    let name = store.name.as_str();
    let serving = store.wait_serving(Duration::from_secs(30))?;
    let there = [
        "store",
        "update",
        name,
        "--template",
        "refshop@2",
        "--window",
        "2",
    ];
    let back = ["store", "rollback", name, "r1"];
    let args: &[&str] = if serving.body.contains(SECOND) {
        &back
    } else {
        &there
    };
    let operation: Value = store.fleet.json(args)?;
    let id = operation["id"].as_str();
    id.map(str::to_owned).context("no operation")
}

/// Waits until the change has ended, one way or the other.
fn settled(store: &Store, operation: &str) -> anyhow::Result<()> {
    let look = || {
        let all: Vec<Value> = store
            .fleet
            .json(&["operation", "list", "--store", &store.name])?;
        all.into_iter()
            .find(|it| it["id"] == operation)
            .context("it is not listed")
    };
    let ended = |it: &Value| {
        let state = it["state"].as_str();
        state.is_some_and(|state| ["succeeded", "failed", "cancelled"].contains(&state))
    };
    let ended = wait_for("the change has ended", PATIENCE * 2, look, ended)?;
    println!("the change {}: {}", ended["state"], ended["message"]);
    Ok(())
}
