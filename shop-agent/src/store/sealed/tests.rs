//! Who is answered, who is not, and that only the asker can read it.

use std::{collections::BTreeMap, time::Duration};

use shop_seal::{Question, Role, SealingKey, Signer, SigningKey, VerifyingKey, open};
use tempfile::TempDir;

use super::*;
use crate::{
    engine::fake::FakeEngine,
    ledger::Ledger,
    store::{
        fixtures,
        vault::{Content, Vault},
    },
};

struct Office {
    _disk: TempDir,
    envelope: Envelope<FakeEngine>,
    root: SigningKey,
    signer: SigningKey,
    one_time: SealingKey,
    recovery: SealingKey,
    log: SealingKey,
}

fn in_an_hour() -> UnixMillis {
    UnixMillis::new(Timestamp::now().as_millisecond()).after(Duration::from_secs(3600))
}

impl Office {
    async fn new(pinned: bool) -> Self {
        let disk = tempfile::tempdir().unwrap();
        let root = SigningKey::generate().unwrap();
        let mut vault = Vault::create(
            disk.path(),
            fixtures::store(),
            [7; 32].into(),
            Content::generate().unwrap(),
        )
        .unwrap();
        vault.ensure_secrets(&fixtures::plan()).unwrap();
        let ledger = SharedLedger::new(Ledger::open(disk.path()).unwrap());
        ledger
            .change(|entries| entries.accepted = Some(fixtures::order(1)))
            .await
            .unwrap();
        let envelope = Envelope {
            store: fixtures::store(),
            root_pin: pinned.then(|| root.verifying_key().pin()),
            ledger,
            vault: Arc::new(Mutex::new(vault)),
            engine: Arc::new(FakeEngine::default()),
            roster: Mutex::default(),
        };
        Self {
            _disk: disk,
            envelope,
            root,
            signer: SigningKey::generate().unwrap(),
            one_time: SealingKey::generate(),
            recovery: SealingKey::generate(),
            log: SealingKey::generate(),
        }
    }

    /// An office whose agent believes in a roster of one.
    async fn open() -> Self {
        let office = Self::new(true).await;
        office.publish(1, &[Role::Reveal, Role::Logs]).await;
        assert!(office.envelope.roster().is_some());
        office
    }

    async fn publish(&self, version: u64, roles: &[Role]) {
        let roster = Roster {
            format: shop_seal::ROSTER_FORMAT,
            version,
            operator_root: self.root.verifying_key(),
            issued_at: UnixMillis::new(0),
            signers: vec![Signer::new(
                self.signer.verifying_key(),
                roles.iter().copied(),
                in_an_hour(),
            )],
            recovery_key: Some(self.recovery.public_key()),
            log_keys: vec![self.log.public_key()],
        };
        let signed = roster.sign(&self.root).unwrap();
        self.envelope
            .believe(&signed.document, &signed.signature)
            .await;
    }

    fn request(
        &self,
        operation: &str,
        kind: RequestKind,
        subject: &str,
        signer: &VerifyingKey,
    ) -> Request {
        let soon =
            UnixMillis::new(Timestamp::now().as_millisecond()).after(Duration::from_secs(60));
        let question = Question { kind, subject };
        Request::new(
            &fixtures::store(),
            operation,
            question,
            self.one_time.public_key(),
            soon,
            signer,
        )
        .unwrap()
    }

    fn asked(&self, request: &Request, signer: &SigningKey) -> Asked {
        Asked {
            operation_id: request.operation_id().to_owned(),
            kind: request.kind().as_str().to_owned(),
            subject: request.subject().to_owned(),
            one_time_public_key: request.one_time_key().as_bytes().to_vec(),
            expires_unix_ms: request.expires().get(),
            signer_key_id: request.signer().as_str().to_owned(),
            signature: request.sign(signer).unwrap().to_vec(),
        }
    }

    /// Asks as the signer, and reads the answer with the one-time key.
    async fn ask(
        &self,
        operation: &str,
        kind: RequestKind,
        subject: &str,
    ) -> Result<Vec<u8>, &'static str> {
        let request = self.request(operation, kind, subject, &self.signer.verifying_key());
        let sealed = self
            .envelope
            .answer(&self.asked(&request, &self.signer))
            .await?;
        let opened = request
            .open_reply(&self.one_time, &sealed.enc, &sealed.ciphertext)
            .unwrap();
        Ok(opened.to_vec())
    }
}

#[tokio::test]
async fn a_login_is_revealed_to_a_signer_once() {
    let office = Office::open().await;
    let answer = office
        .ask("op-1", RequestKind::Reveal, "admin")
        .await
        .unwrap();
    let login: BTreeMap<String, String> = serde_json::from_slice(&answer).unwrap();
    assert_eq!(login["path"], "/admin");
    assert_eq!(login["user"], "admin@example.com");
    assert_eq!(login["password"].len(), 20);
    assert_eq!(
        office.ask("op-1", RequestKind::Reveal, "admin").await,
        Err("replayed")
    );
    assert!(
        office
            .ask("op-2", RequestKind::Reveal, "admin")
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn logs_are_sealed_too() {
    let office = Office::open().await;
    let text = office.ask("op-1", RequestKind::Logs, "web").await.unwrap();
    assert_eq!(text, b"last words\n");
    assert_eq!(
        office.ask("op-2", RequestKind::Logs, "nobody").await,
        Err("unknown_subject")
    );
}

#[tokio::test]
async fn strangers_changed_requests_and_missing_roles_are_refused() {
    let office = Office::open().await;
    let stranger = SigningKey::generate().unwrap();
    let request = office.request(
        "op-1",
        RequestKind::Reveal,
        "admin",
        &stranger.verifying_key(),
    );
    let answer = office
        .envelope
        .answer(&office.asked(&request, &stranger))
        .await;
    assert_eq!(answer, Err("unknown_signer"));

    let request = office.request(
        "op-2",
        RequestKind::Reveal,
        "admin",
        &office.signer.verifying_key(),
    );
    let mut changed = office.asked(&request, &office.signer);
    changed.one_time_public_key = SealingKey::generate().public_key().as_bytes().to_vec();
    assert_eq!(office.envelope.answer(&changed).await, Err("bad_signature"));

    office.publish(2, &[Role::Logs]).await;
    assert_eq!(
        office.ask("op-3", RequestKind::Reveal, "admin").await,
        Err("role_missing")
    );
}

#[tokio::test]
async fn without_a_pin_no_roster_is_believed_and_an_older_one_never() {
    let office = Office::new(false).await;
    office.publish(1, &[Role::Reveal]).await;
    assert_eq!(
        office.ask("op-1", RequestKind::Reveal, "admin").await,
        Err("no_roster")
    );

    let office = Office::open().await;
    office.publish(5, &[Role::Logs]).await;
    office.publish(4, &[Role::Reveal]).await;
    assert_eq!(office.envelope.roster().unwrap().version, 5);
    assert_eq!(
        office
            .envelope
            .ledger
            .entries()
            .roster
            .map(|mark| mark.version),
        Some(5)
    );
}

#[tokio::test]
async fn last_words_and_escrow_open_with_the_rosters_keys_only() {
    let office = Office::open().await;
    let source = LogSource::Replica(ReplicaKey::parse("db", "fixed", 0).unwrap());
    let words = office.envelope.last_words(&source).await.unwrap();
    let store = fixtures::store();
    let context = Context::LogText {
        store: &store,
        source: "db",
    };
    let text = open(
        &office.log,
        &context,
        &words.sealed.enc,
        &words.sealed.ciphertext,
    )
    .unwrap();
    assert_eq!(text.as_slice(), b"last words\n");

    let (vault_version, escrow) = office.envelope.escrow().unwrap();
    let context = Context::Escrow {
        store: &store,
        vault_version,
    };
    let sealed = &escrow.sealed;
    let content = open(&office.recovery, &context, &sealed.enc, &sealed.ciphertext).unwrap();
    let password = locked(&office.envelope.vault).content().secrets["db_password"].clone();
    let content = String::from_utf8(content.to_vec()).unwrap();
    assert!(content.contains(password.expose_secret()));
    assert!(open(&office.log, &context, &sealed.enc, &sealed.ciphertext).is_err());
}
