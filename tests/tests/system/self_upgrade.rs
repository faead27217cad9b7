//! Our own parts are replaced, to another build and back, with stores serving: no store is restarted, no request fails.
//!
//! `SHOPFLEET_UPGRADE_STORES=40` takes more stores than two cores can drive beside everything else that tests/run does.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use shop_tests::change::site;
use shop_tests::docker;
use shop_tests::events::{Event, Listener, most_down};
use shop_tests::fleet::{Fleet, PATIENCE, Store};
use shop_tests::load::{Load, Rates};
use shop_tests::process;
use shop_tests::repository::root;
use shop_tests::wait::{wait_every, wait_for};

const STORES: usize = 10;
/// Shop agents that a node replaces at a time.
const AGENTS_AT_ONCE: usize = 2;
const UPGRADE: Duration = Duration::from_secs(600);
const BINARIES: [&str; 3] = ["control-plane", "shop-agent", "shopctl"];
const SMALL: &str = "store-agent";

/// Forty have to fit into what one machine can reserve.
const SMALL_STORE: [&str; 14] = [
    "--profile",
    "search=none",
    "--set",
    "php_children=2",
    "--set",
    "db_buffer=32M",
    "--resources",
    "php-fpm.memory=96M",
    "--resources",
    "db.memory=160M",
    "--resources",
    "php-fpm.cpu=0.4",
    "--resources",
    "db.cpu=0.3",
];

/// Container of a service and when it started, of all stores.
type Services = BTreeMap<String, String>;

#[test]
fn stores_serve_while_everything_of_ours_is_replaced_and_put_back() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let count = match std::env::var("SHOPFLEET_UPGRADE_STORES") {
        Ok(text) => text.parse()?,
        Err(_) => STORES,
    };
    let stores: Vec<Store> = (0..count)
        .map(|n| fleet.create(&format!("fleet-{n}"), &SMALL_STORE))
        .collect::<anyhow::Result<_>>()?;
    for store in &stores {
        store.wait_status("running")?;
        store.wait_serving(PATIENCE)?;
    }
    let ids: Vec<String> = stores
        .iter()
        .map(Store::id)
        .collect::<anyhow::Result<_>>()?;
    let before = services(&ids)?;
    assert_eq!(
        before.len(),
        count * 4,
        "web, php-fpm, db and cache of each"
    );
    let built = built()?;
    let other = tempfile::tempdir()?;
    alter(&built, other.path())?;
    let loads: Vec<Load> = stores
        .iter()
        .map(|store| {
            let rates = Rates {
                pages: 1,
                buyers: 0,
            };
            Load::start(&site(store)?, rates)
        })
        .collect::<anyhow::Result<_>>()?;
    for bins in [other.path(), &built] {
        let ours = Listener::start(&["shopfleet.node"], &["die", "start"])?;
        upgrade(bins)?;
        settled(&fleet, &ids)?;
        let events = ours.finish()?;
        let first = |action, end| {
            let found = events
                .iter()
                .position(|it| it.action == action && it.name.ends_with(end));
            found.with_context(|| format!("no {action} of {end}"))
        };
        // Every buyer waits for who says which containers serve.
        assert!(first("start", "-names-next")? < first("die", "-agent")?);
        let agents: Vec<Event> = events
            .into_iter()
            .filter(|it| it.name.ends_with("-agent"))
            .collect();
        let most = most_down(&agents);
        println!("at most {most} of {count} shop agents were down at once");
        assert!((1..=AGENTS_AT_ONCE).contains(&most), "{most}");
    }
    let (mut requests, mut failed) = (0, Vec::new());
    for (store, load) in stores.iter().zip(loads) {
        let books = load.finish()?.books();
        requests += books.requests;
        failed.extend(books.failures.into_iter().map(|it| (&store.name, it)));
    }
    println!("{requests} requests at {count} stores");
    assert_eq!(services(&ids)?, before, "services were touched");
    assert_eq!(failed, []);
    for store in &stores {
        fleet
            .ctl(&["store", "delete", &store.name, "--yes", "--now"])?
            .ok()?;
    }
    wait_every(
        Duration::from_millis(500),
        "all are gone",
        PATIENCE * 3,
        || {
            Ok(fleet
                .stores()?
                .iter()
                .filter(|s| s.name.starts_with("fleet-"))
                .count())
        },
        |left| *left == 0,
    )
    .map(drop)
}

/// Where the installed binaries were built, the small one among them.
fn built() -> anyhow::Result<std::path::PathBuf> {
    let target = root().join("target/x86_64-unknown-linux-gnu");
    let directory = target.join("quick");
    let small = directory.join(SMALL);
    fs::copy(target.join("agent/shop-agent"), &small).context("the store agent is not built")?;
    Ok(directory)
}

/// The same programs as other files: what comes after the end of an executable is not looked at.
fn alter(from: &Path, to: &Path) -> anyhow::Result<()> {
    for name in BINARIES.into_iter().chain([SMALL]) {
        let copy = to.join(name);
        fs::copy(from.join(name), &copy).with_context(|| name.to_owned())?;
        fs::OpenOptions::new()
            .append(true)
            .open(copy)?
            .write_all(b"another build")?;
    }
    Ok(())
}

fn upgrade(bins: &Path) -> anyhow::Result<()> {
    let program = root().join("deploy/quickstart");
    let bins = bins.to_string_lossy();
    let said = process::run(
        &program.to_string_lossy(),
        &["--yes", "--no-store", "--bins", &bins],
        UPGRADE,
    )?
    .ok()?;
    anyhow::ensure!(
        !said.contains("same  container shopfleet-node"),
        "nothing was upgraded: {said}"
    );
    Ok(())
}

/// Every shop agent runs from the image that is there now, and every store says that it runs.
fn settled(fleet: &Fleet, ids: &[String]) -> anyhow::Result<()> {
    let image = docker::docker(&[
        "image",
        "inspect",
        "--format",
        "{{.Id}}",
        "shopfleet/shop-agent:1",
    ])?
    .ok()?;
    let look = || {
        let mut old = 0;
        for id in ids {
            let agents = docker::docker(&[
                "ps",
                "--quiet",
                "--filter",
                &format!("name=-{id}-agent$"),
                "--filter",
                &format!("ancestor={}", image.trim()),
            ])?
            .ok()?;
            old += usize::from(agents.trim().is_empty());
        }
        Ok(old)
    };
    wait_every(
        Duration::from_secs(1),
        "every shop agent is of this build",
        UPGRADE,
        look,
        |old| *old == 0,
    )?;
    wait_for(
        "all stores run",
        PATIENCE,
        || {
            let stores = fleet.stores()?;
            Ok(stores
                .iter()
                .filter(|s| ids.contains(&s.id) && s.status != "running")
                .count())
        },
        |others| *others == 0,
    )
    .map(drop)
}

fn services(ids: &[String]) -> anyhow::Result<Services> {
    let mut all = Services::new();
    for id in ids {
        let found = crate::kills::services(id)?;
        all.extend(found);
    }
    Ok(all)
}
