//! The edge gets a certificate when somebody asks for one. We ask first: a shop's first buyer does not wait for the authority, and a shop that
//! nobody visits keeps a certificate that is good.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::{net::TcpStream, task::JoinSet};
use tokio_rustls::TlsConnector;

use super::hosts;
use crate::node::context::Node;

/// Between two looks for new host names.
const LOOK: Duration = Duration::from_secs(1);
/// A good certificate is asked for again after this, in time for the edge to renew it.
const AGAIN: Duration = Duration::from_secs(3600);
/// After a failure, doubled each time.
const SOONEST: Duration = Duration::from_secs(5);
/// The edge gives an authority a minute and a half.
const PATIENCE: Duration = Duration::from_secs(100);
/// At once.
const TOGETHER: usize = 4;

/// When a host name is asked for next.
#[derive(Debug, Clone, Copy)]
struct Next {
    at: Instant,
    /// After which wait, if that fails.
    wait: Duration,
}

impl Next {
    const fn new(now: Instant) -> Self {
        Self {
            at: now,
            wait: SOONEST,
        }
    }

    fn after(self, good: bool, now: Instant) -> Self {
        let (wait, next) = if good {
            (AGAIN, SOONEST)
        } else {
            (self.wait, (self.wait * 2).min(AGAIN))
        };
        Self {
            at: now + wait,
            wait: next,
        }
    }
}

/// Asks for the certificates of all routed host names until its task ends.
pub async fn warm(node: Arc<Node>) {
    let Some(connector) = connector() else {
        return;
    };
    let mut known: BTreeMap<String, Next> = BTreeMap::new();
    loop {
        let routed = hosts(&node);
        known.retain(|host, _| routed.contains_key(host));
        let now = Instant::now();
        for host in routed.into_keys() {
            known.entry(host).or_insert_with(|| Next::new(now));
        }
        let mut due: Vec<_> = known.iter().filter(|(_, next)| next.at <= now).collect();
        // Those that failed often come last: names that lead elsewhere must not keep a new one waiting.
        due.sort_by_key(|(_, next)| next.wait);
        due.truncate(TOGETHER);
        let due: Vec<String> = due.into_iter().map(|(host, _)| host.clone()).collect();
        let [_, https] = node.edge.meant().ports(&node.args);
        let mut asked = JoinSet::new();
        for host in due {
            asked.spawn(ask(connector.clone(), https.inner, host));
        }
        let all = asked.len();
        while let Some(answer) = asked.join_next().await {
            let Ok((host, good)) = answer else { continue };
            if !good {
                tracing::debug!(%host, "no certificate yet");
            }
            if let Some(next) = known.get_mut(&host) {
                *next = next.after(good, Instant::now());
            }
        }
        if all < TOGETHER {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Of a visitor who believes in no authority: he leaves as soon as he has seen a certificate.
fn connector() -> Option<TlsConnector> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .inspect_err(|error| tracing::error!(%error, "certificates are not asked for"))
        .ok()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Some(TlsConnector::from(Arc::new(config)))
}

async fn ask(connector: TlsConnector, port: u16, host: String) -> (String, bool) {
    let good = tokio::time::timeout(PATIENCE, shown(connector, port, &host)).await;
    let good = good.unwrap_or_default();
    (host, good)
}

/// Whether the edge shows a certificate for the host name.
async fn shown(connector: TlsConnector, port: u16, host: &str) -> bool {
    let Ok(name) = ServerName::try_from(host.to_owned()) else {
        return false;
    };
    let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
        return false;
    };
    match connector.connect(name, stream).await {
        Ok(_) => true,
        Err(error) => matches!(
            error.get_ref().and_then(|it| it.downcast_ref()),
            Some(rustls::Error::InvalidCertificate(_))
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_waits_longer_each_time_and_what_is_good_an_hour() {
        let now = Instant::now();
        let first = Next::new(now);
        assert_eq!(first.at, now);
        let second = first.after(false, now);
        assert_eq!(second.at, now + SOONEST);
        assert_eq!(second.after(false, now).at, now + SOONEST * 2);
        let mut late = second;
        for _ in 0..20 {
            late = late.after(false, now);
        }
        assert_eq!(late.at, now + AGAIN);
        let good = late.after(true, now);
        assert_eq!(good.at, now + AGAIN);
        assert_eq!(good.after(false, now).at, now + SOONEST);
    }
}
