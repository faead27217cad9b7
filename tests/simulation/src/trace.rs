//! Everything that happened in a run, in order, and its digest: two runs of a seed must agree on it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use sha2::{Digest as _, Sha256};

/// Lines kept for the report of a failure.
const KEPT: usize = 4000;

/// What happened. Cheap to clone.
#[derive(Clone, Default)]
pub struct Trace(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    digest: Sha256,
    last: VecDeque<String>,
    count: u64,
    violations: Vec<String>,
    ms: u64,
}

impl Trace {
    /// The simulated time of what is said from here on.
    pub fn at(&self, ms: u64) {
        self.lock().ms = ms;
    }

    /// Something happened.
    pub fn say(&self, what: impl AsRef<str>) {
        let mut lines = self.lock();
        let line = format!("{:>8} {}", lines.ms, what.as_ref());
        lines.digest.update(line.as_bytes());
        lines.digest.update(b"\n");
        lines.count += 1;
        lines.last.push_back(line);
        if lines.last.len() > KEPT {
            lines.last.pop_front();
        }
    }

    /// Something happened that must never happen.
    pub fn violated(&self, what: impl AsRef<str>) {
        let what = what.as_ref().to_owned();
        // What goes on being so is said once.
        if !self.lock().violations.contains(&what) {
            self.say(format!("VIOLATION {what}"));
            self.lock().violations.push(what);
        }
    }

    /// What must never happen and did.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    /// Names everything that was said, in order.
    #[must_use]
    pub fn digest(&self) -> String {
        let lines = self.lock();
        let hash = lines.digest.clone().finalize();
        let hex: String = hash
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("{hex} ({} lines)", lines.count)
    }

    /// The last lines.
    #[must_use]
    pub fn tail(&self, lines: usize) -> Vec<String> {
        let held = self.lock();
        let skip = held.last.len().saturating_sub(lines);
        held.last.iter().skip(skip).cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
