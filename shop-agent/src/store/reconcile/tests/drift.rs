//! What somebody does by hand: seen, told, repaired; or left alone while a hold lasts.

use super::*;
use crate::{
    engine::Limits,
    ledger::{Drift, DriftKind, DriftWhat},
};

fn open(report: &Report, what: DriftWhat) -> bool {
    report.drift.iter().any(|it| it.what == what && it.open())
}

fn repaired(report: &Report, what: DriftWhat) -> bool {
    report.drift.iter().any(|it| it.what == what && !it.open())
}

/// An order like the first, held for an hour.
fn held(generation: u64) -> Accepted {
    let mut order = fixtures::order(generation);
    let hour = 3600 * 1000;
    order.spec.hold_until_unix_ms = Some(Timestamp::now().as_millisecond() + hour);
    order
}

/// The engine tells a container's limits, which are right.
fn limited(machine: &Machine, key: &ReplicaKey) -> Limits {
    let container = &machine.plan.service(&key.service).unwrap().container;
    let right = Limits::from(container);
    machine
        .engine
        .limit(machine.plan.digest(), [(key.clone(), right)]);
    machine.engine.tamper(key, right);
    right
}

#[tokio::test(start_paused = true)]
async fn what_is_stopped_or_removed_by_hand_comes_back_and_is_told() {
    let (machine, mut agent) = provisioned().await;
    machine.engine.kill(&key("cache"), 0, false);
    agent.until("seen", |it| open(it, DriftWhat::Stopped)).await;
    agent
        .until("repaired", |it| repaired(it, DriftWhat::Stopped))
        .await;
    machine.engine.vanish(&key("cache"));
    agent.until("seen", |it| open(it, DriftWhat::Removed)).await;
    agent
        .until("repaired", |it| repaired(it, DriftWhat::Removed))
        .await;
    assert!(machine.engine.running().contains(&key("cache")));
    let mut codes = BTreeSet::new();
    while let Ok(notice) = agent.notices.try_recv() {
        if let Notice::Event(event) = notice {
            codes.insert(event.code);
        }
    }
    for code in ["drift_stopped", "drift_removed", "drift_repaired"] {
        assert!(codes.contains(code), "{codes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn limits_changed_by_hand_are_put_right() {
    let (machine, mut agent) = provisioned().await;
    let cache = key("cache");
    let right = limited(&machine, &cache);
    // It was looked at before somebody changes it.
    let mut wrong = right;
    wrong.memory_bytes /= 2;
    tokio::time::sleep(RELIST * 2).await;
    machine.engine.tamper(&cache, wrong);
    let limits = |it: &Drift| it.kind == DriftKind::Limits;
    agent
        .until("seen", |it| {
            it.drift.iter().any(|it| limits(it) && it.open())
        })
        .await;
    agent
        .until("repaired", |it| {
            it.drift.iter().any(|it| limits(it) && !it.open())
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_hold_shows_and_leaves_alone_and_survives_the_agent() {
    let (machine, mut agent) = provisioned().await;
    agent.order(held(2)).await.unwrap();
    machine.engine.kill(&key("cache"), 0, false);
    agent.until("seen", |it| open(it, DriftWhat::Stopped)).await;
    // What crashes is started again all the same.
    machine.engine.kill(&key("search"), 1, false);
    while !machine.engine.running().contains(&key("search")) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    agent.dies().await;
    let mut next = machine.agent();
    next.until("told", |it| open(it, DriftWhat::Stopped)).await;
    tokio::time::sleep(RELIST * 4).await;
    assert!(!machine.engine.running().contains(&key("cache")));
    next.order(fixtures::order(3)).await.unwrap();
    next.until("repaired", |it| repaired(it, DriftWhat::Stopped))
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_noted_and_is_over_is_no_trouble_any_more() {
    let (machine, mut agent) = provisioned().await;
    agent.order(held(2)).await.unwrap();
    let cache = key("cache");
    let right = limited(&machine, &cache);
    tokio::time::sleep(RELIST * 2).await;
    // In the place of every new ledger: as if there was no room for one.
    let in_the_way = machine.disk.path().join("ledger.json.new");
    std::fs::create_dir(&in_the_way).unwrap();
    let mut wrong = right;
    wrong.memory_bytes /= 2;
    machine.engine.tamper(&cache, wrong);
    let told = |report: &Report| report.message.contains("ledger");
    agent.until("told", told).await;
    // Who changed it puts it right before it could be noted.
    machine.engine.tamper(&cache, right);
    let well = |report: &Report| report.state == State::Running && report.reason.is_empty();
    agent.until("well", well).await;
    std::fs::remove_dir(&in_the_way).unwrap();
}
