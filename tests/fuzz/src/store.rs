//! The role of a store: its files, and what its services answer.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use rcgen::{CertificateParams, PKCS_ECDSA_P256_SHA256, SanType};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use shop_agent::{
    identity::{Credential, KeyPair},
    ledger::{Entries, LedgerError},
    store::{DatabaseError, NotReady, fuzzing},
};
use shop_plan::Probe;

use crate::{Target, chosen, sessions::store_id};

pub(crate) const TARGETS: &[Target] = &[
    Target::new("vault_file", vault_file).with_seeds(vault_files),
    Target::new("vault_content", vault_content)
        .with_seeds(vault_contents)
        .dear(),
    Target::new("ledger", ledger),
    Target::new("credential", credential)
        .with_seeds(credentials)
        .dear(),
    Target::new("probes", probes).with_seeds(answers),
    Target::new("database", database).with_seeds(conversations),
];

/// No probe reads more than this of an answer, however long it is.
const LARGEST_ANSWER: usize = 16 << 10;
const PASSWORD: &str = "correct horse battery staple";

fn vault_file(input: &[u8]) {
    if fuzzing::vault_file(input, &store_id()).is_ok() {
        // The store is part of what is authenticated.
        let other = "aaaaaaaaaaa1".parse().expect("a store id");
        assert!(fuzzing::vault_file(input, &other).is_err());
    }
}

fn vault_files() -> Vec<Vec<u8>> {
    let [file, _] = fuzzing::new_vault(&store_id()).expect("random bytes");
    vec![file]
}

/// What is in a vault survives being sealed and opened.
fn vault_content(input: &[u8]) {
    if let Ok([before, after]) = fuzzing::vault_content(input, &store_id()) {
        assert!(before == after, "a vault lost something");
    }
}

fn vault_contents() -> Vec<Vec<u8>> {
    let [_, plain] = fuzzing::new_vault(&store_id()).expect("random bytes");
    vec![plain]
}

/// What is read of a ledger is written the same, and a later form is not taken for damage.
fn ledger(input: &[u8]) {
    match Entries::decode(input) {
        Ok(entries) => {
            let written = serde_json::to_vec(&entries).expect("entries are JSON");
            let again = Entries::decode(&written).expect("we wrote it");
            assert_eq!(again, entries);
            let mut entries = entries;
            let held = entries.answered.len();
            if entries.remember("op") {
                assert!(!entries.remember("op"), "answered twice");
                assert!(entries.answered.len() <= held + 1);
            }
        }
        Err(LedgerError::NewerFormat { found }) => assert_ne!(found, 1),
        Err(_) => {}
    }
}

fn credential(input: &[u8]) {
    let Ok(credential) = Credential::decode(input) else {
        return;
    };
    let again = Credential::decode(&credential.encode()).expect("we wrote it");
    assert_eq!(again.identity(), credential.identity());
    assert_eq!(again.chain(), credential.chain());
    for now in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
        let wait = credential.renew_in(now, 0.5);
        assert!(now != Timestamp::MAX || wait == Duration::ZERO);
    }
}

/// A certificate for a key, with one identity.
pub(crate) fn certificate(key: &KeyPair, identity: &str) -> Vec<u8> {
    let pkcs8 = key.to_pkcs8();
    let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(
        &PrivatePkcs8KeyDer::from(pkcs8.as_slice()),
        &PKCS_ECDSA_P256_SHA256,
    );
    let pair = pair.expect("a key of ours");
    let mut params = CertificateParams::default();
    let name = identity.try_into().expect("ASCII");
    params.subject_alt_names = vec![SanType::URI(name)];
    let certificate = params.self_signed(&pair).expect("it signs");
    certificate.der().to_vec()
}

fn credentials() -> Vec<Vec<u8>> {
    let key = KeyPair::generate().expect("random bytes");
    let leaf = certificate(&key, "spiffe://shopfleet/store/k3v9q2m8x1aa/agent");
    let leaf = CertificateDer::from(leaf);
    let credential = Credential::new(vec![leaf.clone()], vec![leaf], Arc::new(key));
    vec![credential.expect("it fits its key").encode().to_vec()]
}

fn probes(input: &[u8]) {
    let Some((which, answer)) = chosen(input) else {
        return;
    };
    let port = 1;
    let path = "/-/ping".to_owned();
    let expect = "pong".to_owned();
    let (probe, password) = match which % 6 {
        0 => (Probe::Http { port, path }, None),
        1 => (Probe::Fastcgi { port, path, expect }, None),
        2 => (Probe::Mysql { port }, None),
        3 => (Probe::Postgres { port }, None),
        other => {
            let password_secret = Some("cache_password".to_owned());
            let password = (other == 5).then_some(PASSWORD);
            (
                Probe::Redis {
                    port,
                    password_secret,
                },
                password,
            )
        }
    };
    let (judged, read) = fuzzing::probed(probe, password, answer);
    assert!(read <= LARGEST_ANSWER + 8, "{read} bytes were read");
    assert_ne!(judged, Err(NotReady::TimedOut), "it waits for nobody");
    if judged.is_ok() {
        assert!(match which % 6 {
            0 => answer.starts_with(b"HTTP/1.") && answer.get(9..12) == Some(b"200"),
            // Its words may lie apart, in several records.
            1 => answer.len() >= 16 + "pong".len(),
            2 => answer.get(4) == Some(&0x0a),
            3 => matches!(answer.first(), Some(b'R' | b'E')),
            4 => answer.starts_with(b"+PONG\r\n"),
            _ => answer.starts_with(b"+OK\r\n"),
        });
    }
}

fn answers() -> Vec<Vec<u8>> {
    let page = |body: &[u8]| {
        let mut bytes = vec![1, 1, 6, 0, 1, 0, body.len() as u8, 0, 0];
        bytes.extend(body);
        bytes.extend([1, 3, 0, 1, 0, 8, 0, 0]);
        bytes.extend([0; 8]);
        bytes
    };
    vec![
        b"\0HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
        b"\0HTTP/1.1 503 Service Unavailable\r\n\r\n".to_vec(),
        page(b"Content-type: text/plain\r\n\r\npong"),
        page(b"Status: 404 Not Found\r\nContent-type: text/html\r\n\r\nFile not found."),
        b"\x02\x4a\0\0\0\x0a10.11.6-MariaDB\0".to_vec(),
        b"\x02\x10\0\0\0\xff\x10\x04Too many connections".to_vec(),
        b"\x03R\0\0\0\x08\0\0\0\0".to_vec(),
        b"\x03E\0\0\0\x1cSFATAL\0C57P03\0Mstarting\0\0".to_vec(),
        b"\x04+PONG\r\n".to_vec(),
        b"\x04-LOADING Redis is loading the dataset in memory\r\n".to_vec(),
        b"\x05+OK\r\n".to_vec(),
        b"\x05-WRONGPASS invalid username-password pair\r\n".to_vec(),
    ]
}

/// A database may say what it likes: the password is never sent, and what is sent is short.
fn database(input: &[u8]) {
    let (ended, sent) = fuzzing::logged_in(PASSWORD, input);
    let password = PASSWORD.as_bytes();
    assert!(!sent.windows(password.len()).any(|part| part == password));
    assert!(sent.len() <= 1024, "{} bytes were sent", sent.len());
    assert_ne!(ended, Err(DatabaseError::TimedOut), "it waits for nobody");
    if ended.is_ok() {
        assert!(sent.windows(4).any(|part| part == b"CALL"));
    }
}

fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![payload.len() as u8, 0, 0, sequence];
    bytes.extend(payload);
    bytes
}

fn conversations() -> Vec<Vec<u8>> {
    let mut greeting = vec![0x0a];
    greeting.extend(b"10.11.6-MariaDB\0\x01\0\0\0abcdefgh\0");
    greeting.extend([0; 18]);
    greeting.extend(b"ijklmnopqrst\0mysql_native_password\0");
    let greeting = packet(0, &greeting);
    let ok = |sequence| packet(sequence, &[0, 0, 0, 2, 0, 0, 0]);
    let another = packet(2, b"\xfemysql_native_password\0abcdefghijklmnopqrst\0");
    let denied = packet(2, b"\xff\x15\x04#28000Access denied");
    let unknown = packet(1, b"\xff\x19\x05#42000PROCEDURE does not exist");
    vec![
        [greeting.clone(), ok(2), ok(1)].concat(),
        [greeting.clone(), another, ok(4), ok(1)].concat(),
        [greeting.clone(), denied.clone()].concat(),
        [greeting, ok(2), unknown].concat(),
        denied,
    ]
}
