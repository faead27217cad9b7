//! What holds besides the chain: a page, a hold, what somebody changed, a revision that was taken back, a full disk.

use jiff::Timestamp;

use super::{Facts, Found, asked_by, room};
use crate::domain::{
    node::{DISK_ALARM_PERCENT, disk_used_percent},
    operation::{Operation, OperationKind},
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
    found = room_awaited(facts, found);
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

/// A change that has not been sent, since its node has no room for what runs meanwhile.
fn room_awaited(facts: &Facts<'_>, found: Found) -> Found {
    let waits =
        |operation: &&Operation| !operation.state.ended() && operation.kind.may_wait_for_room();
    let (Some(more), Some(operation)) = (
        facts.store.room_awaited(),
        facts.operations.iter().find(waits),
    ) else {
        return found;
    };
    let kind = operation.kind;
    let found = found
        .because(
            "change_waits",
            format!("its {kind} has not begun: it goes on by itself when its node has room; until then the store is as it was asked for before"),
        )
        .shown_by(asked_by(facts, kind))
        .because(
            "no_capacity",
            "its node has not that much left to reserve for what runs while old and new are there side by side",
        )
        .shown_by(format!("it takes {} more", room(more)));
    let here = facts.node.map(|node| node.name.as_str());
    let left = facts
        .rooms
        .iter()
        .find(|room| Some(room.node.as_str()) == here);
    let found = match left {
        Some(left) => found.shown_by(format!("node {} has {} left", left.node, room(left.free))),
        None => found,
    };
    found
        .then(
            "shopctl store list",
            "what could be paused or deleted on its node",
        )
        .then(
            format!("shopctl operation cancel {}", operation.id),
            "take the change back: nothing of it has begun",
        )
}

fn serving(report: &StoreReport, store: &Store) -> u64 {
    match report.serving_revision {
        0 => store.spec.revision.number,
        number => number,
    }
}
