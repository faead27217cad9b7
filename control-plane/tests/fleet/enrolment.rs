//! Who gets a certificate, and for what.

use std::time::Duration;

use control_plane::identity::{LEAF_LIFE, Leaf, RENEWABLE_AFTER_END, RequestedKey, Source};
use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, IsCa, SanType};
use shop_proto::{Digest, Identity, TokenText};
use tonic::Code;

use crate::{
    client::{Key, agent_session, enrol_store, join, node_hello, node_session, renew},
    rig::Rig,
};

const MINUTE: Duration = Duration::from_secs(60);
const STORE: &str = "k3v9q2m8x1aa";

#[tokio::test]
async fn a_token_makes_one_node_and_the_same_key_gets_the_same_answer() {
    let rig = Rig::start();
    let token = rig.token('a', MINUTE);
    let key = Key::new();
    let answer = join(&rig, &token, &key).await.unwrap();
    let again = join(&rig, &token, &key).await.unwrap();
    assert_eq!(answer, again);
    assert_eq!(
        answer.identity,
        format!("spiffe://shopfleet/node/{}", answer.node_id)
    );
    let leaf = rig.authority.recognise(&answer.chain_der[0]).unwrap();
    assert_eq!(leaf.spki, key.spki());

    let refused = join(&rig, &token, &Key::new()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(rig.records.refusals(), ["token_invalid"]);
}

#[tokio::test]
async fn every_wrong_token_hears_the_same() {
    let rig = Rig::start();
    let key = Key::new();
    let secret = || "s".repeat(52);
    let pin = rig.authority.root_pin();
    let token = |id: char, secret, pin| {
        TokenText::join(id.to_string().repeat(10), secret, pin)
            .unwrap()
            .reveal()
    };
    rig.token('a', MINUTE);
    let wrong = [
        token('b', secret(), pin),
        token('a', "t".repeat(52), pin),
        token('a', secret(), Digest::of(b"another root")),
        rig.token('c', Duration::ZERO),
        rig.token('d', MINUTE).replacen("ddd", "dde", 1),
        TokenText::api("a".repeat(10), secret()).unwrap().reveal(),
        "nonsense".to_owned(),
        String::new(),
    ];
    let mut heard = Vec::new();
    for token in &wrong {
        let refused = join(&rig, token, &key).await.unwrap_err();
        heard.push((
            refused.code(),
            refused.message().to_owned(),
            refused.details().to_vec(),
        ));
    }
    heard.dedup();
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_eq!(rig.records.refusals().len(), wrong.len());
    assert!(rig.records.state().certificates.is_empty());
}

#[tokio::test]
async fn a_guesser_is_slowed_down() {
    let rig = Rig::start();
    let key = Key::new();
    let mut last = Code::Ok;
    for _ in 0..40 {
        last = join(&rig, "nonsense", &key).await.unwrap_err().code();
    }
    assert_eq!(last, Code::ResourceExhausted);
    assert!(
        rig.records.refusals().len() < 40,
        "the audit chain is not flooded"
    );
}

/// Many hosts come from one address; one of them guesses for as long as it likes.
#[tokio::test]
async fn a_guesser_holds_up_nobody_behind_the_same_address() {
    let rig = Rig::start();
    let key = Key::new();
    let flood = async || {
        for _ in 0..40 {
            join(&rig, "nonsense", &key).await.unwrap_err();
        }
    };
    flood().await;
    let pin = rig.authority.root_pin();
    let of = |id: char, secret: char| {
        TokenText::join(
            id.to_string().repeat(10),
            secret.to_string().repeat(52),
            pin,
        )
        .unwrap()
        .reveal()
    };
    let unknown = join(&rig, &of('b', 't'), &key).await.unwrap_err();
    assert_eq!(unknown.code(), Code::ResourceExhausted);
    let ours = rig.token('a', MINUTE);
    join(&rig, &ours, &key).await.unwrap();
    // Whoever knows its public half guesses its secret no faster than anybody.
    rig.token('c', MINUTE);
    let mut last = Code::Ok;
    for _ in 0..10 {
        last = join(&rig, &of('c', 't'), &key).await.unwrap_err().code();
    }
    assert_eq!(last, Code::ResourceExhausted);
}

#[tokio::test]
async fn a_request_gets_its_key_certified_and_nothing_else_it_asks_for() {
    let rig = Rig::start();
    let mut greedy = CertificateParams::new(vec!["control-plane.shopfleet".to_owned()]).unwrap();
    greedy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    greedy.subject_alt_names.push(SanType::URI(
        "spiffe://shopfleet/node/aaaaaa".try_into().unwrap(),
    ));
    let key = Key::asking(greedy);
    let store = rig.vouch(STORE, key.spki());
    let answer = enrol_store(&rig, STORE, &key).await.unwrap();
    let leaf = Leaf::parse(&answer.chain_der[0], rig.authority.domain()).unwrap();
    assert_eq!(leaf.identity, Identity::StoreAgent(store));
    let left = leaf.not_after.duration_since(Timestamp::now());
    assert!(left <= LEAF_LIFE.try_into().unwrap());
}

#[tokio::test]
async fn a_shop_agent_needs_its_own_nodes_word() {
    let rig = Rig::start();
    let key = Key::new();
    let early = enrol_store(&rig, STORE, &key).await.unwrap_err();
    assert_eq!(early.code(), Code::FailedPrecondition);
    assert!(rig.records.refusals().is_empty(), "waiting is no offence");

    rig.vouch(STORE, Key::new().spki());
    let thief = enrol_store(&rig, STORE, &key).await.unwrap_err();
    assert_eq!(
        (thief.code(), thief.message()),
        (early.code(), early.message())
    );
    assert_eq!(rig.records.refusals(), ["other_key_vouched"]);

    rig.vouch(STORE, key.spki());
    assert_eq!(
        enrol_store(&rig, STORE, &key).await.unwrap().store_id,
        STORE
    );
}

#[tokio::test]
async fn renewal_needs_proof_and_a_lost_answer_does_no_harm() {
    let rig = Rig::start();
    let first = Key::new();
    rig.vouch(STORE, first.spki());
    let current = enrol_store(&rig, STORE, &first).await.unwrap();

    let (lost, second) = (Key::new(), Key::new());
    let forged = renew(&rig, &current, &second, lost.prove(&second.csr))
        .await
        .unwrap_err();
    assert_eq!(forged.code(), Code::PermissionDenied);
    let replayed = renew(&rig, &current, &second, first.prove(&lost.csr))
        .await
        .unwrap_err();
    assert_eq!(replayed.code(), Code::PermissionDenied);

    // The first answer never arrives; the agent asks again with another key.
    renew(&rig, &current, &lost, first.prove(&lost.csr))
        .await
        .unwrap();
    let renewed = renew(&rig, &current, &second, first.prove(&second.csr))
        .await
        .unwrap();
    assert_eq!(renewed.identity, current.identity);
    agent_session(&rig, (&renewed, &second), 3).await.unwrap();
}

/// All shop agents of a node come from its one address.
#[tokio::test]
async fn failures_of_one_store_do_not_hold_up_another_behind_the_same_address() {
    let rig = Rig::start();
    let (good, noisy) = (Key::new(), Key::new());
    rig.vouch(STORE, good.spki());
    let current = enrol_store(&rig, STORE, &good).await.unwrap();
    let mut unlike = current.clone();
    unlike.chain_der[0][0] ^= 1;
    for _ in 0..30 {
        // Without proof, with somebody else's certificate, and without any.
        let forged = renew(&rig, &current, &noisy, noisy.prove(&noisy.csr)).await;
        assert_eq!(forged.unwrap_err().code(), Code::PermissionDenied);
        let unread = renew(&rig, &unlike, &noisy, noisy.prove(&noisy.csr)).await;
        assert_eq!(unread.unwrap_err().code(), Code::PermissionDenied);
        let guessed = join(&rig, "sfj1_nonsense", &noisy).await;
        assert!(guessed.is_err());
    }
    let next = Key::new();
    renew(&rig, &current, &next, good.prove(&next.csr))
        .await
        .unwrap();
    rig.vouch("b2345678901c", noisy.spki());
    enrol_store(&rig, "b2345678901c", &noisy).await.unwrap();
}

#[tokio::test]
async fn a_superseded_certificate_that_comes_back_locks_the_identity() {
    let mut rig = Rig::start();
    let (first, second, clone) = (Key::new(), Key::new(), Key::new());
    rig.vouch(STORE, first.spki());
    let current = enrol_store(&rig, STORE, &first).await.unwrap();
    let renewed = renew(&rig, &current, &second, first.prove(&second.csr))
        .await
        .unwrap();
    let mut session = agent_session(&rig, (&renewed, &second), 3).await.unwrap();
    rig.event().await;

    let refused = renew(&rig, &current, &clone, first.prove(&clone.csr))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let ended = session.order().await.unwrap_err();
    assert_eq!(ended.code(), Code::PermissionDenied);
    assert_eq!(rig.records.refusals(), ["clone_suspected"]);
    let after = renew(&rig, &renewed, &clone, second.prove(&clone.csr))
        .await
        .unwrap_err();
    assert_eq!(after.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_key_that_was_replaced_is_not_certified_again_by_its_old_voucher() {
    let mut rig = Rig::start();
    let (first, second) = (Key::new(), Key::new());
    rig.vouch(STORE, first.spki());
    let current = enrol_store(&rig, STORE, &first).await.unwrap();
    enrol_store(&rig, STORE, &first).await.unwrap();
    let renewed = renew(&rig, &current, &second, first.prove(&second.csr))
        .await
        .unwrap();
    // The answer may have been lost: until the new key is used, the old one is good.
    enrol_store(&rig, STORE, &first).await.unwrap();
    let _session = agent_session(&rig, (&renewed, &second), 3).await.unwrap();
    rig.event().await;

    let copied = enrol_store(&rig, STORE, &first).await.unwrap_err();
    assert_eq!(copied.code(), Code::FailedPrecondition);
    assert_eq!(rig.records.refusals(), ["other_key_vouched"]);
}

#[tokio::test]
async fn an_ended_certificate_is_good_for_renewal_for_ninety_days() {
    let rig = Rig::start();
    let now = Timestamp::now();
    let identity = Identity::StoreAgent(STORE.parse().unwrap());
    let source = Source {
        address: [127, 0, 0, 1].into(),
        request_id: "r".to_owned(),
    };
    let key = Key::new();
    let requested = RequestedKey::from_csr(&key.csr).unwrap();
    let new = Key::new();
    for (ended_ago, good) in [
        (Duration::from_secs(7 * 24 * 3600), true),
        (RENEWABLE_AFTER_END + MINUTE, false),
    ] {
        let then = now - ended_ago - LEAF_LIFE;
        let old = rig.authority.issue(&requested, &identity, then).unwrap();
        let answer = rig
            .rules
            .renew(&new.csr, &old.chain[0], &key.prove(&new.csr), &source, now)
            .await;
        assert_eq!(answer.is_ok(), good, "{ended_ago:?}");
    }
}

#[tokio::test]
async fn a_leaf_of_another_root_renews_nothing() {
    let (rig, other) = (Rig::start(), Rig::start());
    let key = Key::new();
    other.vouch(STORE, key.spki());
    let foreign = enrol_store(&other, STORE, &key).await.unwrap();
    let new = Key::new();
    let refused = renew(&rig, &foreign, &new, key.prove(&new.csr))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let node = Key::new();
    let joined = join(&other, &other.token('a', MINUTE), &node)
        .await
        .unwrap();
    assert!(
        node_session(&rig, (&joined, &node), node_hello(1))
            .await
            .is_err()
    );
}
