//! Addresses and users of stores: pure arithmetic over what is taken. Fixed /27 networks out of one pool, 64 uids per store.

use std::{collections::BTreeSet, fmt, net::Ipv4Addr, str::FromStr};

use serde::{Deserialize, Serialize};
use shop_plan::address;

/// uids per store: agent, services, tasks, and room.
pub const UIDS_PER_STORE: u32 = 64;
/// uids of a node on a host with others: more stores than any host bears.
pub const UIDS_PER_NODE: u32 = 1_000_000;
/// How long a freed subnet rests: connections and caches that still know its addresses are gone by then.
pub const QUARANTINE_MS: i64 = 10 * 60 * 1000;
/// uids end below what unsigned 31-bit tools still understand.
const LAST_UID: u32 = i32::MAX as u32;

/// An IPv4 network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cidr {
    base: u32,
    length: u8,
}

/// A text that is no IPv4 network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an address pool is an IPv4 network such as 10.200.0.0/14, at most a /22, with no bits set behind its prefix"
)]
pub struct CidrError;

/// The position of a /27 in the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SubnetIndex(u32);

/// The pool is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Exhausted {
    /// No /27 is free.
    #[error("the address pool has no free network; give the node a larger --pool")]
    Subnets,
    /// No uid range is free.
    #[error("no user ids are left for another store on this node")]
    Uids,
}

impl Cidr {
    /// A network from any address in it.
    #[must_use]
    pub const fn containing(address: Ipv4Addr, length: u8) -> Self {
        let length = if length > 32 { 32 } else { length };
        Self {
            base: address.to_bits() & mask(length),
            length,
        }
    }

    /// Whether they share an address.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        let shorter = if self.length < other.length {
            self.length
        } else {
            other.length
        };
        (self.base ^ other.base) & mask(shorter) == 0
    }

    /// How many /27 it holds.
    #[must_use]
    pub const fn subnets(self) -> u32 {
        1 << (address::PREFIX_LENGTH - self.length)
    }

    /// One of its /27.
    #[must_use]
    pub const fn subnet(self, index: SubnetIndex) -> Subnet {
        Subnet(self.base + (index.0 << (32 - address::PREFIX_LENGTH)))
    }
}

const fn mask(length: u8) -> u32 {
    if length == 0 {
        0
    } else {
        u32::MAX << (32 - length)
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, length) = text.split_once('/').ok_or(CidrError)?;
        let address: Ipv4Addr = address.parse().map_err(|_| CidrError)?;
        let length: u8 = length.parse().map_err(|_| CidrError)?;
        // At least 32 networks: fewer would not hold ten stores.
        let cidr = (8..=22)
            .contains(&length)
            .then(|| Self::containing(address, length))
            .ok_or(CidrError)?;
        // One spelling only: the length has no sign and no zero before it.
        (cidr.base == address.to_bits() && cidr.to_string() == text)
            .then_some(cidr)
            .ok_or(CidrError)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from_bits(self.base), self.length)
    }
}

/// One /27.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet(u32);

impl Subnet {
    /// The address with this host part.
    #[must_use]
    pub const fn host(self, part: u8) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.0 + part as u32)
    }

    /// The host's own address in it.
    #[must_use]
    pub const fn gateway(self) -> Ipv4Addr {
        self.host(address::GATEWAY)
    }

    /// As a network.
    #[must_use]
    pub const fn cidr(self) -> Cidr {
        Cidr {
            base: self.0,
            length: address::PREFIX_LENGTH,
        }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cidr().fmt(f)
    }
}

impl SubnetIndex {
    /// The number, for interface names.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// The lowest free /27 that overlaps no route of the host.
///
/// # Errors
/// When there is none.
pub fn next_subnet(
    pool: Cidr,
    taken: &BTreeSet<SubnetIndex>,
    routes: &[Cidr],
) -> Result<SubnetIndex, Exhausted> {
    (0..pool.subnets())
        .map(SubnetIndex)
        .find(|index| {
            let subnet = pool.subnet(*index).cidr();
            !taken.contains(index) && !routes.iter().any(|route| route.overlaps(subnet))
        })
        .ok_or(Exhausted::Subnets)
}

/// The lowest free range of uids.
///
/// # Errors
/// When there is none.
pub fn next_uid_base(first: u32, taken: &BTreeSet<u32>) -> Result<u32, Exhausted> {
    (first..LAST_UID - UIDS_PER_STORE)
        .step_by(UIDS_PER_STORE as usize)
        .find(|base| !taken.contains(base))
        .ok_or(Exhausted::Uids)
}

/// Networks that the host's routing table (`/proc/net/route`) leads to, without the default route and our own bridges.
#[must_use]
pub fn host_routes(table: &str, own_bridges: &str) -> Vec<Cidr> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let (interface, destination, netmask) =
                (fields.first()?, fields.get(1)?, fields.get(7)?);
            // The kernel prints them in its own byte order.
            let number = |text: &str| u32::from_str_radix(text, 16).ok().map(u32::swap_bytes);
            let length = u8::try_from(number(netmask)?.count_ones()).ok()?;
            (length > 0 && !interface.starts_with(own_bridges)).then(|| {
                Some(Cidr::containing(
                    Ipv4Addr::from_bits(number(destination)?),
                    length,
                ))
            })?
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        let (address, length) = text.split_once('/').unwrap();
        Cidr::containing(address.parse().unwrap(), length.parse().unwrap())
    }

    #[test]
    fn pools_are_read_strictly() {
        assert_eq!(
            "10.200.0.0/14".parse::<Cidr>().unwrap().to_string(),
            "10.200.0.0/14"
        );
        for bad in [
            "10.200.0.0",
            "10.201.0.0/14",
            "10.0.0.0/7",
            "10.0.0.0/23",
            "fd00::/14",
            "10.200.0.0/x",
        ] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn subnets_follow_each_other_and_never_leave_the_pool() {
        let pool = cidr("10.200.0.0/14");
        assert_eq!(pool.subnet(SubnetIndex(0)).to_string(), "10.200.0.0/27");
        assert_eq!(
            pool.subnet(SubnetIndex(1)).gateway().to_string(),
            "10.200.0.33"
        );
        let last = pool.subnet(SubnetIndex(pool.subnets() - 1));
        assert_eq!(last.to_string(), "10.203.255.224/27");
        assert!(last.cidr().overlaps(pool));
    }

    #[test]
    fn taken_and_routed_subnets_are_skipped_until_none_is_left() {
        let pool = cidr("10.200.0.0/22");
        let routes = [cidr("10.200.0.0/24"), cidr("192.168.0.0/16")];
        let mut taken = BTreeSet::new();
        let first = next_subnet(pool, &taken, &routes).unwrap();
        assert_eq!(pool.subnet(first).to_string(), "10.200.1.0/27");
        while let Ok(index) = next_subnet(pool, &taken, &routes) {
            assert!(taken.insert(index));
        }
        assert_eq!(taken.len(), 24);
        assert_eq!(next_subnet(pool, &taken, &routes), Err(Exhausted::Subnets));
    }

    #[test]
    fn uid_ranges_do_not_touch() {
        let first = next_uid_base(200_000, &BTreeSet::new()).unwrap();
        let second = next_uid_base(200_000, &BTreeSet::from([first])).unwrap();
        assert_eq!((first, second), (200_000, 200_064));
    }

    #[test]
    fn the_kernel_s_routing_table_is_read() {
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
            sfnode01-3\t0000C80A\t00000000\t0001\t0\t0\t0\tE0FFFFFF\t0\t0\t0\n";
        assert_eq!(host_routes(table, "sfnode01-"), [cidr("172.17.0.0/16")]);
        assert_eq!(host_routes(table, "sfother-").len(), 2);
    }
}
