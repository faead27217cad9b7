//! TLS to the control plane, trusting one root only: by its certificate once it is known, by its pin at login.
//!
//! The address dialled never matters to TLS: the server must always prove the name `control-plane.shopfleet` under that root.

use std::{io, sync::Arc, time::Duration};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use shop_proto::{Digest, SERVER_NAME};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    context::{AdminUrl, Pin, Remembered},
    failure::Failure,
};

/// Long enough for a bad link, short enough for a person.
const DIAL_DEADLINE: Duration = Duration::from_secs(8);

/// What is spoken inside TLS.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Protocol {
    Http2,
    Http1,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("{0}")]
    Network(io::Error),
    #[error("no answer within {} s", DIAL_DEADLINE.as_secs())]
    Deadline,
    #[error(
        "its certificate is not from the pinned root ({0}); either this address is not your control plane's, or it was set up anew and needs a new `shopctl login`"
    )]
    NotPinned(CertificateError),
    #[error("TLS failed: {0}")]
    Tls(io::Error),
    #[error("cannot use the pinned root: {0}")]
    Root(rustls::Error),
}

/// Makes connections to one control plane.
#[derive(Clone)]
pub(crate) struct Dialer {
    url: AdminUrl,
    tls: Arc<ClientConfig>,
}

impl Dialer {
    /// To a control plane whose root is known.
    pub(crate) fn new(
        context: &Remembered,
        protocol: Protocol,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, DialError> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from(context.root.clone()))
            .map_err(DialError::Root)?;
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(DialError::Root)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = protocol.alpn();
        Ok(Self {
            url: context.url.clone(),
            tls: Arc::new(tls),
        })
    }

    /// One connection.
    pub(crate) async fn dial(&self) -> Result<TlsStream<TcpStream>, DialError> {
        handshake(&self.url, Arc::clone(&self.tls)).await
    }

    pub(crate) fn url(&self) -> &AdminUrl {
        &self.url
    }
}

impl Protocol {
    fn alpn(self) -> Vec<Vec<u8>> {
        match self {
            Self::Http2 => vec![b"h2".to_vec()],
            Self::Http1 => vec![b"http/1.1".to_vec()],
        }
    }
}

impl DialError {
    pub(crate) fn failure(&self, url: &AdminUrl) -> Failure {
        if matches!(self, Self::NotPinned(_)) {
            // Something is there, and it is not ours: that is no outage.
            return Failure::Failed(format!("{url} is not trusted: {self}"));
        }
        Failure::Unreachable {
            url: url.to_string(),
            problem: self.to_string(),
        }
    }
}

/// Learns the root behind a pin: the server must show it and prove to be under it.
pub(crate) async fn fetch_root(
    url: &AdminUrl,
    pin: Pin,
    provider: Arc<CryptoProvider>,
) -> Result<Vec<u8>, DialError> {
    let verifier = PinnedRoot {
        pin,
        provider: Arc::clone(&provider),
    };
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(DialError::Root)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    tls.alpn_protocols = Protocol::Http2.alpn();
    let stream = handshake(url, Arc::new(tls)).await?;
    let (_, session) = stream.get_ref();
    session
        .peer_certificates()
        .and_then(|chain| find_root(chain, pin))
        .map(|root| root.to_vec())
        .ok_or(DialError::NotPinned(CertificateError::UnknownIssuer))
}

async fn handshake(
    url: &AdminUrl,
    tls: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, DialError> {
    let connected = timeout(DIAL_DEADLINE, async {
        let tcp = TcpStream::connect(url.authority())
            .await
            .map_err(DialError::Network)?;
        tcp.set_nodelay(true).map_err(DialError::Network)?;
        let name = ServerName::try_from(SERVER_NAME).map_err(|_| {
            DialError::Root(rustls::Error::General(
                "the server name is no DNS name".to_owned(),
            ))
        })?;
        TlsConnector::from(tls)
            .connect(name, tcp)
            .await
            .map_err(tls_error)
    });
    connected.await.map_err(|_| DialError::Deadline)?
}

fn tls_error(error: io::Error) -> DialError {
    let certificate = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        .and_then(|inner| match inner {
            rustls::Error::InvalidCertificate(problem) => Some(problem.clone()),
            _ => None,
        });
    certificate.map_or(DialError::Tls(error), DialError::NotPinned)
}

/// Accepts a chain that ends in the certificate whose public key has the pinned hash, and nothing else.
#[derive(Debug)]
struct PinnedRoot {
    pin: Pin,
    provider: Arc<CryptoProvider>,
}

fn find_root<'a>(chain: &'a [CertificateDer<'a>], pin: Pin) -> Option<&'a CertificateDer<'a>> {
    chain.iter().find(|certificate| {
        x509_parser::parse_x509_certificate(certificate)
            .is_ok_and(|(_, parsed)| Digest::of(parsed.public_key().raw) == pin.0)
    })
}

impl ServerCertVerifier for PinnedRoot {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let root = find_root(intermediates, self.pin).ok_or(rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer,
        ))?;
        let mut roots = RootCertStore::empty();
        roots.add(root.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests;
