//! Servers that are not the pinned control plane.

use std::net::Ipv4Addr;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData as _,
};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use secrecy::SecretString;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

use super::*;

struct Root {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Root {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key).unwrap();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    fn pin(&self) -> Pin {
        Pin(Digest::of(&self.issuer.key().subject_public_key_info()))
    }

    fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }
}

/// A server with a leaf for a name under one root that shows a chain with another.
async fn serve(name: &str, signed_by: &Root, shown: &Root) -> (AdminUrl, JoinHandle<()>) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let leaf = params.signed_by(&key, &signed_by.issuer).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone(), shown.der()], key)
        .unwrap();
    config.alpn_protocols = Protocol::Http2.alpn();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let task = tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            // A client that refuses ends the handshake with an error: that is what is tested.
            let _ = acceptor.accept(tcp).await;
        }
    });
    (url.parse().unwrap(), task)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn known(url: &AdminUrl, root: &Root) -> Dialer {
    let context = Remembered {
        url: url.clone(),
        pin: root.pin(),
        root: root.der().to_vec(),
        token: SecretString::from(String::new()),
    };
    Dialer::new(&context, Protocol::Http2, provider()).unwrap()
}

#[tokio::test]
async fn the_pinned_root_is_found_and_then_trusted() {
    let root = Root::new();
    let (url, server) = serve(SERVER_NAME, &root, &root).await;
    let found = fetch_root(&url, root.pin(), provider()).await.unwrap();
    assert_eq!(found, root.der().to_vec());
    known(&url, &root).dial().await.unwrap();
    server.abort();
}

#[tokio::test]
async fn another_root_is_refused() {
    let (mine, other) = (Root::new(), Root::new());
    let (url, server) = serve(SERVER_NAME, &other, &other).await;
    let error = fetch_root(&url, mine.pin(), provider()).await.unwrap_err();
    assert!(matches!(error, DialError::NotPinned(_)), "{error}");
    let error = known(&url, &mine).dial().await.err().unwrap();
    assert!(matches!(error, DialError::NotPinned(_)), "{error}");
    server.abort();
}

/// The root's certificate is public: showing it proves nothing.
#[tokio::test]
async fn showing_the_root_is_not_enough() {
    let (mine, other) = (Root::new(), Root::new());
    let (url, server) = serve(SERVER_NAME, &other, &mine).await;
    let error = fetch_root(&url, mine.pin(), provider()).await.unwrap_err();
    assert!(matches!(error, DialError::NotPinned(_)), "{error}");
    server.abort();
}

#[tokio::test]
async fn another_name_under_the_root_is_refused() {
    let root = Root::new();
    let (url, server) = serve("agent.shopfleet", &root, &root).await;
    let error = fetch_root(&url, root.pin(), provider()).await.unwrap_err();
    assert!(matches!(error, DialError::NotPinned(_)), "{error}");
    let error = known(&url, &root).dial().await.err().unwrap();
    assert!(matches!(error, DialError::NotPinned(_)), "{error}");
    server.abort();
}
