//! Many seeds, each a story of its own, each in a process of its own: some libraries count what they have made so far.
//!
//! `SIM_SEED=7 cargo test -p shop-simulation --test seeds` tells one again (`SIM_TRACE=1`: all of it); `SIM_SEEDS=5000` sets how many.

use std::{
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use shop_simulation::{logins::Rotations, story};

/// What is told unless asked otherwise.
const SEEDS: u64 = 500;
/// Lines that a failure is told with.
const TAIL: usize = 100;
/// So many seeds are enough to expect something of each kind among them.
const ENOUGH: u64 = 100;
/// Begins the line that tells how many rotations finished and how many were taken back.
const ROTATIONS: &str = "rotations ";

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Tells one seed in this process.
fn tell(seed: u64) {
    let ended = story::run(seed);
    let skip = match std::env::var_os("SIM_TRACE") {
        Some(_) => 0,
        None if ended.problems.is_empty() => ended.tail.len(),
        None => ended.tail.len().saturating_sub(TAIL),
    };
    for line in &ended.tail[skip..] {
        println!("{line}");
    }
    println!("digest {} after {:?}", ended.digest, ended.simulated);
    let Rotations {
        finished,
        taken_back,
    } = ended.rotations;
    println!("{ROTATIONS}{finished} {taken_back}");
    for problem in &ended.problems {
        println!("seed {seed}: {problem}");
    }
    assert!(
        ended.problems.is_empty(),
        "again: SIM_SEED={seed} cargo test --profile quick -p shop-simulation --test seeds"
    );
}

/// Tells one seed in a process of its own: whether it went well, and what it printed.
fn told(seed: u64) -> (bool, String) {
    // Its time is simulated: it gives way to tests beside it whose time is not.
    let output = Command::new("nice")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "every_seed_ends_as_acknowledged", "--nocapture"])
        .env("SIM_SEED", seed.to_string())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[test]
fn every_seed_ends_as_acknowledged() {
    if let Some(seed) = number("SIM_SEED") {
        return tell(seed);
    }
    let count = number("SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(1);
    let threads = std::thread::available_parallelism().map_or(2, Into::into);
    let sum = Mutex::new(Rotations::default());
    let failures: Vec<(u64, String)> = std::thread::scope(|scope| {
        let teller = || {
            let mut failures = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::SeqCst);
                if seed > count {
                    return failures;
                }
                let (well, text) = told(seed);
                *sum.lock().unwrap() += rotations(&text);
                if !well {
                    failures.push((seed, text));
                }
            }
        };
        let tellers: Vec<_> = (0..threads).map(|_| scope.spawn(teller)).collect();
        tellers
            .into_iter()
            .flat_map(|teller| teller.join().unwrap())
            .collect()
    });
    for (_, text) in failures.iter().take(3) {
        println!("{text}\n");
    }
    for (_, text) in &failures {
        for line in text.lines().filter(|line| line.starts_with("seed ")) {
            println!("{line}");
        }
    }
    let sum = sum.into_inner().unwrap();
    println!("{count} seeds: {sum:?}");
    let seeds: Vec<u64> = failures.iter().map(|(seed, _)| *seed).collect();
    assert!(seeds.is_empty(), "seeds that failed: {seeds:?}");
    let rotated = sum.finished >= count / 5 * 2 && sum.taken_back >= count / 25;
    assert!(rotated || count < ENOUGH, "too few rotations: {sum:?}");
}

/// What a seed's text says of them.
fn rotations(text: &str) -> Rotations {
    let line = text.lines().find_map(|line| line.strip_prefix(ROTATIONS));
    let mut numbers = line.into_iter().flat_map(str::split_whitespace);
    let mut next = || numbers.next().map_or(0, |number| number.parse().unwrap());
    Rotations {
        finished: next(),
        taken_back: next(),
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    if number("SIM_SEED").is_some() {
        return;
    }
    let digest = |seed| {
        let (_, text) = told(seed);
        let line = text.lines().find(|line| line.starts_with("digest "));
        line.expect("a digest").to_owned()
    };
    for seed in [3, 14, 159, 265] {
        assert_eq!(digest(seed), digest(seed), "seed {seed}");
    }
}
