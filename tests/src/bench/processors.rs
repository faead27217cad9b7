//! How busy the machine's processors are. A figure that was taken while they had nothing to spare, or while a host gave them to somebody
//! else, is another figure.

use std::fmt;
use std::fs;

use anyhow::Context;

/// Fields of the first line of `/proc/stat` (proc_stat(5)), `guest` and what follows left out: it is part of `user`.
const FIELDS: usize = 8;
const IDLE: [usize; 2] = [3, 4];
const STOLEN: usize = 7;

/// Ticks of all processors since the machine started.
#[derive(Debug, Clone, Copy)]
pub struct Ticks([u64; FIELDS]);

/// What was left, and what a host took away, between two looks.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    idle: f64,
    stolen: f64,
}

impl Ticks {
    /// As they stand.
    pub fn now() -> anyhow::Result<Self> {
        parse(&fs::read_to_string("/proc/stat")?).context("/proc/stat is not as expected")
    }

    /// Since an earlier look.
    pub fn since(&self, before: &Self) -> Share {
        let gone: Vec<u64> = self
            .0
            .iter()
            .zip(before.0)
            .map(|(now, then)| now.saturating_sub(then))
            .collect();
        let all = gone.iter().sum::<u64>().max(1) as f64;
        Share {
            idle: IDLE.iter().map(|field| gone[*field]).sum::<u64>() as f64 / all,
            stolen: gone[STOLEN] as f64 / all,
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} % idle, {:.0} % stolen",
            self.idle * 100.0,
            self.stolen * 100.0
        )
    }
}

fn parse(text: &str) -> Option<Ticks> {
    let mut words = text.lines().next()?.split_whitespace();
    if words.next()? != "cpu" {
        return None;
    }
    let mut ticks = [0; FIELDS];
    for tick in &mut ticks {
        *tick = words.next()?.parse().ok()?;
    }
    Some(Ticks(ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_what_passed_between_the_looks() {
        let then = parse("cpu  100 0 100 100 0 0 0 0 9 9\ncpu0 1").unwrap();
        let now = parse("cpu  140 0 120 120 10 0 0 10 9 9\ncpu0 1").unwrap();
        assert_eq!(now.since(&then).to_string(), "30 % idle, 10 % stolen");
    }

    #[test]
    fn another_file_is_refused() {
        assert!(parse("intr 1 2 3").is_none());
        assert!(parse("cpu  1 2 3").is_none());
    }
}
