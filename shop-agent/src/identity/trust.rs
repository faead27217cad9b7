//! Whom an agent trusts: roots whose public-key hash was pinned before the first connection, and one server name.
//!
//! A root certificate may come from storage or from the server itself: what counts is that the hash of its public key is pinned,
//! and that the server's chain ends in it. So the first contact needs no certificate file, only the pin of a join token or of `Introduce`.

use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore,
    SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use shop_proto::{Digest, SERVER_NAME};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::Credential;

/// Pinned roots. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Trust {
    pins: Arc<[Digest]>,
    roots: Arc<[CertificateDer<'static>]>,
    provider: Arc<CryptoProvider>,
}

/// A trust that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Nothing would be trusted.
    #[error("at least one root must be pinned")]
    NoPin,
    /// rustls refuses the configuration.
    #[error("the TLS configuration is not usable")]
    Tls(#[from] TlsError),
}

impl Trust {
    /// Trusts exactly the roots whose public key is pinned. `known_roots` may be empty; those without a pin are ignored.
    ///
    /// # Errors
    /// Without a pin.
    pub fn new(
        pins: impl IntoIterator<Item = Digest>,
        known_roots: impl IntoIterator<Item = CertificateDer<'static>>,
    ) -> Result<Self, TrustError> {
        let pins: Arc<[Digest]> = pins.into_iter().collect();
        if pins.is_empty() {
            return Err(TrustError::NoPin);
        }
        Ok(Self {
            roots: known_roots
                .into_iter()
                .filter(|root| pinned(&pins, root))
                .collect(),
            pins,
            provider: Arc::new(rustls::crypto::ring::default_provider()),
        })
    }

    /// The pins.
    #[must_use]
    pub fn pins(&self) -> &[Digest] {
        &self.pins
    }

    /// For the enrolment listener: the server proves itself, we do not.
    ///
    /// # Errors
    /// When rustls refuses the configuration.
    pub fn enrolment_config(&self) -> Result<Arc<ClientConfig>, TrustError> {
        let config = self.verified()?.with_no_client_auth();
        Ok(finish(config))
    }

    /// For the agents' listener: both sides prove themselves.
    ///
    /// # Errors
    /// When rustls refuses the configuration or the credential.
    pub fn session_config(&self, credential: &Credential) -> Result<Arc<ClientConfig>, TrustError> {
        let key = PrivatePkcs8KeyDer::from(credential.key().to_pkcs8().to_vec());
        let config = self
            .verified()?
            .with_client_auth_cert(credential.chain().to_vec(), PrivateKeyDer::Pkcs8(key))?;
        Ok(finish(config))
    }

    fn verified(
        &self,
    ) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, TrustError>
    {
        Ok(ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(PinnedRoot(self.clone()))))
    }

    /// A verifier over the roots we hold and those of the presented chain that are pinned.
    fn verifier(
        &self,
        presented: &[CertificateDer<'_>],
    ) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
        let mut store = RootCertStore::empty();
        let presented = presented
            .iter()
            .filter(|cert| pinned(&self.pins, cert))
            .map(|cert| cert.clone().into_owned());
        for root in self.roots.iter().cloned().chain(presented) {
            store.add(root)?;
        }
        if store.is_empty() {
            return Err(CertificateError::UnknownIssuer.into());
        }
        WebPkiServerVerifier::builder_with_provider(Arc::new(store), self.provider.clone())
            .build()
            .map_err(|error| TlsError::General(error.to_string()))
    }
}

fn finish(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![b"h2".to_vec()];
    // Resumption would skip the certificate checks.
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

fn pinned(pins: &[Digest], certificate: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(certificate)
        .is_ok_and(|(_, parsed)| pins.contains(&Digest::of(parsed.public_key().raw)))
}

/// Standard verification for [`SERVER_NAME`], against pinned roots only.
#[derive(Debug)]
struct PinnedRoot(Trust);

impl ServerCertVerifier for PinnedRoot {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _dialled: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        // Whatever address was dialled, the control plane has this one name.
        let name = ServerName::try_from(SERVER_NAME)
            .map_err(|_| TlsError::General("server name".to_owned()))?;
        self.0.verifier(intermediates)?.verify_server_cert(
            end_entity,
            intermediates,
            &name,
            ocsp_response,
            now,
        )
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(TlsError::General("only TLS 1.3 is spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0
            .provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
