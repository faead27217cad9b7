//! Identity names: exactly one URI SAN per leaf certificate.

use std::{fmt, str::FromStr};

use crate::{IdError, NodeId, StoreId};

/// DNS name that the control plane's server certificate always carries and agents always verify, whatever address they dial.
pub const SERVER_NAME: &str = "control-plane.shopfleet";

/// The first label of every identity: 1 to 63 characters a-z, 0-9, `.` and `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustDomain(String);

/// Whom a certificate speaks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// The agent of one store.
    StoreAgent(StoreId),
    /// The agent of one node.
    Node(NodeId),
}

/// A URI that is no identity of this trust domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The trust domain itself has a wrong shape.
    #[error("a trust domain is 1 to 63 characters a-z, 0-9, dot and hyphen")]
    TrustDomain,
    /// Anything else than the two accepted forms.
    #[error("not an identity of this trust domain")]
    Form,
    /// The id inside has a wrong shape.
    #[error(transparent)]
    Id(#[from] IdError),
}

impl TrustDomain {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TrustDomain {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = (1..=63).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-');
        good.then(|| Self(text.to_owned()))
            .ok_or(IdentityError::TrustDomain)
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Identity {
    /// The URI: `spiffe://<trust domain>/store/<store>/agent` or `…/node/<node>`.
    #[must_use]
    pub fn uri(&self, domain: &TrustDomain) -> String {
        match self {
            Self::StoreAgent(store) => format!("spiffe://{domain}/store/{store}/agent"),
            Self::Node(node) => format!("spiffe://{domain}/node/{node}"),
        }
    }

    /// Byte for byte; no normalisation, no escapes, no trailing slash.
    ///
    /// # Errors
    /// For everything that [`Identity::uri`] would not have written.
    pub fn parse(uri: &str, domain: &TrustDomain) -> Result<Self, IdentityError> {
        let path = uri
            .strip_prefix("spiffe://")
            .and_then(|rest| rest.strip_prefix(domain.as_str()))
            .ok_or(IdentityError::Form)?;
        if let Some(node) = path.strip_prefix("/node/") {
            return Ok(Self::Node(node.parse()?));
        }
        let store = path
            .strip_prefix("/store/")
            .and_then(|rest| rest.strip_suffix("/agent"))
            .ok_or(IdentityError::Form)?;
        Ok(Self::StoreAgent(store.parse()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_we_write_is_read() {
        let domain: TrustDomain = "shopfleet".parse().unwrap();
        let store = Identity::StoreAgent("k3v9q2m8x1aa".parse().unwrap());
        assert_eq!(Identity::parse(&store.uri(&domain), &domain), Ok(store));
        for bad in [
            "spiffe://shopfleet/store/k3v9q2m8x1aa/agent/",
            "spiffe://shopfleet/store/k3v9q2m8x1aa",
            "spiffe://shopfleet.evil/store/k3v9q2m8x1aa/agent",
            "SPIFFE://shopfleet/store/k3v9q2m8x1aa/agent",
            "spiffe://shopfleet/store/k3v9q2m8x1%61/agent",
            "spiffe://shopfleet/node/../store/k3v9q2m8x1aa/agent",
        ] {
            assert!(Identity::parse(bad, &domain).is_err(), "{bad}");
        }
    }
}
