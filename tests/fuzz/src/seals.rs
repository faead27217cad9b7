//! What operators and agents exchange through a control plane that is not believed: rosters, key files, sealed content, signed requests.

use std::{sync::LazyLock, time::Duration};

use shop_proto::Digest;
use shop_seal::{
    Context, Domain, KeyFile, KeyPurpose, MAX_ROSTER_BYTES, MAX_VALIDITY, ROSTER_FORMAT, Request,
    RequestKind, RequestParts, Role, Roster, SealingKey, Signer, SigningKey, UnixMillis, open,
    seal,
};

use crate::{Target, chosen, parts, sessions::store_id};

pub(crate) const TARGETS: &[Target] = &[
    Target::new("roster", roster).with_seeds(rosters),
    Target::new("own_roster", own_roster).with_seeds(own_rosters),
    Target::new("key_file", key_file).with_seeds(key_files),
    Target::new("sealed", sealed).with_seeds(plaintexts).dear(),
    Target::new("sealed_request", sealed_request).with_seeds(requests),
];

/// The operator's root, who signs whatever it is given: what is accepted must still be canonical and its own.
static ROOT: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate().expect("random bytes"));
static SIGNER: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate().expect("random bytes"));
static READER: LazyLock<SealingKey> = LazyLock::new(SealingKey::generate);

const NOW: i64 = 1_800_000_000_000;

fn known() -> Roster {
    let now = UnixMillis::new(NOW);
    let roles = [Role::Reveal, Role::Logs, Role::Dump];
    Roster {
        format: ROSTER_FORMAT,
        version: 1,
        operator_root: ROOT.verifying_key(),
        issued_at: now,
        signers: vec![Signer::new(
            SIGNER.verifying_key(),
            roles,
            now.after(Duration::from_secs(86_400)),
        )],
        recovery_key: None,
        log_keys: vec![READER.public_key()],
    }
}

/// Stands for the root's key in kept inputs: it is another one at every run.
const ANY_ROOT: &str = "@ROOT@";

fn roster(input: &[u8]) {
    let input = String::from_utf8_lossy(input);
    let input = input.replace(ANY_ROOT, &ROOT.verifying_key().to_string());
    let input = input.as_bytes();
    let pin = ROOT.verifying_key().pin();
    let signature = ROOT.sign(Domain::Roster, input).to_vec();
    if let Ok(roster) = Roster::verify(input, &signature, &pin) {
        assert!(input.len() <= MAX_ROSTER_BYTES);
        assert_eq!(
            roster.mark().map(|mark| mark.digest),
            Ok(Digest::of(input)),
            "two documents are the same roster"
        );
        assert_eq!(roster.operator_root, ROOT.verifying_key());
        // Signed for another purpose, or by somebody else, it is nothing.
        let request = ROOT.sign(Domain::Request, input).to_vec();
        let other = SIGNER.sign(Domain::Roster, input).to_vec();
        for signature in [request, other, Vec::new()] {
            assert!(Roster::verify(input, &signature, &pin).is_err());
        }
    }
}

fn rosters() -> Vec<Vec<u8>> {
    let full = known().sign(&ROOT).expect("a good roster");
    let mut small = known();
    small.signers.clear();
    let small = small.sign(&ROOT).expect("a good roster");
    let key = ROOT.verifying_key().to_string();
    [full, small]
        .map(|signed| {
            let text = String::from_utf8_lossy(&signed.document);
            text.replace(&key, ANY_ROOT).into_bytes()
        })
        .into()
}

/// What is read of the file is a whole roster of its own root, and is written the same.
fn own_roster(input: &[u8]) {
    if let Ok(signed) = shopctl::fuzzing::own_roster(&String::from_utf8_lossy(input)) {
        let named: Roster = serde_json::from_slice(&signed.document).expect("it was verified");
        let pin = named.operator_root.pin();
        assert!(Roster::verify(&signed.document, &signed.signature, &pin).is_ok());
        let written = shopctl::fuzzing::roster_file(&signed).expect("it was read");
        let again = shopctl::fuzzing::own_roster(&String::from_utf8_lossy(&written));
        assert_eq!(again.ok(), Some(signed));
    }
}

fn own_rosters() -> Vec<Vec<u8>> {
    let good = known().sign(&ROOT).expect("a good roster");
    let mut by_another = good.clone();
    by_another.signature = SIGNER.sign(Domain::Roster, &good.document).to_vec();
    [good, by_another]
        .map(|signed| shopctl::fuzzing::roster_file(&signed).expect("it is text"))
        .into()
}

fn key_file(input: &[u8]) {
    if let Ok(file) = KeyFile::from_json(&String::from_utf8_lossy(input)) {
        let written = file.to_json().expect("it is a key");
        let again = KeyFile::from_json(&written).expect("what was written is read");
        assert_eq!(again.key_id(), file.key_id());
    }
}

fn key_files() -> Vec<Vec<u8>> {
    [KeyPurpose::Signer, KeyPurpose::Recovery]
        .map(|purpose| {
            let key = KeyFile::generate(purpose).expect("random bytes");
            key.to_json().expect("a key file").as_bytes().to_vec()
        })
        .into()
}

/// What was sealed opens to the same; changed anywhere, or under another context, it does not open. What was never sealed neither.
fn sealed(input: &[u8]) {
    let [change, plain] = parts(input);
    let at = change.iter().fold(0_usize, |sum, byte| {
        sum.wrapping_mul(256).wrapping_add(usize::from(*byte))
    });
    let store = store_id();
    let context = Context::Escrow {
        store: &store,
        vault_version: 3,
    };
    let sealed = seal(&READER.public_key(), &context, plain).expect("it is short enough");
    let opened = open(&READER, &context, &sealed.enc, &sealed.ciphertext).expect("it is ours");
    assert_eq!(opened.as_slice(), plain);
    assert!(sealed.ciphertext.len() >= plain.len() + 16);
    let other = Context::Escrow {
        store: &store,
        vault_version: 4,
    };
    assert!(open(&READER, &other, &sealed.enc, &sealed.ciphertext).is_err());
    let mut changed = sealed.ciphertext.clone();
    let at = at % changed.len();
    changed[at] ^= 1;
    assert!(open(&READER, &context, &sealed.enc, &changed).is_err());
    assert!(open(&READER, &context, &sealed.enc, &changed[..at]).is_err());
    let (enc, rest) = input.split_at(input.len().min(32));
    assert!(open(&READER, &context, enc, rest).is_err());
}

fn plaintexts() -> Vec<Vec<u8>> {
    vec![
        b"\x05\0the content of a vault".to_vec(),
        [&b"\x3f\0"[..], &[b'a'; 63]].concat(),
        [&b"\x01\x40\0"[..], &[0; 64]].concat(),
    ]
}

/// A request is believed when the signer of the roster signed exactly it, and for no longer than it may be good for.
fn sealed_request(input: &[u8]) {
    let Some((expires, input)) = chosen(input) else {
        return;
    };
    let [operation, kind, subject, id, key] = parts(input);
    let [operation, kind, subject, id] =
        [operation, kind, subject, id].map(|part| String::from_utf8_lossy(part).into_owned());
    let store = store_id();
    let signer = SIGNER.verifying_key().id();
    let expires = NOW + (expires as i64 - 64) * 5000;
    let parts = RequestParts {
        store: &store,
        operation_id: &operation,
        kind: &kind,
        subject: &subject,
        one_time_public_key: key,
        expires_unix_ms: expires,
        signer_key_id: if id.is_empty() { signer.as_str() } else { &id },
    };
    let Ok(request) = Request::parse(&parts) else {
        return;
    };
    assert_eq!(request.operation_id(), operation);
    assert_eq!(
        (request.subject(), request.kind().as_str()),
        (&*subject, &*kind)
    );
    assert!(operation.len() <= 64 && subject.len() <= 64 && key.len() == 32);
    let (now, roster) = (UnixMillis::new(NOW), known());
    for signature in [input, key, &[]] {
        assert!(request.verify(signature, &roster, now).is_err());
    }
    let Ok(signature) = request.sign(&SIGNER) else {
        assert_ne!(request.signer(), &signer);
        return;
    };
    let good = expires > NOW && expires - NOW <= MAX_VALIDITY.as_millis() as i64;
    let verified = request.verify(&signature.to_vec(), &roster, now);
    assert_eq!(verified.is_ok(), good, "{verified:?}");
    let mut longer = parts;
    longer.expires_unix_ms = expires.saturating_add(1);
    let longer = Request::parse(&longer).expect("only its time is another");
    assert!(longer.verify(&signature.to_vec(), &roster, now).is_err());
}

fn requests() -> Vec<Vec<u8>> {
    [RequestKind::Reveal, RequestKind::Logs]
        .map(|kind| {
            let head = format!("Eop-1\0{}\0task.r1.4096\0\0", kind.as_str());
            [head.as_bytes(), &[9; 32]].concat()
        })
        .into()
}
