//! What this host has, and an alarm when its disk fills.

use std::{sync::Arc, time::Duration};

use super::{
    allowed,
    context::{Node, now_unix_ms},
    outbox::{Note, Severity},
};

/// Images told of at most.
const IMAGES: usize = 200;
/// Between two looks at the disk.
const LOOK: Duration = Duration::from_secs(30);
/// Part of the disk in use at which people are woken: nothing is killed, but nothing will go well soon.
const ALARM: f64 = 0.95;

/// What this host has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capacity {
    /// All memory.
    pub memory_bytes: u64,
    /// All cores, in thousandths.
    pub cpu_millis: u32,
    /// What ordinary users may have of the file system of the stores' data, used or free.
    pub disk_total_bytes: u64,
    /// What ordinary users may still write there.
    pub disk_free_bytes: u64,
    /// From this share of it in use on, no new stores are taken.
    pub disk_limit_percent: u32,
    /// `http` or `https`.
    pub edge_scheme: &'static str,
    /// 0 without an edge.
    pub edge_port: u16,
    /// Tags of the images that plans may name.
    pub images: Vec<String>,
    /// Rules of the allow-list: which of them may take the place of a template's own.
    pub allowed_images: Vec<String>,
}

/// Looks now. What cannot be read counts as nothing.
pub async fn measure(node: &Node) -> Capacity {
    let mut images = node.engine.images().await.unwrap_or_default();
    images.truncate(IMAGES);
    let (disk_total_bytes, disk_free_bytes) = disk(node);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Capacity {
        memory_bytes: std::fs::read_to_string("/proc/meminfo")
            .ok()
            .and_then(|table| memory(&table))
            .unwrap_or(0),
        cpu_millis: u32::try_from(cores * 1000).unwrap_or(u32::MAX),
        disk_total_bytes,
        disk_free_bytes,
        disk_limit_percent: node.args.disk_limit,
        edge_scheme: "http",
        edge_port: if node.args.no_edge {
            0
        } else {
            node.args.edge_http
        },
        images,
        allowed_images: allowed::list(node).await.texts(),
    }
}

/// Raises the alarm once each time the disk gets that full.
pub async fn watch_disk(node: Arc<Node>) {
    let mut alarmed = false;
    loop {
        let (total, free) = disk(&node);
        let full = total > 0 && (total - free.min(total)) as f64 / total as f64 >= ALARM;
        if full && !alarmed {
            tracing::error!(total, free, "the disk of the stores' data is nearly full");
            node.outbox.note(Note {
                store: None,
                code: "disk_nearly_full",
                severity: Severity::Error,
                message: format!(
                    "the disk of the stores' data is 95 % full, {} MiB are left: free space now, stores stop writing when it is full",
                    free >> 20
                ),
                at_unix_ms: now_unix_ms(),
            });
        }
        alarmed = full;
        tokio::time::sleep(LOOK).await;
    }
}

fn disk(node: &Node) -> (u64, u64) {
    rustix::fs::statvfs(node.paths.state()).map_or((0, 0), |it| {
        usable(it.f_blocks, it.f_bfree, it.f_bavail, it.f_frsize)
    })
}

/// All and free bytes, as `df` reckons its percentage: what the file system keeps back for itself is neither in use nor to be had.
fn usable(blocks: u64, free: u64, available: u64, size: u64) -> (u64, u64) {
    let used = blocks.saturating_sub(free);
    ((used + available) * size, available * size)
}

pub(super) fn memory(table: &str) -> Option<u64> {
    let line = table
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_system_keeps_back_is_not_in_use() {
        assert_eq!(usable(252, 197, 37, 1), (92, 37));
        assert_eq!(usable(100, 100, 95, 4096), (95 * 4096, 95 * 4096));
        assert_eq!(usable(100, 3, 0, 1), (97, 0));
    }

    #[test]
    fn the_kernel_s_memory_table_is_read() {
        let table = "MemTotal:       24684516 kB\nMemFree:        100 kB\n";
        assert_eq!(memory(table), Some(24_684_516 << 10));
        assert_eq!(memory("nonsense"), None);
    }
}
