//! Where agents are told to find this control plane: a host and two ports.

use std::{fmt, net::IpAddr, str::FromStr};

use rustls_pki_types::DnsName;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const ENROLMENT: u16 = 7442;
const AGENTS: u16 = 7443;

/// `host`, or `host:enrolment port,agents port`. IPv6 addresses in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertised {
    host: String,
    enrolment: u16,
    agents: u16,
}

/// A text that is neither form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an advertised address is HOST or HOST:ENROLMENT_PORT,AGENTS_PORT, such as cp.example.net or 192.0.2.7:7442,7443"
)]
pub struct AdvertisedError;

impl Advertised {
    /// This machine, on these ports.
    #[must_use]
    pub fn local(enrolment: u16, agents: u16) -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            enrolment,
            agents,
        }
    }

    /// The host name or address.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// `host:port` of the enrolment listener.
    #[must_use]
    pub fn enrolment(&self) -> String {
        self.with_port(self.enrolment)
    }

    /// `host:port` of the agents' listener.
    #[must_use]
    pub fn agents(&self) -> String {
        self.with_port(self.agents)
    }

    fn with_port(&self, port: u16) -> String {
        if self.host.contains(':') {
            format!("[{}]:{port}", self.host)
        } else {
            format!("{}:{port}", self.host)
        }
    }
}

impl FromStr for Advertised {
    type Err = AdvertisedError;

    fn from_str(text: &str) -> Result<Self, AdvertisedError> {
        let (host, ports) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or(AdvertisedError)?;
                (host, rest.strip_prefix(':'))
            }
            None => match text.split_once(':') {
                Some((host, ports)) => (host, Some(ports)),
                None => (text, None),
            },
        };
        let known = host.parse::<IpAddr>().is_ok() || DnsName::try_from(host).is_ok();
        if !known {
            return Err(AdvertisedError);
        }
        let port = |text: &str| match text.parse::<u16>() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(AdvertisedError),
        };
        let (enrolment, agents) = match ports {
            None => (ENROLMENT, AGENTS),
            Some(ports) => {
                let (enrolment, agents) = ports.split_once(',').ok_or(AdvertisedError)?;
                (port(enrolment)?, port(agents)?)
            }
        };
        Ok(Self {
            host: host.to_owned(),
            enrolment,
            agents,
        })
    }
}

impl fmt::Display for Advertised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.enrolment(), self.agents)
    }
}

impl Serialize for Advertised {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Advertised {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}
