//! Runs of operators and of the schedule, and what a hold leaves alone.

use shop_plan::{CronPlan, When};

use super::*;
use crate::{
    ledger::{Run, RunBy},
    store::steps::tasks::second,
};

fn run(id: &str, task: &ServiceName) -> Run {
    Run::asked(id.to_owned(), task.clone(), Vec::new(), 1)
}

/// A shop that serves and whose schedule has begun.
fn scheduled() -> (Shop, CronPlan) {
    let shop = running();
    let cron = shop.plan.cron[0].clone();
    assert!(shop.entries.runs.last(&cron.task).is_some());
    (shop, cron)
}

fn later(shop: &mut Shop, seconds: i64) {
    shop.wall = Timestamp::from_second(shop.wall.as_second() + seconds).unwrap();
}

fn begun(shop: &Shop) -> Vec<TaskRun> {
    let steps = shop.decide().now.into_iter();
    steps
        .filter_map(|step| match step {
            Step::Run(run, _) => Some(run),
            _ => None,
        })
        .collect()
}

#[test]
fn a_scheduled_task_runs_when_it_is_due_and_not_again() {
    let (mut shop, cron) = scheduled();
    let When::Every(every) = cron.when else {
        panic!("refshop's cron has an interval");
    };
    assert_eq!(begun(&shop), vec![]);
    assert_eq!(shop.decide().wake, Some(shop.now + every));
    later(&mut shop, i64::try_from(every.as_secs()).unwrap());
    let runs = begun(&shop);
    assert_eq!(runs.len(), 1);
    assert!(runs[0].run.starts_with("cron-") && runs[0].run.len() <= 40);
    shop.settle(&[]);
    assert_eq!(begun(&shop), vec![]);
}

#[test]
fn a_day_away_is_made_up_for_once_and_a_clock_set_back_repeats_nothing() {
    let (mut shop, _) = scheduled();
    later(&mut shop, 24 * 3600);
    assert_eq!(begun(&shop).len(), 1);
    shop.settle(&[]);
    assert_eq!(begun(&shop), vec![]);
    later(&mut shop, -3600);
    assert_eq!(begun(&shop), vec![]);
    assert_eq!(shop.decide().now, vec![]);
}

#[test]
fn a_clock_that_was_years_ahead_does_not_end_the_schedule() {
    let (mut shop, _) = scheduled();
    later(&mut shop, 5 * 365 * 24 * 3600);
    shop.settle(&[]);
    later(&mut shop, -5 * 365 * 24 * 3600);
    shop.settle(&[]);
    later(&mut shop, 24 * 3600);
    assert_eq!(begun(&shop).len(), 1);
}

#[test]
fn schedules_wait_for_a_shop_that_serves() {
    let (mut shop, _) = scheduled();
    later(&mut shop, 24 * 3600);
    shop.spec.maintenance = true;
    assert_eq!(begun(&shop), vec![]);
    shop.spec.maintenance = false;
    shop.serving = Serve::None;
    assert_eq!(begun(&shop), vec![]);
}

#[test]
fn a_cron_expression_goes_by_the_clock_of_its_time_zone() {
    let (mut shop, cron) = scheduled();
    shop.plan.cron[0].when = When::Cron {
        expression: "30 2 * * *".parse().unwrap(),
        time_zone: "Europe/Berlin".parse().unwrap(),
    };
    // 2024-03-31: the clock goes from 2:00 to 3:00, which is 1:00 UTC.
    let before: Timestamp = "2024-03-31T00:30:00Z".parse().unwrap();
    shop.wall = before;
    let own = second(&shop.plan.store, &cron.task);
    shop.entries
        .runs
        .begin_schedule(vec![cron.task], before.as_millisecond());
    assert_eq!(begun(&shop), vec![]);
    shop.wall = "2024-03-31T01:00:00Z".parse().unwrap();
    later(&mut shop, own - 1);
    assert_eq!(begun(&shop), vec![]);
    later(&mut shop, 1);
    assert_eq!(begun(&shop).len(), 1);
    shop.settle(&[]);
    shop.wall = "2024-03-31T23:00:00Z".parse().unwrap();
    assert_eq!(begun(&shop), vec![]);
    shop.wall = "2024-04-01T00:30:59Z".parse().unwrap();
    assert_eq!(begun(&shop).len(), 1);
}

#[test]
fn shops_of_one_template_begin_all_over_the_minute() {
    let task: ServiceName = "reindex".parse().unwrap();
    let mut shops = [0; 60];
    for number in 0..300 {
        let store = format!("s{number:011}").parse().unwrap();
        shops[usize::try_from(second(&store, &task)).unwrap()] += 1;
    }
    assert!(*shops.iter().max().unwrap() <= 20, "{shops:?}");
    let store = "s00000000001".parse().unwrap();
    assert_ne!(
        second(&store, &task),
        second(&store, &"cron".parse().unwrap()),
        "nor do all tasks of one shop"
    );
}

#[test]
fn one_run_of_a_task_at_a_time_in_the_order_they_were_asked_for() {
    let (mut shop, cron) = scheduled();
    for id in ["op-1", "op-2"] {
        shop.entries.runs.ask(run(id, &cron.task), None);
    }
    assert_eq!(begun(&shop)[0].run, "op-1");
    shop.begin();
    shop.entries
        .runs
        .begin("op-1", &cron.task, RunBy::Operator, 2);
    assert_eq!(begun(&shop), vec![]);
    // The agent dies: the run is attached to.
    shop.busy.clear();
    assert_eq!(begun(&shop)[0].run, "op-1");
    shop.settle(&[]);
    assert!(shop.entries.runs.find("op-2").unwrap().ended());
}

#[test]
fn a_cancelled_run_is_stopped_in_whatever_state_the_store_is() {
    let (mut shop, cron) = scheduled();
    shop.entries.runs.ask(run("op-1", &cron.task), None);
    shop.entries
        .runs
        .begin("op-1", &cron.task, RunBy::Operator, 2);
    shop.entries.runs.cancel("op-1", &cron.task, 3);
    let stops = |shop: &Shop| {
        let mut steps = shop.decide().now.into_iter();
        steps.any(|step| matches!(step, Step::StopTask(run) if run.run == "op-1"))
    };
    assert!(stops(&shop));
    shop.spec.run_state = RunState::Stopped;
    assert!(stops(&shop));
}

#[test]
fn a_run_whose_task_is_no_more_ends() {
    let (mut shop, _) = scheduled();
    let gone: ServiceName = "gone".parse().unwrap();
    shop.entries.runs.ask(run("op-1", &gone), None);
    shop.settle(&[]);
    assert!(shop.entries.runs.find("op-1").unwrap().ended());
}

#[test]
fn a_hold_leaves_alone_what_was_stopped_by_hand_until_it_ends() {
    let mut shop = running();
    let cache = key("cache", Slot::Fixed);
    shop.set(&cache, exited());
    let (kind, wall) = (DriftKind::Container, shop.wall.as_millisecond());
    shop.drift.note(kind, &cache, DriftWhat::Stopped, wall);
    shop.spec.hold_until_unix_ms = Some(wall + 60_000);
    shop.settle(&[]);
    assert!(!shop.replicas[&cache].running());
    assert_eq!(shop.entries.drift.iter().count(), 1, "a restart knows it");
    let wake = shop.decide().wake.expect("the hold ends");
    assert!(wake <= shop.now + Duration::from_secs(60));
    later(&mut shop, 61);
    assert_eq!(shop.decide().now, vec![Step::Start(cache)]);
}

#[test]
fn a_hold_does_not_leave_alone_what_was_killed() {
    let mut shop = running();
    let cache = key("cache", Slot::Fixed);
    shop.set(&cache, exited());
    let (kind, wall) = (DriftKind::Container, shop.wall.as_millisecond());
    shop.drift.note(kind, &cache, DriftWhat::Killed, wall);
    shop.spec.hold_until_unix_ms = Some(wall + 60_000);
    assert!(shop.decide().now.contains(&Step::Start(cache)));
}
