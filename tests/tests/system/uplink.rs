//! The way between agents and control plane on a bad day: answers of the enrolment that never arrive, and a minute in which nothing comes
//! through. On a fleet of the story's own, whose advertised addresses are proxies. It goes on by itself.

use std::time::{Duration, Instant};

use serde_json::Value;
use shop_tests::cut_proxy::{CutProxy, Line};
use shop_tests::fleet::{Fleet, PATIENCE, Store, StoreView};
use shop_tests::host::{SecondHost, gateway};
use shop_tests::plane::{Database, Plane, agents, enrolment};
use shop_tests::traffic::Traffic;
use shop_tests::wait::{wait_every, wait_for};

use crate::engine_faults::{gone, one_of_each};

/// Where agents believe the control plane to be.
const ENROLMENT_DOOR: u16 = 17452;
const AGENTS_DOOR: u16 = 17453;
/// Lost of each agent's enrolment before one comes through.
const LOST: usize = 2;
const MINUTE: Duration = Duration::from_secs(60);
/// Looks beside buyers.
const PAUSE: Duration = Duration::from_millis(500);

#[test]
fn lost_answers_and_a_minute_of_silence_are_got_over() -> anyhow::Result<()> {
    let enrolment = CutProxy::start(ENROLMENT_DOOR, enrolment())?;
    let uplink = CutProxy::start(AGENTS_DOOR, agents())?;
    let doors = format!("{}:{ENROLMENT_DOOR},{AGENTS_DOOR}", gateway());
    let plane = Plane::start(&Database::Sqlite, &doors, &[])?;
    let mut host = SecondHost::start()?;
    let fleet = plane.fleet(host.edge());

    joins_although_answers_are_lost(&enrolment, &fleet, &mut host)?;
    let store = is_made_although_answers_are_lost(&enrolment, &fleet, &host)?;
    outlives_a_minute(&uplink, &store, &host)?;
    fleet.ctl(&["audit", "verify"])?.ok()?;
    let refused = audit(&fleet, |entry| entry["decision"] == "denied")?;
    assert!(refused.is_empty(), "somebody was refused: {refused:?}");
    let id = store.id()?;
    gone(&host, &store, &id)
}

/// Entries of the audit chain, as (actor, subject, decision).
fn audit(fleet: &Fleet, which: impl Fn(&Value) -> bool) -> anyhow::Result<Vec<[String; 3]>> {
    let entries: Vec<Value> = fleet.json(&["audit", "list", "--limit", "500"])?;
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let parts = |entry: &Value| ["actor", "subject", "decision"].map(|name| text(entry, name));
    Ok(entries.iter().filter(|e| which(e)).map(parts).collect())
}

/// The same key asks again with the same token, and is the same node each time.
fn joins_although_answers_are_lost(
    enrolment: &CutProxy,
    fleet: &Fleet,
    host: &mut SecondHost,
) -> anyhow::Result<()> {
    enrolment.lose_answers(LOST);
    host.join(fleet)?;
    let node = host.ready(fleet)?;
    assert_eq!(enrolment.lost(), LOST, "nothing was lost");
    let nodes = fleet.nodes()?;
    assert_eq!(nodes.len(), 1, "{nodes:?}");
    let told = audit(fleet, |entry| entry["action"] == "node.enrol")?;
    println!("joined as {node}: {told:?}");
    assert_eq!(told.len(), LOST + 1, "{told:?}");
    for [actor, subject, decision] in &told {
        assert_eq!(*actor, format!("node:{node}"), "another node: {told:?}");
        assert_eq!(*subject, told[0][1], "another token: {told:?}");
        assert_eq!(decision, "allowed", "{told:?}");
    }
    Ok(())
}

fn is_made_although_answers_are_lost(
    enrolment: &CutProxy,
    fleet: &Fleet,
    host: &SecondHost,
) -> anyhow::Result<Store> {
    let began = Instant::now();
    enrolment.lose_answers(LOST);
    let store = fleet.create_running("unanswered", &["--profile", "search=none"])?;
    assert_eq!(enrolment.lost(), 2 * LOST, "nothing was lost");
    store.wait_serving(Duration::from_secs(30))?;
    let told = audit(fleet, |entry| entry["action"] == "store.enrol")?;
    println!("running after {:?}: {told:?}", began.elapsed());
    let ours = format!("store:{}", store.id()?);
    assert_eq!(told.len(), LOST + 1, "{told:?}");
    assert!(
        told.iter()
            .all(|[actor, _, decision]| *actor == ours && decision == "allowed"),
        "{told:?}"
    );
    one_of_each(host, &store)?;
    Ok(store)
}

/// One store serves, another one is being made, when nothing comes through any more; at first silently, then with every connection broken.
fn outlives_a_minute(uplink: &CutProxy, serving: &Store, host: &SecondHost) -> anyhow::Result<()> {
    let fleet = &serving.fleet;
    let traffic = Traffic::start(serving, "/")?;
    let made = fleet.create("cut-off", &["--profile", "search=none"])?;
    wait_for(
        "it is being made",
        PATIENCE,
        || made.get(),
        |view| view.node.is_some(),
    )?;
    uplink.be(Line::Silent);
    let cut = Instant::now();
    let at = |view: &StoreView| view.status == "unreachable";
    for store in [&made, serving] {
        let told = wait_every(
            PAUSE,
            "explain names the node",
            MINUTE,
            || causes(store),
            |codes| codes.contains(&"node_away".to_owned()),
        )?;
        println!("{} after {:?}: {told:?}", store.name, cut.elapsed());
    }
    for store in [&made, serving] {
        let view = wait_every(
            PAUSE,
            "it is called unreachable",
            MINUTE,
            || store.get(),
            at,
        )?;
        println!(
            "{} after {:?}: {:?}",
            store.name,
            cut.elapsed(),
            view.message
        );
        assert_eq!(view.reason.as_deref(), Some("node_unreachable"));
    }
    uplink.be(Line::Broken);
    let over = |past: &Duration| *past >= MINUTE;
    wait_every(
        PAUSE,
        "the minute is over",
        MINUTE * 2,
        || Ok(cut.elapsed()),
        over,
    )?;
    for store in [&made, serving] {
        assert_eq!(store.get()?.status, "unreachable", "of {}", store.name);
    }
    let before = containers(host, serving)?;

    uplink.be(Line::Open);
    let healed = Instant::now();
    for store in [&made, serving] {
        store.wait_status("running")?;
        println!("{} runs {:?} after the cut", store.name, healed.elapsed());
    }
    made.wait_serving(Duration::from_secs(30))?;
    for store in [&made, serving] {
        one_of_each(host, store)?;
        wait_every(
            PAUSE,
            "nothing is left to explain",
            PATIENCE,
            || causes(store),
            Vec::is_empty,
        )?;
    }
    assert_eq!(
        containers(host, serving)?,
        before,
        "a serving store was touched"
    );
    let seen = traffic.stop()?;
    assert_eq!(seen.failures, [], "buyers noticed, of {}", seen.requests);
    let id = made.id()?;
    gone(host, &made, &id)
}

/// Codes of what `store explain` says.
fn causes(store: &Store) -> anyhow::Result<Vec<String>> {
    let said: Value = store.fleet.json(&["store", "explain", &store.name])?;
    let causes = said["causes"].as_array().into_iter().flatten();
    Ok(causes
        .filter_map(|cause| cause["code"].as_str().map(str::to_owned))
        .collect())
}

/// Containers of a store's services and its agent: name, when made, when started.
fn containers(host: &SecondHost, store: &Store) -> anyhow::Result<Vec<String>> {
    let filter = format!("label=shopfleet.store={}", store.id()?);
    let ids = host.docker(&["ps", "--quiet", "--filter", &filter])?;
    let mut args = vec![
        "inspect",
        "--format",
        "{{.Name}} {{.Created}} {{.State.StartedAt}}",
    ];
    args.extend(ids.split_whitespace());
    let mut lines: Vec<String> = host.docker(&args)?.lines().map(str::to_owned).collect();
    // Its tasks come and go by the clock.
    lines.retain(|line| !line.contains("-task-"));
    lines.sort();
    Ok(lines)
}
