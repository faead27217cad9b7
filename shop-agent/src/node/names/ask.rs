//! May a host name have a certificate? Asked by the edge when a visitor wants one that it has not. Only for host names that are routed here, and
//! only so often: a name whose DNS entry leads elsewhere must not use up what the authority allows to everybody.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use tokio::net::TcpListener;

use super::{file::Table, page};

/// What a limit counts in.
const HOUR: Duration = Duration::from_secs(3600);

/// The bound socket.
pub(super) struct Ask {
    listener: TcpListener,
    table: Table,
    limit: Option<u32>,
}

impl Ask {
    pub(super) async fn bind(
        address: SocketAddr,
        table: Table,
        limit: Option<u32>,
    ) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(address).await?,
            table,
            limit,
        })
    }

    #[cfg(test)]
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until dropped.
    pub(super) async fn serve(self) {
        let table = self.table;
        let tries = self.limit.map(Tries::new);
        page::serve(self.listener, move |request| {
            let mut answer = Response::new(Full::new(Bytes::new()));
            let query = request.uri().query().unwrap_or_default();
            *answer.status_mut() = verdict(query, &table, tries.as_ref());
            answer
        })
        .await;
    }
}

/// 200 for yes; for the edge, everything else is a no.
pub(super) fn verdict(query: &str, table: &Table, tries: Option<&Tries>) -> StatusCode {
    let host = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("domain="))
        .unwrap_or_default()
        .to_ascii_lowercase();
    if table.answer(&host).is_none() {
        return StatusCode::NOT_FOUND;
    }
    if tries.is_some_and(|tries| !tries.one_more(host, Instant::now())) {
        return StatusCode::TOO_MANY_REQUESTS;
    }
    StatusCode::OK
}

/// How often each host name asked in its hour; what is older is forgotten.
#[derive(Clone)]
pub(super) struct Tries {
    limit: u32,
    hours: Arc<Mutex<BTreeMap<String, (Instant, u32)>>>,
}

impl Tries {
    pub(super) fn new(limit: u32) -> Self {
        Self {
            limit,
            hours: Arc::default(),
        }
    }

    fn one_more(&self, host: String, now: Instant) -> bool {
        let mut hours = self.hours.lock().unwrap_or_else(PoisonError::into_inner);
        hours.retain(|_, (began, _)| now.duration_since(*began) < HOUR);
        let (_, count) = hours.entry(host).or_insert((now, 0));
        *count = count.saturating_add(1);
        *count <= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_asks_so_often_in_an_hour_and_again_in_the_next() {
        let tries = Tries::new(2);
        let now = Instant::now();
        let asked = |host: &str, at| tries.one_more(host.to_owned(), at);
        assert!(asked("a.example", now) && asked("a.example", now));
        assert!(!asked("a.example", now));
        assert!(asked("b.example", now), "each for itself");
        assert!(asked("a.example", now + HOUR));
    }
}
