//! Damaged rosters and key files: refused, whoever damaged them; never a panic.

#[path = "../../tests/support/mutate.rs"]
mod mutate;

use std::path::Path;

use proptest::{prelude::*, sample::Index};
use shop_proto::Digest;
use shop_seal::{Domain, KeyFile, KeyPurpose, Roster, SigningKey};

use mutate::{changes, corpus, mutated};

fn kept() -> Vec<Vec<u8>> {
    corpus(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus"))
}

/// A root that signs whatever it is given: what is accepted must still be canonical and must name this root.
fn judge(document: &[u8], root: &SigningKey) {
    let pin = root.verifying_key().pin();
    let signature = root.sign(Domain::Roster, document).to_vec();
    if let Ok(roster) = Roster::verify(document, &signature, &pin) {
        assert_eq!(
            roster.mark().map(|mark| mark.digest),
            Ok(Digest::of(document))
        );
        assert_eq!(roster.operator_root, root.verifying_key());
    }
    if let Ok(file) = KeyFile::from_json(&String::from_utf8_lossy(document)) {
        let again = KeyFile::from_json(&file.to_json().expect("it is a key"))
            .expect("what was written is read");
        assert_eq!(again.key_id(), file.key_id());
    }
}

/// The kept rosters, with the root's key in the place of theirs.
fn with_root(input: Vec<u8>, root: &SigningKey) -> Vec<u8> {
    String::from_utf8_lossy(&input)
        .replace("@ROOT@", &root.verifying_key().to_string())
        .into_bytes()
}

#[test]
fn the_kept_roster_is_a_good_one() {
    let root = SigningKey::generate().expect("random bytes");
    let good = kept()
        .into_iter()
        .map(|input| with_root(input, &root))
        .filter(|document| {
            let signature = root.sign(Domain::Roster, document).to_vec();
            Roster::verify(document, &signature, &root.verifying_key().pin()).is_ok()
        })
        .count();
    assert_eq!(
        good, 1,
        "one of the kept inputs is accepted, so that damage to it means something"
    );
}

#[test]
fn a_key_file_is_judged() {
    let text = KeyFile::generate(KeyPurpose::Signer)
        .and_then(|key| key.to_json().map_err(|_| shop_seal::KeyError::Form))
        .expect("a key file");
    let root = SigningKey::generate().expect("random bytes");
    for end in 0..text.len() {
        judge(&text.as_bytes()[..end], &root);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn damaged_rosters_are_judged(which in any::<Index>(), changes in changes()) {
        let root = SigningKey::generate().expect("random bytes");
        let kept: Vec<Vec<u8>> = kept().into_iter().map(|input| with_root(input, &root)).collect();
        judge(&mutated(&kept, &which, &changes), &root);
    }
}
