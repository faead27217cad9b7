//! A Docker on a bad day, between the node agent and it: errors, hangs, slow and lost and broken answers, an event stream that falls
//! silent. On a fleet of the story's own. Whatever happens: one copy of everything, no order lost, and in the end nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use shop_tests::engine_proxy::{EngineProxy, Fault, Rule};
use shop_tests::fleet::{Fleet, PATIENCE, Store};
use shop_tests::host::{SecondHost, gateway};
use shop_tests::orders;
use shop_tests::plane::{Database, Plane};
use shop_tests::shop::{Buyer, Outcome};
use shop_tests::wait::wait_for;

/// Services of a refshop without search.
const SERVICES: [&str; 4] = ["cache", "db", "php-fpm", "web"];

/// How long a new revision is watched after the switch, in seconds.
const WINDOW: &str = "2";

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

/// What goes wrong on such a day while the store gets another release: each thing once, for every failure of one step doubles the wait
/// before it is tried again.
fn on_update(day: &str, mut rules: Vec<Rule>) -> Vec<Rule> {
    let fault = match day {
        "refused" => Fault::Status(500),
        "contradicted" => Fault::Status(404),
        "lost" => Fault::Lost,
        // A change that hangs is waited for to its deadline, and this day has had some.
        "hanging" => return vec![rule("GET", "/containers/json", Fault::Hang, 3)],
        _ => Fault::Slow(Duration::from_millis(1500)),
    };
    rules.iter_mut().for_each(|rule| rule.times = 1);
    // The old revision's containers go.
    for (method, path) in [
        ("POST", "/connect"),
        ("POST", "/stop"),
        ("DELETE", "/containers/"),
    ] {
        rules.push(rule(method, path, fault, 1));
    }
    rules
}

/// The store gets another release while the rules hold, and keeps its order.
fn updated(host: &SecondHost, proxy: &EngineProxy, store: &Store) -> anyhow::Result<()> {
    let ordered = bought(store)?;
    let before = proxy.spoilt().len();
    let update = ["--template", "refshop@2", "--window", WINDOW, "--wait"];
    let said = store
        .fleet
        .ctl(&[&["store", "update", &store.name], &update[..]].concat())?;
    println!(
        "{} answers were spoilt meanwhile",
        proxy.spoilt().len() - before
    );
    proxy.behave();
    said.ok()?;
    store.wait_status("running")?;
    let health = store.wait_serving(Duration::from_secs(30))?;
    assert!(health.body.contains("\"2.0.0\""), "{}", health.body);
    one_of_each(host, store)?;
    let (orders, _) = orders::all(store)?;
    assert!(orders.contains(&ordered), "{ordered} is lost: {orders:?}");
    Ok(())
}

/// One order, by its number.
pub fn bought(store: &Store) -> anyhow::Result<String> {
    match Buyer::new(store)?.buy("waffle-towel")? {
        Outcome::Ordered(number) => Ok(number),
        Outcome::SoldOut => anyhow::bail!("sold out"),
    }
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
pub fn one_of_each(host: &SecondHost, store: &Store) -> anyhow::Result<()> {
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

pub fn gone(host: &SecondHost, store: &Store, id: &str) -> anyhow::Result<()> {
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
    let plane = Plane::start(&Database::Sqlite, &gateway(), &[])?;
    let mut host = SecondHost::start()?;
    let (fleet, proxy) = parts(&plane, &mut host)?;
    for (day, rules) in days() {
        let began = Instant::now();
        let spoilt = on_update(day, rules.clone());
        rules.into_iter().for_each(|rule| proxy.spoil(rule));
        let args = ["--template", "refshop@1", "--profile", "search=none"];
        let store = fleet.create(day, &args)?;
        let id = store.id()?;
        store.wait_status("running")?;
        proxy.behave();
        store.wait_serving(Duration::from_secs(30))?;
        one_of_each(&host, &store)?;
        let made = began.elapsed();
        spoilt.into_iter().for_each(|rule| proxy.spoil(rule));
        updated(&host, &proxy, &store)?;
        let updated = began.elapsed();

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
            "{day}: running after {made:?}, updated after {updated:?}, all over after {:?}",
            began.elapsed()
        );
    }
    println!("spoilt: {}", proxy.spoilt().len());
    assert!(proxy.spoilt().len() > 40, "{:?}", proxy.spoilt());
    Ok(())
}

#[test]
fn an_event_stream_that_says_nothing_hides_no_death() -> anyhow::Result<()> {
    let plane = Plane::start(&Database::Sqlite, &gateway(), &[])?;
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
