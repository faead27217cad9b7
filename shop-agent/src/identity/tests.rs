//! Real handshakes over a pipe: which servers an agent believes, and what it proves itself.

use std::{io, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa,
    KeyPair as RcgenKey, SanType,
};
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use shop_proto::{Digest, SERVER_NAME};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

type Issuer = CertifiedIssuer<'static, RcgenKey>;

fn authority() -> Issuer {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, RcgenKey::generate().unwrap()).unwrap()
}

fn pin(issuer: &Issuer) -> Digest {
    use rcgen::PublicKeyData as _;
    Digest::of(&issuer.key().subject_public_key_info())
}

fn leaf(
    issuer: &Issuer,
    san: SanType,
    usage: ExtendedKeyUsagePurpose,
    key: &RcgenKey,
) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![san];
    params.extended_key_usages = vec![usage];
    params.signed_by(key, issuer).unwrap().der().clone()
}

/// A server with this name, that presents its root if asked to, and wants clients of `clients`.
fn server(
    root: &Issuer,
    name: &str,
    presents_root: bool,
    clients: Option<&Issuer>,
) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = RcgenKey::generate().unwrap();
    let san = SanType::DnsName(name.try_into().unwrap());
    let mut chain = vec![leaf(root, san, ExtendedKeyUsagePurpose::ServerAuth, &key)];
    if presents_root {
        chain.push(root.der().clone());
    }
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(issuer) => {
            let mut roots = RootCertStore::empty();
            roots.add(issuer.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Arc::new(builder.with_single_cert(chain, key).unwrap())
}

/// Whether both sides end the handshake content; the server's view counts for client certificates.
async fn handshake(client: Arc<rustls::ClientConfig>, server: Arc<ServerConfig>) -> io::Result<()> {
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let name = ServerName::try_from(SERVER_NAME).unwrap();
    let (client, server) = tokio::join!(
        TlsConnector::from(client).connect(name, ours),
        TlsAcceptor::from(server).accept(theirs)
    );
    client?;
    server?;
    Ok(())
}

async fn enrolment(trust: &Trust, server: Arc<ServerConfig>) -> bool {
    handshake(trust.enrolment_config().unwrap(), server)
        .await
        .is_ok()
}

#[tokio::test]
async fn only_a_pinned_root_and_the_one_name_are_believed() {
    let root = authority();
    let stranger = authority();
    let trust = Trust::new([pin(&root)], []).unwrap();
    assert!(enrolment(&trust, server(&root, SERVER_NAME, true, None)).await);
    assert!(
        !enrolment(&trust, server(&root, "other.shopfleet", true, None)).await,
        "another name"
    );
    assert!(
        !enrolment(&trust, server(&stranger, SERVER_NAME, true, None)).await,
        "another root"
    );
    let mixed = Trust::new([pin(&stranger)], [root.der().clone()]).unwrap();
    assert!(
        !enrolment(&mixed, server(&root, SERVER_NAME, true, None)).await,
        "a root that is known but not pinned"
    );
    assert!(matches!(Trust::new([], []), Err(TrustError::NoPin)));
}

#[tokio::test]
async fn a_root_that_is_known_need_not_be_presented() {
    let root = authority();
    let first = Trust::new([pin(&root)], []).unwrap();
    assert!(!enrolment(&first, server(&root, SERVER_NAME, false, None)).await);
    let later = Trust::new([pin(&root)], [root.der().clone()]).unwrap();
    assert!(enrolment(&later, server(&root, SERVER_NAME, false, None)).await);
}

#[tokio::test]
async fn a_session_proves_the_agents_own_key() {
    let (root, agents) = (authority(), authority());
    let trust = Trust::new([pin(&root)], []).unwrap();
    let key = Arc::new(KeyPair::generate().unwrap());
    let rcgen_key = RcgenKey::try_from(key.to_pkcs8().as_slice()).unwrap();
    let uri = "spiffe://shopfleet/store/k3v9q2m8x1aa/agent";
    let san = || SanType::URI(uri.try_into().unwrap());
    let usage = ExtendedKeyUsagePurpose::ClientAuth;
    let chain = vec![leaf(&agents, san(), usage.clone(), &rcgen_key)];
    let credential = Credential::new(chain.clone(), vec![root.der().clone()], key.clone()).unwrap();
    assert_eq!(credential.identity(), uri);

    let stored = Credential::decode(&credential.encode()).unwrap();
    let config = trust.session_config(&stored).unwrap();
    let strict = server(&root, SERVER_NAME, true, Some(&agents));
    handshake(config, strict.clone()).await.unwrap();
    assert!(
        handshake(trust.enrolment_config().unwrap(), strict)
            .await
            .is_err(),
        "no certificate, no session"
    );

    let other = Arc::new(KeyPair::generate().unwrap());
    assert!(matches!(
        Credential::new(chain, Vec::new(), other),
        Err(CredentialError::OtherKey)
    ));
    let dns = SanType::DnsName(SERVER_NAME.try_into().unwrap());
    let unnamed = vec![leaf(&agents, dns, usage, &rcgen_key)];
    assert!(matches!(
        Credential::new(unnamed, Vec::new(), key),
        Err(CredentialError::Identity)
    ));
}
