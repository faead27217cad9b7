//! Runs one benchmark on an installed system: a table, and as last line `key=value` pairs.

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

use shop_tests::bench;

const USAGE: &str = "usage: tests/bench time-to-ready [ROUNDS]   (at least 10 to be quoted)
       tests/bench agent-footprint
       tests/bench update [RATE [WINDOW]]           (200 requests/s, 60 s)
       tests/bench update-peer [RATE]               (docker-compose alone)
       tests/bench repair [ROUNDS [WINDOW]]         (5 rounds, 60 s)
       tests/bench rollout [REAL [SCRIPTED [WINDOW]]] (20 and 300 stores, 60 s)";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args.as_slice() {
        ["time-to-ready"] => time_to_ready("10"),
        ["time-to-ready", rounds] => time_to_ready(rounds),
        ["agent-footprint"] => bench::footprint::run(),
        ["update", rest @ ..] => numbers(rest, [200, 60])
            .and_then(|[rate, window]| in_scratch(|root| bench::update::run(rate, window, root))),
        ["update-peer", rest @ ..] => numbers(rest, [200])
            .and_then(|[rate]| in_scratch(|root| bench::peer::report(root, rate))),
        ["repair", rest @ ..] => {
            numbers(rest, [5, 60]).and_then(|[rounds, window]| bench::repair::run(rounds, window))
        }
        ["rollout", rest @ ..] => numbers(rest, [20, 300, 60])
            .and_then(|[real, scripted, window]| bench::rollout::run(real, scripted, window)),
        // Asked by the benchmark itself, under another uid.
        ["wait-deep", address, host] => wait_deep(address, host),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("benchmark: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn time_to_ready(rounds: &str) -> anyhow::Result<()> {
    let rounds = rounds.parse()?;
    in_scratch(|root| bench::ready::run(rounds, root))
}

fn in_scratch(work: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let root =
        PathBuf::from(env::var_os("BENCH_DIR").unwrap_or_else(|| "/tmp/shopfleet-bench".into()));
    let result = work(&root);
    // There only once a peer was prepared.
    if root.exists() {
        std::fs::remove_dir_all(&root)?;
    }
    result
}

/// What was given, and the defaults for the rest.
fn numbers<const N: usize>(given: &[&str], defaults: [u32; N]) -> anyhow::Result<[u32; N]> {
    anyhow::ensure!(given.len() <= N, "too many numbers\n{USAGE}");
    let mut all = defaults;
    for (slot, text) in all.iter_mut().zip(given) {
        *slot = text.parse()?;
    }
    Ok(all)
}

fn wait_deep(address: &str, host: &str) -> anyhow::Result<()> {
    bench::deep::wait(address.parse()?, 8080, host).map(drop)
}
