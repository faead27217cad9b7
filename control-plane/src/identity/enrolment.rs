//! Who gets a certificate: a node with a join token, a shop agent whose key its node vouched for, and whoever proves that it holds the key of
//! a certificate we issued. The identity always comes from our records, never from the request.

use std::{net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use rand::RngExt;
use shop_proto::{Digest, Identity, NodeId, StoreId, TokenText};

use super::{
    Authority, AuthorityError, Bundle, CsrError, DenySet, Leaf, RequestedKey,
    limits::Limits,
    records::{Activation, Records, RecordsError, TokenUse, Voucher},
};
use crate::domain::{
    audit::{AuditRecord, Decision},
    identity::{Certificate, Denied},
};

/// The same key asking again within this time gets the same answer.
pub const REPEAT: Duration = Duration::from_secs(5 * 60);
/// A leaf that ended longer ago than this is not good for renewal any more: a week without the control plane locks nobody out, a key found
/// on an old backup does.
pub const RENEWABLE_AFTER_END: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// What the current leaf's key signs, before the request.
const RENEW_CONTEXT: &[u8] = b"shopfleet/renew/v1";
/// A node's name is for people; longer ones are cut.
const NODE_NAME_CHARS: usize = 64;
/// Wrong join tokens from one address: a person mistypes a few times, a guesser does not get far. Nothing else counts and nothing else is
/// held up by it: all shop agents of a node come from one address, and one of them must not lock out the others.
const FAILURES: (u32, Duration) = (20, Duration::from_secs(3));
/// Attempts with a token that we gave out, from an address that has failed too often: who joins a node is not held up by whoever guesses
/// behind the same address, since guesses name no such token.
const TRIES: (u32, Duration) = (5, Duration::from_secs(10));
/// Refusals from one address that go into the audit chain.
const AUDITED: (u32, Duration) = (10, Duration::from_secs(30));

/// By what right a key asks.
pub enum Claim {
    /// A node's single-use token, as it came. Never logged.
    JoinToken { token: String, node_name: String },
    /// The store's node has vouched for the key. The store is only where to look.
    Vouched(StoreId),
}

/// Where a request came from.
#[derive(Debug, Clone)]
pub struct Source {
    pub address: IpAddr,
    pub request_id: String,
}

/// A certificate for the caller.
#[derive(Debug, Clone)]
pub struct Answer {
    pub identity: Identity,
    /// The identity as the leaf carries it.
    pub uri: String,
    /// Leaf first, then its intermediate.
    pub chain: Vec<Vec<u8>>,
    pub not_after: Timestamp,
}

/// No certificate.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The request is not one.
    #[error(transparent)]
    Csr(#[from] CsrError),
    /// One sentence for every problem with a token, so that it tells nobody which half was right.
    #[error(
        "the join token is not valid: it may be mistyped, used, expired or from another control plane; make a new one with `shopctl node join`"
    )]
    Token,
    /// Not vouched for, so far: normal while a store is being made.
    #[error("the store's node has not vouched for this key yet")]
    NotVouchedYet,
    /// Another key was vouched for. The caller hears the same as for [`EnrolError::NotVouchedYet`]; the audit chain hears the difference.
    #[error("the store's node has not vouched for this key yet")]
    OtherKey,
    /// Somebody removed or locked this identity.
    #[error("this identity is not let in any more: an operator has removed or locked it")]
    Denied,
    /// One sentence for every problem with a renewal's leaf or proof.
    #[error("the renewal does not prove that it comes from a certificate of this control plane")]
    Proof,
    /// It ended too long ago.
    #[error("the certificate ended more than 90 days ago; join again")]
    TooOld,
    /// A superseded certificate came back with a valid proof: two parties hold this identity.
    #[error(
        "this identity is in use in two places and is now locked; remove it and join again, see `shopctl audit list`"
    )]
    Clone,
    /// Too many failures from this address.
    #[error("too many failed attempts from this address; try again in a minute")]
    TooMany,
    /// Ours.
    #[error("the certificate could not be made")]
    Authority(#[from] AuthorityError),
    /// Ours, for now.
    #[error(transparent)]
    Records(#[from] RecordsError),
}

/// Why a certificate may not open a session.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// A newer certificate of this identity was in use.
    #[error("a newer certificate of this identity is in use")]
    Superseded,
    /// It could not be looked up.
    #[error(transparent)]
    Unavailable(#[from] RecordsError),
}

/// Asked once for each session, after its handshake.
#[async_trait]
pub trait Admission: Send + Sync {
    /// Whether this leaf may open a session.
    async fn admit(&self, leaf: &Leaf) -> Result<(), AdmissionError>;
}

/// The enrolment rules over an authority and its records.
pub struct Enrolment {
    authority: Arc<Authority>,
    records: Arc<dyn Records>,
    deny: DenySet,
    failures: Limits<IpAddr>,
    tries: Limits<String>,
    audited: Limits<IpAddr>,
}

impl Enrolment {
    /// Over this authority and these records.
    #[must_use]
    pub fn new(authority: Arc<Authority>, records: Arc<dyn Records>, deny: DenySet) -> Self {
        Self {
            authority,
            records,
            deny,
            failures: Limits::new(FAILURES.0, FAILURES.1),
            tries: Limits::new(TRIES.0, TRIES.1),
            audited: Limits::new(AUDITED.0, AUDITED.1),
        }
    }

    /// What agents should trust.
    #[must_use]
    pub fn bundle(&self) -> Bundle {
        self.authority.bundle()
    }

    /// A first certificate.
    ///
    /// # Errors
    /// See [`EnrolError`].
    pub async fn enrol(
        &self,
        csr: &[u8],
        claim: Claim,
        source: &Source,
        now: Timestamp,
    ) -> Result<Answer, EnrolError> {
        let (action, subject) = match &claim {
            Claim::JoinToken { token, .. } => ("node.enrol", token_subject(token)),
            Claim::Vouched(store) => ("store.enrol", format!("store:{store}")),
        };
        let result = self.certify(csr, claim, source, now).await;
        self.told(action, subject, source, now, &result).await;
        result
    }

    async fn certify(
        &self,
        csr: &[u8],
        claim: Claim,
        source: &Source,
        now: Timestamp,
    ) -> Result<Answer, EnrolError> {
        let key = RequestedKey::from_csr(csr)?;
        let identity = match claim {
            Claim::JoinToken { token, node_name } => {
                self.use_token(&token, &node_name, &key, source, now)
                    .await?
            }
            Claim::Vouched(store) => self.check_voucher(store, &key).await?,
        };
        self.answer(&key, identity, now).await
    }

    async fn use_token(
        &self,
        token: &str,
        node_name: &str,
        key: &RequestedKey,
        source: &Source,
        now: Timestamp,
    ) -> Result<Identity, EnrolError> {
        let token = token
            .parse::<TokenText>()
            .ok()
            .filter(|token| token.root_pin() == Some(self.authority.root_pin()));
        if !self.failures.allows(&source.address, now) && !self.ours(token.as_ref(), now).await? {
            return Err(EnrolError::TooMany);
        }
        let token = token.ok_or(EnrolError::Token)?;
        let node = self
            .records
            .use_join_token(TokenUse {
                id: token.id().to_owned(),
                secret: Digest::of(token.secret().as_bytes()),
                spki: key.spki,
                fresh: fresh_node(),
                node_name: readable(node_name),
                at: now,
            })
            .await?
            .ok_or(EnrolError::Token)?;
        Ok(Identity::Node(node))
    }

    /// Whether a token's public half is one that we gave out, and was not tried too often.
    async fn ours(&self, token: Option<&TokenText>, now: Timestamp) -> Result<bool, RecordsError> {
        let Some(token) = token else { return Ok(false) };
        let given_out = self.records.gave_out_join_token(token.id(), now).await?;
        Ok(given_out && self.tries.take(token.id().to_owned(), now))
    }

    async fn check_voucher(
        &self,
        store: StoreId,
        key: &RequestedKey,
    ) -> Result<Identity, EnrolError> {
        match self.records.voucher(&store, key.spki).await? {
            Voucher::ThisKey => {}
            Voucher::OtherKey => return Err(EnrolError::OtherKey),
            Voucher::None => return Err(EnrolError::NotVouchedYet),
        }
        let identity = Identity::StoreAgent(store);
        // A voucher is for a first certificate. Once its agent has moved on to another key, this one comes from a copy: let in here, it
        // would never be noticed, as it would be when it renews.
        let newest = self
            .records
            .newest(&identity, key.spki, Timestamp::UNIX_EPOCH)
            .await?;
        if newest.is_some_and(|known| known.superseded_by.is_some()) {
            return Err(EnrolError::OtherKey);
        }
        Ok(identity)
    }

    /// A certificate for a new key, for whoever holds the key of one we issued, expired or not.
    ///
    /// # Errors
    /// See [`EnrolError`].
    pub async fn renew(
        &self,
        csr: &[u8],
        current: &[u8],
        proof: &[u8],
        source: &Source,
        now: Timestamp,
    ) -> Result<Answer, EnrolError> {
        let recognised = self.authority.recognise(current).ok();
        let subject = recognised
            .as_ref()
            .map_or_else(|| "unknown".to_owned(), |leaf| subject_of(&leaf.identity));
        let result = self.reissue(csr, recognised, proof, now).await;
        self.told("certificate.renew", subject, source, now, &result)
            .await;
        result
    }

    async fn reissue(
        &self,
        csr: &[u8],
        current: Option<Leaf>,
        proof: &[u8],
        now: Timestamp,
    ) -> Result<Answer, EnrolError> {
        let key = RequestedKey::from_csr(csr)?;
        let current = current
            .filter(|leaf| leaf.signed(&[RENEW_CONTEXT, csr].concat(), proof))
            .ok_or(EnrolError::Proof)?;
        if self.deny.denies(&current) {
            return Err(EnrolError::Denied);
        }
        if now.duration_since(current.not_after)
            > RENEWABLE_AFTER_END
                .try_into()
                .unwrap_or(jiff::SignedDuration::MAX)
        {
            return Err(EnrolError::TooOld);
        }
        match self.records.certificate(current.serial.as_str()).await? {
            Some(known) if known.superseded_by.is_some() => {
                self.lock(current.identity, now).await?;
                return Err(EnrolError::Clone);
            }
            Some(_) => {}
            // We signed it and do not know it: restored from a backup. The holder of the key goes on.
            None => tracing::warn!(
                identity = %subject_of(&current.identity),
                serial = %current.serial,
                "renewed a certificate that is not in the records: was this control plane restored from a backup?"
            ),
        }
        self.answer(&key, current.identity, now).await
    }

    async fn lock(&self, identity: Identity, now: Timestamp) -> Result<(), RecordsError> {
        self.records
            .deny(Denied::Identity(identity.clone()), "clone_suspected", now)
            .await?;
        self.deny.insert(identity);
        Ok(())
    }

    /// The same answer for the same key for a while; a new certificate otherwise, recorded before it is handed out.
    async fn answer(
        &self,
        key: &RequestedKey,
        identity: Identity,
        now: Timestamp,
    ) -> Result<Answer, EnrolError> {
        if self.deny.denies_identity(&identity) {
            return Err(EnrolError::Denied);
        }
        let repeated = self
            .records
            .newest(&identity, key.spki, now - REPEAT)
            .await?
            .filter(|known| known.superseded_by.is_none());
        let certificate = match repeated {
            Some(certificate) => certificate,
            None => {
                let issued = self.authority.issue(key, &identity, now)?;
                let certificate = Certificate {
                    serial: issued.leaf.serial.to_string(),
                    identity,
                    spki: issued.leaf.spki,
                    issued_at: now,
                    not_after: issued.leaf.not_after,
                    chain: issued.chain.iter().map(|der| der.to_vec()).collect(),
                    superseded_by: None,
                };
                self.records.record(certificate.clone()).await?;
                certificate
            }
        };
        Ok(Answer {
            uri: certificate.identity.uri(self.authority.domain()),
            identity: certificate.identity,
            chain: certificate.chain,
            not_after: certificate.not_after,
        })
    }

    /// Audits the outcome, and counts wrong tokens against the address.
    async fn told(
        &self,
        action: &'static str,
        subject: String,
        source: &Source,
        now: Timestamp,
        result: &Result<Answer, EnrolError>,
    ) {
        let (actor, decision, reason) = match result {
            Ok(answer) => (subject_of(&answer.identity), Decision::Allowed, "issued"),
            Err(error) => {
                let Some(reason) = self.refusal_to_audit(error, source, now) else {
                    return;
                };
                ("anonymous".to_owned(), Decision::Denied, reason)
            }
        };
        let record = AuditRecord {
            at: now,
            actor,
            source: source.address.to_string(),
            request_id: source.request_id.clone(),
            action: action.to_owned(),
            subject,
            decision,
            reason: reason.to_owned(),
        };
        if let Err(error) = self.records.audit(record).await {
            tracing::error!(action, error = ?error, "an enrolment could not be audited");
        }
    }

    fn refusal_to_audit(
        &self,
        error: &EnrolError,
        source: &Source,
        now: Timestamp,
    ) -> Option<&'static str> {
        let code = error.code();
        match error {
            EnrolError::Token => {
                self.failures.take(source.address, now);
            }
            // Once for an identity, since it is locked from then on; noise from its address must not hide it.
            EnrolError::Clone => return Some(code),
            EnrolError::Csr(_)
            | EnrolError::Proof
            | EnrolError::Denied
            | EnrolError::TooOld
            | EnrolError::OtherKey => {}
            EnrolError::NotVouchedYet
            | EnrolError::TooMany
            | EnrolError::Authority(_)
            | EnrolError::Records(_) => return None,
        }
        self.audited.take(source.address, now).then_some(code)
    }
}

impl EnrolError {
    /// As the caller hears it.
    #[must_use]
    pub const fn public_code(&self) -> &'static str {
        match self {
            Self::OtherKey => Self::NotVouchedYet.code(),
            other => other.code(),
        }
    }

    /// Stable, for the audit chain.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Csr(_) => "csr_invalid",
            Self::Token => "token_invalid",
            Self::NotVouchedYet => "not_vouched_yet",
            Self::OtherKey => "other_key_vouched",
            Self::Denied => "denied",
            Self::Proof => "proof_invalid",
            Self::TooOld => "certificate_too_old",
            Self::Clone => "clone_suspected",
            Self::TooMany => "too_many_attempts",
            Self::Authority(_) => "internal",
            Self::Records(_) => "unavailable",
        }
    }
}

#[async_trait]
impl Admission for Enrolment {
    async fn admit(&self, leaf: &Leaf) -> Result<(), AdmissionError> {
        let activation = self
            .records
            .activate(&leaf.identity, leaf.serial.as_str())
            .await?;
        match activation {
            Activation::Current => Ok(()),
            Activation::Superseded => Err(AdmissionError::Superseded),
            Activation::Unknown => {
                tracing::warn!(identity = %subject_of(&leaf.identity), serial = %leaf.serial, "a session on a certificate that is not in the records");
                Ok(())
            }
        }
    }
}

fn subject_of(identity: &Identity) -> String {
    match identity {
        Identity::Node(node) => format!("node:{node}"),
        Identity::StoreAgent(store) => format!("store:{store}"),
    }
}

/// The token's public half, when it can be told apart.
fn token_subject(token: &str) -> String {
    token.parse::<TokenText>().map_or_else(
        |_| "join-token".to_owned(),
        |token| format!("join-token:{}", token.id()),
    )
}

fn readable(name: &str) -> String {
    name.chars()
        .filter(|character| !character.is_control())
        .take(NODE_NAME_CHARS)
        .collect()
}

fn fresh_node() -> NodeId {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz";
    const ALL: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = rand::rng();
    let mut pick = |from: &[u8]| char::from(from[random.random_range(0..from.len())]);
    let mut text = String::from(pick(LETTERS));
    text.extend((0..5).map(|_| pick(ALL)));
    text.parse()
        .expect("six characters, the first a letter, are a node id")
}
