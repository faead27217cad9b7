//! What can go wrong with one store while it is made, on a fleet of the story's own: its control plane keeps its state in PostgreSQL
//! and gives up on a store after half a minute.

use std::time::{Duration, Instant};

use anyhow::Context;
use shop_tests::fleet::{Fleet, PATIENCE, Store};
use shop_tests::host::{SecondHost, gateway};
use shop_tests::plane::{Database, Plane};
use shop_tests::shop::{self, Buyer, Outcome};
use shop_tests::traffic::Traffic;
use shop_tests::wait::{wait_every, wait_for};

/// Ten times what a store takes that can start; each fault is waited out to its end.
const DEADLINE: (&str, &str) = ("SHOPFLEET_PROVISION_DEADLINE", "30s");
const KEPT: &str = "shopfleet-story/kept:1";
const CACHE: &str = "shopfleet/redis:1";

fn postgres() -> anyhow::Result<Database> {
    let server = std::env::var("SHOPFLEET_TEST_POSTGRES")
        .context("SHOPFLEET_TEST_POSTGRES: a server to make databases on; tests/run starts one")?;
    let (server, _) = server.rsplit_once('/').context("no database in the URL")?;
    Ok(Database::Postgres(server.to_owned()))
}

/// Waits until the store is given up; says what was said about it.
fn given_up(store: &Store) -> anyhow::Result<String> {
    let view = store.wait_status("failed")?;
    Ok(format!(
        "{}: {}",
        view.reason.unwrap_or_default(),
        view.message.unwrap_or_default()
    ))
}

fn gone(host: &SecondHost, store: &Store) -> anyhow::Result<()> {
    let id = store.id()?;
    store.delete()?;
    wait_for(
        "nothing is left of it",
        PATIENCE,
        || host.left_of(&id),
        Vec::is_empty,
    )
    .map(drop)
}

/// Puts an image of a few words in the cache's place, for as long as `story` runs.
fn with_cache_image(
    host: &SecondHost,
    entrypoint: Option<&str>,
    story: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    host.docker(&["tag", CACHE, KEPT])?;
    host.docker(&["rmi", CACHE])?;
    let outcome = (|| {
        if let Some(entrypoint) = entrypoint {
            let change = format!("ENTRYPOINT {entrypoint}");
            let made = host.docker(&["create", "--name", "story-cache", KEPT])?;
            host.docker(&["commit", "--change", &change, made.trim(), CACHE])?;
            host.docker(&["rm", made.trim()])?;
        }
        story()
    })();
    host.docker(&["tag", KEPT, CACHE])?;
    host.docker(&["rmi", KEPT])?;
    outcome
}

#[test]
fn on_postgresql_what_cannot_start_is_given_up_with_its_reason() -> anyhow::Result<()> {
    let mut plane = Plane::start(&postgres()?, &gateway(), &[DEADLINE])?;
    let mut host = SecondHost::start()?;
    let fleet = plane.fleet(host.edge());
    host.join(&fleet)?;
    host.ready(&fleet)?;

    let well = fleet.create_running("well", &["--profile", "search=none"])?;
    well.wait_serving(Duration::from_secs(30))?;
    let Outcome::Ordered(_) = Buyer::new(&well)?.buy("teapot-linde")? else {
        anyhow::bail!("sold out")
    };
    plane.kill_and_restart()?;
    assert_eq!(well.get()?.status, "running");
    assert!(well.request("/", &[])?.status == 200);
    fleet.ctl(&["audit", "verify"])?.ok()?;

    image_missing(&host, &fleet)?;
    exits_at_start(&host, &fleet, &well)?;
    never_ready(&host, &fleet)?;

    assert_eq!(well.get()?.status, "running");
    well.delete()
}

fn image_missing(host: &SecondHost, fleet: &Fleet) -> anyhow::Result<()> {
    with_cache_image(host, None, || {
        let store = fleet.create("imageless", &["--profile", "search=none"])?;
        let said = given_up(&store)?;
        println!("image missing: {said}");
        assert!(said.contains("cache") && said.contains("image"), "{said}");
        gone(host, &store)
    })
}

/// One shop crashes again and again; its neighbour's buyers must not notice.
fn exits_at_start(host: &SecondHost, fleet: &Fleet, well: &Store) -> anyhow::Result<()> {
    let quiet = visits(well)?;
    let entrypoint = r#"["/bin/sh","-c","echo no room for sessions >&2; exit 3"]"#;
    with_cache_image(host, Some(entrypoint), || {
        let store = fleet.create("crasher", &["--profile", "search=none"])?;
        wait_for(
            "it crashed a few times",
            PATIENCE,
            || store.get(),
            |view| {
                view.replicas
                    .iter()
                    .any(|r| r.service == "cache" && r.restarts >= 2)
            },
        )?;
        let beside = visits(well)?;
        println!("a page of the neighbour: {quiet:?} alone, {beside:?} beside a crashing store");
        let said = given_up(&store)?;
        println!("exits at start: {said}");
        assert!(said.contains("cache") && said.contains('3'), "{said}");
        gone(host, &store)
    })
}

fn never_ready(host: &SecondHost, fleet: &Fleet) -> anyhow::Result<()> {
    let entrypoint = r#"["/bin/sleep","3600"]"#;
    with_cache_image(host, Some(entrypoint), || {
        let store = fleet.create("mute", &["--profile", "search=none"])?;
        let said = given_up(&store)?;
        println!("probe never succeeds: {said}");
        assert!(said.contains("cache"), "{said}");
        gone(host, &store)
    })
}

/// 40 pages, none of which may fail: the middle one's time.
fn visits(store: &Store) -> anyhow::Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..40 {
        let began = Instant::now();
        let answer = store.fleet.get(&store.url()?, &[])?;
        anyhow::ensure!(answer.status == 200, "{answer:?}");
        times.push(began.elapsed());
    }
    times.sort();
    Ok(times[times.len() / 2])
}

#[test]
fn a_full_disk_takes_no_new_store_and_kills_none() -> anyhow::Result<()> {
    let plane = Plane::start(&Database::Sqlite, &gateway(), &[])?;
    let mut host = SecondHost::start()?;
    host.small_disk(2048)?;
    let fleet = plane.fleet(host.edge());
    host.join(&fleet)?;
    host.ready(&fleet)?;
    let before = fleet.create_running("before", &["--profile", "search=none"])?;
    before.wait_serving(Duration::from_secs(30))?;

    host.fill("state", 87)?;
    let late = waits_for_a_disk(&fleet)?;

    host.fill("state", 96)?;
    let alarm = wait_every(
        Duration::from_millis(500),
        "the alarm is raised",
        PATIENCE,
        || Ok(host.log_tail("agent.log")),
        |said| said.contains("is nearly full"),
    );
    println!(
        "95 %: {}",
        if alarm.is_ok() {
            "alarm seen"
        } else {
            "no alarm"
        }
    );
    assert_eq!(
        before.request("/", &[])?.status,
        200,
        "the store was not left alone"
    );
    alarm?;

    host.unfill("state")?;
    late.wait_status("running")?;
    let traffic = Traffic::start(&before, "/")?;
    traffic.more(10)?;
    assert_eq!(traffic.stop()?.failures, []);
    assert_eq!(shop::orders(&before).unwrap_or(0), 0);
    Ok(())
}

/// The node says now and then how full its disk is; from then on a new store waits. Those that came before that are taken away again.
fn waits_for_a_disk(fleet: &Fleet) -> anyhow::Result<Store> {
    for index in 0..20 {
        let late = fleet.create(&format!("late-{index}"), &["--profile", "search=none"])?;
        let view = wait_for(
            "a new store runs or says what it waits for",
            PATIENCE,
            || late.get(),
            |view| view.reason.as_deref() == Some("disk_pressure") || view.status == "running",
        )?;
        if view.status == "pending" {
            println!("85 %: {}", view.message.unwrap_or_default());
            return Ok(late);
        }
        late.delete()?;
    }
    anyhow::bail!("stores are still put on a disk that is 87 % full")
}
