//! Changes of inputs, the same ones at every run: what the test judges beside the kept inputs.

/// Words that parsers of ours know, and some that none should believe.
const WORDS: &[&[u8]] = &[
    b"\0",
    b"\n",
    b"\r\n",
    b" ",
    b":",
    b"/",
    b".",
    b"..",
    b"-",
    b"_",
    b"*",
    b"%",
    b"@",
    b"=",
    b",",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\",
    b"${X}",
    b"&a ",
    b"<<: *a",
    b"null",
    b"true",
    b"-1",
    b"0",
    b"1e999",
    b"99999999999999999999",
    b"sha256:",
    b"xn--",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    "\u{202e}".as_bytes(),
    "é".as_bytes(),
    b"\x1b[2J",
];

/// SplitMix64: enough to choose by, and the same everywhere.
pub struct Chance(u64);

impl Chance {
    /// Begins at a number.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is above 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// One of the inputs, changed up to five times.
    pub fn changed(&mut self, kept: &[Vec<u8>]) -> Vec<u8> {
        let mut input = kept
            .get(self.below(kept.len()))
            .cloned()
            .unwrap_or_default();
        for _ in 0..self.below(6) {
            self.change(&mut input, kept);
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, kept: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        match self.below(7) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
            1 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = self.below(256) as u8;
                }
            }
            2 => {
                let end = input.len().min(at + 1 + self.below(40));
                input.drain(at..end);
            }
            3 => {
                let word = WORDS[self.below(WORDS.len())];
                input.splice(at..at, word.iter().copied());
            }
            4 => {
                let end = input.len().min(at + 1 + self.below(40));
                let piece = input[at..end].to_vec();
                input.splice(at..at, piece);
            }
            5 => input.truncate(at),
            _ => {
                let Some(other) = kept.get(self.below(kept.len())) else {
                    return;
                };
                let from = self.below(other.len() + 1);
                let end = other.len().min(from + 1 + self.below(80));
                input.splice(at..at, other[from..end].iter().copied());
            }
        }
    }
}
