//! A store that opens connections without end gets so many and no more; everybody's buyers, its own too, are served meanwhile.

use std::time::Duration;

use shop_tests::change::site;
use shop_tests::docker;
use shop_tests::fleet::{Fleet, PATIENCE};
use shop_tests::process;
use shop_tests::traffic::Traffic;
use shop_tests::wait::wait_for;

/// What a network of a store may have to the edge at once (`firewall/flows.rs`).
const LIMIT: usize = 512;
/// The shop may be calling itself at the same time.
const OWN: usize = 8;

/// Opens `MANY` connections to the edge as a shop does that calls itself, and holds those that stand after four seconds, by when those that do
/// not have asked three times. Then it closes them all and opens a few again.
const GREEDY: &str = r#"<?php
function open(int $many, int $seconds): array {
    $edge = gethostbyname("HOST") . ":PORT";
    $open = $waiting = [];
    for ($i = 0; $i < $many; $i++) {
        $waiting[] = stream_socket_client("tcp://$edge", $no, $why, 30, STREAM_CLIENT_ASYNC_CONNECT | STREAM_CLIENT_CONNECT);
    }
    $end = microtime(true) + $seconds;
    while ($waiting !== [] && ($left = $end - microtime(true)) > 0) {
        $r = $e = null; $w = $waiting;
        if (stream_select($r, $w, $e, 0, (int) ($left * 1e6)) === false) { break; }
        foreach ($w as $i => $s) {
            if (stream_socket_get_name($s, true) !== false) { $open[] = $s; }
            unset($waiting[$i]);
        }
    }
    return $open;
}
$held = open(MANY, 4);
echo count($held), " ";
array_map('fclose', $held);
echo count(open(32, 10));
"#;

#[test]
fn a_store_that_opens_connections_without_end_harms_nobody() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let greedy = fleet.create_running("greedy", &["--profile", "search=none"])?;
    greedy.wait_serving(PATIENCE)?;
    let php = docker::service(&greedy.id()?, "php-fpm")?.id;
    let program = GREEDY
        .replace("HOST", &site(&greedy)?.host)
        .replace("PORT", fleet.setting("edge_http")?)
        .replace("MANY", &(LIMIT + 88).to_string());

    let buyers = [&fleet.existing("demo")?, &greedy].map(|store| Traffic::start(store, "/health"));
    let args = ["exec", "--interactive", &php, "php"];
    let said = process::run_with_input("docker", &args, Some(&program), Duration::from_secs(60));
    for traffic in buyers {
        let seen = traffic?.stop()?;
        assert!(seen.failures.is_empty(), "{seen:?}");
    }

    let said = said?.ok()?;
    let counts: Vec<usize> = said.split(' ').filter_map(|n| n.parse().ok()).collect();
    let [held, again] = counts[..] else {
        anyhow::bail!("it said {said:?}")
    };
    assert!(
        (LIMIT - OWN..=LIMIT).contains(&held),
        "{held} stood at once"
    );
    assert_eq!(again, 32, "closed ones are forgotten");
    greedy.delete()
}

#[test]
fn the_table_that_counts_is_put_back_when_somebody_takes_it_away() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let node = fleet.setting("node_id")?;
    let table = format!("shopfleet_{node}_flows");
    let nft = |verb: &str| {
        let args = [verb, "table", "inet", &table];
        process::run("nft", &args, Duration::from_secs(10))?.ok()
    };
    let there = || wait_for("it is there", PATIENCE, || nft("list"), |_| true);
    assert!(there()?.contains("ct count over 512"));
    nft("delete")?;
    there().map(drop)
}
