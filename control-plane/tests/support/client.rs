//! What an agent does on the wire, with as little code as possible and none of the agents' own.

#![allow(dead_code, reason = "each test binary uses its part of it")]

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair, PublicKeyData, SigningKey};
use rustls::{ClientConfig, RootCertStore, client::Resumption};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use shop_proto::{
    Digest, PROTOCOL, SERVER_NAME,
    wire::{
        agent::v1::{self as agent, agent_client::AgentClient},
        enrollment::v1::{
            EnrollRequest, EnrollResponse, JoinToken, RenewRequest, VouchedKey,
            enroll_request::Authority, enrollment_client::EnrollmentClient,
        },
        node::v1::{self as node, node_client::NodeClient},
    },
};
use tokio::{net::TcpStream, sync::mpsc};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint},
};

/// Everything here happens within milliseconds; a machine under load may take longer.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Where to dial, and whom to trust there.
#[derive(Clone)]
pub struct Target {
    pub enrolment: SocketAddr,
    pub agents: SocketAddr,
    pub roots: Vec<CertificateDer<'static>>,
}

/// A key, and the request for it.
pub struct Key {
    pub pair: KeyPair,
    pub csr: Vec<u8>,
}

impl Key {
    pub fn new() -> Self {
        Self::asking(CertificateParams::default())
    }

    /// With a request that asks for these things.
    pub fn asking(params: CertificateParams) -> Self {
        let pair = KeyPair::generate().unwrap();
        let csr = params.serialize_request(&pair).unwrap().der().to_vec();
        Self { pair, csr }
    }

    pub fn spki(&self) -> Digest {
        Digest::of(&self.pair.subject_public_key_info())
    }

    /// Proof of possession for a renewal towards `csr`.
    pub fn prove(&self, csr: &[u8]) -> Vec<u8> {
        let message = [b"shopfleet/renew/v1", csr].concat();
        self.pair.sign(&message).unwrap()
    }
}

pub async fn dial(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from(SERVER_NAME).unwrap();
    TlsConnector::from(config).connect(name, tcp).await
}

pub fn config(target: &Target, credential: Option<(&EnrollResponse, &Key)>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for root in target.roots.iter().cloned() {
        roots.add(root).unwrap();
    }
    let builder = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_root_certificates(roots);
    let mut config = match credential {
        None => builder.with_no_client_auth(),
        Some((answer, key)) => {
            let chain = answer
                .chain_der
                .iter()
                .cloned()
                .map(CertificateDer::from)
                .collect();
            let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.pair.serialize_der()));
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    // As a hostile client would.
    config.resumption = Resumption::in_memory_sessions(16);
    Arc::new(config)
}

pub async fn channel(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> Result<Channel, tonic::transport::Error> {
    Endpoint::from_static("http://control-plane.shopfleet")
        .connect_timeout(PATIENCE)
        .connect_with_connector(tower::service_fn(move |_| {
            let config = config.clone();
            async move { dial(address, config).await.map(TokioIo::new) }
        }))
        .await
}

async fn enrolment(target: &Target) -> Result<EnrollmentClient<Channel>, Status> {
    let channel = channel(target.enrolment, config(target, None))
        .await
        .map_err(|error| Status::unavailable(format!("{error:?}")))?;
    Ok(EnrollmentClient::new(channel))
}

pub async fn join(target: &Target, token: &str, key: &Key) -> Result<EnrollResponse, Status> {
    let authority = Authority::JoinToken(JoinToken {
        token: token.to_owned(),
        node_name: "n1".to_owned(),
    });
    enrol(target, key, authority).await
}

pub async fn enrol_store(
    target: &Target,
    store: &str,
    key: &Key,
) -> Result<EnrollResponse, Status> {
    let authority = Authority::Vouched(VouchedKey {
        store_id: store.to_owned(),
    });
    enrol(target, key, authority).await
}

async fn enrol(target: &Target, key: &Key, authority: Authority) -> Result<EnrollResponse, Status> {
    let request = EnrollRequest {
        protocol: PROTOCOL,
        csr_der: key.csr.clone(),
        sealing_public_key: Vec::new(),
        authority: Some(authority),
    };
    let answer = enrolment(target).await?.enroll(request).await?;
    Ok(answer.into_inner())
}

pub async fn renew(
    target: &Target,
    current: &EnrollResponse,
    new: &Key,
    proof: Vec<u8>,
) -> Result<EnrollResponse, Status> {
    let request = RenewRequest {
        protocol: PROTOCOL,
        csr_der: new.csr.clone(),
        current_leaf_der: current.chain_der[0].clone(),
        proof,
    };
    let answer = enrolment(target).await?.renew(request).await?;
    Ok(answer.into_inner())
}

/// One open session: what to send, and what comes.
pub struct Session<Up, Down> {
    pub up: mpsc::Sender<Up>,
    pub down: Streaming<Down>,
}

impl<Up, Down> Session<Up, Down> {
    /// The next order.
    pub async fn order(&mut self) -> Result<Option<Down>, Status> {
        tokio::time::timeout(PATIENCE, self.down.message())
            .await
            .expect("something in time")
    }
}

pub type NodeSession = Session<node::NodeMessage, node::ControlMessage>;
pub type AgentSession = Session<agent::AgentMessage, agent::ControlMessage>;

pub fn node_hello(protocol: u32) -> node::NodeMessage {
    let hello = node::Hello {
        protocol,
        render_versions: vec![1],
        agent_version: "test".to_owned(),
        boot_id: "boot".to_owned(),
        ..node::Hello::default()
    };
    node::NodeMessage {
        message: Some(node::node_message::Message::Hello(hello)),
    }
}

pub fn agent_hello(generation: u64) -> agent::AgentMessage {
    let hello = agent::Hello {
        protocol: PROTOCOL,
        render_versions: vec![1],
        generation,
        ..agent::Hello::default()
    };
    agent::AgentMessage {
        message: Some(agent::agent_message::Message::Hello(hello)),
    }
}

pub async fn node_session(
    target: &Target,
    credential: (&EnrollResponse, &Key),
    hello: node::NodeMessage,
) -> Result<NodeSession, Status> {
    let channel = channel(target.agents, config(target, Some(credential)))
        .await
        .map_err(|error| Status::unavailable(format!("{error:?}")))?;
    let (up, messages) = mpsc::channel(8);
    up.send(hello).await.unwrap();
    let down = NodeClient::new(channel)
        .session(ReceiverStream::new(messages))
        .await?
        .into_inner();
    Ok(Session { up, down })
}

pub async fn agent_session(
    target: &Target,
    credential: (&EnrollResponse, &Key),
    generation: u64,
) -> Result<AgentSession, Status> {
    agent_session_with(target, credential, agent_hello(generation)).await
}

pub async fn agent_session_with(
    target: &Target,
    credential: (&EnrollResponse, &Key),
    hello: agent::AgentMessage,
) -> Result<AgentSession, Status> {
    let channel = channel(target.agents, config(target, Some(credential)))
        .await
        .map_err(|error| Status::unavailable(format!("{error:?}")))?;
    let (up, messages) = mpsc::channel(8);
    up.send(hello).await.unwrap();
    let down = AgentClient::new(channel)
        .session(ReceiverStream::new(messages))
        .await?
        .into_inner();
    Ok(Session { up, down })
}
