//! Requests at a constant rate, whatever the answers do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::runtime::Runtime;
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::client::{Client, Site};
use super::elsewhere;
use super::journey::{Journey, PRODUCTS, judge};
use super::record::Recorder;

/// Visitors that browse share this many connections, as a crowd's kept connections would.
const CROWD: usize = 64;
/// Requests under way at once; more would only measure our own sockets.
const MOST: u64 = 4000;

/// How many come.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// Pages looked at, each second.
    pub pages: u32,
    /// Buyers that set out, each second.
    pub buyers: u32,
}

/// A load under way, on threads of its own.
pub struct Load {
    pub recorder: Recorder,
    runtime: Runtime,
    cancel: CancellationToken,
    dropped: Arc<AtomicU64>,
    work: Vec<JoinHandle<()>>,
}

struct Crowd {
    site: Site,
    recorder: Recorder,
    idle: Mutex<Vec<Client>>,
    under_way: AtomicU64,
}

impl Load {
    /// Begins.
    pub fn start(site: &Site, rates: Rates) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .on_thread_start(elsewhere::go)
            .enable_all()
            .build()
            .context("no runtime for the load")?;
        let recorder = Recorder::default();
        let cancel = CancellationToken::new();
        let dropped = Arc::new(AtomicU64::new(0));
        let crowd = Arc::new(Crowd {
            site: site.clone(),
            recorder: recorder.clone(),
            idle: Mutex::default(),
            under_way: AtomicU64::new(0),
        });
        let mut work = Vec::new();
        if rates.pages > 0 {
            let (cancel, dropped) = (cancel.clone(), dropped.clone());
            work.push(runtime.spawn(browse(crowd, rates.pages, cancel, dropped)));
        }
        if rates.buyers > 0 {
            let (site, recorder) = (site.clone(), recorder.clone());
            work.push(runtime.spawn(shop(site, recorder, rates.buyers, cancel.clone())));
        }
        Ok(Self {
            recorder,
            runtime,
            cancel,
            dropped,
            work,
        })
    }

    /// No new request; those under way, and buyers on their way, come to their end.
    ///
    /// # Errors
    /// When requests could not be sent when they were due: then the rate was not what it says.
    pub fn finish(self) -> anyhow::Result<Recorder> {
        self.cancel.cancel();
        for work in self.work {
            self.runtime.block_on(work)?;
        }
        let dropped = self.dropped.load(Ordering::Relaxed);
        anyhow::ensure!(
            dropped == 0,
            "void: {dropped} requests were not sent because {MOST} were under way"
        );
        Ok(self.recorder)
    }
}

/// A wake-up that comes late sends all that was due by then, so the rate holds.
async fn browse(crowd: Arc<Crowd>, rate: u32, cancel: CancellationToken, dropped: Arc<AtomicU64>) {
    let mut under_way = JoinSet::new();
    let gap = Duration::from_secs(1) / rate;
    let began = Instant::now();
    let mut sent = 0_u32;
    loop {
        let due = began + gap * sent;
        if cancel
            .run_until_cancelled(sleep_until(due.into()))
            .await
            .is_none()
        {
            break;
        }
        sent += 1;
        if crowd.under_way.load(Ordering::Relaxed) >= MOST {
            dropped.fetch_add(1, Ordering::Relaxed);
        } else {
            under_way.spawn(look(crowd.clone(), due, page(sent)));
        }
        while under_way.try_join_next().is_some() {}
    }
    while under_way.join_next().await.is_some() {}
}

async fn look(crowd: Arc<Crowd>, due: Instant, path: String) {
    crowd.under_way.fetch_add(1, Ordering::Relaxed);
    let kept = crowd.idle.lock().await.pop();
    let mut client = kept.unwrap_or_else(|| Client::new(crowd.site.clone()));
    let reply = client.get(&path).await;
    judge(&crowd.recorder, due, &path, reply);
    let mut idle = crowd.idle.lock().await;
    if idle.len() < CROWD {
        idle.push(client);
    }
    drop(idle);
    crowd.under_way.fetch_sub(1, Ordering::Relaxed);
}

async fn shop(site: Site, recorder: Recorder, rate: u32, cancel: CancellationToken) {
    let mut walking = JoinSet::new();
    let mut tick = tokio::time::interval(Duration::from_secs(1) / rate);
    let mut dice = 0x9E37_79B9_7F4A_7C15_u64;
    while cancel.run_until_cancelled(tick.tick()).await.is_some() {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        walking.spawn(Journey::new(site.clone(), recorder.clone(), dice | 1).walk());
        while walking.try_join_next().is_some() {}
    }
    while walking.join_next().await.is_some() {}
}

/// What people look at: mostly products, then the front page, a category, a search.
fn page(n: u32) -> String {
    let product = PRODUCTS[n as usize % PRODUCTS.len()];
    match n % 10 {
        0 => "/".to_owned(),
        1 => "/search?q=lamp".to_owned(),
        2 => "/cart".to_owned(),
        _ => format!("/p/{product}"),
    }
}
