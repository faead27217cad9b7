//! What can go wrong with certificates, keys and their files.

use std::{io, path::PathBuf};

use shop_proto::IdentityError;

/// A problem of the authority itself: its files, its keys, what it issues.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file cannot be read or written.
    #[error("identity file {path}")]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The directory was written by a newer release.
    #[error(
        "{path} has format {found}, this release knows {known}: use the release that wrote it, or a newer one"
    )]
    Format {
        path: PathBuf,
        found: u32,
        known: u32,
    },
    /// A file is there but is not what it should be.
    #[error("{path} is damaged: {problem}; restore it from a backup")]
    Damaged {
        path: PathBuf,
        problem: &'static str,
    },
    /// An intermediate has run out and the root key is not on this machine.
    #[error(
        "the intermediate certificate `{name}` ended and the root key is not on this machine: put root.key back into the identity directory and start again"
    )]
    IntermediateExpired { name: &'static str },
    /// A time that no certificate can carry.
    #[error("the system clock is out of range for a certificate")]
    Clock,
    /// A host name or address that no certificate can carry.
    #[error("`{name}` is no DNS name or IP address for the server certificate")]
    ServerName { name: String },
    /// The certificate library refused.
    #[error("making a certificate")]
    Certificate(#[from] rcgen::Error),
    /// The TLS library refused.
    #[error("setting up TLS")]
    Tls(#[from] rustls::Error),
    /// The verifier of client certificates could not be built.
    #[error("setting up the check of client certificates")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// A certificate that names nobody of ours.
#[derive(Debug, thiserror::Error)]
pub enum LeafError {
    /// Not an X.509 certificate, or bytes after it.
    #[error("not a certificate")]
    Malformed,
    /// Exactly one URI, and nothing else, must name the subject.
    #[error("must carry exactly one URI as its name")]
    Names,
    /// A certificate authority is no leaf.
    #[error("is a certificate authority")]
    Authority,
    /// The URI is no identity of this trust domain.
    #[error("carries no identity of this trust domain")]
    Identity(#[from] IdentityError),
    /// Its key is not P-256.
    #[error("has a key of another kind than P-256")]
    Key,
    /// Signed by somebody else.
    #[error("was not issued here")]
    Issuer,
}

/// A certificate request that will not be answered.
#[derive(Debug, thiserror::Error)]
pub enum CsrError {
    /// Not a request, too long, or not signed by its own key.
    #[error("the certificate request is malformed or not signed by its own key")]
    Malformed,
    /// Another kind of key.
    #[error("the certificate request must carry a P-256 key")]
    Key,
}
