//! A Docker on a bad day, between the node agent and it: errors, hangs, slow and lost and broken answers, an event stream that falls
//! silent; and Docker itself killed. On a fleet of the story's own. Whatever happens: one copy of everything, and in the end nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use shop_tests::engine_proxy::{EngineProxy, Fault, Rule};
use shop_tests::fleet::{Fleet, PATIENCE, Store};
use shop_tests::host::{GATEWAY, SecondHost};
use shop_tests::plane::{Database, Plane};
use shop_tests::wait::wait_for;

use crate::kills::next;

/// How often Docker is killed while a store is made; the moments come from a fixed seed.
const DOCKER_KILLS: u64 = 4;
/// Services of a refshop without search.
const SERVICES: [&str; 4] = ["cache", "db", "php-fpm", "web"];

const fn rule(method: &'static str, path: &'static str, fault: Fault, times: usize) -> Rule {
    Rule {
        method,
        path,
        fault,
        times,
    }
}

/// What goes wrong while a store is made, served and deleted; each line is a day of its own.
fn days() -> Vec<(&'static str, Vec<Rule>)> {
    let later = Fault::Slow(Duration::from_millis(1500));
    vec![
        (
            "refused",
            vec![
                rule("POST", "/networks/create", Fault::Status(500), 2),
                rule("POST", "/volumes/create", Fault::Status(500), 2),
                rule("POST", "/containers/create", Fault::Status(500), 3),
                rule("POST", "/start", Fault::Status(500), 3),
            ],
        ),
        (
            "contradicted",
            vec![
                rule("POST", "/containers/create", Fault::Status(409), 2),
                rule("POST", "/start", Fault::Status(404), 2),
                rule("GET", "/containers/", Fault::Status(404), 3),
                rule("GET", "/networks", Fault::Status(404), 2),
            ],
        ),
        (
            "lost",
            vec![
                rule("POST", "/networks/create", Fault::Lost, 2),
                rule("POST", "/volumes/create", Fault::Lost, 2),
                rule("POST", "/containers/create", Fault::Lost, 4),
                rule("POST", "/start", Fault::Lost, 4),
            ],
        ),
        (
            "slow-and-broken",
            vec![
                rule("POST", "/containers/create", later, 4),
                rule("POST", "/start", later, 3),
                rule("GET", "/containers/json", Fault::Half, 3),
                rule("POST", "/containers/create", Fault::Half, 2),
            ],
        ),
        (
            "hanging",
            vec![
                rule("POST", "/containers/create", Fault::Hang, 1),
                rule("POST", "/start", Fault::Hang, 1),
                rule("GET", "/containers/json", Fault::Hang, 2),
            ],
        ),
    ]
}

fn parts(plane: &Plane, host: &mut SecondHost) -> anyhow::Result<(Fleet, EngineProxy)> {
    let fleet = plane.fleet(host.edge());
    let socket = host.path("spoilt.sock");
    let proxy = EngineProxy::start(Path::new(&socket), Path::new(&host.socket()))?;
    host.join_through(&fleet, &socket)?;
    host.ready(&fleet)?;
    Ok((fleet, proxy))
}

/// Exactly one container of each service, and the agent.
fn one_of_each(host: &SecondHost, store: &Store) -> anyhow::Result<()> {
    let id = store.id()?;
    let whole = |names: &Vec<String>| {
        names.len() == SERVICES.len() + 1
            && SERVICES.iter().all(|s| {
                names
                    .iter()
                    .filter(|n| n.contains(&format!("-{s}-")))
                    .count()
                    == 1
            })
    };
    let services = || {
        let mut names = host.of_store(&id)?;
        names.retain(|name| !name.contains("-task-"));
        Ok(names)
    };
    wait_for(
        "there is one container of each service",
        PATIENCE,
        services,
        whole,
    )
    .map(drop)
}

fn gone(host: &SecondHost, store: &Store, id: &str) -> anyhow::Result<()> {
    wait_for(
        "it is deleted",
        PATIENCE,
        || Ok(store.delete().map_err(|error| format!("{error:#}"))),
        |done| done.is_ok() || store.get().is_err(),
    )?
    .ok();
    wait_for(
        "nothing is left of it",
        PATIENCE,
        || host.left_of(id),
        Vec::is_empty,
    )
    .map(drop)
}

#[test]
fn a_docker_that_errs_hangs_and_forgets_makes_and_deletes_stores_all_the_same() -> anyhow::Result<()>
{
    let plane = Plane::start(&Database::Sqlite, GATEWAY, &[])?;
    let mut host = SecondHost::start()?;
    let (fleet, proxy) = parts(&plane, &mut host)?;
    for (day, rules) in days() {
        let began = Instant::now();
        rules.into_iter().for_each(|rule| proxy.spoil(rule));
        let store = fleet.create(day, &["--profile", "search=none"])?;
        let id = store.id()?;
        store.wait_status("running")?;
        proxy.behave();
        store.wait_serving(Duration::from_secs(30))?;
        one_of_each(&host, &store)?;
        let made = began.elapsed();

        for rule in [
            rule("POST", "/stop", Fault::Lost, 1),
            rule("DELETE", "/containers/", Fault::Status(500), 2),
            rule("DELETE", "/containers/", Fault::Lost, 2),
            rule("DELETE", "/volumes/", Fault::Status(409), 2),
            rule("DELETE", "/networks/", Fault::Status(500), 2),
        ] {
            proxy.spoil(rule);
        }
        gone(&host, &store, &id)?;
        proxy.behave();
        println!(
            "{day}: running after {made:?}, all over after {:?}",
            began.elapsed()
        );
    }
    println!("spoilt: {}", proxy.spoilt().len());
    assert!(proxy.spoilt().len() > 40, "{:?}", proxy.spoilt());
    Ok(())
}

#[test]
fn an_event_stream_that_says_nothing_hides_no_death() -> anyhow::Result<()> {
    let plane = Plane::start(&Database::Sqlite, GATEWAY, &[])?;
    let mut host = SecondHost::start()?;
    let fleet = plane.fleet(host.edge());
    let socket = host.path("spoilt.sock");
    let proxy = EngineProxy::start(Path::new(&socket), Path::new(&host.socket()))?;
    proxy.spoil(rule("GET", "/events", Fault::Ended, 3));
    proxy.spoil(rule("GET", "/events", Fault::Silent, 1000));
    host.join_through(&fleet, &socket)?;
    host.ready(&fleet)?;
    let store = fleet.create_running("unheard", &["--profile", "search=none"])?;
    store.wait_serving(Duration::from_secs(30))?;
    let id = store.id()?;
    for service in ["php-fpm", "db"] {
        let filter = format!("label=shopfleet.store={id}");
        let of = format!("label=shopfleet.service={service}");
        let container = host.docker(&["ps", "--quiet", "--filter", &filter, "--filter", &of])?;
        let killed = Instant::now();
        host.docker(&["kill", container.trim()])?;
        wait_for(
            "it runs again",
            PATIENCE,
            || host.docker(&["ps", "--quiet", "--filter", &filter, "--filter", &of]),
            |id| !id.trim().is_empty(),
        )?;
        store.wait_serving(Duration::from_secs(60))?;
        println!(
            "{service} killed unheard: serving after {:?}",
            killed.elapsed()
        );
    }
    gone(&host, &store, &id)
}

#[test]
fn docker_killed_while_stores_are_made() -> anyhow::Result<()> {
    let plane = Plane::start(&Database::Sqlite, GATEWAY, &[])?;
    let mut host = SecondHost::start()?;
    let fleet = plane.fleet(host.edge());
    host.join(&fleet)?;
    host.ready(&fleet)?;
    let mut seed = 0x5EED_0D0C_u64;
    for round in 0..DOCKER_KILLS {
        let store = fleet.create(&format!("docked-{round}"), &["--profile", "search=none"])?;
        let id = store.id()?;
        let began = Instant::now();
        let moment = Duration::from_millis(next(&mut seed) % 2500);
        wait_for(
            "the moment has come",
            moment + PATIENCE,
            || Ok(began.elapsed()),
            |past| *past >= moment,
        )?;
        host.kill_docker()?;
        store.wait_status_through_outage("running")?;
        store
            .wait_serving(Duration::from_secs(60))
            .with_context(|| picture(&host))?;
        one_of_each(&host, &store)?;
        println!(
            "round {round}: Docker killed after {moment:?}, running after {:?}",
            began.elapsed()
        );
        gone(&host, &store, &id)?;
    }
    Ok(())
}

/// What the host looks like, for a story that gave up.
fn picture(host: &SecondHost) -> String {
    let containers = host
        .docker(&["ps", "--all", "--format", "{{.Names}} {{.Status}}"])
        .unwrap_or_else(|error| format!("{error:#}"));
    format!("{containers}\n{}", host.log_tail("agent.log"))
}
