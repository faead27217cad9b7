//! What must hold whatever is changed on the way: nothing that was signed or sealed is taken for something else.

use std::{collections::BTreeSet, time::Duration};

use proptest::{prelude::*, sample::Index};
use shop_proto::{Digest, StoreId};
use shop_seal::{
    Context, KeyFile, KeyFileError, KeyPurpose, MAX_VALIDITY, Question, Request, RequestError,
    RequestKind, RequestParts, Role, Roster, RosterError, SealError, SealingKey, SignedRoster,
    Signer, SigningKey, UnixMillis, open, seal,
};

const NOW: UnixMillis = UnixMillis::new(1_700_000_000_000);

fn store() -> StoreId {
    "k3v9q2m8x1aa".parse().expect("a store id")
}

struct World {
    root: SigningKey,
    signer: SigningKey,
    roster: Roster,
}

fn world(roles: &[Role]) -> World {
    let root = SigningKey::generate().expect("random bytes");
    let signer = SigningKey::generate().expect("random bytes");
    let roster = Roster {
        format: 1,
        version: 7,
        operator_root: root.verifying_key(),
        issued_at: NOW,
        signers: vec![Signer::new(
            signer.verifying_key(),
            roles.iter().copied(),
            NOW.after(Duration::from_secs(86_400)),
        )],
        recovery_key: Some(SealingKey::generate().public_key()),
        log_keys: vec![SealingKey::generate().public_key()],
    };
    World {
        root,
        signer,
        roster,
    }
}

impl World {
    fn signed(&self) -> SignedRoster {
        self.roster.sign(&self.root).expect("the roster is good")
    }

    fn pin(&self) -> Digest {
        self.root.verifying_key().pin()
    }

    fn request(&self, expires: UnixMillis, one_time: &SealingKey) -> Request {
        let question = Question {
            kind: RequestKind::Reveal,
            subject: "admin",
        };
        Request::new(
            &store(),
            "0190aaaa-0000-7000-8000-000000000001",
            question,
            one_time.public_key(),
            expires,
            &self.signer.verifying_key(),
        )
        .expect("the request is well formed")
    }
}

#[test]
fn a_roster_is_taken_from_its_own_root_only() {
    let world = world(&[Role::Reveal]);
    let SignedRoster {
        document,
        signature,
    } = world.signed();
    let roster =
        Roster::verify(&document, &signature, &world.pin()).expect("signed by the pinned root");
    assert_eq!(roster, world.roster);
    let other = Digest::of(b"another root");
    assert_eq!(
        Roster::verify(&document, &signature, &other),
        Err(RosterError::OtherRoot)
    );
    let stranger = SigningKey::generate().expect("random bytes");
    assert_eq!(world.roster.sign(&stranger), Err(RosterError::OtherRoot));
}

#[test]
fn rosters_only_move_forward() {
    let mut world = world(&[Role::Reveal]);
    let first = world.roster.mark().expect("a mark");
    assert_eq!(world.roster.succeeds(None), Ok(()));
    assert_eq!(world.roster.succeeds(Some(&first)), Ok(()));
    world.roster.log_keys.clear();
    assert_eq!(
        world.roster.succeeds(Some(&first)),
        Err(RosterError::ContentChanged)
    );
    world.roster.version = 6;
    let older = world.signed();
    assert_eq!(
        Roster::verify_newer(
            &older.document,
            &older.signature,
            &world.pin(),
            Some(&first)
        ),
        Err(RosterError::Outdated {
            offered: 6,
            known: 7
        })
    );
    world.roster.version = 8;
    assert_eq!(world.roster.succeeds(Some(&first)), Ok(()));
}

#[test]
fn a_roster_has_one_form_and_honest_ids() {
    let mut world = world(&[Role::Reveal]);
    let document = world.signed().document;
    let spaced = [b" ".as_slice(), &document].concat();
    let signature = world.root.sign(shop_seal::Domain::Roster, &spaced).to_vec();
    assert_eq!(
        Roster::verify(&spaced, &signature, &world.pin()),
        Err(RosterError::Form)
    );

    let newer = br#"{"format":2,"new_field":true}"#;
    assert_eq!(
        Roster::verify(newer, &signature, &world.pin()),
        Err(RosterError::Format(2))
    );

    world.roster.signers[0].key_id = world.root.verifying_key().id();
    assert_eq!(world.roster.sign(&world.root), Err(RosterError::Keys));
    world.roster.signers[0].key_id = world.signer.verifying_key().id();
    let twice = world.roster.signers[0].clone();
    world.roster.signers.push(twice);
    assert_eq!(world.roster.sign(&world.root), Err(RosterError::Keys));
}

#[test]
fn a_request_is_judged_by_signer_time_and_role() {
    let world = world(&[Role::Reveal]);
    let one_time = SealingKey::generate();
    let soon = NOW.after(Duration::from_secs(60));
    let request = world.request(soon, &one_time);
    let signature = request.sign(&world.signer).expect("its own key").to_vec();
    assert_eq!(request.verify(&signature, &world.roster, NOW), Ok(()));
    assert_eq!(
        request.verify(&signature, &world.roster, soon),
        Err(RequestError::Expired)
    );

    let far = world.request(NOW.after(MAX_VALIDITY + Duration::from_secs(1)), &one_time);
    let far_signature = far.sign(&world.signer).expect("its own key").to_vec();
    assert_eq!(
        far.verify(&far_signature, &world.roster, NOW),
        Err(RequestError::Expired)
    );

    let mut without_role = world.roster.clone();
    without_role.signers[0].roles = BTreeSet::from([Role::Logs]);
    assert_eq!(
        request.verify(&signature, &without_role, NOW),
        Err(RequestError::RoleMissing)
    );
    let mut ended = world.roster.clone();
    ended.signers[0].not_after = NOW;
    assert_eq!(
        request.verify(&signature, &ended, NOW),
        Err(RequestError::UnknownSigner)
    );
    let mut nobody = world.roster.clone();
    nobody.signers.clear();
    assert_eq!(
        request.verify(&signature, &nobody, NOW),
        Err(RequestError::UnknownSigner)
    );
    assert_eq!(request.sign(&world.root), Err(RequestError::UnknownSigner));
}

#[test]
fn an_answer_opens_for_its_question_only() {
    let world = world(&[Role::Reveal]);
    let one_time = SealingKey::generate();
    let request = world.request(NOW.after(Duration::from_secs(60)), &one_time);
    let sealed = request
        .seal_reply(b"{\"password\":\"x\"}")
        .expect("it is short");
    let opened = request
        .open_reply(&one_time, &sealed.enc, &sealed.ciphertext)
        .expect("the asker opens it");
    assert_eq!(opened.as_slice(), b"{\"password\":\"x\"}");
    let other = Request::new(
        &store(),
        "0190aaaa-0000-7000-8000-000000000002",
        Question {
            kind: RequestKind::Reveal,
            subject: "admin",
        },
        one_time.public_key(),
        NOW,
        &world.signer.verifying_key(),
    )
    .expect("the request is well formed");
    assert_eq!(
        other.open_reply(&one_time, &sealed.enc, &sealed.ciphertext),
        Err(SealError::Open)
    );
    let stranger = SealingKey::generate();
    assert_eq!(
        request.open_reply(&stranger, &sealed.enc, &sealed.ciphertext),
        Err(SealError::Open)
    );
}

#[test]
fn key_files_are_private_and_never_overwritten() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("signer.json");
    let key = KeyFile::generate(KeyPurpose::Signer).expect("random bytes");
    key.write_new(&path).expect("nothing is there yet");
    let mode = std::fs::metadata(&path)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(matches!(key.write_new(&path), Err(KeyFileError::Exists)));

    let read = KeyFile::read(&path).expect("its owner reads it");
    assert_eq!(read.key_id(), key.key_id());
    assert!(matches!(
        read.into_signing(KeyPurpose::OperatorRoot),
        Err(KeyFileError::Purpose { .. })
    ));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640))
        .expect("the mode can be set");
    assert!(matches!(
        KeyFile::read(&path),
        Err(KeyFileError::Permissions)
    ));

    let text = key.to_json().expect("it is a key");
    let newer = text.replacen("\"format\": 1", "\"format\": 2", 1);
    assert!(matches!(
        KeyFile::from_json(&newer),
        Err(KeyFileError::Format(2))
    ));
    let other = KeyFile::generate(KeyPurpose::Signer)
        .expect("random bytes")
        .key_id();
    let swapped = text.replacen(key.key_id().as_str(), other.as_str(), 1);
    assert!(matches!(
        KeyFile::from_json(&swapped),
        Err(KeyFileError::Form)
    ));
    let log_key = KeyFile::generate(KeyPurpose::Logs).expect("random bytes");
    let again = KeyFile::from_json(&log_key.to_json().expect("it is a key"))
        .expect("what was written is read");
    let (again, log_key) = (
        again.into_sealing(KeyPurpose::Logs),
        log_key.into_sealing(KeyPurpose::Logs),
    );
    assert_eq!(
        again.map(|key| key.public_key()).ok(),
        log_key.map(|key| key.public_key()).ok()
    );
}

/// A request as on the wire, so that each field can be changed on its own.
#[derive(Clone)]
struct Wire {
    store: StoreId,
    operation_id: String,
    kind: &'static str,
    subject: String,
    one_time: Vec<u8>,
    expires: i64,
    signer: String,
    signature: Vec<u8>,
}

impl Wire {
    fn verify(&self, roster: &Roster) -> Result<(), RequestError> {
        Request::parse(&RequestParts {
            store: &self.store,
            operation_id: &self.operation_id,
            kind: self.kind,
            subject: &self.subject,
            one_time_public_key: &self.one_time,
            expires_unix_ms: self.expires,
            signer_key_id: &self.signer,
        })
        .and_then(|request| request.verify(&self.signature, roster, NOW))
    }
}

fn flip(bytes: &mut [u8], at: &Index, bit: u8) {
    let at = at.index(bytes.len());
    bytes[at] ^= 1 << bit;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_changed_request_is_refused(field in 0..7_usize, at in any::<Index>(), bit in 0..8_u8) {
        let world = world(&[Role::Reveal, Role::Logs, Role::Dump]);
        let one_time = SealingKey::generate();
        let request = world.request(NOW.after(Duration::from_secs(60)), &one_time);
        let good = Wire {
            store: store(),
            operation_id: request.operation_id().to_owned(),
            kind: request.kind().as_str(),
            subject: request.subject().to_owned(),
            one_time: request.one_time_key().as_bytes().to_vec(),
            expires: request.expires().get(),
            signer: request.signer().to_string(),
            signature: request.sign(&world.signer).expect("its own key").to_vec(),
        };
        prop_assert_eq!(good.verify(&world.roster), Ok(()));
        let mut bad = good.clone();
        match field {
            0 => bad.store = "k3v9q2m8x1ab".parse().expect("a store id"),
            1 => bad.operation_id.push('1'),
            2 => bad.kind = "logs",
            3 => bad.subject.push('x'),
            4 => flip(&mut bad.one_time, &at, bit),
            5 => bad.expires += 1 + i64::from(bit),
            _ => flip(&mut bad.signature, &at, bit),
        }
        prop_assert_eq!(bad.verify(&world.roster), Err(RequestError::BadSignature));
        let mut stranger = good;
        stranger.signer = world.root.verifying_key().id().to_string();
        prop_assert_eq!(stranger.verify(&world.roster), Err(RequestError::UnknownSigner));
    }

    #[test]
    fn a_changed_roster_is_refused(at in any::<Index>(), bit in 0..8_u8, in_signature in any::<bool>()) {
        let world = world(&[Role::Reveal]);
        let SignedRoster { mut document, mut signature } = world.signed();
        flip(if in_signature { &mut signature } else { &mut document }, &at, bit);
        prop_assert!(Roster::verify(&document, &signature, &world.pin()).is_err());
    }

    #[test]
    fn a_changed_ciphertext_does_not_open(plaintext in prop::collection::vec(any::<u8>(), 0..300), at in any::<Index>(), bit in 0..8_u8) {
        let key = SealingKey::generate();
        let store = store();
        let context = Context::Escrow { store: &store, vault_version: 1 };
        let sealed = seal(&key.public_key(), &context, &plaintext).expect("it is short");
        let opened = open(&key, &context, &sealed.enc, &sealed.ciphertext).expect("it opens");
        prop_assert_eq!(opened.as_slice(), plaintext.as_slice());
        let (mut enc, mut ciphertext) = (sealed.enc.clone(), sealed.ciphertext.clone());
        flip(&mut ciphertext, &at, bit);
        prop_assert_eq!(open(&key, &context, &sealed.enc, &ciphertext), Err(SealError::Open));
        // The top bit of an X25519 key is ignored by X25519 itself, but HPKE binds the encapsulated key's bytes.
        flip(&mut enc, &at, bit);
        prop_assert_eq!(open(&key, &context, &enc, &sealed.ciphertext), Err(SealError::Open));
    }
}
