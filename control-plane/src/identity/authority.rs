//! The certificate authority: one root, three intermediates, and the leaves they issue.
//!
//! The root signs intermediates only and its key may be moved off this machine: it is needed again when an intermediate is past half of
//! its life. Intermediates keep their key when they are renewed, so what they issued stays valid.

use std::{net::IpAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use rand::Rng;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls::{crypto::ring::sign::any_ecdsa_type, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use shop_proto::{Digest, Identity, SERVER_NAME, TrustDomain};
use x509_parser::{certificate::X509Certificate, prelude::FromDer, time::ASN1Time};

use super::{
    error::{AuthorityError, LeafError},
    files::IdentityDir,
    leaf::{Leaf, RequestedKey, check_issuer},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const ROOT_LIFE: Duration = DAY.saturating_mul(3650);
const INTERMEDIATE_LIFE: Duration = DAY.saturating_mul(365);
/// Life of every leaf, servers' and agents'.
pub const LEAF_LIFE: Duration = DAY;
/// Clocks of nodes may be behind ours by this much.
const BACKDATE: Duration = Duration::from_secs(5 * 60);

const ROOT: &str = "root";
const SERVERS: &str = "servers";
const AGENTS: &str = "agents";
const OPERATORS: &str = "operators";

struct Intermediate {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// The authority, loaded.
pub struct Authority {
    domain: TrustDomain,
    root: CertificateDer<'static>,
    root_pin: Digest,
    servers: Intermediate,
    agents: Intermediate,
}

/// A leaf for an agent.
#[derive(Debug, Clone)]
pub struct Issued {
    pub leaf: Leaf,
    /// Leaf first, then its intermediate.
    pub chain: Vec<CertificateDer<'static>>,
}

/// The roots that agents should trust, versioned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    pub version: u64,
    pub roots: Vec<CertificateDer<'static>>,
}

impl Authority {
    /// Makes root and intermediates in an empty directory.
    ///
    /// # Errors
    /// When the file system or the clock refuses.
    pub fn create(
        directory: &IdentityDir,
        domain: &TrustDomain,
        now: Timestamp,
    ) -> Result<(), AuthorityError> {
        directory.create()?;
        let key = KeyPair::generate()?;
        let mut params = authority_params("Shopfleet root", 1, ROOT_LIFE, now)?;
        params.extended_key_usages.clear();
        let certificate = params.self_signed(&key)?;
        directory.write("root.key", key.serialize_pem().as_bytes())?;
        directory.write("root.crt", certificate.pem().as_bytes())?;
        let root = Issuer::new(params, key);
        for name in [SERVERS, AGENTS, OPERATORS] {
            let key = KeyPair::generate()?;
            directory.write(&format!("{name}.key"), key.serialize_pem().as_bytes())?;
            sign_intermediate(directory, name, &key, &root, now)?;
        }
        directory.seal(domain.as_str())
    }

    /// Reads the directory; renews intermediates past half of their life when the root key is here.
    ///
    /// # Errors
    /// When a file is missing, damaged or newer, or an intermediate has ended and cannot be renewed.
    pub fn load(directory: &IdentityDir, now: Timestamp) -> Result<Self, AuthorityError> {
        let header = directory.header()?;
        let domain = header
            .trust_domain
            .parse()
            .map_err(|_| AuthorityError::Damaged {
                path: directory.path("format.toml"),
                problem: "the trust domain has a wrong shape",
            })?;
        let root = read_certificate(directory, ROOT)?;
        let root_key = match directory.read_optional("root.key")? {
            Some(pem) => Some(KeyPair::from_pem(&pem)?),
            None => None,
        };
        let root_issuer = match root_key {
            Some(key) => Some(Issuer::from_ca_cert_der(&root, key)?),
            None => None,
        };
        // Operators' certificates are not issued yet, but their authority must not run out unseen.
        load_intermediate(directory, OPERATORS, root_issuer.as_ref(), now)?;
        Ok(Self {
            domain,
            root_pin: spki_of(directory, ROOT, &root)?,
            servers: load_intermediate(directory, SERVERS, root_issuer.as_ref(), now)?,
            agents: load_intermediate(directory, AGENTS, root_issuer.as_ref(), now)?,
            root,
        })
    }

    /// The trust domain of every identity here.
    #[must_use]
    pub const fn domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// Digest of the root's SubjectPublicKeyInfo: what joiners pin.
    #[must_use]
    pub const fn root_pin(&self) -> Digest {
        self.root_pin
    }

    /// What agents should trust.
    #[must_use]
    pub fn bundle(&self) -> Bundle {
        Bundle {
            version: 1,
            roots: vec![self.root.clone()],
        }
    }

    /// The certificate that agents' leaves must chain to. Not the root: a server's or an operator's leaf is no agent's.
    #[must_use]
    pub fn agents_anchor(&self) -> CertificateDer<'static> {
        self.agents.certificate.clone()
    }

    /// A leaf for exactly this identity over exactly this key.
    ///
    /// # Errors
    /// When the clock is out of range.
    pub fn issue(
        &self,
        key: &RequestedKey,
        identity: &Identity,
        now: Timestamp,
    ) -> Result<Issued, AuthorityError> {
        let uri = identity.uri(&self.domain);
        let mut params = leaf_params(now)?;
        params.distinguished_name = common_name("Shopfleet agent");
        params.subject_alt_names = vec![SanType::URI(uri.as_str().try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(key.key(), &self.agents.issuer)?;
        let der = CertificateDer::from(certificate);
        let leaf = Leaf::parse(&der, &self.domain)
            .expect("a leaf that was just made is one; the tests parse it");
        Ok(Issued {
            leaf,
            chain: vec![der, self.agents.certificate.clone()],
        })
    }

    /// Reads a leaf that the agents' intermediate has signed, expired or not.
    ///
    /// # Errors
    /// For every other certificate.
    pub fn recognise(&self, der: &[u8]) -> Result<Leaf, LeafError> {
        check_issuer(der, self.agents.issuer.key().der_bytes())?;
        Leaf::parse(der, &self.domain)
    }

    /// A fresh server leaf with its key, which exists in memory only.
    ///
    /// # Errors
    /// When a name cannot be in a certificate or the clock is out of range.
    pub fn server_leaf(
        &self,
        names: &[String],
        now: Timestamp,
    ) -> Result<Arc<CertifiedKey>, AuthorityError> {
        let mut params = leaf_params(now)?;
        params.distinguished_name = common_name(SERVER_NAME);
        params.subject_alt_names = server_names(names)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.servers.issuer)?;
        let chain = vec![
            CertificateDer::from(certificate),
            self.servers.certificate.clone(),
            // The root too: whoever logs in with a pin alone finds it here, checks it, and keeps it.
            self.root.clone(),
        ];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Arc::new(CertifiedKey::new(chain, any_ecdsa_type(&key)?)))
    }
}

/// Names that every server leaf carries, before the advertised ones.
const FIXED_NAMES: [&str; 4] = [SERVER_NAME, "localhost", "127.0.0.1", "::1"];

fn server_names(advertised: &[String]) -> Result<Vec<SanType>, AuthorityError> {
    let mut names: Vec<&str> = FIXED_NAMES.to_vec();
    names.extend(advertised.iter().map(String::as_str));
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .map(|name| match name.parse::<IpAddr>() {
            Ok(address) => Ok(SanType::IpAddress(address)),
            Err(_) if is_dns_name(name) => Ok(SanType::DnsName(name.try_into()?)),
            Err(_) => Err(AuthorityError::ServerName {
                name: name.to_owned(),
            }),
        })
        .collect()
}

fn is_dns_name(name: &str) -> bool {
    rustls_pki_types::DnsName::try_from(name).is_ok()
}

fn common_name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

/// 128 random bits; the top bit is cleared so that the number is positive, the next one set so that its length is fixed.
fn random_serial() -> SerialNumber {
    let mut bytes = [0_u8; 16];
    rand::rng().fill_bytes(&mut bytes);
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    SerialNumber::from_slice(&bytes)
}

fn set_validity(
    params: &mut CertificateParams,
    life: Duration,
    now: Timestamp,
) -> Result<(), AuthorityError> {
    let at = |moment: Timestamp| {
        ASN1Time::from_timestamp(moment.as_second())
            .map(|time| time.to_datetime())
            .map_err(|_| AuthorityError::Clock)
    };
    let from = now
        .checked_sub(BACKDATE)
        .map_err(|_| AuthorityError::Clock)?;
    let until = now.checked_add(life).map_err(|_| AuthorityError::Clock)?;
    params.not_before = at(from)?;
    params.not_after = at(until)?;
    Ok(())
}

fn leaf_params(now: Timestamp) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    set_validity(&mut params, LEAF_LIFE, now)?;
    params.serial_number = Some(random_serial());
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn authority_params(
    name: &str,
    below: u8,
    life: Duration,
    now: Timestamp,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    set_validity(&mut params, life, now)?;
    params.serial_number = Some(random_serial());
    params.distinguished_name = common_name(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn sign_intermediate(
    directory: &IdentityDir,
    name: &'static str,
    key: &KeyPair,
    root: &Issuer<'_, KeyPair>,
    now: Timestamp,
) -> Result<CertificateDer<'static>, AuthorityError> {
    let mut params = authority_params(&format!("Shopfleet {name}"), 0, INTERMEDIATE_LIFE, now)?;
    params.extended_key_usages = vec![if name == SERVERS {
        ExtendedKeyUsagePurpose::ServerAuth
    } else {
        ExtendedKeyUsagePurpose::ClientAuth
    }];
    let certificate = params.signed_by(key, root)?;
    directory.write(&format!("{name}.crt"), certificate.pem().as_bytes())?;
    Ok(certificate.into())
}

fn load_intermediate(
    directory: &IdentityDir,
    name: &'static str,
    root: Option<&Issuer<'_, KeyPair>>,
    now: Timestamp,
) -> Result<Intermediate, AuthorityError> {
    let key = KeyPair::from_pem(&directory.read(&format!("{name}.key"))?)?;
    let mut certificate = read_certificate(directory, name)?;
    let left = time_left(directory, name, &certificate, now)?;
    if left < INTERMEDIATE_LIFE / 2 {
        certificate = match root {
            Some(root) => sign_intermediate(directory, name, &key, root, now)?,
            None if left.is_zero() => return Err(AuthorityError::IntermediateExpired { name }),
            None => {
                tracing::warn!(
                    intermediate = name,
                    days_left = left.as_secs() / DAY.as_secs(),
                    "an intermediate certificate is past half of its life; put root.key back into the identity directory and restart, so that it is renewed"
                );
                certificate
            }
        };
    }
    Ok(Intermediate {
        issuer: Issuer::from_ca_cert_der(&certificate, key)?,
        certificate,
    })
}

fn read_certificate(
    directory: &IdentityDir,
    name: &str,
) -> Result<CertificateDer<'static>, AuthorityError> {
    let file = format!("{name}.crt");
    let pem = directory.read(&file)?;
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| AuthorityError::Damaged {
        path: directory.path(&file),
        problem: "not a certificate",
    })
}

fn damaged(directory: &IdentityDir, name: &str) -> AuthorityError {
    AuthorityError::Damaged {
        path: directory.path(&format!("{name}.crt")),
        problem: "not a certificate",
    }
}

fn spki_of(
    directory: &IdentityDir,
    name: &str,
    certificate: &CertificateDer<'_>,
) -> Result<Digest, AuthorityError> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| damaged(directory, name))?;
    Ok(Digest::of(parsed.public_key().raw))
}

fn time_left(
    directory: &IdentityDir,
    name: &str,
    certificate: &CertificateDer<'_>,
    now: Timestamp,
) -> Result<Duration, AuthorityError> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| damaged(directory, name))?;
    let left = parsed.validity().not_after.timestamp() - now.as_second();
    Ok(Duration::from_secs(u64::try_from(left).unwrap_or(0)))
}
