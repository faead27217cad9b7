//! Runs one benchmark on an installed system: a table, and as last line `key=value` pairs.

use std::{env, path::PathBuf, process::ExitCode};

use shop_tests::bench;

const USAGE: &str = "usage: tests/bench time-to-ready [ROUNDS]   (at least 10 to be quoted)\n       tests/bench agent-footprint";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args.as_slice() {
        ["time-to-ready"] => time_to_ready("10"),
        ["time-to-ready", rounds] => time_to_ready(rounds),
        ["agent-footprint"] => bench::footprint::run(),
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
    let root =
        PathBuf::from(env::var_os("BENCH_DIR").unwrap_or_else(|| "/tmp/shopfleet-bench".into()));
    let result = bench::ready::run(rounds, &root);
    std::fs::remove_dir_all(&root)?;
    result
}

fn wait_deep(address: &str, host: &str) -> anyhow::Result<()> {
    bench::deep::wait(address.parse()?, 8080, host).map(drop)
}
