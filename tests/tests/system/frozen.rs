//! One of three replicas freezes under load: it answers nothing and closes nothing. It is ended and made anew, and no buyer is told of it.

use std::time::{Duration, Instant};

use serde_json::json;
use shop_tests::change::{change, site};
use shop_tests::docker::{self, Container};
use shop_tests::door::Door;
use shop_tests::fleet::{Fleet, PATIENCE, Store};
use shop_tests::load::{Load, Rates};
use shop_tests::wait::wait_for;

const REPLICAS: u32 = 3;
const CROWD: Rates = Rates {
    pages: 40,
    buyers: 0,
};
/// From then on nobody is sent to a frozen replica. Twice what it takes: other work shares the cores.
const OUT_AFTER: Duration = Duration::from_secs(4);
/// What is looked at after that.
const AFTERWARDS: Duration = Duration::from_secs(5);
/// Who is sent to a frozen replica waits longer than that: a web server tries to connect for a second.
const AT_ONCE: Duration = Duration::from_millis(900);

#[test]
fn a_frozen_replica_is_soon_out_and_no_request_fails() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let store = fleet.create_running("frozen", &["--profile", "search=none"])?;
    let body = json!({"replicas": {"web": REPLICAS, "php-fpm": REPLICAS}});
    change(&Door::open()?, &store.name, "scale", &body)?.succeeded()?;
    store.wait_serving(PATIENCE)?;
    let load = Load::start(&site(&store)?, CROWD)?;
    for service in ["php-fpm", "web"] {
        all_serve(&store, &load)?;
        freeze_one(&store, &load, service)?;
    }
    let books = load.finish()?.books();
    println!(
        "{} requests, {} failed",
        books.requests,
        books.failures.len()
    );
    assert_eq!(books.failures, []);
    store.delete()
}

/// Every replica is ready, and pages are answered for a while.
fn all_serve(store: &Store, load: &Load) -> anyhow::Result<()> {
    let ready = |service: &str| -> anyhow::Result<usize> {
        let view = store.get()?;
        let of = view.replicas.iter().filter(|it| it.service == service);
        Ok(of.filter(|it| it.phase == "ready").count())
    };
    wait_for(
        "all replicas are ready",
        PATIENCE,
        || Ok((ready("web")?, ready("php-fpm")?)),
        |seen| *seen == (REPLICAS as usize, REPLICAS as usize),
    )?;
    let until = load.recorder.now() + AFTERWARDS / 2;
    past(load, until)
}

fn past(load: &Load, moment: Duration) -> anyhow::Result<()> {
    wait_for(
        "buyers go on for a while",
        PATIENCE,
        || Ok(load.recorder.now()),
        |now| *now >= moment,
    )
    .map(drop)
}

fn freeze_one(store: &Store, load: &Load, service: &str) -> anyhow::Result<()> {
    let victim = docker::service(&store.id()?, service)?;
    docker::docker(&["pause", &victim.id])?.ok()?;
    let (frozen, at) = (Instant::now(), load.recorder.now());
    wait_for(
        "the frozen replica was ended",
        PATIENCE,
        || same(&victim),
        |still_there| !still_there,
    )?;
    let ended = frozen.elapsed();
    println!("{service}: ended {ended:?} after it froze");
    assert!(ended < OUT_AFTER, "{service}: {ended:?}");
    let (from, until) = (at + OUT_AFTER, at + OUT_AFTER + AFTERWARDS);
    past(load, until)?;
    let slowest = load.recorder.p99(from, until);
    println!("{service}: p99 of pages asked for from {OUT_AFTER:?} on: {slowest:?}");
    assert!(
        slowest.is_some_and(|it| it < AT_ONCE),
        "{service}: {slowest:?}"
    );
    Ok(())
}

/// Whether the container still has the process that was frozen.
fn same(victim: &Container) -> anyhow::Result<bool> {
    let found = docker::containers(&[&format!("name=^/{}$", victim.name)])?;
    Ok(found
        .iter()
        .any(|it| it.running && it.id == victim.id && it.started_at == victim.started_at))
}
