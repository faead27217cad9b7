//! Buyers at work in one store, and a line each second of what they got: for drills by hand (`deploy/demo chaos`).

use std::{env, process::ExitCode, thread, time::Duration};

use shop_tests::{
    change::site,
    fleet::Fleet,
    load::{Load, Rates},
};

const SECOND: Duration = Duration::from_secs(1);
const USAGE: &str = "usage: shop-load STORE [PAGES-A-SECOND [BUYERS-A-SECOND]]   (20 and 2; ends with standard input)";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let numbers: Result<Vec<u32>, _> = args.iter().skip(1).map(|text| text.parse()).collect();
    let (Some(store), Ok(numbers), true) = (args.first(), numbers, args.len() <= 3) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let rates = Rates {
        pages: numbers.first().copied().unwrap_or(20),
        buyers: numbers.get(1).copied().unwrap_or(2),
    };
    match run(store, rates) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shop-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(store: &str, rates: Rates) -> anyhow::Result<()> {
    let store = Fleet::installed()?.existing(store)?;
    let load = Load::start(&site(&store)?, rates)?;
    let input = thread::spawn(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    let (mut requests, mut failures) = (0, 0);
    while !input.is_finished() {
        thread::sleep(SECOND);
        let books = load.recorder.books();
        let failed = books.failures.len();
        let last = books.failures.last().filter(|_| failed > failures);
        let now = load.recorder.now();
        let p99 = load.recorder.p99(now.saturating_sub(SECOND), now);
        println!(
            "  {:>4} s  orders {:>5}  pages {:>4}/s  p99 {:>4} ms  failed {:>4}  lost carts {}{}",
            now.as_secs(),
            books.confirmed.len(),
            books.requests - requests,
            p99.unwrap_or_default().as_millis(),
            failed - failures,
            books.lost_carts,
            last.map_or_else(String::new, |it| format!("   {} {}", it.status, it.what)),
        );
        (requests, failures) = (books.requests, failed);
    }
    let books = load.finish()?.books();
    println!(
        "orders={} requests={} failed_requests={} lost_carts={}",
        books.confirmed.len(),
        books.requests,
        books.failures.len(),
        books.lost_carts
    );
    Ok(())
}
