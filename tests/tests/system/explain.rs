//! Faults made by hand, each found by `shopctl store explain` alone.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use shop_tests::change::{change, window};
use shop_tests::docker;
use shop_tests::door::Door;
use shop_tests::fleet::{Fleet, PATIENCE, Store};
use shop_tests::wait::wait_every;

#[derive(Debug, Deserialize)]
struct Explanation {
    well: bool,
    causes: Vec<Cause>,
    next: Vec<Next>,
}

#[derive(Debug, Deserialize)]
struct Cause {
    code: String,
    what: String,
    evidence: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Next {
    command: String,
}

impl Explanation {
    fn has(&self, code: &str) -> bool {
        self.causes.iter().any(|cause| cause.code == code)
    }
}

/// Waits until the explanation names the fault, and passes it on.
fn named(store: &Store, code: &str) -> anyhow::Result<Explanation> {
    let look = || {
        store
            .fleet
            .json::<Explanation>(&["store", "explain", &store.name])
    };
    let found = wait_every(
        Duration::from_millis(500),
        &format!("explain names {code}"),
        PATIENCE * 2,
        look,
        |seen| seen.has(code),
    )?;
    println!("{code}: {found:?}");
    assert!(!found.well);
    Ok(found)
}

/// Whether an operator is told to type a command that begins like this.
fn tells(explanation: &Explanation, command: &str) -> bool {
    explanation
        .next
        .iter()
        .any(|next| next.command.starts_with(command))
}

fn settled(store: &Store) -> anyhow::Result<()> {
    store.wait_status("running")?;
    wait_every(
        Duration::from_millis(500),
        "nothing is left to explain",
        PATIENCE,
        || {
            store
                .fleet
                .json::<Explanation>(&["store", "explain", &store.name])
        },
        |seen| seen.well,
    )
    .map(drop)
}

#[test]
fn what_operators_did_to_a_store() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let store = fleet.create_running("asked", &["--template", "refshop@2"])?;
    settled(&store)?;
    let ctl = |args: &[&str]| fleet.ctl(args)?.ok().map(drop);

    ctl(&[
        "store",
        "stop",
        "asked",
        "--wait",
        "--reason",
        "stock-taking",
    ])?;
    let stopped = named(&store, "stopped")?;
    assert!(stopped.causes[0].evidence[0].contains("stock-taking"));
    assert!(tells(&stopped, "shopctl store start asked"));
    ctl(&["store", "start", "asked", "--wait"])?;

    ctl(&["store", "pause", "asked", "--wait"])?;
    assert!(tells(&named(&store, "paused")?, "shopctl store wake asked"));
    ctl(&["store", "wake", "asked", "--wait"])?;

    ctl(&["store", "maintenance", "on", "asked", "--wait"])?;
    assert!(tells(
        &named(&store, "maintenance")?,
        "shopctl store maintenance off asked"
    ));
    ctl(&["store", "maintenance", "off", "asked", "--wait"])?;

    let bad = json!({"parameters": {"drill": "sick"}, "watch": window(15)});
    change(&Door::open()?, "asked", "update", &bad)?;
    let back = named(&store, "taken_back")?;
    assert!(
        back.causes.iter().any(|cause| cause
            .evidence
            .iter()
            .any(|line| line.contains("update_bad_minute"))),
        "does not say why: {back:?}"
    );

    ctl(&["store", "delete", "asked", "--yes"])?;
    assert!(tells(
        &named(&store, "deletion_in_grace")?,
        "shopctl store undelete asked"
    ));
    store.delete()
}

#[test]
fn what_somebody_did_behind_our_back() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let store = fleet.create_running("meddled", &["--template", "refshop@2"])?;
    settled(&store)?;
    let id = store.id()?;

    fleet
        .ctl(&[
            "store",
            "hold",
            "meddled",
            "--for",
            "1h",
            "--reason",
            "looking at it",
        ])?
        .ok()?;
    let search = docker::service(&id, "search")?;
    docker::docker(&["stop", &search.name])?.ok()?;
    let drift = named(&store, "drift")?;
    assert!(drift.has("held"));
    assert!(
        drift
            .causes
            .iter()
            .any(|cause| cause.what.contains("search"))
    );
    assert!(tells(&drift, "shopctl store release meddled"));
    fleet.ctl(&["store", "release", "meddled"])?.ok()?;
    settled(&store)?;

    let node = fleet.setting("node_id")?;
    let cache = docker::service(&id, "cache")?;
    let data = format!("/var/lib/shopfleet/{node}/volumes/{id}/cache-data");
    std::fs::remove_dir_all(&data)?;
    docker::docker(&["rm", "--force", &cache.name])?.ok()?;
    let lost = named(&store, "volume_lost")?;
    assert!(
        lost.causes
            .iter()
            .any(|cause| cause.what.contains("cache-data"))
    );
    assert!(
        !std::path::Path::new(&data).exists(),
        "an empty volume took the place of the lost one"
    );
    store.delete()
}

#[test]
fn what_keeps_a_new_store_from_running() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let huge = fleet.create("huge", &["--resources", "db.memory=60G"])?;
    let no_room = named(&huge, "no_capacity")?;
    assert!(tells(&no_room, "shopctl node join"));
    huge.delete()?;

    let tight = fleet.create("tight", &["--resources", "db.memory=32M"])?;
    let killed = named(&tight, "out_of_memory")?;
    assert!(tells(
        &killed,
        "shopctl store update tight --resources db.memory"
    ));
    tight.delete()?;

    let crashing = fleet.create(
        "crashing",
        &["--template", "refshop@2", "--set", "drill=crash"],
    )?;
    assert!(tells(
        &named(&crashing, "crash_looping")?,
        "shopctl store logs crashing php-fpm"
    ));
    crashing.delete()?;

    let mute = fleet.create(
        "mute",
        &["--template", "refshop@2", "--set", "drill=never-ready"],
    )?;
    let probe = named(&mute, "probe_fails")?;
    assert!(
        probe
            .causes
            .iter()
            .any(|cause| cause.what.contains("php-fpm"))
    );
    mute.delete()?;

    docker::docker(&["tag", "shopfleet/refshop-apache:2", "shopfleet/kept:2"])?.ok()?;
    docker::docker(&["rmi", "shopfleet/refshop-apache:2"])?.ok()?;
    let bare = fleet.create(
        "bare",
        &["--template", "refshop@2", "--profile", "web=apache"],
    )?;
    let missing = named(&bare, "image_missing");
    docker::docker(&["tag", "shopfleet/kept:2", "shopfleet/refshop-apache:2"])?.ok()?;
    docker::docker(&["rmi", "shopfleet/kept:2"])?.ok()?;
    missing?;
    // It goes on by itself once the image is there.
    bare.wait_status("running")?;
    bare.delete()
}

#[test]
fn a_node_that_is_away() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let demo = fleet.existing("demo")?;
    settled(&demo)?;
    docker::docker(&["stop", "shopfleet-node"])?.ok()?;
    let away = named(&demo, "node_away");
    docker::docker(&["start", "shopfleet-node"])?.ok()?;
    assert!(tells(&away?, "shopctl node list"));
    settled(&demo)
}
