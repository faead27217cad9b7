//! The real clock and the real randomness.

use jiff::Timestamp;
use shop_proto::{NodeId, StoreId};

use super::{Clock, Ids};

/// The system's clock, to the millisecond: that is what is stored.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }
}

/// Ids from the operating system's seeded generator.
pub struct RandomIds;

const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

impl RandomIds {
    /// Each character carries 5 bits: 256 is a multiple of 32, so none is likelier than another.
    fn text(length: usize) -> String {
        let mut bytes = vec![0_u8; length];
        rand::fill(&mut bytes[..]);
        bytes
            .into_iter()
            .map(|byte| char::from(LETTERS[usize::from(byte % 32)]))
            .collect()
    }

    /// Starts with a letter, as ids must: `s` and `n` would tell kinds apart, but 5 bits are worth more than a hint.
    fn id<T: std::str::FromStr>(length: usize) -> T {
        loop {
            if let Ok(id) = Self::text(length).parse() {
                return id;
            }
        }
    }
}

impl Ids for RandomIds {
    fn store(&self) -> StoreId {
        Self::id(12)
    }

    fn node(&self) -> NodeId {
        Self::id(6)
    }

    fn operation(&self) -> String {
        uuid::Uuid::now_v7().to_string()
    }

    fn base32(&self, length: usize) -> String {
        Self::text(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_can_be_made_of_it() {
        let ids = RandomIds;
        assert!(shop_proto::TokenText::api(ids.base32(10), ids.base32(52)).is_ok());
        assert_ne!(ids.store(), ids.store());
    }
}
