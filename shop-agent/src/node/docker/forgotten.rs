//! Processes that the engine forgot. An engine that is killed while it starts a container keeps no note of what its containerd had begun by
//! then: the process runs on, on the container's volumes and at its address, while the engine says that it never ran. Nobody else would
//! end it, and two databases on one directory must never be: before such a container is started again or removed, its processes end here.
//!
//! They are found by their control group, which carries the container's id; their keeper, containerd's shim, by its arguments.

use std::{fs, io, path::Path, time::Duration};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::engine::{Engine, EngineError};
use crate::blocking::off_thread;

/// How long what was killed may take to be gone: a process that waits for its disk ends when that has answered.
const GONE: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// Characters of a container's id: a shorter text could be part of somebody else's.
const ID: usize = 64;

/// What is left of a container that does not run.
#[derive(Debug, Default, PartialEq, Eq)]
struct Left {
    processes: Vec<i32>,
    keepers: Vec<i32>,
}

impl Engine {
    /// Ends every process of a container that does not run by the engine's own word. Whoever calls holds the container's gate, so that nobody
    /// starts it meanwhile. True when there were some.
    ///
    /// # Errors
    /// [`EngineError::Forgotten`] when one of them does not end.
    pub(super) async fn end_forgotten(&self, name: &str, id: &str) -> Result<bool, EngineError> {
        let left = look(id).await;
        if left == Left::default() {
            return Ok(false);
        }
        tracing::warn!(container = name, ?left, "ending what the engine forgot");
        // A keeper that is killed is seen by containerd, which then forgets the container, too.
        kill(id, [left.processes, left.keepers].concat()).await;
        if gone(id, GONE).await {
            Ok(true)
        } else {
            let name = name.to_owned();
            Err(EngineError::Forgotten { name })
        }
    }
}

async fn gone(id: &str, limit: Duration) -> bool {
    let all = async {
        while look(id).await != Left::default() {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(limit, all).await.is_ok()
}

async fn look(id: &str) -> Left {
    let id = id.to_owned();
    let looked = off_thread(move || left(Path::new("/proc"), &id)).await;
    // A list that cannot be read shows nothing; then the engine's own refusal stands.
    looked.ok().and_then(Result::ok).unwrap_or_default()
}

async fn kill(id: &str, pids: Vec<i32>) {
    let id = id.to_owned();
    let killed = off_thread(move || {
        for pid in pids {
            if let Err(error) = kill_one(&id, pid) {
                tracing::warn!(pid, %error, "a forgotten process could not be ended");
            }
        }
    });
    // A panic in there shows when they are looked for again.
    let _ = killed.await;
}

fn kill_one(id: &str, pid: i32) -> io::Result<()> {
    let Some(raw) = Pid::from_raw(pid) else {
        return Ok(());
    };
    let held = match pidfd_open(raw, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        other => other?,
    };
    // The number may be somebody else's by now: what is held is looked at again.
    if of(&Path::new("/proc").join(pid.to_string()), id).is_none() {
        return Ok(());
    }
    match pidfd_send_signal(held, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn left(proc: &Path, id: &str) -> io::Result<Left> {
    let mut left = Left::default();
    if id.len() != ID {
        return Ok(left);
    }
    for entry in fs::read_dir(proc)? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|it| it.parse().ok()) else {
            continue;
        };
        match of(&entry.path(), id) {
            Some(Part::Process) => left.processes.push(pid),
            Some(Part::Keeper) => left.keepers.push(pid),
            None => {}
        }
    }
    Ok(left)
}

/// What a process is to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Process,
    Keeper,
}

/// `None` for those of others, and for those that have ended and wait to be collected.
fn of(process: &Path, id: &str) -> Option<Part> {
    let read = |name: &str| fs::read(process.join(name)).unwrap_or_default();
    part([&read("stat"), &read("cgroup"), &read("cmdline")], id)
}

/// As [`of`], by the content of `stat`, `cgroup` and `cmdline`.
pub(super) fn part([stat, cgroup, line]: [&[u8]; 3], id: &str) -> Option<Part> {
    // The state follows the name, which may hold anything.
    let after = stat.iter().rposition(|byte| *byte == b')')?;
    if matches!(stat.get(after + 2), None | Some(b'Z' | b'X')) {
        return None;
    }
    if String::from_utf8_lossy(cgroup).contains(id) {
        return Some(Part::Process);
    }
    let mut words = line.split(|byte| *byte == 0);
    let program = String::from_utf8_lossy(words.next()?).into_owned();
    let file = Path::new(&program).file_name()?.to_str()?;
    let keeps = words.any(|word| word == b"-id") && words.next() == Some(id.as_bytes());
    (file.starts_with("containerd-shim") && keeps).then_some(Part::Keeper)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const OTHER: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";

    fn process(proc: &Path, pid: i32, state: &str, cgroup: &str, cmdline: &str) {
        let place = proc.join(pid.to_string());
        fs::create_dir(&place).unwrap();
        fs::write(place.join("stat"), format!("{pid} (a) b) {state} 1 1")).unwrap();
        fs::write(place.join("cgroup"), cgroup).unwrap();
        fs::write(place.join("cmdline"), cmdline.replace(' ', "\0")).unwrap();
    }

    #[test]
    fn its_processes_and_their_keeper_are_found_and_nobody_else() {
        let place = tempfile::tempdir().unwrap();
        let proc = place.path();
        let shim = |id: &str| {
            format!("/usr/bin/containerd-shim-runc-v2 -namespace moby -id {id} -address x")
        };
        process(proc, 10, "S", &format!("4:pids:/docker/{OURS}"), "mariadbd");
        process(proc, 11, "D", &format!("0::/../docker-{OURS}.scope"), "sh");
        process(proc, 12, "Z", &format!("4:pids:/docker/{OURS}"), "");
        process(
            proc,
            13,
            "S",
            &format!("4:pids:/docker/{OTHER}"),
            "mariadbd",
        );
        process(proc, 20, "S", "4:pids:/", &shim(OURS));
        process(proc, 21, "S", "4:pids:/", &shim(OTHER));
        process(proc, 22, "S", "4:pids:/", &format!("grep -id {OURS}"));
        fs::create_dir(proc.join("sys")).unwrap();
        let mut found = left(proc, OURS).unwrap();
        found.processes.sort_unstable();
        let all = Left {
            processes: vec![10, 11],
            keepers: vec![20],
        };
        assert_eq!(found, all);
        assert_eq!(left(proc, "docker").unwrap(), Left::default());
    }
}
