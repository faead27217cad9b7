//! Certificates carry the identity we chose and nothing that was asked for.

use jiff::Timestamp;
use rcgen::{CertificateParams, KeyPair};
use shop_proto::{Identity, TrustDomain};

use super::*;

fn domain() -> TrustDomain {
    "shopfleet".parse().unwrap()
}

fn fresh(now: Timestamp) -> (tempfile::TempDir, IdentityDir, Authority) {
    let place = tempfile::tempdir().unwrap();
    let files = IdentityDir::new(place.path().join("identity"));
    Authority::create(&files, &domain(), now).unwrap();
    let authority = Authority::load(&files, now).unwrap();
    (place, files, authority)
}

/// One authority for all cases of a property.
static SHARED: std::sync::LazyLock<Authority> =
    std::sync::LazyLock::new(|| fresh(Timestamp::now()).2);

fn request() -> RequestedKey {
    let key = KeyPair::generate().unwrap();
    let csr = CertificateParams::default()
        .serialize_request(&key)
        .unwrap();
    RequestedKey::from_csr(csr.der()).unwrap()
}

#[test]
fn only_the_owner_can_read_what_init_writes() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_place, files, _) = fresh(Timestamp::now());
    for entry in std::fs::read_dir(files.path("")).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.path());
    }
}

#[test]
fn a_newer_identity_is_refused_and_left_alone() {
    let (_place, files, _) = fresh(Timestamp::now());
    files
        .write("format.toml", b"format = 2\ntrust_domain = \"shopfleet\"\n")
        .unwrap();
    assert!(matches!(
        Authority::load(&files, Timestamp::now()),
        Err(AuthorityError::Format { found: 2, .. })
    ));
}

#[test]
fn the_same_key_never_gets_the_same_serial() {
    let now = Timestamp::now();
    let (_place, _files, authority) = fresh(now);
    let (key, identity) = (request(), Identity::Node("n1node".parse().unwrap()));
    let one = authority.issue(&key, &identity, now).unwrap();
    let two = authority.issue(&key, &identity, now).unwrap();
    assert_ne!(one.leaf.serial, two.leaf.serial);
    assert_eq!(one.leaf.spki, two.leaf.spki);
}

#[test]
fn an_intermediate_is_renewed_in_time_and_what_it_issued_stays_good() {
    let now = Timestamp::now();
    let (_place, files, authority) = fresh(now);
    let identity = Identity::Node("n1node".parse().unwrap());
    let issued = authority.issue(&request(), &identity, now).unwrap();
    let later = now + std::time::Duration::from_secs(200 * 24 * 3600);
    let renewed = Authority::load(&files, later).unwrap();
    assert_ne!(authority.agents_anchor(), renewed.agents_anchor());
    assert_eq!(authority.root_pin(), renewed.root_pin());
    assert_eq!(
        renewed.recognise(&issued.chain[0]).unwrap().identity,
        identity
    );
}

#[test]
fn without_the_root_key_an_intermediate_is_used_to_its_end_and_then_said() {
    let now = Timestamp::now();
    let (_place, files, _) = fresh(now);
    std::fs::remove_file(files.path("root.key")).unwrap();
    let days = |days: u64| now + std::time::Duration::from_secs(days * 24 * 3600);
    assert!(Authority::load(&files, days(300)).is_ok());
    assert!(matches!(
        Authority::load(&files, days(400)),
        Err(AuthorityError::IntermediateExpired { .. })
    ));
}

#[test]
fn a_server_certificate_carries_only_real_names() {
    let now = Timestamp::now();
    let (_place, _files, authority) = fresh(now);
    let good = ["cp.example.net".to_owned(), "192.0.2.7".to_owned()];
    assert!(authority.server_leaf(&good, now).is_ok());
    assert!(
        authority
            .server_leaf(&["not a name".to_owned()], now)
            .is_err()
    );
}

#[test]
fn another_kind_of_key_is_refused() {
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let csr = CertificateParams::default()
        .serialize_request(&key)
        .unwrap();
    assert!(matches!(
        RequestedKey::from_csr(csr.der()),
        Err(CsrError::Key)
    ));
}

proptest::proptest! {
    /// Every identity of ours survives being issued and read.
    #[test]
    fn an_issued_leaf_names_exactly_what_was_asked(node in "[a-z][a-z0-9]{5}", store in "[a-z][a-z0-9]{11}") {
        let (now, authority) = (Timestamp::now(), &*SHARED);
        let key = request();
        for identity in [Identity::Node(node.parse().unwrap()), Identity::StoreAgent(store.parse().unwrap())] {
            let issued = authority.issue(&key, &identity, now).unwrap();
            assert_eq!(authority.recognise(&issued.chain[0]).unwrap().identity, identity);
            let elsewhere: TrustDomain = "elsewhere".parse().unwrap();
            assert!(Leaf::parse(&issued.chain[0], &elsewhere).is_err());
        }
    }

    /// A changed bit in what is signed, or in the signature, is noticed, and nothing panics anywhere.
    #[test]
    fn damage_is_noticed(at in 0_usize..2000, bit in 0_u8..8) {
        let (now, authority) = (Timestamp::now(), &*SHARED);
        let issued = authority.issue(&request(), &Identity::Node("n1node".parse().unwrap()), now).unwrap();
        let good = issued.chain[0].to_vec();
        // Between the two stands the name of the algorithm, which we do not go by.
        let signed_from = 4;
        let length = usize::from(u16::from_be_bytes([good[6], good[7]]));
        let signed_to = signed_from + 4 + length;
        let mut der = good;
        let at = at % der.len();
        der[at] ^= 1 << bit;
        let noticed = authority.recognise(&der).is_err();
        let signature_from = der.len() - 64;
        if (signed_from..signed_to).contains(&at) || at >= signature_from {
            proptest::prop_assert!(noticed, "byte {at} of {}", der.len());
        }
    }
}
