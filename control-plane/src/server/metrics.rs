//! Metrics in Prometheus' text form. Names are `shopfleet_*` in base units; label values come from our own fixed sets.

use std::{
    collections::BTreeMap,
    fmt::{Display, Write as _},
    sync::{Arc, atomic::Ordering},
};

use crate::{
    app::FleetStatus,
    domain::operation::{PROVISIONING_BOUNDS_SECONDS, ProvisioningTimes},
    fleet::{Fleet, Seen},
};

/// The text being written.
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    /// One family of samples.
    pub fn family<'a, V: Display>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, V)>,
    ) {
        self.head(name, kind, help);
        for (labels, value) in samples {
            self.sample(name, &labels, value);
        }
    }

    /// One histogram: samples with their suffixes.
    pub fn histogram<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (&'a str, Vec<(&'a str, &'a str)>, String)>,
    ) {
        self.head(name, "histogram", help);
        for (suffix, labels, value) in samples {
            self.sample(&format!("{name}{suffix}"), &labels, value);
        }
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", escape(value)))
            .collect();
        let labels = match labels.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", labels.join(",")),
        };
        // As in `head`.
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    /// One sample without labels.
    pub fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help, [(Vec::new(), value)]);
    }

    /// All of it.
    #[must_use]
    pub fn finish(self) -> String {
        self.0
    }
}

fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// What the process itself counts.
pub struct Metrics {
    pub fleet: Fleet,
    pub listeners: BTreeMap<&'static str, Arc<Seen>>,
    pub started_at: jiff::Timestamp,
}

impl Metrics {
    /// Writes everything that needs no database.
    pub fn write(&self, text: &mut Text) {
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        text.family(
            "shopfleet_build_info",
            "gauge",
            "The running release.",
            [(version, 1)],
        );
        text.single(
            "process_start_time_seconds",
            "gauge",
            "When the process started, in seconds since 1970.",
            self.started_at.as_second(),
        );
        if let Some(bytes) = resident_bytes() {
            text.single(
                "process_resident_memory_bytes",
                "gauge",
                "Memory in use.",
                bytes,
            );
        }
        let (nodes, agents) = self.fleet.counts();
        text.family(
            "shopfleet_sessions",
            "gauge",
            "Open sessions.",
            [
                (vec![("kind", "node")], nodes),
                (vec![("kind", "shop_agent")], agents),
            ],
        );
        text.family(
            "shopfleet_connections_accepted_total",
            "counter",
            "Connections accepted, before their handshake.",
            self.listeners.iter().map(|(name, seen)| {
                (
                    vec![("listener", *name)],
                    seen.accepted.load(Ordering::Relaxed),
                )
            }),
        );
        text.family(
            "shopfleet_connections_refused_total",
            "counter",
            "Connections that did not come to be.",
            self.listeners.iter().flat_map(|(name, seen)| {
                [
                    ("handshake_failed", &seen.handshake_failed),
                    ("handshake_timed_out", &seen.handshake_timed_out),
                    ("accept_failed", &seen.accept_errors),
                ]
                .map(|(reason, count)| {
                    (
                        vec![("listener", *name), ("reason", reason)],
                        count.load(Ordering::Relaxed),
                    )
                })
            }),
        );
    }
}

/// What the database counts.
pub fn write_status(status: &FleetStatus, text: &mut Text) {
    text.family(
        "shopfleet_stores",
        "gauge",
        "Stores by status.",
        status
            .stores_by_status
            .iter()
            .map(|(status, count)| (vec![("status", *status)], *count)),
    );
    text.family(
        "shopfleet_nodes",
        "gauge",
        "Nodes by readiness.",
        [
            (vec![("status", "ready")], status.nodes_ready),
            (
                vec![("status", "not_ready")],
                status.nodes_total.saturating_sub(status.nodes_ready),
            ),
        ],
    );
    text.family(
        "shopfleet_operations",
        "gauge",
        "Operations that have not ended.",
        [
            (vec![("state", "pending")], status.operations_pending),
            (vec![("state", "running")], status.operations_running),
        ],
    );
}

/// How long finished creations took.
pub fn write_times(times: &ProvisioningTimes, text: &mut Text) {
    let bounds = PROVISIONING_BOUNDS_SECONDS.map(|bound| bound.to_string());
    let infinite = [("+Inf", times.count)];
    let buckets = bounds
        .iter()
        .map(String::as_str)
        .zip(times.at_most)
        .chain(infinite)
        .map(|(bound, count)| (vec![("le", bound)], count.to_string()))
        .map(|(labels, value)| ("_bucket", labels, value))
        .chain([
            ("_sum", Vec::new(), times.total.as_secs_f64().to_string()),
            ("_count", Vec::new(), times.count.to_string()),
        ]);
    text.histogram(
        "shopfleet_store_provisioning_seconds",
        "Time from the request for a store to its serving.",
        buckets,
    );
}

fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_ends_with_everything() {
        let mut text = Text::default();
        let mut times = ProvisioningTimes {
            count: 2,
            total: std::time::Duration::from_millis(3500),
            ..ProvisioningTimes::default()
        };
        times.at_most[2..].fill(1);
        write_times(&times, &mut text);
        let text = text.finish();
        for line in [
            "# TYPE shopfleet_store_provisioning_seconds histogram",
            "shopfleet_store_provisioning_seconds_bucket{le=\"2\"} 0",
            "shopfleet_store_provisioning_seconds_bucket{le=\"5\"} 1",
            "shopfleet_store_provisioning_seconds_bucket{le=\"+Inf\"} 2",
            "shopfleet_store_provisioning_seconds_sum 3.5",
            "shopfleet_store_provisioning_seconds_count 2",
        ] {
            assert!(
                text.lines().any(|written| written == line),
                "{line}\n{text}"
            );
        }
    }

    #[test]
    fn samples_look_as_prometheus_reads_them() {
        let mut text = Text::default();
        text.family("x_total", "counter", "X.", [(vec![("a", "b\"c\n")], 3)]);
        text.single("y", "gauge", "Y.", 1);
        assert_eq!(
            text.finish(),
            "# HELP x_total X.\n# TYPE x_total counter\nx_total{a=\"b\\\"c\\n\"} 3\n# HELP y Y.\n# TYPE y gauge\ny 1\n"
        );
    }
}
