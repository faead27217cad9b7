//! Ids and names: what they may look like, and nothing else.

use std::{fmt, num::NonZeroU64, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A text that does not have the shape its type demands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {shape}")]
pub struct IdError {
    what: &'static str,
    shape: &'static str,
}

/// A text newtype with one check, parsed at the border and trusted afterwards.
macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $shape:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let check: fn(&[u8]) -> bool = $check;
                if check(text.as_bytes()) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(IdError { what: $what, shape: $shape })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

fn lower_alphanumeric(text: &[u8], length: usize) -> bool {
    text.len() == length
        && text[0].is_ascii_lowercase()
        && text
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// Letters, digits and inner hyphens, as DNS labels are; never two hyphens in a row, so it can be joined with others.
fn slug(text: &[u8], longest: usize) -> bool {
    let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=longest).contains(&text.len())
        && text[0].is_ascii_lowercase()
        && text.last().is_some_and(edge)
        && text.iter().all(|b| edge(b) || *b == b'-')
        && !text.windows(2).any(|pair| pair == b"--")
}

text_type! {
    /// One shop. Random, never reused. 12 characters, so that every name made from it fits.
    StoreId, "a store id", "12 characters a-z and 0-9, the first a letter", |t| lower_alphanumeric(t, 12)
}
text_type! {
    /// One Docker host under a node agent. Random, never reused. 6 characters, so that it fits a bridge's interface name.
    NodeId, "a node id", "6 characters a-z and 0-9, the first a letter", |t| lower_alphanumeric(t, 6)
}
text_type! {
    /// What people call a store: unique in its project, and the first label of its host name.
    StoreName, "a store name", "2 to 40 characters a-z, 0-9 and single hyphens, a letter first, no hyphen last",
    |t| t.len() >= 2 && slug(t, 40)
}
text_type! {
    /// A service (or task) of a plan, such as `php-fpm`.
    ServiceName, "a service name", "1 to 20 characters a-z, 0-9 and single hyphens, a letter first, no hyphen last",
    |t| slug(t, 20)
}

/// Grows with every change of a store's spec. Starts at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(NonZeroU64);

impl Generation {
    /// The generation a new store starts with.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// None for 0, which on the wire means "none yet".
    #[must_use]
    pub const fn new(value: u64) -> Option<Self> {
        match NonZeroU64::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// The next one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a replica runs: stateless services fill `a` or `b`, everything else is `fixed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// First slot.
    A,
    /// Second slot.
    B,
    /// No slot: stateful services and workers.
    Fixed,
}

impl Slot {
    /// As written in names and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
            Self::Fixed => "fixed",
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Slot {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "a" => Ok(Self::A),
            "b" => Ok(Self::B),
            "fixed" => Ok(Self::Fixed),
            _ => Err(IdError {
                what: "a slot",
                shape: "a, b or fixed",
            }),
        }
    }
}

/// The identity of a container. Revision and spec hash are labels on it, not part of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReplicaKey {
    /// Service of the plan.
    pub service: ServiceName,
    /// Where it runs.
    pub slot: Slot,
    /// From 0.
    pub replica: u8,
}

/// A replica key that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplicaKeyError {
    /// A part has the wrong shape.
    #[error(transparent)]
    Id(#[from] IdError),
    /// More replicas than addresses.
    #[error("a replica number is 0 to {max}", max = ReplicaKey::MAX_REPLICAS - 1)]
    Replica,
}

impl ReplicaKey {
    /// Replicas of one service in one slot: what the fixed addresses of a /27 leave room for.
    pub const MAX_REPLICAS: u8 = 6;

    /// Checks all parts.
    ///
    /// # Errors
    /// When a part has the wrong shape or the replica number is too high.
    pub fn parse(service: &str, slot: &str, replica: u32) -> Result<Self, ReplicaKeyError> {
        let replica = u8::try_from(replica)
            .ok()
            .filter(|replica| *replica < Self::MAX_REPLICAS)
            .ok_or(ReplicaKeyError::Replica)?;
        Ok(Self {
            service: service.parse()?,
            slot: slot.parse()?,
            replica,
        })
    }
}

impl fmt::Display for ReplicaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.service, self.slot, self.replica)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_one_shape_only() {
        assert!("k3v9q2m8x1aa".parse::<StoreId>().is_ok());
        for bad in [
            "",
            "3kv9q2m8x1aa",
            "k3v9q2m8x1a",
            "K3v9q2m8x1aa",
            "k3v9q2m8x1a-",
            "k3v9q2m8x1aab",
        ] {
            assert!(bad.parse::<StoreId>().is_err(), "{bad}");
        }
        for good in ["shop", "my-shop-2", "ab"] {
            assert!(good.parse::<StoreName>().is_ok(), "{good}");
        }
        for bad in [
            "", "a", "-a", "a-", "a--b", "2shop", "Shop", "sh op", "shöp",
        ] {
            assert!(bad.parse::<StoreName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn replica_numbers_are_bounded() {
        assert!(ReplicaKey::parse("web", "a", 5).is_ok());
        assert_eq!(
            ReplicaKey::parse("web", "a", 6),
            Err(ReplicaKeyError::Replica)
        );
        assert!(ReplicaKey::parse("web", "c", 0).is_err());
    }
}
