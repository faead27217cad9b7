//! Buyers who look at a page again and again while something is done to the system.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::fleet::{Fleet, Store};
use crate::wait::wait_for;

const VISITORS: usize = 2;

/// What the visitors got.
#[derive(Debug, Default)]
pub struct Seen {
    pub requests: usize,
    /// Status (0: no answer) and the moment, of every request that was no 200.
    pub failures: Vec<(u16, Duration)>,
    pub slowest: Duration,
    /// From the first failure until the last.
    pub outage: Duration,
}

/// Visitors at work; they go on until [`Traffic::stop`].
pub struct Traffic {
    stop: Arc<AtomicBool>,
    visitors: Vec<JoinHandle<Vec<(u16, Duration, Duration)>>>,
    served: Arc<std::sync::atomic::AtomicUsize>,
}

impl Traffic {
    /// Starts; returns once pages are being served.
    pub fn start(store: &Store, path: &str) -> anyhow::Result<Self> {
        let url = format!("{}{path}", store.url()?.trim_end_matches('/'));
        let stop = Arc::new(AtomicBool::new(false));
        let served = Arc::default();
        let began = Instant::now();
        let visitors = (0..VISITORS)
            .map(|_| {
                let (fleet, url, stop, served) = (
                    store.fleet.clone(),
                    url.clone(),
                    Arc::clone(&stop),
                    Arc::clone(&served),
                );
                std::thread::spawn(move || visit(&fleet, &url, &stop, &served, began))
            })
            .collect();
        let traffic = Self {
            stop,
            visitors,
            served,
        };
        traffic.more(5)?;
        Ok(traffic)
    }

    /// Waits until that many more pages were asked for.
    pub fn more(&self, pages: usize) -> anyhow::Result<()> {
        let target = self.served.load(Ordering::Relaxed) + pages;
        let look = || Ok(self.served.load(Ordering::Relaxed));
        wait_for(
            "the visitors go on",
            Duration::from_secs(60),
            look,
            |served| *served >= target,
        )
        .map(drop)
    }

    pub fn stop(self) -> anyhow::Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        let mut seen = Seen::default();
        let mut all = Vec::new();
        for visitor in self.visitors {
            all.extend(
                visitor
                    .join()
                    .map_err(|_| anyhow::anyhow!("a visitor panicked"))?,
            );
        }
        all.sort_by_key(|(_, at, _)| *at);
        for (status, at, took) in all {
            seen.requests += 1;
            seen.slowest = seen.slowest.max(took);
            if status != 200 {
                seen.failures.push((status, at));
            }
        }
        if let (Some(first), Some(last)) = (seen.failures.first(), seen.failures.last()) {
            seen.outage = last.1.saturating_sub(first.1);
        }
        Ok(seen)
    }
}

fn visit(
    fleet: &Fleet,
    url: &str,
    stop: &AtomicBool,
    served: &std::sync::atomic::AtomicUsize,
    began: Instant,
) -> Vec<(u16, Duration, Duration)> {
    let mut seen = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let at = began.elapsed();
        let status = fleet
            .get(url, &["--max-time", "10"])
            .map_or(0, |answer| answer.status);
        seen.push((status, at, began.elapsed().saturating_sub(at)));
        served.fetch_add(1, Ordering::Relaxed);
    }
    seen
}
