//! Fuzz targets: every parser of bytes from outside, and what must hold of what it makes of them.
//!
//! A target is a function from bytes to nothing that panics when something does not hold. Two callers have the same targets: the fuzzer in
//! `libfuzzer/`, which looks for new inputs by coverage, and the test of this crate, which runs the kept inputs and some thousand changes
//! of them in seconds. An input that once broke something stays in `corpus/<target>/`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

mod names;
mod node;
mod operator;
mod plane;
mod plans;
mod responder;
mod seals;
mod sessions;
mod store;

pub mod change;

/// A parser, what must hold of it, and inputs to begin with.
#[derive(Clone, Copy)]
pub struct Target {
    /// Name of its folder in `corpus/`.
    pub name: &'static str,
    /// Panics when something does not hold.
    pub judge: fn(&[u8]),
    /// Good inputs in binary forms, made by our own encoders: a file of them would go stale.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How much one input costs: the test makes fewer changes where it is more.
    pub cost: Cost,
}

/// What judging one input costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// Microseconds.
    Cheap,
    /// Up to some milliseconds.
    Dear,
}

impl Cost {
    /// Changed inputs that the test judges.
    #[must_use]
    pub const fn changes(self) -> usize {
        match self {
            Self::Cheap => 4000,
            Self::Dear => 300,
        }
    }
}

/// All targets.
#[must_use]
pub fn targets() -> Vec<Target> {
    [
        names::TARGETS,
        sessions::TARGETS,
        plans::TARGETS,
        seals::TARGETS,
        store::TARGETS,
        node::TARGETS,
        responder::TARGETS,
        plane::TARGETS,
        operator::TARGETS,
    ]
    .concat()
}

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    targets().into_iter().find(|target| target.name == name)
}

impl Target {
    const fn new(name: &'static str, judge: fn(&[u8])) -> Self {
        Self {
            name,
            judge,
            seeds: Vec::new,
            cost: Cost::Cheap,
        }
    }

    const fn with_seeds(mut self, seeds: fn() -> Vec<Vec<u8>>) -> Self {
        self.seeds = seeds;
        self
    }

    const fn dear(mut self) -> Self {
        self.cost = Cost::Dear;
        self
    }

    /// Where its kept inputs are.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(self.name)
    }

    /// Its kept inputs by the order of their names, then its seeds.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn kept(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut files = Vec::new();
        match fs::read_dir(self.folder()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(listing) => {
                for entry in listing {
                    files.push(entry?.path());
                }
            }
        }
        files.sort();
        let mut kept = files.iter().map(fs::read).collect::<Result<Vec<_>, _>>()?;
        kept.extend((self.seeds)());
        Ok(kept)
    }
}

/// Parts of an input for parsers that take several texts: zero bytes lie between them. What is missing is empty.
fn parts<const N: usize>(input: &[u8]) -> [&[u8]; N] {
    let mut pieces = input.splitn(N, |byte| *byte == 0);
    std::array::from_fn(|_| pieces.next().unwrap_or_default())
}

/// As [`parts`], as text.
fn texts<const N: usize>(input: &[u8]) -> [String; N] {
    parts::<N>(input).map(|part| String::from_utf8_lossy(part).into_owned())
}

/// The first byte chooses among several parsers; the rest is for the one chosen.
fn chosen(input: &[u8]) -> Option<(usize, &[u8])> {
    input
        .split_first()
        .map(|(first, rest)| (usize::from(*first), rest))
}
