//! Buyers compute on machines of their own. On this one they get a weight of their own, or a late answer may be theirs and not the shop's.

use std::fs;
use std::io;
use std::path::Path;

/// A group of control group v1; where there is none, buyers share the processors with everybody.
const GROUP: &str = "/sys/fs/cgroup/cpu/shopfleet-buyers";
/// The most there is: with as much as all containers together have, the buyers waited up to 60 ms for a processor whenever containers were
/// made or removed, and those milliseconds were counted as the shop's.
const SHARES: &str = "262144";

/// Takes the calling thread there, where there is such a place.
pub fn go() {
    let group = Path::new(GROUP);
    // Without control groups of this kind they stay where they are.
    let _stay = make(group).and_then(|()| enter(group));
}

fn make(group: &Path) -> io::Result<()> {
    match fs::create_dir(group) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::write(group.join("cpu.shares"), SHARES)
}

fn enter(group: &Path) -> io::Result<()> {
    let thread = fs::read_link("/proc/thread-self")?;
    let id = thread.file_name().ok_or(io::ErrorKind::InvalidData)?;
    fs::write(group.join("tasks"), id.as_encoded_bytes())
}
