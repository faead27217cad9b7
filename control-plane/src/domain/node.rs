//! A node as the control plane knows it.

use jiff::Timestamp;
use shop_plan::AllowedImages;
use shop_proto::{NodeId, StoreId};

use super::{breaker::Breaker, session::Capacity};

/// A joined Docker host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub id: NodeId,
    /// What it calls itself; shown to people only.
    pub name: String,
    /// As it last said. All zero before its first session.
    pub capacity: Capacity,
    pub agent_version: String,
    pub engine_version: String,
    pub boot_id: String,
    /// Renderings its agent can make.
    pub render_versions: Vec<u32>,
    pub joined_at: Timestamp,
    pub link: Link,
    /// Stores it held at its last hello that this control plane does not have there.
    pub orphans: Vec<StoreId>,
    /// Whether new stores may go there, as those before fared.
    pub breaker: Breaker,
}

/// A node's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Never had a session.
    Never,
    /// Since then.
    Up { since: Timestamp },
    /// Since then.
    Down { since: Timestamp },
}

/// What operators see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeStatus {
    Ready,
    Unreachable,
    DiskPressure,
}

impl NodeStatus {
    /// As written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Unreachable => "unreachable",
            Self::DiskPressure => "disk_pressure",
        }
    }
}

/// From this share of the disk in use on, no new stores are placed on a node whose administrator did not say another.
const DISK_LIMIT_PERCENT: u32 = 85;
/// From here on an alarm is raised.
pub const DISK_ALARM_PERCENT: u64 = 95;

/// From this share of the disk in use on, no new stores are placed there.
#[must_use]
pub const fn disk_limit_percent(capacity: &Capacity) -> u32 {
    match capacity.disk_limit_percent {
        0 => DISK_LIMIT_PERCENT,
        said => said,
    }
}

/// How much of a disk is in use, and from where on no new stores are placed there, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskUse {
    pub used: u64,
    pub limit: u32,
}

impl DiskUse {
    /// Of a node that says this.
    #[must_use]
    pub fn of(capacity: &Capacity) -> Self {
        Self {
            used: disk_used_percent(capacity),
            limit: disk_limit_percent(capacity),
        }
    }

    /// Whether no new stores are placed there.
    #[must_use]
    pub const fn is_short(self) -> bool {
        self.used >= self.limit as u64
    }
}

/// Share of the disk in use, in percent; 0 when nothing is known.
#[must_use]
pub fn disk_used_percent(capacity: &Capacity) -> u64 {
    let used = capacity
        .disk_total_bytes
        .saturating_sub(capacity.disk_free_bytes);
    (u128::from(used) * 100)
        .checked_div(u128::from(capacity.disk_total_bytes))
        .and_then(|percent| u64::try_from(percent).ok())
        .unwrap_or(0)
}

impl Node {
    /// What operators see.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        match self.link {
            Link::Never | Link::Down { .. } => NodeStatus::Unreachable,
            Link::Up { .. } if DiskUse::of(&self.capacity).is_short() => NodeStatus::DiskPressure,
            Link::Up { .. } => NodeStatus::Ready,
        }
    }

    /// Images that may take the place of a template's own there, as its administrator decided.
    #[must_use]
    pub fn allowed_images(&self) -> AllowedImages {
        AllowedImages::told(self.capacity.allowed_images.iter().map(String::as_str))
    }

    /// When it was last heard of, as far as sessions say.
    #[must_use]
    pub fn last_seen(&self, now: Timestamp) -> Option<Timestamp> {
        match self.link {
            Link::Never => None,
            Link::Up { .. } => Some(now),
            Link::Down { since } => Some(since),
        }
    }

    /// `scheme://host[:port]` of a host name behind this node's edge; `None` before the node said where its edge is.
    #[must_use]
    pub fn url(&self, host: &str) -> Option<String> {
        let Capacity {
            edge_scheme,
            edge_port,
            ..
        } = &self.capacity;
        match (edge_scheme.as_str(), *edge_port) {
            ("", _) | (_, 0) => None,
            ("http", 80) | ("https", 443) => Some(format!("{edge_scheme}://{host}")),
            (scheme, port) => Some(format!("{scheme}://{host}:{port}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_administrator_says_how_full_a_disk_may_get() {
        let short = |free, limit| {
            let capacity = Capacity {
                disk_total_bytes: 1000,
                disk_free_bytes: free,
                disk_limit_percent: limit,
                ..Capacity::default()
            };
            DiskUse::of(&capacity).is_short()
        };
        assert!(short(150, 0));
        assert!(!short(151, 0));
        assert!(!short(150, 97));
        assert!(short(30, 97));
        assert!(short(500, 50));
    }

    #[test]
    fn disk_share() {
        let of = |total, free| {
            disk_used_percent(&Capacity {
                disk_total_bytes: total,
                disk_free_bytes: free,
                ..Capacity::default()
            })
        };
        assert_eq!(of(0, 0), 0);
        assert_eq!(of(1000, 150), 85);
        assert_eq!(of(1000, 151), 84);
        assert_eq!(of(10, 20), 0);
        assert_eq!(of(u64::MAX, 0), 100);
    }
}
