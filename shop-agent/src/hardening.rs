//! What keeps other processes of the same user, and core dumps, away from the keys in our memory. The kernel's part of it only; who may be
//! this user at all is the node's doing.

use std::io;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// Nobody but root attaches to this process or reads its memory, and it leaves no core dump.
///
/// # Errors
/// When the kernel does not do it.
pub fn undumpable() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

#[cfg(test)]
mod tests {
    use rustix::process::dumpable_behavior;

    use super::*;

    #[test]
    fn memory_is_nobody_elses() {
        undumpable().unwrap();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
