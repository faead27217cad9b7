//! Damaged input for the parsers of tokens, identities and host names: no panic, and nothing is read that would not be written the same.

#[path = "support/mutate.rs"]
mod mutate;

use std::path::Path;

use proptest::{prelude::*, sample::Index};
use shop_proto::{HostName, Identity, StoreName, TokenText, TrustDomain};

use mutate::{changes, corpus, mutated};

fn kept() -> Vec<Vec<u8>> {
    corpus(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus"))
}

fn judge(text: &str) {
    if let Ok(token) = text.parse::<TokenText>() {
        assert_eq!(token.reveal(), text.trim());
    }
    let domain: TrustDomain = "shopfleet".parse().expect("a trust domain");
    if let Ok(identity) = Identity::parse(text, &domain) {
        assert_eq!(identity.uri(&domain), text);
    }
    if let Ok(host) = text.parse::<HostName>() {
        assert_eq!(host.as_str(), text);
        assert!(
            text.parse::<std::net::IpAddr>().is_err(),
            "{text} is an address"
        );
        assert!(text.len() <= 253 && text.is_ascii() && text.contains('.'));
        assert_eq!(text, text.to_lowercase());
    }
    if let Ok(name) = text.parse::<StoreName>() {
        assert_eq!(name.as_str(), text);
        let host = format!("{name}.example.com").parse::<HostName>();
        assert!(host.is_ok(), "{name} is no first label");
    }
}

#[test]
fn kept_inputs_are_judged() {
    for input in kept() {
        judge(&String::from_utf8_lossy(&input));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn damaged_inputs_are_judged(which in any::<Index>(), changes in changes()) {
        let input = mutated(&kept(), &which, &changes);
        judge(&String::from_utf8_lossy(&input));
    }

    #[test]
    fn any_text_is_judged(text in "(?s).{0,120}") {
        judge(&text);
    }
}
