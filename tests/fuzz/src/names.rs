//! Texts of the shared vocabulary: ids, host names, identities, tokens, addresses. What is read is written the same.

use std::{fmt::Display, str::FromStr};

use control_plane::config::Advertised;
use shop_agent::{node::ipam::Cidr, uplink::Address};
use shop_proto::{
    Digest, HostName, Identity, NodeId, ReplicaKey, ServiceName, Slot, StoreId, StoreName,
    TokenText, TrustDomain,
};

use crate::{Target, texts};

pub(crate) const TARGETS: &[Target] = &[
    Target::new("names", names),
    Target::new("token", token),
    Target::new("addresses", addresses),
];

/// What is accepted is written as it was read.
fn canonical<T: FromStr + Display>(text: &str) -> Option<T> {
    let read = text.parse::<T>().ok()?;
    assert_eq!(read.to_string(), text);
    Some(read)
}

/// What is accepted may be written otherwise, and means the same then.
fn stable<T: FromStr + Display + PartialEq>(text: &str) -> Option<T> {
    let read = text.parse::<T>().ok()?;
    let written = read.to_string();
    match written.parse::<T>() {
        Ok(again) => assert!(again == read, "{text:?}, written {written:?}, is another"),
        Err(_) => panic!("{text:?} is written {written:?}, which is refused"),
    }
    Some(read)
}

fn names(input: &[u8]) {
    let [text, slot] = texts(input);
    let domain: TrustDomain = "shopfleet".parse().expect("a trust domain");
    if let Ok(identity) = Identity::parse(&text, &domain) {
        assert_eq!(identity.uri(&domain), text);
    }
    if let Some(host) = canonical::<HostName>(&text) {
        assert!(text.parse::<std::net::IpAddr>().is_err(), "an address");
        assert!(text.len() <= 253 && text.is_ascii() && text.contains('.'));
        assert_eq!(host.as_str(), text.to_lowercase());
    }
    if let Some(name) = canonical::<StoreName>(&text) {
        let host = format!("{name}.example.com").parse::<HostName>();
        assert!(host.is_ok(), "{name} is no first label");
    }
    canonical::<Digest>(&text);
    canonical::<Slot>(&text);
    let id = canonical::<StoreId>(&text).is_some() || canonical::<NodeId>(&text).is_some();
    let service = canonical::<ServiceName>(&text).is_some();
    if id || service {
        // They are parts of names of containers, files and rules of the firewall.
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        assert!(text.bytes().all(plain) && !text.starts_with('-'), "{text}");
    }
    let replica = text.len() as u32;
    if let Ok(key) = ReplicaKey::parse(&text, &slot, replica) {
        assert!(key.replica < ReplicaKey::MAX_REPLICAS);
        assert_eq!(key.to_string(), format!("{text}-{slot}-{replica}"));
    }
}

fn token(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(token) = text.parse::<TokenText>() {
        assert_eq!(token.reveal(), text.trim());
    }
}

fn addresses(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    stable::<Address>(&text);
    canonical::<Cidr>(&text);
    if let Some(advertised) = stable::<Advertised>(&text) {
        for address in [advertised.enrolment(), advertised.agents()] {
            assert!(
                address.parse::<Address>().is_ok(),
                "nobody can dial {address}"
            );
        }
    }
    if let Some([url, authority]) = shopctl::fuzzing::url(&text) {
        let again = shopctl::fuzzing::url(&url);
        assert_eq!(again, Some([url, authority.clone()]));
        assert!(authority.parse::<Address>().is_ok(), "{authority}");
        let port = authority.rsplit(':').next().unwrap_or_default();
        assert!(
            port == "7440" || text.contains(port),
            "{text} became {authority}"
        );
    }
    if let Some(pin) = shopctl::fuzzing::pin(&text) {
        assert_eq!(pin, text.trim());
    }
}
