//! The enrolment service: thin, unauthenticated, over the rules in [`crate::identity::Enrolment`].

use std::{net::IpAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use shop_proto::{
    Identity, PROTOCOL,
    wire::enrollment::v1::{
        EnrollRequest, EnrollResponse, RenewRequest, enroll_request::Authority,
        enrollment_server::Enrollment,
    },
};
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

use super::{accept::Peer, status::coded, wire};
use crate::identity::{Answer, Claim, EnrolError, Enrolment, Source};

/// From the request to the answer, database included.
const DEADLINE: Duration = Duration::from_secs(10);

/// The service.
pub struct EnrolmentService {
    rules: Arc<Enrolment>,
}

impl EnrolmentService {
    /// Over these rules.
    #[must_use]
    pub const fn new(rules: Arc<Enrolment>) -> Self {
        Self { rules }
    }

    fn respond(&self, answer: Answer) -> EnrollResponse {
        let (node_id, store_id) = match &answer.identity {
            Identity::Node(node) => (node.to_string(), String::new()),
            Identity::StoreAgent(store) => (String::new(), store.to_string()),
        };
        EnrollResponse {
            chain_der: answer.chain,
            trust_bundle: Some(wire::trust_bundle(&self.rules.bundle())),
            identity: answer.uri,
            node_id,
            store_id,
            not_after_unix_ms: answer.not_after.as_millisecond(),
        }
    }
}

#[tonic::async_trait]
impl Enrollment for EnrolmentService {
    async fn enroll(
        &self,
        request: Request<EnrollRequest>,
    ) -> Result<Response<EnrollResponse>, Status> {
        let source = source(&request)?;
        let message = request.into_inner();
        check_protocol(message.protocol)?;
        let claim = claim(message.authority)?;
        let enrol = self
            .rules
            .enrol(&message.csr_der, claim, &source, Timestamp::now());
        let answer = within(enrol, &source).await?;
        Ok(Response::new(self.respond(answer)))
    }

    async fn renew(
        &self,
        request: Request<RenewRequest>,
    ) -> Result<Response<EnrollResponse>, Status> {
        let source = source(&request)?;
        let message = request.into_inner();
        check_protocol(message.protocol)?;
        let renew = self.rules.renew(
            &message.csr_der,
            &message.current_leaf_der,
            &message.proof,
            &source,
            Timestamp::now(),
        );
        let answer = within(renew, &source).await?;
        Ok(Response::new(self.respond(answer)))
    }
}

async fn within(
    work: impl Future<Output = Result<Answer, EnrolError>>,
    source: &Source,
) -> Result<Answer, Status> {
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(result) => result.map_err(|error| refusal(&error, source)),
        Err(_) => Err(coded(
            Code::Unavailable,
            "unavailable",
            "the control plane is busy: come back later",
        )),
    }
}

fn source<T>(request: &Request<T>) -> Result<Source, Status> {
    let peer = request
        .extensions()
        .get::<Peer>()
        .ok_or_else(|| Status::internal("the connection has no address"))?;
    Ok(Source {
        address: canonical(peer.address.ip()),
        request_id: Uuid::now_v7().to_string(),
    })
}

/// An IPv4 address is the same one whichever socket it came through.
fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

fn check_protocol(protocol: u32) -> Result<(), Status> {
    if protocol == PROTOCOL {
        return Ok(());
    }
    Err(coded(
        Code::InvalidArgument,
        "protocol_unknown",
        format!("protocol {protocol} is not spoken here; this control plane speaks {PROTOCOL}"),
    ))
}

fn claim(authority: Option<Authority>) -> Result<Claim, Status> {
    match authority {
        Some(Authority::JoinToken(join)) => Ok(Claim::JoinToken {
            token: join.token,
            node_name: join.node_name,
        }),
        Some(Authority::Vouched(vouched)) => {
            vouched
                .store_id
                .parse()
                .map(Claim::Vouched)
                .map_err(|error| {
                    coded(
                        Code::InvalidArgument,
                        "store_id_invalid",
                        format!("{error}"),
                    )
                })
        }
        None => Err(coded(
            Code::InvalidArgument,
            "authority_missing",
            "a join token or a vouched key is needed",
        )),
    }
}

fn refusal(error: &EnrolError, source: &Source) -> Status {
    let code = match error {
        EnrolError::Csr(_) => Code::InvalidArgument,
        EnrolError::Token
        | EnrolError::Proof
        | EnrolError::Denied
        | EnrolError::TooOld
        | EnrolError::Clone => Code::PermissionDenied,
        EnrolError::NotVouchedYet | EnrolError::OtherKey => Code::FailedPrecondition,
        EnrolError::TooMany => Code::ResourceExhausted,
        EnrolError::Records(cause) => {
            tracing::error!(request_id = source.request_id, error = ?cause, "enrolment");
            Code::Unavailable
        }
        EnrolError::Authority(cause) => {
            tracing::error!(request_id = source.request_id, error = ?cause, "enrolment");
            return coded(
                Code::Internal,
                "internal",
                format!(
                    "the certificate could not be made; the control plane's log says why, under {}",
                    source.request_id
                ),
            );
        }
    };
    coded(code, error.public_code(), error.to_string())
}
