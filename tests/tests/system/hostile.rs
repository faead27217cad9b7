//! What somebody with the control plane, the node's files or `docker inspect` in hand would look for: a store's secrets. They are read from
//! inside the store, then looked for everywhere they must not be. The store's own name, which may be there, shows that the looking works.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use shop_tests::docker::{self, docker};
use shop_tests::fleet::{Fleet, PATIENCE};

const CONTROL_PLANE: &str = "shopfleet-control-plane";
const NODE: &str = "shopfleet-node";
/// Shorter ones are in any file by chance.
const LEAST_SECRET: usize = 12;
/// Read at once; needles on a border are found because the pieces overlap.
const PIECE: usize = 1 << 20;

/// What is looked for, and where it was found.
struct Search {
    needles: Vec<Vec<u8>>,
    found: BTreeSet<String>,
}

impl Search {
    fn new(values: &BTreeSet<String>) -> Self {
        let plain = values.iter().map(|value| value.as_bytes().to_vec());
        let hex = values
            .iter()
            .map(|value| value.bytes().flat_map(hex).collect::<Vec<u8>>());
        Self {
            needles: plain.chain(hex).collect(),
            found: BTreeSet::new(),
        }
    }

    fn bytes(&mut self, place: &str, bytes: &[u8]) {
        let mut begins = [false; 256];
        for needle in &self.needles {
            begins[usize::from(needle[0])] = true;
        }
        let there = bytes.iter().enumerate().any(|(at, byte)| {
            begins[usize::from(*byte)]
                && self
                    .needles
                    .iter()
                    .any(|needle| bytes[at..].starts_with(needle))
        });
        if there {
            self.found.insert(place.to_owned());
        }
    }

    fn text_of(&mut self, place: &str, command: &[&str]) -> anyhow::Result<()> {
        let said = docker(command)?;
        self.bytes(place, said.stdout.as_bytes());
        self.bytes(place, said.stderr.as_bytes());
        Ok(())
    }

    /// Every file below, without following links. What goes while we look was not there.
    fn tree(&mut self, path: &Path) -> anyhow::Result<()> {
        let Ok(seen) = fs::symlink_metadata(path) else {
            return Ok(());
        };
        if seen.is_dir() {
            for entry in fs::read_dir(path)?.flatten() {
                self.tree(&entry.path())?;
            }
        } else if seen.is_file() && !seen.file_type().is_socket() {
            self.bytes(&path.display().to_string(), &fs::read(path)?);
        }
        Ok(())
    }

    /// What every process on this host was started with. The store's own are not exempt.
    fn command_lines_and_environments(&mut self) -> anyhow::Result<()> {
        for process in fs::read_dir("/proc")?.flatten() {
            for file in ["cmdline", "environ"] {
                let path = process.path().join(file);
                if let Ok(bytes) = fs::read(&path) {
                    self.bytes(&path.display().to_string(), &bytes);
                }
            }
        }
        Ok(())
    }

    /// Everything that the process can write to: what it ever held and has not overwritten.
    fn memory(&mut self, pid: &str) -> anyhow::Result<()> {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let mut memory = File::open(format!("/proc/{pid}/mem"))?;
        for line in maps.lines().filter(|line| line.contains(" rw")) {
            let range = line.split(' ').next().and_then(|it| it.split_once('-'));
            let (from, to) = range.with_context(|| line.to_owned())?;
            let (mut at, to) = (u64::from_str_radix(from, 16)?, u64::from_str_radix(to, 16)?);
            while at < to {
                let size = usize::try_from(to - at)?.min(PIECE);
                let mut piece = vec![0; size];
                memory.seek(SeekFrom::Start(at))?;
                // Some pages cannot be read, not even by root.
                if memory.read_exact(&mut piece).is_ok() {
                    self.bytes(&format!("memory of process {pid}"), &piece);
                }
                at += if size == PIECE {
                    (PIECE - 256) as u64
                } else {
                    size as u64
                };
            }
        }
        Ok(())
    }
}

fn hex(byte: u8) -> [u8; 2] {
    let digit = |it: u8| b"0123456789abcdef"[usize::from(it)];
    [digit(byte >> 4), digit(byte & 15)]
}

/// Every secret that a service of the store was handed.
fn secrets(store: &str) -> anyhow::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for container in docker::of_store(store)?.iter().filter(|it| it.running) {
        let Ok(names) = docker(&["exec", &container.id, "ls", "/run/secrets"])?.ok() else {
            continue;
        };
        for name in names.split_whitespace() {
            let path = format!("/run/secrets/{name}");
            found.insert(docker(&["exec", &container.id, "cat", &path])?.ok()?);
        }
    }
    found.retain(|value| value.len() >= LEAST_SECRET);
    Ok(found)
}

fn control_plane_data() -> anyhow::Result<String> {
    let format = "{{.Mountpoint}}";
    let said = docker(&["volume", "inspect", "--format", format, CONTROL_PLANE])?.ok()?;
    Ok(said.trim().to_owned())
}

fn everywhere(search: &mut Search) -> anyhow::Result<()> {
    search.tree(Path::new(&control_plane_data()?))?;
    search.tree(Path::new("/var/lib/shopfleet-quickstart"))?;
    search.tree(Path::new("/run/shopfleet"))?;
    for node in fs::read_dir("/var/lib/shopfleet")?.flatten() {
        // Not `volumes`, which are the stores' own, and not `keys`, which the vaults are wrapped with.
        for part in [
            "stores",
            "tombstones",
            "intents",
            "edge",
            "node.json",
            "roster.json",
        ] {
            search.tree(&node.path().join(part))?;
        }
    }
    for name in [CONTROL_PLANE, NODE] {
        search.text_of(&format!("log of {name}"), &["logs", name])?;
    }
    for kind in ["container", "volume", "network"] {
        let mut list = vec![kind, "ls", "--quiet"];
        if kind == "container" {
            list.push("--all");
        }
        for id in docker(&list)?.ok()?.split_whitespace() {
            let place = format!("inspect of {kind} {id}");
            search.text_of(&place, &[kind, "inspect", id])?;
        }
    }
    let format = "{{.State.Pid}}";
    let pid = docker(&["container", "inspect", "--format", format, CONTROL_PLANE])?.ok()?;
    search.memory(pid.trim())?;
    search.command_lines_and_environments()
}

#[test]
fn a_stores_secrets_are_nowhere_but_in_the_store() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let store = fleet.create_running("canary", &[])?;
    let id = store.id()?;
    let known = secrets(&id)?;
    ensure!(
        known.len() >= 3,
        "the store has only {} secrets",
        known.len()
    );

    // Everything that makes secrets or what is near them move: a login and a log, sealed, and all services once again.
    let login = store.credentials()?;
    ensure!(
        known.contains(&login.password) || login.password.len() >= LEAST_SECRET,
        "the login is not one of the secrets"
    );
    fleet.ctl(&["store", "logs", "canary", "db"])?.ok()?;
    store.act("restart")?;
    store.wait_serving(PATIENCE)?;
    docker::kill(&docker::service(&id, "cache")?.id)?;
    store.wait_serving(Duration::from_secs(60))?;

    let mut all = known;
    all.insert(login.password);
    let mut search = Search::new(&all);
    everywhere(&mut search)?;
    assert_eq!(search.found, BTreeSet::new(), "a secret has left its store");

    let mut control = Search::new(&BTreeSet::from([id]));
    everywhere(&mut control)?;
    for place in [
        "log of",
        "inspect of container",
        "memory of process",
        "/var/lib/",
    ] {
        assert!(
            control.found.iter().any(|found| found.starts_with(place)),
            "nothing was looked through in {place}…: {:?}",
            control.found
        );
    }
    store.delete()
}
