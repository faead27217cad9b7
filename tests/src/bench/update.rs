//! `update`: buyers at a constant rate through the edge, browsing and checking out, while five stores are updated, fail, and go back.
//!
//! Each of the five stores begins at release 1 and gets four updates and a rollback, one store after the other:
//! release 2 (an expand migration), a parameter, a rollback, another parameter, and one that differs: two stores get a release whose deep
//! check fails after the switch, one gets release 3 (an irreversible migration), two get a third parameter.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use super::peer;
use super::processors::Ticks;
use crate::change::{Ended, change, site, window};
use crate::door::Door;
use crate::fleet::{Fleet, Store};
use crate::load::{Books, Load, Rates};
use crate::orders;

const STORES: usize = 5;
/// Shops that were made a moment ago, and buyers that connect for the first time, are slow; that is no measure for what comes after.
const WARM_UP: Duration = Duration::from_secs(90);
/// Before the first change, for the p99 that updates are held against.
const QUIET: Duration = Duration::from_secs(90);
/// Buyers on their way may take so long after the last change.
const SETTLE: Duration = Duration::from_secs(15);

/// What a change should come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Success,
    /// Taken back by itself.
    TakenBack,
    /// Success, with announced maintenance meanwhile.
    Maintenance,
}

struct Change {
    verb: &'static str,
    body: Value,
    expect: Expect,
}

struct Shop {
    store: Store,
    load: Load,
    maintenance: Vec<(Duration, Duration)>,
}

#[derive(Default)]
struct Sum {
    updates: u32,
    rollbacks: u32,
    requests: u64,
    failed: u64,
    in_maintenance: u64,
    lost_orders: u64,
    doubled_orders: u64,
    orders: u64,
    lost_carts: u64,
    missing_assets: u64,
}

/// Runs all of it. `rate` is requests a second over all stores, `seconds` the watch window.
pub fn run(rate: u32, seconds: u32, root: &Path) -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let door = Door::open()?;
    let mut shops = open_shops(&fleet, rate)?;
    std::thread::sleep(WARM_UP);
    let (warm, warm_ticks) = (shops[0].load.recorder.now(), Ticks::now()?);
    std::thread::sleep(QUIET);
    let (began, began_ticks) = (shops[0].load.recorder.now(), Ticks::now()?);
    let mut sum = Sum::default();
    for (index, shop) in shops.iter_mut().enumerate() {
        for (turn, change) in changes(index, seconds).iter().enumerate() {
            apply(&door, shop, change, &mut sum)?;
            if turn == 0 {
                stock(&door, &shop.store)?;
            }
        }
    }
    let (ended, ended_ticks) = (shops[0].load.recorder.now(), Ticks::now()?);
    std::thread::sleep(SETTLE);
    let mut ratios = Vec::new();
    for shop in shops {
        let recorder = shop.load.finish()?;
        let quiet = recorder.p99(warm, began);
        let busy = recorder.p99(began, ended);
        let (quiet, busy) = quiet.zip(busy).context("nobody was served")?;
        ratios.push(busy.as_secs_f64() / quiet.as_secs_f64());
        println!(
            "{:<12} p99 before {:>6.0} ms, during {:>6.0} ms",
            shop.store.name,
            quiet.as_secs_f64() * 1e3,
            busy.as_secs_f64() * 1e3
        );
        count(&shop.store, &recorder.books(), &shop.maintenance, &mut sum)?;
        shop.store.delete()?;
    }
    println!("processors before: {}", began_ticks.since(&warm_ticks));
    println!("processors during: {}", ended_ticks.since(&began_ticks));
    let compose = peer::updates(root, rate)?;
    println!("{}", compose.sentence());
    println!(
        "docker service update: Swarm's routing needs IPVS, which this kernel may lack; not run"
    );
    println!(
        "{} updates, {} rollbacks, {} orders; {} requests were answered 503 with Retry-After in announced maintenance",
        sum.updates, sum.rollbacks, sum.orders, sum.in_maintenance
    );
    ratios.sort_by(f64::total_cmp);
    println!(
        "updates={} requests={} failed_requests={} lost_orders={} doubled_orders={} lost_carts={} asset_404s={} p99_ratio={:.2} compose_failed_requests={}",
        sum.updates,
        sum.requests,
        sum.failed,
        sum.lost_orders,
        sum.doubled_orders,
        sum.lost_carts,
        sum.missing_assets,
        ratios.last().copied().unwrap_or(f64::NAN),
        compose.failed,
    );
    Ok(())
}

fn open_shops(fleet: &Fleet, rate: u32) -> anyhow::Result<Vec<Shop>> {
    let stores: Vec<Store> = (0..STORES)
        .map(|n| {
            let name = format!("bench-update-{n}");
            let store = fleet.create_running(&name, &["--template", "refshop@1"])?;
            store.wait_serving(Duration::from_secs(15))?;
            Ok(store)
        })
        .collect::<anyhow::Result<_>>()?;
    let share = u32::try_from(STORES)?;
    stores
        .into_iter()
        .map(|store| {
            let rates = Rates {
                // A buyer makes about a dozen requests.
                pages: (rate / share).saturating_sub(12),
                buyers: 1,
            };
            let load = Load::start(&site(&store)?, rates)?;
            Ok(Shop {
                store,
                load,
                maintenance: Vec::new(),
            })
        })
        .collect()
}

/// Enough of everything that buyers of a load buy; releases before the second have no task for it.
pub fn stock(door: &Door, store: &Store) -> anyhow::Result<()> {
    for product in crate::load::journey::PRODUCTS {
        let body = json!({"task": "stock", "arguments": [product, "100000"]});
        change(door, &store.name, "tasks", &body)?
            .succeeded()
            .with_context(|| format!("stock of {product}"))?;
    }
    Ok(())
}

fn changes(index: usize, seconds: u32) -> Vec<Change> {
    let update = |body: Value, expect| {
        let mut body = body;
        body["watch"] = window(seconds);
        Change {
            verb: "update",
            body,
            expect,
        }
    };
    let named = |name: &str| update(json!({"parameters": {"shop_name": name}}), Expect::Success);
    let last = match index {
        0 | 1 => update(json!({"parameters": {"drill": "sick"}}), Expect::TakenBack),
        2 => update(
            json!({"template": "refshop@3", "allow_irreversible": true}),
            Expect::Maintenance,
        ),
        _ => named("Autumn"),
    };
    vec![
        update(json!({"template": "refshop@2"}), Expect::Success),
        named("Spring"),
        Change {
            verb: "rollback",
            body: json!({}),
            expect: Expect::Success,
        },
        named("Summer"),
        last,
    ]
}

fn apply(door: &Door, shop: &mut Shop, change: &Change, sum: &mut Sum) -> anyhow::Result<()> {
    let from = shop.load.recorder.now();
    let ended = self::change(door, &shop.store.name, change.verb, &change.body)?;
    let until = shop.load.recorder.now();
    eprintln!(
        "{} {} {}: {} {} in {:.1} s",
        shop.store.name,
        change.verb,
        change.body,
        ended.state,
        ended.reason,
        ended.took.as_secs_f64()
    );
    judge(&ended, change.expect).with_context(|| format!("{} {}", change.verb, change.body))?;
    match change.verb {
        "rollback" => sum.rollbacks += 1,
        _ => sum.updates += 1,
    }
    if change.expect == Expect::Maintenance {
        shop.maintenance.push((from, until));
    }
    Ok(())
}

fn judge(ended: &Ended, expect: Expect) -> anyhow::Result<()> {
    let as_expected = match expect {
        Expect::Success | Expect::Maintenance => ended.state == "succeeded",
        Expect::TakenBack => ended.state == "failed" && ended.reason == "update_bad_minute",
    };
    anyhow::ensure!(
        as_expected,
        "not {expect:?} but {}: {} ({})",
        ended.state,
        ended.message,
        ended.reason
    );
    Ok(())
}

fn count(
    store: &Store,
    books: &Books,
    maintenance: &[(Duration, Duration)],
    sum: &mut Sum,
) -> anyhow::Result<()> {
    let (there, total) = orders::all(store)?;
    anyhow::ensure!(
        there.len() as u64 == total,
        "the order desk counts {total} and lists {}",
        there.len()
    );
    let announced = |at: Duration| {
        maintenance
            .iter()
            .any(|(from, until)| (*from..*until).contains(&at))
    };
    let (in_maintenance, failed): (Vec<_>, Vec<_>) = books
        .failures
        .iter()
        .partition(|failure| failure.status == 503 && failure.announced && announced(failure.at));
    for failure in failed.iter().take(20) {
        eprintln!(
            "{} at {:.1} s: {failure:?}",
            store.name,
            failure.at.as_secs_f64()
        );
    }
    for (asset, times) in &books.missing_assets {
        eprintln!("{}: {asset} was missing {times} times", store.name);
    }
    sum.requests += books.requests;
    sum.failed += failed.len() as u64;
    sum.in_maintenance += in_maintenance.len() as u64;
    sum.lost_orders += books.confirmed.difference(&there).count() as u64;
    // An order of a checkout whose answer was cut may be there; any beyond those was made twice.
    let unconfirmed = there.difference(&books.confirmed).count() as u64;
    sum.doubled_orders += unconfirmed.saturating_sub(books.unsure);
    sum.orders += total;
    sum.lost_carts += books.lost_carts;
    sum.missing_assets += books.missing_assets.values().sum::<u64>();
    Ok(())
}
