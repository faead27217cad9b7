//! The role of a host: what it keeps, what the engine, the kernel and the edge say, and archives of images.

use std::net::Ipv4Addr;

use shop_agent::node::{
    fuzzing::{self, docker},
    ipam::{Cidr, host_routes},
    state::{
        Intent, NodeRecord, Quarantine, RosterRecord, StoreRecord, Tombstone,
        files::{FileError, Kept, decode, encode},
    },
};
use shop_proto::{Generation, StoreId};

use crate::{
    Target, chosen, parts,
    sessions::{a_spec, store_id},
    texts,
};

pub(crate) const TARGETS: &[Target] = &[
    Target::new("node_state", node_state).with_seeds(records),
    Target::new("archive", archive).with_seeds(archives),
    Target::new("access_log", access_log),
    Target::new("kernel_tables", kernel_tables),
    Target::new("visitors", visitors),
    Target::new("resolvers", resolvers),
    Target::new("routes", routes),
    Target::new("docker_answers", docker_answers),
];

/// What is read of a record is written the same.
fn record<T: Kept + PartialEq>(input: &[u8]) {
    let path = std::path::Path::new("record.json");
    match decode::<T>(path, input) {
        Ok(value) => {
            let written = encode(path, &value).expect("a record is JSON");
            let again = decode::<T>(path, &written).expect("we wrote it");
            assert!(again == value, "{}", String::from_utf8_lossy(&written));
        }
        Err(FileError::Newer { found, known, .. }) => assert!(found > known),
        Err(_) => {}
    }
}

fn node_state(input: &[u8]) {
    let Some((which, input)) = chosen(input) else {
        return;
    };
    match which % 8 {
        0 => record::<NodeRecord>(input),
        1 => record::<StoreRecord>(input),
        2 => record::<Tombstone>(input),
        3 => record::<Quarantine>(input),
        4 => record::<RosterRecord>(input),
        5 => record::<Intent>(input),
        6 => record::<fuzzing::edge::Meant>(input),
        _ => record::<fuzzing::Loaded>(input),
    }
}

fn records() -> Vec<Vec<u8>> {
    let spec = serde_json::to_value(a_spec()).expect("a spec is JSON");
    let accepted = serde_json::json!({
        "generation": 3, "render_version": 1, "spec": spec, "spec_digest": "0".repeat(64), "plan_digest": "1".repeat(64),
    });
    let store = serde_json::json!({
        "format": 1, "store": store_id(), "uid_base": 200_064, "newest": accepted, "serving": accepted, "previous": accepted,
        "passed": [accepted], "subnets": {"app-a": 3, "data": 4}, "serve": {"to": "slot", "slot": "a", "replicas": [0, 1]},
        "agent": {"spki": "2".repeat(64), "sealing": [1, 2, 3]}, "volumes": ["media"], "second_slot": true,
    });
    let mut remains = store.clone();
    if let Some(fields) = remains.as_object_mut() {
        fields.remove("format");
    }
    let tombstone = serde_json::json!({
        "format": 1, "store": store_id(), "generation": Generation::FIRST, "remains": remains, "receipt": "{}",
    });
    let node = serde_json::json!({
        "format": 1, "id": "n1node", "name": "host-1", "root_pins": ["3".repeat(64)], "pool": "10.200.0.0/14",
        "first_uid": 200_000, "names_subnet": 0, "operator_root_pin": null,
    });
    let quarantine =
        serde_json::json!({"format": 1, "resting": [{"subnet": 7, "until_unix_ms": 1}]});
    let roster = serde_json::json!({"format": 1, "document": [123, 125], "signature": [1]});
    let intent = serde_json::json!({"format": 1, "name": "sf-n1node-a", "nonce": "x"});
    let standing = serde_json::json!({"format": 1, "side": "b"});
    let loaded = serde_json::json!({"format": 1, "archives": {"images.tar": {
        "bytes": 1024, "modified_unix_ms": 1, "images": {"shopfleet/caddy:1": "sha256:00"},
    }}});
    [
        node, store, tombstone, quarantine, roster, intent, standing, loaded,
    ]
    .iter()
    .zip(0_u8..)
    .map(|(record, which)| [&[which], record.to_string().as_bytes()].concat())
    .collect()
}

/// An archive's list is short, and holds images of ours alone.
fn archive(input: &[u8]) {
    if let Ok((tags, length)) = fuzzing::archive(input) {
        assert!(!tags.is_empty() && length <= 1 << 20);
        assert!(tags.iter().all(|tag| tag.starts_with("shopfleet/")));
    }
}

fn entry(name: &str, content: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    block.extend(content);
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

fn archives() -> Vec<Vec<u8>> {
    let list =
        br#"[{"Config":"c.json","RepoTags":["shopfleet/mariadb:1"],"Layers":["l/layer.tar"]}]"#;
    vec![
        [
            entry("l/layer.tar", b"layer"),
            entry("manifest.json", list),
            vec![0; 1024],
        ]
        .concat(),
        entry("manifest.json", br#"[{"RepoTags":["other/image:1"]}]"#),
    ]
}

const NOW: i64 = 1_800_000_000;

/// Whoever writes a log decides neither how much memory it takes, nor what is counted for a store that it does not name.
fn access_log(input: &[u8]) {
    let Some((at, log)) = chosen(input) else {
        return;
    };
    let (first, second) = log.split_at(at.min(log.len()));
    let of = ("shop.example.com", store_id());
    let (lines, rest, counted) = fuzzing::read_log([first, second], NOW, of);
    let mut expected: Vec<&[u8]> = log.split(|byte| *byte == b'\n').collect();
    let unfinished = expected.pop().unwrap_or_default();
    if log.len() <= 64 << 10 {
        assert!(lines == expected, "lines were lost or made up");
        assert_eq!(rest, unfinished.len());
    }
    assert!(rest <= 128 << 10);
    assert!(counted.len() <= 360 + 60, "{} seconds", counted.len());
    assert!(counted.is_sorted_by(|one, next| one.unix_s < next.unix_s));
    let requests: u64 = counted.iter().map(|it| u64::from(it.requests)).sum();
    assert!(requests <= lines.len() as u64);
    assert!(counted.iter().all(|it| it.server_errors <= it.requests));
}

fn kernel_tables(input: &[u8]) {
    let [text, second] = texts(input);
    let alone = fuzzing::queued(&text);
    let twice = fuzzing::queued(&format!("{text}\n{text}"));
    assert_eq!(twice, alone.saturating_mul(2));
    let _ = fuzzing::memory(&text);
    let [stat, cgroup] = parts(input);
    let id = "0".repeat(64);
    let part = docker::process([stat, cgroup, second.as_bytes()], &id);
    if part == Some(docker::Part::Process) {
        assert!(second.contains(&id));
    }
}

/// A visitor is seen on whichever line he is, and only at the ports asked for.
fn visitors(input: &[u8]) {
    let Some((ports, table)) = input.split_first_chunk::<4>() else {
        return;
    };
    let [a, b, c, d] = *ports;
    let ports = [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
    let table = String::from_utf8_lossy(table);
    let seen = fuzzing::edge::connected(&table, ports);
    let lines = table.lines().skip(1);
    let by_line: Vec<bool> = lines
        .map(|line| fuzzing::edge::connected(&format!("\n{line}\n"), ports))
        .collect();
    assert_eq!(seen, by_line.contains(&true));
    let each = ports.map(|port| fuzzing::edge::connected(&table, [port, port]));
    assert_eq!(seen, each.contains(&true));
    let visitor = |state: &str| {
        let line = format!(" 9: 0100007F:{:04X} 0100007F:D431 {state} 0:0", ports[1]);
        fuzzing::edge::connected(&format!("{table}\n{line}\n"), ports)
    };
    assert!(visitor("01"), "one who came last");
    assert_eq!(visitor("0A"), seen, "nobody but the one who listens");
}

/// A few addresses that the file names, none of them this host's own; what else it says changes nothing.
fn resolvers(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let found = fuzzing::resolvers_of(&text);
    assert!(found.len() <= 4 && !found.iter().any(Ipv4Addr::is_loopback));
    for address in &found {
        let address = address.to_string();
        let named = |line: &str| line.trim().starts_with("nameserver") && line.contains(&address);
        assert!(text.lines().any(named), "{address}");
    }
    let one_more = Ipv4Addr::new(192, 0, 2, 9);
    let longer = format!("{text}\noptions edns0\nnameserver {one_more} # or not\n");
    let expected: Vec<_> = found.into_iter().chain([one_more]).take(4).collect();
    assert_eq!(fuzzing::resolvers_of(&longer), expected);
}

/// Every line is a network or nothing; our own bridges are none.
fn routes(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let found = host_routes(&text, "sfn1node-");
    assert!(found.len() <= text.lines().count());
    let line = "\t0000C80A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0";
    let longer =
        |interface: &str| host_routes(&format!("{text}\n{interface}{line}\n"), "sfn1node-");
    assert_eq!(longer("sfn1node-7"), found);
    let pool: Cidr = "10.200.0.0/14".parse().expect("a pool");
    let last = longer("eth0").pop();
    assert!(last.is_some_and(|it| it.overlaps(pool)), "{last:?}");
    assert_eq!(longer("eth0").len(), found.len() + 1);
}

fn docker_answers(input: &[u8]) {
    if let Ok(Some(Some(store))) = docker::event("sf-n1node-", input) {
        let named: StoreId = store;
        assert_eq!(named.as_str().len(), 12);
    }
    if let Ok(container) = docker::container(input) {
        assert!(!format!("{container:?}").is_empty());
    }
    let [min, max] = texts(input);
    if let Some(chosen) = docker::version(&min, &max) {
        assert!(chosen >= (1, 41), "{chosen:?}");
    }
}
