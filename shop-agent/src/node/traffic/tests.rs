//! Counting across rotations and restarts.

use std::{fs, io::Write as _, path::Path};

use super::*;

const NOW: i64 = 1_800_000_000;

fn traffic(directory: &Path) -> Traffic {
    let traffic = Traffic::new([directory.join("access.log"), directory.join("b/access.log")]);
    traffic.attribute(BTreeMap::from([
        ("a.localhost".to_owned(), store("aaaaaaaaaaa1")),
        ("b.localhost".to_owned(), store("aaaaaaaaaaa2")),
    ]));
    traffic
}

fn store(id: &str) -> StoreId {
    id.parse().unwrap()
}

fn log(directory: &Path, at: i64, host: &str, status: u16) {
    let mut file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(directory.join("access.log"))
        .unwrap();
    writeln!(
        file,
        r#"{{"ts":{at}.5,"request":{{"host":"{host}"}},"status":{status}}}"#
    )
    .unwrap();
}

fn rotate(directory: &Path, time: u32) {
    let rotated = directory.join(format!("access-2026-11-21T05-46-{time:02}.000.log"));
    fs::rename(directory.join("access.log"), rotated).unwrap();
}

fn counted(traffic: &Traffic, id: &str) -> Vec<(i64, u32, u32)> {
    let window = traffic.window(&store(id), SECONDS, NOW);
    window
        .seconds
        .iter()
        .map(|it| (it.unix_s - NOW, it.requests, it.server_errors))
        .collect()
}

#[test]
fn answers_are_counted_by_store_and_second() {
    let place = tempfile::tempdir().unwrap();
    let traffic = traffic(place.path());
    traffic.catch_up(NOW - 10).unwrap();
    for (at, host, status) in [
        (-5, "a.localhost:8080", 200),
        (-5, "A.localhost", 500),
        (-4, "a.localhost", 404),
        (-5, "a.localhost", 503),
        (-4, "b.localhost", 200),
        (-4, "stranger.localhost", 500),
    ] {
        log(place.path(), NOW + at, host, status);
    }
    fs::OpenOptions::new()
        .append(true)
        .open(place.path().join("access.log"))
        .unwrap()
        .write_all(b"noise\n{\"ts\":")
        .unwrap();
    traffic.catch_up(NOW).unwrap();
    assert_eq!(counted(&traffic, "aaaaaaaaaaa1"), [(-5, 3, 2), (-4, 1, 0)]);
    assert_eq!(counted(&traffic, "aaaaaaaaaaa2"), [(-4, 1, 0)]);
    let short = traffic.window(&store("aaaaaaaaaaa1"), 5, NOW);
    assert_eq!(short.seconds.len(), 1);
    assert!(short.complete, "counting began ten seconds ago");
    assert!(!traffic.window(&store("aaaaaaaaaaa1"), 60, NOW).complete);

    // Six minutes later they are forgotten, and then the store.
    traffic.catch_up(NOW + i64::from(SECONDS)).unwrap();
    assert_eq!(counted(&traffic, "aaaaaaaaaaa1"), []);
    traffic.attribute(BTreeMap::new());
    assert!(traffic.lock().stores.is_empty());
}

#[test]
fn no_line_is_lost_or_read_twice_when_the_log_is_rotated() {
    let place = tempfile::tempdir().unwrap();
    let traffic = traffic(place.path());
    traffic.catch_up(NOW - 300).unwrap();
    log(place.path(), NOW - 9, "a.localhost", 200);
    traffic.catch_up(NOW).unwrap();
    log(place.path(), NOW - 8, "a.localhost", 200);
    rotate(place.path(), 1);
    traffic.catch_up(NOW).unwrap();
    log(place.path(), NOW - 7, "a.localhost", 200);
    traffic.catch_up(NOW).unwrap();
    traffic.catch_up(NOW).unwrap();
    let expected = [(-9, 1, 0), (-8, 1, 0), (-7, 1, 0)];
    assert_eq!(counted(&traffic, "aaaaaaaaaaa1"), expected);
    let long = |it: &Traffic| it.window(&store("aaaaaaaaaaa1"), 300, NOW).complete;
    assert!(long(&traffic));

    // Two rotations between two looks: something may be missing, and that is said.
    rotate(place.path(), 2);
    log(place.path(), NOW - 6, "a.localhost", 200);
    rotate(place.path(), 3);
    log(place.path(), NOW - 5, "a.localhost", 200);
    traffic.catch_up(NOW).unwrap();
    assert!(!long(&traffic));
    assert!(traffic.window(&store("aaaaaaaaaaa1"), 5, NOW).complete);
}

#[test]
fn a_node_agent_that_was_away_counts_what_it_missed() {
    let place = tempfile::tempdir().unwrap();
    log(place.path(), NOW - 200, "a.localhost", 200);
    rotate(place.path(), 1);
    log(place.path(), NOW - 100, "a.localhost", 500);
    let traffic = traffic(place.path());
    assert!(!traffic.window(&store("aaaaaaaaaaa1"), 1, NOW).complete);
    traffic.catch_up(NOW).unwrap();
    assert_eq!(
        counted(&traffic, "aaaaaaaaaaa1"),
        [(-200, 1, 0), (-100, 1, 1)]
    );
    assert!(traffic.window(&store("aaaaaaaaaaa1"), 200, NOW).complete);
    assert!(!traffic.window(&store("aaaaaaaaaaa1"), 201, NOW).complete);
}

#[test]
fn what_two_edges_answer_counts_together() {
    let place = tempfile::tempdir().unwrap();
    let other = place.path().join("b");
    log(place.path(), NOW - 200, "a.localhost", 200);
    let traffic = traffic(place.path());
    traffic.catch_up(NOW - 90).unwrap();
    // The next edge takes over, and the one before answers its last visitors.
    fs::create_dir(&other).unwrap();
    log(&other, NOW - 60, "a.localhost", 500);
    log(place.path(), NOW - 60, "a.localhost", 200);
    log(&other, NOW - 59, "a.localhost", 200);
    traffic.catch_up(NOW).unwrap();
    assert_eq!(
        counted(&traffic, "aaaaaaaaaaa1"),
        [(-200, 1, 0), (-60, 2, 1), (-59, 1, 0)]
    );
    assert!(traffic.window(&store("aaaaaaaaaaa1"), 200, NOW).complete);
}

/// A stolen edge owns the directory: what it puts there is read for what it is, or not at all, and nobody waits for it.
#[test]
fn what_is_no_log_holds_nobody_up() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("access.log");
    let traffic = traffic(place.path());
    mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
    assert!(traffic.catch_up(NOW).is_err());
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    assert!(traffic.catch_up(NOW).is_err());
    fs::remove_file(&path).unwrap();
    log(place.path(), NOW, "a.localhost", 200);
    traffic.catch_up(NOW).unwrap();
    assert_eq!(counted(&traffic, "aaaaaaaaaaa1"), [(0, 1, 0)]);
    assert!(!traffic.window(&store("aaaaaaaaaaa1"), 60, NOW).complete);
}
