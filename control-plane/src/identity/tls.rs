//! The three server-side TLS configurations. Each is its own: they share no session state, because resumption would skip the check of the
//! client certificate. All are TLS 1.3 without tickets, resumption or early data; the certificate in them is swapped in place.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::CryptoProvider,
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use shop_proto::TrustDomain;

use super::{Authority, AuthorityError, DenySet, LEAF_LIFE, Leaf};

/// The server's leaf, replaced at half of its life.
#[derive(Debug)]
pub struct ServerIdentity {
    current: ArcSwap<CertifiedKey>,
    names: Vec<String>,
}

impl ServerIdentity {
    /// Issues the first leaf.
    ///
    /// # Errors
    /// As [`Authority::server_leaf`].
    pub fn new(
        authority: &Authority,
        names: Vec<String>,
        now: Timestamp,
    ) -> Result<Arc<Self>, AuthorityError> {
        let leaf = authority.server_leaf(&names, now)?;
        Ok(Arc::new(Self {
            current: ArcSwap::new(leaf),
            names,
        }))
    }

    /// Puts a fresh leaf in place; open connections keep theirs.
    ///
    /// # Errors
    /// As [`Authority::server_leaf`].
    pub fn renew(&self, authority: &Authority, now: Timestamp) -> Result<(), AuthorityError> {
        self.current.store(authority.server_leaf(&self.names, now)?);
        Ok(())
    }

    /// How long a leaf is used before it is replaced.
    #[must_use]
    pub fn renew_after() -> Duration {
        LEAF_LIFE / 2
    }
}

impl ResolvesServerCert for ServerIdentity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

/// The one crypto provider of this process.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Server-authenticated TLS for agents without a certificate: HTTP/2 only.
///
/// # Errors
/// When the TLS library refuses.
pub fn enrolment(identity: Arc<ServerIdentity>) -> Result<Arc<ServerConfig>, AuthorityError> {
    let config = builder()?
        .with_no_client_auth()
        .with_cert_resolver(identity);
    Ok(Arc::new(finish(config, &[b"h2"])))
}

/// Server-authenticated TLS for operators: HTTP/2 and HTTP/1.1.
///
/// # Errors
/// When the TLS library refuses.
pub fn admin(identity: Arc<ServerIdentity>) -> Result<Arc<ServerConfig>, AuthorityError> {
    let config = builder()?
        .with_no_client_auth()
        .with_cert_resolver(identity);
    Ok(Arc::new(finish(config, &[b"h2", b"http/1.1"])))
}

/// Mutual TLS for agents: HTTP/2 only, a certificate is mandatory.
///
/// # Errors
/// When the TLS library refuses.
pub fn agents(
    identity: Arc<ServerIdentity>,
    authority: &Authority,
    deny: DenySet,
) -> Result<Arc<ServerConfig>, AuthorityError> {
    let mut anchors = RootCertStore::empty();
    anchors.add(authority.agents_anchor())?;
    let chain =
        WebPkiClientVerifier::builder_with_provider(Arc::new(anchors), provider()).build()?;
    let verifier = AgentVerifier {
        chain,
        domain: authority.domain().clone(),
        deny,
    };
    let config = builder()?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(identity);
    Ok(Arc::new(finish(config, &[b"h2"])))
}

fn builder() -> Result<rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>, AuthorityError> {
    Ok(ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?)
}

fn finish(mut config: ServerConfig, protocols: &[&[u8]]) -> ServerConfig {
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    config
}

/// The chain is checked by webpki; on top of it the leaf must name exactly one identity, and that one must not be denied.
#[derive(Debug)]
struct AgentVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    domain: TrustDomain,
    deny: DenySet,
}

impl ClientCertVerifier for AgentVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self
            .chain
            .verify_client_cert(end_entity, intermediates, now)?;
        let leaf = Leaf::parse(end_entity, &self.domain).map_err(|_| {
            rustls::Error::InvalidCertificate(
                rustls::CertificateError::ApplicationVerificationFailure,
            )
        })?;
        if self.deny.denies(&leaf) {
            return Err(rustls::Error::InvalidCertificate(
                rustls::CertificateError::Revoked,
            ));
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
