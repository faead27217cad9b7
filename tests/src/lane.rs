//! Stories that run beside each other: `tests/run` numbers its lanes, and what a story makes beside the installed system (a second host, a
//! control plane of its own) has names, addresses and ports that no other lane uses.

use std::net::Ipv4Addr;

/// Set by `tests/run`. A story that is run by hand is in lane 0.
const VARIABLE: &str = "SHOPFLEET_TEST_LANE";
/// Ports between those of two lanes: more than a control plane has.
const PORTS: u16 = 20;
/// Addresses between those of two lanes: a network of two hosts.
const ADDRESSES: u8 = 4;
const FIRST_LINK: [u8; 4] = [10, 254, 77, 0];

/// Number of this lane.
pub fn number() -> u8 {
    std::env::var(VARIABLE)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

/// A port of this lane, by what it is in lane 0.
pub fn port(first: u16) -> u16 {
    first + u16::from(number()) * PORTS
}

/// This machine's end of the link to the second host of this lane.
pub fn outside() -> Ipv4Addr {
    link(number(), 1)
}

/// The second host's end of that link.
pub fn inside() -> Ipv4Addr {
    link(number(), 2)
}

fn link(lane: u8, end: u8) -> Ipv4Addr {
    let [a, b, c, first] = FIRST_LINK;
    Ipv4Addr::new(a, b, c, first + lane * ADDRESSES + end)
}

/// What a second host of this lane is called, everywhere where things have names. The first host is the one this machine is.
pub fn host() -> String {
    format!("shopfleet-test{}", number() + 2)
}

/// Interfaces of the link: this machine's end, and the other one.
pub fn interfaces() -> [String; 2] {
    ["a", "b"].map(|end| format!("sftest{}{end}", number()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many as anybody would run beside each other, and more.
    const LANES: u8 = 8;

    #[test]
    fn no_two_lanes_share_an_address() {
        let mut all: Vec<Ipv4Addr> = (0..LANES)
            .flat_map(|lane| [link(lane, 1), link(lane, 2)])
            .collect();
        all.dedup();
        assert_eq!(all.len(), usize::from(LANES) * 2);
        assert!(all.is_sorted());
    }
}
