//! The control plane: its configuration, certificates and requests for them, bodies and queries of its API.

use control_plane::{
    api::fuzzing as api,
    app::fuzzing::page_token,
    config::{DatabaseUrl, fuzzing as config_of},
    domain::{receipt, rollout::Batch, selector::Selector},
    identity::{Leaf, RequestedKey, signed_by},
};
use shop_agent::identity::KeyPair;
use shop_proto::{Identity, NodeId, TrustDomain};

use crate::{Target, chosen, parts, sessions::store_id, store::certificate, texts};

pub(crate) const TARGETS: &[Target] = &[
    Target::new("config", config),
    Target::new("certificates", certificates).with_seeds(ders),
    Target::new("bodies", bodies),
    Target::new("queries", queries),
    Target::new("headers", headers),
];

const VARIABLES: &[&str] = &[
    "SHOPFLEET_LISTEN_ADMIN",
    "SHOPFLEET_PROVISION_DEADLINE",
    "SHOPFLEET_CPU_OVERCOMMIT",
    "SHOPFLEET_ADVERTISE",
    "SHOPFLEET_DATABASE_URL",
];

/// What is read of a configuration is written the same, and shown without the database's password.
fn config(input: &[u8]) {
    let [text, which, value, password] = texts(input);
    let variable = VARIABLES[which.len() % VARIABLES.len()];
    if let Ok(config) = config_of::read(&text, Some((variable, &value))) {
        let written = config_of::written(&config).expect("a configuration is TOML");
        let again = config_of::read(&written, None);
        assert!(again.is_ok_and(|again| again == config), "{written}");
    }
    // What is shown may look like a part of a password, but is none.
    if password.len() > 3 && !"postgres://fleet:…@db.example/shops".contains(&password) {
        let url = DatabaseUrl::new(format!("postgres://fleet:{password}@db.example/shops"));
        assert!(!url.to_string().contains(&password), "{url}");
        assert!(!format!("{url:?}").contains(&password), "{url:?}");
    }
}

fn certificates(input: &[u8]) {
    let domain: TrustDomain = "shopfleet".parse().expect("a trust domain");
    if let Ok(leaf) = Leaf::parse(input, &domain) {
        assert!(input.len() <= 8192);
        let named = Identity::parse(&leaf.identity.uri(&domain), &domain);
        assert_eq!(named.ok().as_ref(), Some(&leaf.identity));
        assert!(!leaf.signed(b"message", b"signature"));
        let mut longer = input.to_vec();
        longer.push(0);
        assert!(
            Leaf::parse(&longer, &domain).is_err(),
            "something behind it"
        );
    }
    if let Ok(key) = RequestedKey::from_csr(input) {
        assert!(input.len() <= 4096);
        assert_eq!(
            RequestedKey::from_csr(input).map(|it| it.spki).ok(),
            Some(key.spki)
        );
    }
    let [certificate, signature] = parts(input);
    assert!(!signed_by(certificate, b"message", signature));
}

fn ders() -> Vec<Vec<u8>> {
    let key = KeyPair::generate().expect("random bytes");
    vec![
        key.csr_der().expect("it signs"),
        certificate(&key, "spiffe://shopfleet/node/n1node"),
        certificate(&key, "spiffe://shopfleet/store/k3v9q2m8x1aa/agent"),
    ]
}

/// Problems name a place in the request, in words that are no longer than the request deserves.
fn bodies(input: &[u8]) {
    let Some((which, body)) = chosen(input) else {
        return;
    };
    let problems = api::body(which % api::BODIES, body);
    assert!(problems.len() <= body.len() + 4, "{}", problems.len());
    for problem in &problems {
        assert!(problem.pointer.is_empty() || problem.pointer.starts_with('/'));
        assert!(problem.pointer.len() <= 4096, "a long pointer");
        assert!(!problem.code.is_empty() && problem.message.len() <= 1024);
    }
}

/// Headers: a line each, its name before a colon. What is believed of them is what they say.
fn headers(input: &[u8]) {
    let headers = api::headers(input);
    let said = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some((key, generation)) = api::conditions(headers.clone()) {
        assert_eq!(key.as_deref(), said("idempotency-key").map(str::trim));
        assert!(key.is_none_or(|key| (1..=128).contains(&key.len())));
        match (said("if-match").map(str::trim), generation) {
            // A condition that was written down is never dropped.
            (said, None) => assert!(matches!(said, None | Some("*")), "{said:?}"),
            (said, Some(generation)) => {
                let digits = said.map(|it| it.trim_matches('"').trim_start_matches(['+', '0']));
                let written = generation.to_string();
                assert_eq!(digits, Some(written.trim_start_matches('0')));
            }
        }
    }
    if let Some(token) = api::bearer(&headers) {
        assert!(said("authorization").is_some_and(|it| it.contains(token)));
        assert_eq!(token, token.trim());
    }
    if let Some(id) = said("x-request-id").filter(|id| api::request_id(id)) {
        assert!(id.len() <= 64 && !id.contains(char::is_whitespace));
    }
}

fn queries(input: &[u8]) {
    let Some((which, query)) = chosen(input) else {
        return;
    };
    let text = String::from_utf8_lossy(query);
    let pairs: Vec<(String, String)> = text
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let given = pairs.len();
    let problems = api::query(which % api::QUERIES, pairs);
    assert!(problems.len() <= 2 * given + 4);
    if let Some(written) = page_token(&text) {
        assert_eq!(written, text);
    }
    if let Ok(selector) = Selector::parse(&text) {
        let none = std::collections::BTreeMap::new();
        assert!(!selector.is_empty() || selector.matches(&none));
    }
    if let Ok(batch) = text.parse::<Batch>() {
        assert_eq!(batch.to_string().parse::<Batch>(), Ok(batch));
    }
    let node: NodeId = "n1node".parse().expect("a node id");
    let ours = receipt::check(&text, &store_id(), &node, 3);
    assert!(ours.is_err() || receipt::check(&text, &store_id(), &node, 4).is_err());
}
