//! What is written is there again; nothing else opens; nothing foreign is overwritten.

use secrecy::ExposeSecret as _;
use shop_plan::{SecretAlphabet, StorePlan};

use super::*;
use crate::store::fixtures;

const KEY: [u8; 32] = [7; 32];

fn store() -> StoreId {
    "k3v9q2m8x1aa".parse().unwrap()
}

fn created(directory: &Path) -> (Vault, StorePlan) {
    let plan = fixtures::plan();
    let content = Content::generate().unwrap();
    let mut vault = Vault::create(directory, store(), KEY.into(), content).unwrap();
    vault.ensure_secrets(&plan).unwrap();
    (vault, plan)
}

#[test]
fn secrets_are_made_once_and_are_there_again() {
    let directory = tempfile::tempdir().unwrap();
    let (mut vault, plan) = created(directory.path());
    let first = vault.content().secrets.clone();
    assert_eq!(first.len(), plan.secrets.len());
    let version = vault.content().version;
    vault.ensure_secrets(&plan).unwrap();
    assert_eq!(
        vault.content().version,
        version,
        "nothing changed, nothing written"
    );

    let again = Vault::open(directory.path(), store(), KEY.into()).unwrap();
    for (name, value) in &first {
        assert_eq!(
            again.content().secrets[name].expose_secret(),
            value.expose_secret()
        );
    }
    assert_eq!(
        public_keys(directory.path()).unwrap(),
        Some(again.content().public_keys())
    );
    assert_eq!(
        again.content().identity.spki_digest(),
        vault.content().identity.spki_digest()
    );
}

#[test]
fn no_secret_lies_in_the_file_in_clear() {
    let directory = tempfile::tempdir().unwrap();
    let (vault, _) = created(directory.path());
    let bytes = std::fs::read(path(directory.path())).unwrap();
    for value in vault.content().secrets.values() {
        let value = value.expose_secret().as_bytes();
        assert!(!bytes.windows(value.len()).any(|window| window == value));
    }
}

#[test]
fn another_key_another_store_and_any_changed_byte_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    created(directory.path());
    let open = |store: &str, key: [u8; 32]| {
        Vault::open(directory.path(), store.parse().unwrap(), key.into()).map(|_| ())
    };
    assert!(matches!(
        open("k3v9q2m8x1aa", [8; 32]),
        Err(VaultError::Sealed)
    ));
    assert!(matches!(open("k3v9q2m8x1ab", KEY), Err(VaultError::Sealed)));
    let path = path(directory.path());
    let good = std::fs::read(&path).unwrap();
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        assert!(open("k3v9q2m8x1aa", KEY).is_err(), "byte {at}");
    }
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = path(directory.path());
    std::fs::write(&path, br#"{"format":9}"#).unwrap();
    assert!(matches!(
        Vault::open(directory.path(), store(), KEY.into()),
        Err(VaultError::NewerFormat { found: 9 })
    ));
    let content = Content::generate().unwrap();
    assert!(Vault::create(directory.path(), store(), KEY.into(), content).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), br#"{"format":9}"#);
}

#[test]
fn a_crash_before_the_rename_leaves_the_old_vault() {
    let directory = tempfile::tempdir().unwrap();
    created(directory.path());
    let good = std::fs::read(path(directory.path())).unwrap();
    std::fs::write(
        directory.path().join("vault.json.new"),
        &good[..good.len() / 2],
    )
    .unwrap();
    assert!(Vault::open(directory.path(), store(), KEY.into()).is_ok());
}

#[test]
fn generated_secrets_have_their_alphabet_and_length() {
    for (alphabet, length) in [(SecretAlphabet::Alnum, 33), (SecretAlphabet::Hex, 64)] {
        let secret = generate::secret(alphabet, length).unwrap();
        let text = secret.expose_secret();
        assert_eq!(text.len(), usize::from(length));
        assert!(text.bytes().all(|b| match alphabet {
            SecretAlphabet::Alnum => b.is_ascii_alphanumeric(),
            SecretAlphabet::Hex => b.is_ascii_digit() || (b'a'..=b'f').contains(&b),
        }));
    }
}

#[test]
fn a_coming_value_stands_beside_the_one_in_force_until_one_of_them_goes() {
    let directory = tempfile::tempdir().unwrap();
    let (mut vault, plan) = created(directory.path());
    let name = || ["db_password"].into_iter();
    let in_force = |vault: &Vault| {
        let value = &vault.content().secrets["db_password"];
        value.expose_secret().to_owned()
    };
    for keep in [false, true] {
        let old = in_force(&vault);
        vault.stage(&plan, name()).unwrap();
        let coming = |vault: &Vault| {
            let value = vault.content().coming.get("db_password");
            value.map(|value| value.expose_secret().to_owned())
        };
        let new = coming(&vault).unwrap();
        assert!(new != old && new.len() == old.len());
        let version = vault.content().version;
        vault.stage(&plan, name()).unwrap();
        assert_eq!(vault.content().version, version, "made once");
        let mut again = Vault::open(directory.path(), store(), KEY.into()).unwrap();
        assert_eq!(
            (in_force(&again), coming(&again)),
            (old.clone(), Some(new.clone()))
        );
        for _ in 0..2 {
            again.settle(name(), keep).unwrap();
            assert_eq!(
                in_force(&again),
                if keep { new.clone() } else { old.clone() }
            );
            assert_eq!(coming(&again), None);
        }
        vault = Vault::open(directory.path(), store(), KEY.into()).unwrap();
    }
}
