//! What buyers were answered, per store and second: counted from the edge's access log, which holds a time, a host name and a status, and
//! nothing of a buyer. Only answers that a shop gave are in it; pages of the edge and of the name responder are left out there.
//!
//! The logs are small rotated files, one for each place of the edge, so a node agent that was away counts what it missed.

mod tail;

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Deserialize;
use shop_proto::StoreId;

use self::tail::Tail;
use super::{
    context::{Node, now_unix_ms},
    tasks::blocking,
};

/// How far back is counted, in seconds.
pub const SECONDS: u32 = 360;
/// Between two looks at the log: far less than it takes to rotate twice.
const LOOK: Duration = Duration::from_secs(1);
/// A line is read after it was written, but the clock may have been set back a little in between.
const AHEAD: i64 = 60;
/// Answers from here on count as errors of the server.
const SERVER_ERROR: u16 = 500;

/// One second of a store's traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Second {
    /// Which.
    pub unix_s: i64,
    /// Answers.
    pub requests: u32,
    /// Answers of 500 and above.
    pub server_errors: u32,
}

/// A window of a store's traffic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Window {
    /// Oldest first; seconds without answers are left out.
    pub seconds: Vec<Second>,
    /// Whether all of the window was counted.
    pub complete: bool,
}

/// The counts of a node.
pub struct Traffic(Mutex<Inner>);

struct Inner {
    tails: [Tail; 2],
    /// From when on nothing is missing.
    since: Option<i64>,
    hosts: BTreeMap<String, StoreId>,
    stores: BTreeMap<StoreId, VecDeque<Second>>,
}

/// A line of the log.
#[derive(Deserialize)]
struct Line<'a> {
    ts: f64,
    #[serde(borrow)]
    request: Asked<'a>,
    status: u16,
}

#[derive(Deserialize)]
struct Asked<'a> {
    #[serde(borrow)]
    host: std::borrow::Cow<'a, str>,
}

/// Counts until its task ends.
pub async fn count(node: Arc<Node>) {
    loop {
        if let Err(error) = catch_up(&node).await {
            tracing::warn!(%error, "the edge's access log cannot be read; its answers are not counted");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Counts what the edge has answered up to now.
///
/// # Errors
/// When the log cannot be read.
pub async fn catch_up(node: &Arc<Node>) -> std::io::Result<()> {
    let read = blocking(node, |node| {
        node.traffic.catch_up(now_unix_ms().div_euclid(1000))
    });
    read.await.map_err(std::io::Error::other)?
}

impl Traffic {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(logs: [PathBuf; 2]) -> Self {
        Self(Mutex::new(Inner {
            tails: logs.map(Tail::new),
            since: None,
            hosts: BTreeMap::new(),
            stores: BTreeMap::new(),
        }))
    }

    /// Whose the host names are; stores that have none are forgotten.
    pub fn attribute(&self, hosts: BTreeMap<String, StoreId>) {
        let mut inner = self.lock();
        if inner.hosts != hosts {
            inner
                .stores
                .retain(|store, _| hosts.values().any(|it| it == store));
            inner.hosts = hosts;
        }
    }

    /// The last so many seconds of a store.
    #[must_use]
    pub fn window(&self, store: &StoreId, seconds: u32, now_unix_s: i64) -> Window {
        let from = now_unix_s - i64::from(seconds.min(SECONDS));
        let inner = self.lock();
        let counted = inner.stores.get(store).into_iter().flatten();
        Window {
            seconds: counted.filter(|it| it.unix_s > from).copied().collect(),
            complete: inner.since.is_some_and(|since| since <= from),
        }
    }

    fn catch_up(&self, now_unix_s: i64) -> std::io::Result<()> {
        let mut inner = self.lock();
        let Inner {
            tails,
            since,
            hosts,
            stores,
        } = &mut *inner;
        let (mut missing, mut whole) = (false, None);
        for tail in tails {
            let mut first = None;
            let gap = tail.read(|line| {
                if let Some(at) = count_line(line, now_unix_s, hosts, stores) {
                    first.get_or_insert(at);
                }
            })?;
            if gap {
                // What is in a log by now is whole from its first line on; a place where no edge stands has none.
                missing = true;
                whole = whole.max(first);
            }
        }
        if missing {
            *since = Some(whole.unwrap_or(now_unix_s).min(now_unix_s));
        }
        let old = now_unix_s - i64::from(SECONDS);
        for counted in stores.values_mut() {
            while counted.front().is_some_and(|it| it.unix_s <= old) {
                counted.pop_front();
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a line of the log. The second that it is of; `None` when it is no line of ours.
fn count_line(
    line: &[u8],
    now_unix_s: i64,
    hosts: &BTreeMap<String, StoreId>,
    stores: &mut BTreeMap<StoreId, VecDeque<Second>>,
) -> Option<i64> {
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "seconds since 1970")]
    let at = line.ts as i64;
    let host = line.request.host.split(':').next().unwrap_or_default();
    // What is held is bounded by the seconds that may be in it, whoever wrote the log.
    let believed = now_unix_s - i64::from(SECONDS) + 1..=now_unix_s + AHEAD;
    if believed.contains(&at)
        && let Some(store) = hosts.get(&host.to_ascii_lowercase())
    {
        let counted = stores.entry(store.clone()).or_default();
        add(counted, at, line.status >= SERVER_ERROR);
    }
    Some(at)
}

/// A log that is read in two pieces: its lines, what is left of an unfinished one, and what is counted for the store of a host.
#[cfg(feature = "fuzzing")]
pub fn read_log(
    pieces: [&[u8]; 2],
    now_unix_s: i64,
    (host, store): (&str, StoreId),
) -> (Vec<Vec<u8>>, usize, Vec<Second>) {
    let hosts = BTreeMap::from([(host.to_owned(), store)]);
    let (mut lines, mut rest, mut stores) = (Vec::new(), Vec::new(), BTreeMap::new());
    for mut piece in pieces {
        let mut each = |line: &[u8]| {
            count_line(line, now_unix_s, &hosts, &mut stores);
            lines.push(line.to_vec());
        };
        // Memory can be read.
        let _ = tail::pass(&mut piece, &mut rest, &mut each);
    }
    let counted = stores.into_values().flatten().collect();
    (lines, rest.len(), counted)
}

/// Lines come nearly in order: those of the same second may be a little apart.
fn add(counted: &mut VecDeque<Second>, at: i64, error: bool) {
    let after = counted
        .iter()
        .rposition(|it| it.unix_s <= at)
        .map_or(0, |place| place + 1);
    let same = after
        .checked_sub(1)
        .and_then(|place| counted.get_mut(place))
        .filter(|it| it.unix_s == at);
    if let Some(second) = same {
        second.requests = second.requests.saturating_add(1);
        second.server_errors = second.server_errors.saturating_add(error.into());
    } else {
        let second = Second {
            unix_s: at,
            requests: 1,
            server_errors: error.into(),
        };
        counted.insert(after, second);
    }
}

#[cfg(test)]
mod tests;
