//! What holds besides the chain: a page, a hold, what somebody changed, a revision that was taken back, a full disk.

use jiff::Timestamp;

use super::{Facts, Found, asked_by};
use crate::domain::{
    node::{DISK_ALARM_PERCENT, disk_used_percent},
    operation::OperationKind,
    session::StoreReport,
    store::Store,
};

/// What holds besides, and would surprise whoever does not know it.
pub(super) fn besides(facts: &Facts<'_>) -> Found {
    let (store, name) = (facts.store, &facts.store.name);
    let mut found = Found::default();
    if store.spec.maintenance {
        found = found
            .because(
                "maintenance",
                "buyers see the maintenance page, because an operator said so",
            )
            .shown_by(asked_by(facts, OperationKind::Maintenance))
            .then(
                format!("shopctl store maintenance off {name}"),
                "let them in",
            );
    }
    let held = store
        .spec
        .hold_until_unix_ms
        .and_then(|until| Timestamp::from_millisecond(until).ok())
        .filter(|until| *until > facts.now);
    if let Some(until) = held {
        found = found
            .because(
                "held",
                format!("what somebody changes by hand is shown and not repaired until {until}"),
            )
            .shown_by(asked_by(facts, OperationKind::Hold))
            .then(format!("shopctl store release {name}"), "repair it now");
    }
    let report = store.report.as_ref();
    for drift in report
        .into_iter()
        .flat_map(|report| &report.drift)
        .filter(|drift| drift.repaired_unix_ms == 0)
    {
        found = found
            .because(
                "drift",
                format!("{} {} was {} by hand", drift.kind, drift.name, drift.what),
            )
            .shown_by(
                Timestamp::from_millisecond(drift.seen_unix_ms)
                    .map_or_else(|_| String::new(), |at| format!("seen {at}")),
            );
    }
    if let Some((report, back)) =
        report.and_then(|report| report.held_back.as_ref().map(|back| (report, back)))
        && back.generation.saturating_add(1) >= store.generation.get()
    {
        found = found
            .because(
                "taken_back",
                format!(
                    "revision r{} was tried and taken back; r{} serves",
                    back.revision,
                    serving(report, store)
                ),
            )
            .shown_by(format!("{}: {}", back.reason, back.message))
            .then(
                format!("shopctl store diff {name} …"),
                "what another try would change",
            );
    }
    if let Some(node) = facts.node {
        let used = disk_used_percent(&node.capacity);
        if used >= DISK_ALARM_PERCENT {
            found = found
                .because(
                    "disk_nearly_full",
                    format!(
                        "the disk of its node {} is nearly full: databases stop writing when it is",
                        node.name
                    ),
                )
                .shown_by(format!("{used} % in use"))
                .then("shopctl store list", "what could be deleted there");
        }
    }
    for host in store.spec.hosts.iter().filter(|host| !host.verified) {
        found = found.because(
            "host_not_verified",
            format!(
                "{} is not routed: nobody has shown that it belongs to this store",
                host.name
            ),
        );
    }
    found
}

fn serving(report: &StoreReport, store: &Store) -> u64 {
    match report.serving_revision {
        0 => store.spec.revision.number,
        number => number,
    }
}
