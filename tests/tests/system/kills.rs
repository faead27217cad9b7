//! kill -9 of every process of ours, one after the other, and what a buyer notices of it.

use std::time::{Duration, Instant};

use anyhow::Context;
use shop_tests::docker::{self, Container};
use shop_tests::fleet::{Fleet, PATIENCE, Store};
use shop_tests::shop::{self, Buyer, Outcome};
use shop_tests::traffic::Traffic;
use shop_tests::wait::wait_for;

pub const CONTROL_PLANE: &str = "shopfleet-control-plane";
pub const NODE_AGENT: &str = "shopfleet-node";
/// How often provisioning is hit at a random moment; the moments come from a fixed seed.
const RANDOM_KILLS: u64 = 20;
/// Longer than provisioning takes beside a deletion, on two cores.
const PROVISIONING_MS: u64 = 4000;

fn demo() -> anyhow::Result<(Fleet, Store)> {
    let fleet = Fleet::installed()?;
    let demo = fleet.existing("demo")?;
    demo.wait_serving(Duration::from_secs(30))?;
    Ok((fleet, demo))
}

/// Services of a store and when they started: shows whether any of them was touched.
pub fn services(store: &str) -> anyhow::Result<Vec<(String, String)>> {
    let all = docker::of_store(store)?.into_iter();
    let mut found: Vec<_> = all
        .filter(|c| {
            c.running
                && !c.label("service").is_empty()
                && !c.name.ends_with("-agent")
                && !c.name.contains("-task-")
        })
        .map(|c| (c.name, c.started_at))
        .collect();
    found.sort();
    Ok(found)
}

fn by_name(name: &str) -> anyhow::Result<Container> {
    let found = docker::containers(&[&format!("name=^/{name}$")])?;
    found
        .into_iter()
        .next()
        .with_context(|| format!("no container {name}"))
}

fn wait_restarted(before: &Container) -> anyhow::Result<()> {
    let what = format!("{} runs again", before.name);
    let again = |now: &Container| now.running && now.started_at != before.started_at;
    wait_for(&what, PATIENCE, || by_name(&before.name), again).map(drop)
}

/// Kills `victim` under load; nothing a buyer asks for may fail, and no service may be touched.
fn unnoticed(victim: &str) -> anyhow::Result<()> {
    let (_, demo) = demo()?;
    let id = demo.id()?;
    let before = services(&id)?;
    let traffic = Traffic::start(&demo, "/")?;
    let container = by_name(victim)?;
    docker::kill(&container.name)?;
    wait_restarted(&container)?;
    traffic.more(30)?;
    let seen = traffic.stop()?;
    assert_eq!(
        seen.failures,
        [],
        "{victim} was missed by {} of {} requests",
        seen.failures.len(),
        seen.requests
    );
    assert_eq!(services(&id)?, before, "services were restarted");
    demo.wait_status("running")?;
    Ok(())
}

#[test]
fn control_plane_killed() -> anyhow::Result<()> {
    unnoticed(CONTROL_PLANE)
}

#[test]
fn node_agent_killed() -> anyhow::Result<()> {
    unnoticed(NODE_AGENT)
}

#[test]
fn name_responder_killed() -> anyhow::Result<()> {
    let node = Fleet::installed()?.setting("node_id")?.to_owned();
    unnoticed(&format!("sf-{node}-names"))
}

#[test]
fn shop_agent_killed() -> anyhow::Result<()> {
    let (_, demo) = demo()?;
    let view = demo.get()?;
    unnoticed(&format!(
        "sf-{}-{}-agent",
        view.node.unwrap_or_default(),
        view.id
    ))
}

#[test]
fn database_killed_serves_again_with_its_orders() -> anyhow::Result<()> {
    let (_, demo) = demo()?;
    let Outcome::Ordered(_) = Buyer::new(&demo)?.buy("waffle-towel")? else {
        anyhow::bail!("sold out")
    };
    let orders = shop::orders(&demo)?;
    let db = docker::service(&demo.id()?, "db")?;
    let traffic = Traffic::start(&demo, "/")?;
    docker::kill(&db.name)?;
    wait_restarted(&db)?;
    demo.wait_serving(Duration::from_secs(30))?;
    traffic.more(10)?;
    let seen = traffic.stop()?;
    println!(
        "db killed: {} of {} requests failed over {:?}, slowest {:?}",
        seen.failures.len(),
        seen.requests,
        seen.outage,
        seen.slowest
    );
    assert!(
        seen.failures.iter().all(|(status, _)| *status == 503),
        "not an error page: {:?}",
        seen.failures
    );
    assert_eq!(shop::orders(&demo)?, orders, "orders were lost");
    Ok(())
}

#[test]
fn edge_gone_comes_back_with_all_routes() -> anyhow::Result<()> {
    let (fleet, demo) = demo()?;
    let node = format!("label=shopfleet.node={}", fleet.setting("node_id")?);
    let removed = Instant::now();
    for edge in docker::containers(&["label=shopfleet.kind=edge", &node])? {
        docker::docker(&["rm", "--force", "--volumes", &edge.name])?.ok()?;
    }
    demo.wait_serving(Duration::from_secs(30))?;
    println!("edge removed: routes back after {:?}", removed.elapsed());
    Ok(())
}

#[test]
fn control_plane_away_stores_are_repaired_and_the_cli_says_so() -> anyhow::Result<()> {
    let (fleet, demo) = demo()?;
    let id = demo.id()?;
    let url = demo.url()?;
    docker::docker(&["stop", "--time", "10", CONTROL_PLANE])?.ok()?;
    let outcome = (|| -> anyhow::Result<()> {
        let said = fleet.ctl(&["status"])?;
        assert_eq!(said.code, Some(1));
        assert!(
            said.stderr.contains("127.0.0.1:7440"),
            "does not say what is unreachable: {}",
            said.stderr
        );
        let cache = docker::service(&id, "cache")?;
        docker::kill(&cache.name)?;
        wait_restarted(&cache)?;
        let health = format!("{}/health", url.trim_end_matches('/'));
        wait_for(
            "the shop is whole again",
            PATIENCE,
            || fleet.get(&health, &[]),
            |a| a.status == 200,
        )?;
        Ok(())
    })();
    docker::docker(&["start", CONTROL_PLANE])?.ok()?;
    outcome?;
    wait_for(
        "the control plane hears of the store again",
        PATIENCE,
        || demo.get(),
        |v| v.status == "running",
    )?;
    Ok(())
}

/// xorshift64*: a seeded sequence without a dependency.
pub fn next(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_F491_4F6C_DD1D)
}

#[test]
fn provisioning_survives_kills_at_random_moments() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let began = Instant::now();
    let node = fleet.setting("node_id")?;
    let args = ["--profile", "search=none", "--node", node];
    let mut seed = 0x5EED_0001_u64;
    // The last round's store goes while the next one is made: the same kill hits both.
    let mut going: Option<(Store, String)> = None;
    for round in 0..RANDOM_KILLS {
        let made = fleet.create(&format!("hit-{round}"), &args)?;
        let started = Instant::now();
        let id = made.id()?;
        if let Some((last, _)) = &going {
            let name = last.name.as_str();
            fleet
                .ctl(&["store", "delete", name, "--yes", "--now"])?
                .ok()?;
        }
        hit_at(
            &fleet,
            round,
            &id,
            started,
            next(&mut seed) % PROVISIONING_MS,
        )?;
        made.wait_status_through_outage("running")?;
        made.wait_serving(Duration::from_secs(30))?;
        let running = services(&id)?;
        assert_eq!(running.len(), 4, "not one of each service: {running:?}");
        if let Some((last, last_id)) = going.replace((made, id)) {
            deleted(&last, &last_id)?;
        }
    }
    if let Some((last, id)) = going {
        last.delete()?;
        deleted(&last, &id)?;
    }
    println!("{RANDOM_KILLS} rounds in {:?}", began.elapsed());
    Ok(())
}

/// Kills one of our three in turn, so many milliseconds after the store was asked for.
fn hit_at(
    fleet: &Fleet,
    round: u64,
    store: &str,
    started: Instant,
    moment: u64,
) -> anyhow::Result<()> {
    let moment = Duration::from_millis(moment);
    let victim = match round % 3 {
        0 => CONTROL_PLANE.to_owned(),
        1 => NODE_AGENT.to_owned(),
        _ => format!("sf-{}-{store}-agent", fleet.setting("node_id")?),
    };
    wait_for(
        "the moment has come",
        moment + PATIENCE,
        || Ok(started.elapsed()),
        |past| *past >= moment,
    )?;
    // At an early moment the agent is not there yet: then it dies as soon as it is.
    wait_for(
        "it is hit",
        PATIENCE,
        || Ok(docker::kill(&victim).is_ok()),
        |hit| *hit,
    )?;
    println!(
        "round {round}: {victim} after {moment:?}, hit after {:?}",
        started.elapsed()
    );
    Ok(())
}

/// Nothing is left of a store that was asked to go: no container, and no record but the receipt.
fn deleted(store: &Store, id: &str) -> anyhow::Result<()> {
    wait_for(
        "nothing is left",
        PATIENCE,
        || docker::of_store(id),
        Vec::is_empty,
    )?;
    wait_for(
        "its record says so",
        PATIENCE,
        || store.fleet.ctl(&["store", "get", &store.name]),
        |said| said.code == Some(1) && said.stderr.contains("no store"),
    )
    .map(drop)
}
