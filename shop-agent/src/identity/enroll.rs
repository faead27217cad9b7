//! Enrolment and renewal: one call each, over a channel that has checked the pinned root already.

use std::{sync::Arc, time::Duration};

use rustls_pki_types::CertificateDer;
use secrecy::{ExposeSecret as _, SecretString};
use shop_proto::{
    NodeId, PROTOCOL, StoreId,
    wire::enrollment::v1::{
        EnrollRequest, EnrollResponse, JoinToken, RenewRequest, VouchedKey, enroll_request,
        enrollment_client::EnrollmentClient,
    },
};
use tonic::{Code, Status, transport::Channel};

use super::{Credential, CredentialError, KeyError, KeyPair};

/// Longest wait for an answer of the enrolment listener.
const DEADLINE: Duration = Duration::from_secs(15);
/// What the current leaf's key signs, before the signing request.
const RENEW_CONTEXT: &[u8] = b"shopfleet/renew/v1";

/// Why the control plane should certify this key.
pub enum Authority {
    /// A node's single-use token.
    JoinToken {
        /// `sfj1_…`.
        token: SecretString,
        /// What the node calls itself, for people.
        node_name: String,
    },
    /// The store's node has vouched for it.
    Vouched(StoreId),
}

/// What enrolment gave.
pub struct Enrolled {
    /// Key and certificate.
    pub credential: Credential,
    /// Set for nodes.
    pub node: Option<NodeId>,
    /// Set for shop agents.
    pub store: Option<StoreId>,
}

/// An enrolment or renewal that gave no certificate.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// The node's voucher has not arrived yet. Try again.
    #[error("the node has not vouched for this key yet")]
    NotVouchedYet,
    /// Trying again with the same key and authority will not help.
    #[error("the control plane refused: {0}")]
    Refused(String),
    /// The control plane could not be asked. Try again.
    #[error("the control plane could not be asked")]
    Unavailable(#[source] Box<Status>),
    /// The answer does not fit the question.
    #[error("the control plane's answer is not usable")]
    Answer(#[from] CredentialError),
    /// Our own key failed.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Asks for a certificate for `key`. Safe to repeat with the same key.
///
/// # Errors
/// See [`EnrollError`].
pub async fn enroll(
    channel: Channel,
    key: Arc<KeyPair>,
    sealing_public_key: Option<[u8; 32]>,
    authority: Authority,
) -> Result<Enrolled, EnrollError> {
    let authority = match authority {
        Authority::JoinToken { token, node_name } => {
            enroll_request::Authority::JoinToken(JoinToken {
                token: token.expose_secret().to_owned(),
                node_name,
            })
        }
        Authority::Vouched(store) => enroll_request::Authority::Vouched(VouchedKey {
            store_id: store.to_string(),
        }),
    };
    let request = EnrollRequest {
        protocol: PROTOCOL,
        csr_der: key.csr_der()?,
        sealing_public_key: sealing_public_key.map(Vec::from).unwrap_or_default(),
        authority: Some(authority),
    };
    let answer = tokio::time::timeout(DEADLINE, EnrollmentClient::new(channel).enroll(request))
        .await
        .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")))
        .map_err(refusal)?
        .into_inner();
    let (node, store) = (answer.node_id.parse().ok(), answer.store_id.parse().ok());
    Ok(Enrolled {
        credential: credential(answer, key)?,
        node,
        store,
    })
}

/// Asks for a certificate for a new key, proving that we hold the current one.
///
/// # Errors
/// See [`EnrollError`].
pub async fn renew(channel: Channel, current: &Credential) -> Result<Credential, EnrollError> {
    let key = Arc::new(KeyPair::generate()?);
    let csr_der = key.csr_der()?;
    let proof = current.key().sign(&[RENEW_CONTEXT, &csr_der].concat())?;
    let current_leaf_der = current
        .chain()
        .first()
        .map(|leaf| leaf.to_vec())
        .unwrap_or_default();
    let request = RenewRequest {
        protocol: PROTOCOL,
        csr_der,
        current_leaf_der,
        proof,
    };
    let answer = tokio::time::timeout(DEADLINE, EnrollmentClient::new(channel).renew(request))
        .await
        .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")))
        .map_err(refusal)?
        .into_inner();
    let renewed = credential(answer, key)?;
    if renewed.identity() != current.identity() {
        return Err(CredentialError::Identity.into());
    }
    Ok(renewed)
}

fn credential(answer: EnrollResponse, key: Arc<KeyPair>) -> Result<Credential, CredentialError> {
    let roots = answer
        .trust_bundle
        .map(|bundle| bundle.roots_der)
        .unwrap_or_default();
    Credential::new(
        answer
            .chain_der
            .into_iter()
            .map(CertificateDer::from)
            .collect(),
        roots.into_iter().map(CertificateDer::from).collect(),
        key,
    )
}

fn refusal(status: Status) -> EnrollError {
    match status.code() {
        Code::FailedPrecondition => EnrollError::NotVouchedYet,
        Code::PermissionDenied
        | Code::Unauthenticated
        | Code::InvalidArgument
        | Code::Unimplemented => EnrollError::Refused(status.message().to_owned()),
        _ => EnrollError::Unavailable(Box::new(status)),
    }
}
