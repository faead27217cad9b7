//! The same load on what people use today: a compose project whose images are changed by `docker-compose up -d`.

use std::path::Path;
use std::time::Duration;

use super::compose::Compose;
use super::ready::{TEMPLATE, make_secrets};
use crate::load::client::Site;
use crate::load::{Load, Rates};

const UPDATES: u32 = 4;
const BETWEEN: Duration = Duration::from_secs(5);

/// What its buyers saw.
pub struct Seen {
    pub updates: u32,
    pub requests: u64,
    pub failed: u64,
    /// Seconds in which at least one request failed.
    pub outage: Duration,
}

/// Runs the peer alone, for a look at the load itself.
pub fn report(root: &Path, rate: u32) -> anyhow::Result<()> {
    let seen = updates(root, rate)?;
    println!("{}", seen.sentence());
    println!(
        "compose_updates={} compose_requests={} compose_failed_requests={}",
        seen.updates, seen.requests, seen.failed
    );
    Ok(())
}

impl Seen {
    /// For the table.
    #[must_use]
    pub fn sentence(&self) -> String {
        format!(
            "docker-compose up -d with a new image, {} times: {} of {} requests failed, in {} different seconds",
            self.updates,
            self.failed,
            self.requests,
            self.outage.as_secs()
        )
    }
}

/// Goes back and forth between two releases, and removes the project.
pub fn updates(root: &Path, rate: u32) -> anyhow::Result<Seen> {
    let secrets = make_secrets(root)?;
    let peer = Compose::prepare(Path::new(TEMPLATE), &secrets, root, "benchupdate", "1s", 4)?;
    let seen = under_load(&peer, rate);
    peer.down()?;
    seen
}

fn under_load(peer: &Compose, rate: u32) -> anyhow::Result<Seen> {
    peer.up()?;
    let site = Site {
        address: peer.web(),
        host: "compose.localhost".to_owned(),
    };
    let rates = Rates {
        pages: rate,
        buyers: 0,
    };
    let load = Load::start(&site, rates)?;
    std::thread::sleep(BETWEEN);
    for turn in 0..UPDATES {
        peer.release(2 - turn % 2)?;
        peer.up()?;
        std::thread::sleep(BETWEEN);
    }
    let books = load.finish()?.books();
    let mut seconds: Vec<u64> = books.failures.iter().map(|f| f.at.as_secs()).collect();
    seconds.sort_unstable();
    seconds.dedup();
    Ok(Seen {
        updates: UPDATES,
        requests: books.requests,
        failed: books.failures.len() as u64,
        outage: Duration::from_secs(seconds.len() as u64),
    })
}
