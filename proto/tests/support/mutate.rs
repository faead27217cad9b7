//! Changes kept inputs at random, for tests that throw damaged input at a parser. The corpus holds inputs that were once interesting.

use std::{fs, path::Path};

use proptest::{prelude::*, sample::Index};

/// One change of an input.
#[derive(Debug, Clone)]
pub enum Change {
    Flip(Index, u8),
    Delete(Index, u8),
    Insert(Index, Vec<u8>),
    Repeat(Index, u8),
    /// Puts a piece of another input of the corpus in.
    Splice(Index, Index, Index, u8),
}

/// Changes to make one after the other.
pub fn changes() -> impl Strategy<Value = Vec<Change>> {
    let words = prop::sample::select(
        &[
            "\0",
            "\n",
            " ",
            ":",
            "{",
            "}",
            "[",
            "]",
            "*",
            "&a ",
            "$",
            "${X}",
            "..",
            "/",
            "%",
            "-",
            "_",
            "\u{202E}",
            "é",
            "0",
            "\"",
            "\\",
            "true",
            "1e999",
            "99999999999999999999",
            "- ",
            "<<: *a",
            "!!binary ",
            "---\n",
        ][..],
    );
    let change = prop_oneof![
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (any::<Index>(), 1..40_u8).prop_map(|(at, length)| Change::Delete(at, length)),
        (any::<Index>(), words).prop_map(|(at, word)| Change::Insert(at, word.as_bytes().to_vec())),
        (any::<Index>(), 1..40_u8).prop_map(|(at, length)| Change::Repeat(at, length)),
        (any::<Index>(), any::<Index>(), any::<Index>(), 1..80_u8)
            .prop_map(|(at, other, from, length)| Change::Splice(at, other, from, length)),
    ];
    prop::collection::vec(change, 0..6)
}

/// The kept inputs, in the order of their names.
pub fn corpus(folder: &Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .expect("the corpus is there")
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "the corpus is empty");
    paths
        .iter()
        .map(|path| fs::read(path).expect("a kept input can be read"))
        .collect()
}

/// An input of the corpus, changed.
pub fn mutated(corpus: &[Vec<u8>], which: &Index, changes: &[Change]) -> Vec<u8> {
    let mut input = corpus[which.index(corpus.len())].clone();
    for change in changes {
        let end = input.len();
        let place = |at: &Index| at.index(end + 1);
        match change {
            Change::Flip(at, bit) if end > 0 => input[at.index(end)] ^= 1 << bit,
            Change::Flip(..) => {}
            Change::Delete(at, length) => {
                let from = place(at);
                input.drain(from..end.min(from + usize::from(*length)));
            }
            Change::Insert(at, bytes) => {
                let at = place(at);
                input.splice(at..at, bytes.iter().copied());
            }
            Change::Repeat(at, length) => {
                let from = place(at);
                let piece = input[from..end.min(from + usize::from(*length))].to_vec();
                input.splice(from..from, piece);
            }
            Change::Splice(at, other, from, length) => {
                let other = &corpus[other.index(corpus.len())];
                let from = from.index(other.len() + 1);
                let piece = other[from..other.len().min(from + usize::from(*length))].to_vec();
                let at = place(at);
                input.splice(at..at, piece);
            }
        }
    }
    input
}
