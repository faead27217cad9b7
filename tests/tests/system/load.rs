//! Many stores at once.

use std::time::{Duration, Instant};

use shop_tests::fleet::Fleet;
use shop_tests::wait::wait_for;

const STORES: usize = 20;

#[test]
fn twenty_creates_at_once_all_reach_running() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let started = Instant::now();
    let names: Vec<String> = (0..STORES).map(|n| format!("many-{n:02}")).collect();
    let stores: Vec<_> = std::thread::scope(|scope| {
        let asked: Vec<_> = names
            .iter()
            .map(|name| scope.spawn(|| fleet.create(name, &["--profile", "search=none"])))
            .collect();
        asked
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .map_err(|_| anyhow::anyhow!("a create panicked"))?
            })
            .collect::<Result<_, _>>()
    })?;
    let mine = || {
        let all = fleet
            .stores()?
            .into_iter()
            .filter(|s| s.name.starts_with("many-"));
        Ok(all.map(|s| (s.name, s.status)).collect::<Vec<_>>())
    };
    let settled = |seen: &Vec<(String, String)>| {
        seen.iter().any(|(_, status)| status == "failed")
            || seen
                .iter()
                .filter(|(_, status)| status == "running")
                .count()
                == STORES
    };
    let seen = wait_for("all are running", Duration::from_secs(400), mine, settled)?;
    assert!(
        seen.iter().all(|(_, status)| status == "running"),
        "{seen:?}"
    );
    println!(
        "{STORES} stores running after {:.1} s",
        started.elapsed().as_secs_f64()
    );
    for store in &stores {
        store.wait_serving(Duration::from_secs(15))?;
    }
    drop(stores);
    wait_for(
        "all are gone",
        Duration::from_secs(300),
        mine,
        Vec::is_empty,
    )?;
    Ok(())
}
