//! Why a store is not running, or not what was asked: a chain of causes with evidence, and what to type next. Pure.
//!
//! The chain goes from what an operator sees to what lies behind it. [`primary`] asks from the outside in (is it wanted, has it a place, is
//! its node there, did node and agent take the order, is its data there, which service is not well) and stops at the first that explains
//! the rest. [`circumstances::besides`] adds what holds besides: a maintenance page, a hold, a revision that was taken back, a full disk.

use jiff::{SignedDuration, Timestamp};
use shop_proto::StoreName;

use super::{
    node::{DiskUse, Link, Node},
    operation::{Operation, OperationKind, OperationState},
    progress::current_report,
    refusal::Refusal,
    store::{Lifecycle, Reservation, Store, StoreStatus, UNPROVEN},
};

mod circumstances;
mod replicas;
#[cfg(test)]
mod tests;

/// Everything that is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    pub store: &'a Store,
    /// The node it is placed on.
    pub node: Option<&'a Node>,
    /// All nodes, with what may still be reserved on each.
    pub rooms: &'a [Room],
    /// Newest first, tasks left out.
    pub operations: &'a [Operation],
    /// Whether the shop agent has a session.
    pub agent_connected: bool,
    pub now: Timestamp,
}

/// A node and what may still be reserved there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    pub node: String,
    pub connected: bool,
    pub free: Reservation,
    pub disk: DiskUse,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    pub store: StoreName,
    pub status: StoreStatus,
    /// One sentence.
    pub summary: String,
    /// Nothing to do.
    pub well: bool,
    /// From what is seen to what lies behind it.
    pub causes: Vec<Cause>,
    /// What to type next, most useful first.
    pub next: Vec<Next>,
}

/// One link of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Stable, such as `node_away`.
    pub code: &'static str,
    pub what: String,
    /// What shows it: a figure, a time, a name.
    pub evidence: Vec<String>,
}

/// A command and what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    pub command: String,
    pub why: String,
}

/// Part of a chain.
#[derive(Debug, Default)]
struct Found {
    causes: Vec<Cause>,
    next: Vec<Next>,
}

impl Found {
    fn one(code: &'static str, what: impl Into<String>) -> Self {
        Self::default().because(code, what)
    }

    /// Behind what is there already.
    fn because(mut self, code: &'static str, what: impl Into<String>) -> Self {
        self.causes.push(Cause {
            code,
            what: what.into(),
            evidence: Vec::new(),
        });
        self
    }

    /// Shows the last cause.
    fn shown_by(mut self, evidence: impl Into<String>) -> Self {
        let evidence = evidence.into();
        if let Some(cause) = self.causes.last_mut()
            && !evidence.is_empty()
        {
            cause.evidence.push(evidence);
        }
        self
    }

    fn then(mut self, command: impl Into<String>, why: impl Into<String>) -> Self {
        self.next.push(Next {
            command: command.into(),
            why: why.into(),
        });
        self
    }
}

/// Explains.
#[must_use]
pub fn explain(facts: &Facts<'_>) -> Explanation {
    let store = facts.store;
    let found = primary(facts);
    let well = found.is_none();
    let mut chain = found.unwrap_or_default();
    let besides = circumstances::besides(facts);
    chain.causes.extend(besides.causes);
    chain.next.extend(besides.next);
    let mut seen = Vec::new();
    chain.next.retain(|next| {
        let new = !seen.contains(&next.command);
        seen.push(next.command.clone());
        new
    });
    let summary = match (well, store.status, chain.causes.is_empty()) {
        (true, status, true) => format!("store `{}` is {status}, as asked", store.name),
        (true, status, false) => format!("store `{}` is {status}; mind what follows", store.name),
        (false, status, _) => format!("store `{}` is {status}", store.name),
    };
    Explanation {
        store: store.name.clone(),
        status: store.status,
        summary,
        well: well && chain.causes.is_empty(),
        causes: chain.causes,
        next: chain.next,
    }
}

/// What explains the rest, if anything is not as asked.
fn primary(facts: &Facts<'_>) -> Option<Found> {
    going(facts)
        .or_else(|| at_rest(facts))
        .or_else(|| homeless(facts))
        .or_else(|| node_away(facts))
        .or_else(|| not_taken(facts))
        .or_else(|| agent_away(facts))
        .or_else(|| lost_data(facts))
        .or_else(|| halted(facts))
        .or_else(|| replicas::unwell(facts))
        .or_else(|| waiting(facts))
        .or_else(|| given_up(facts))
        .or_else(|| otherwise(facts))
}

fn going(facts: &Facts<'_>) -> Option<Found> {
    let store = facts.store;
    let by = asked_by(facts, OperationKind::Delete);
    match store.lifecycle {
        Lifecycle::Live(_) => None,
        Lifecycle::Grace { until, .. } => Some(
            Found::one(
                "deletion_in_grace",
                format!("it is deleted at {until}; until then it is stopped"),
            )
            .shown_by(by)
            .then(
                format!("shopctl store undelete {}", store.name),
                "take it back",
            ),
        ),
        Lifecycle::Deleted => Some(Found::one("deleted", "it was deleted").shown_by(by).then(
            format!("shopctl store receipt {}", store.id),
            "the node's signed word that nothing is left",
        )),
        Lifecycle::Deleting => {
            let found = Found::one("deleting", "it is being taken down").shown_by(by);
            let found = match store.on_node.state.as_str() {
                "blocked" => found
                    .because("deletion_blocked", "the node cannot remove everything")
                    .shown_by(&store.on_node.message),
                "refused" => found
                    .because("deletion_refused", "the node refuses")
                    .shown_by(&store.on_node.message),
                UNPROVEN => found
                    .because(
                        "receipt_unproven",
                        "the node says that nothing is left, and its signature does not show it",
                    )
                    .shown_by(&store.on_node.message),
                _ => found,
            };
            Some(match node_away(facts) {
                None => found.then(
                    format!("shopctl store events {}", store.name),
                    "how far the node is",
                ),
                Some(away) => {
                    let mut found = found;
                    found.causes.extend(away.causes);
                    found.next.extend(away.next);
                    found.then(
                        format!("shopctl store delete {} --force-forget", store.name),
                        "only if the node never comes back: ends the record without proof",
                    )
                }
            })
        }
    }
}

fn at_rest(facts: &Facts<'_>) -> Option<Found> {
    let store = facts.store;
    let (kind, code, what, command) = match store.status {
        StoreStatus::Stopped => (
            OperationKind::Stop,
            "stopped",
            "an operator stopped it",
            "start",
        ),
        StoreStatus::Paused => (
            OperationKind::Pause,
            "paused",
            "an operator paused it: buyers see a page that says so, and its room on the node is free",
            "wake",
        ),
        _ => return None,
    };
    Some(Found::one(code, what).shown_by(asked_by(facts, kind)).then(
        format!("shopctl store {command} {}", store.name),
        "let it serve again",
    ))
}

fn homeless(facts: &Facts<'_>) -> Option<Found> {
    let store = facts.store;
    if store.placement.is_some() && !store.waits_for_room() {
        return None;
    }
    let needs = room(store.reserved);
    let found = Found::one("not_placed", "it has no place on a node yet")
        .shown_by(format!("it reserves {needs}"));
    let connected: Vec<&Room> = facts.rooms.iter().filter(|room| room.connected).collect();
    if facts.rooms.is_empty() {
        return Some(found.because("no_nodes", "no node has joined").then(
            "shopctl node join",
            "prints the command that makes a host a node",
        ));
    }
    if connected.is_empty() {
        return Some(
            found
                .because("no_nodes", "no node is connected")
                .shown_by(format!("{} joined, all away", facts.rooms.len()))
                .then(
                    "shopctl node list",
                    "which they are, and since when they are away",
                ),
        );
    }
    let reason = match store.reason.as_str() {
        "" => facts
            .operations
            .first()
            .map_or("", |operation| &operation.reason),
        reason => reason,
    };
    Some(match reason {
        "queued" => found.because("queued", "other stores are starting on the nodes that have room; it is next when one of them is done").then("shopctl operation list", "what is under way"),
        "disk_pressure" => {
            let mut found = found.because(
                "disk_pressure",
                "the nodes that have room are as full as their administrators let them get",
            );
            let short = connected.into_iter().filter(|room| room.disk.is_short());
            for full in short.take(3) {
                let DiskUse { used, limit } = full.disk;
                found = found.shown_by(format!(
                    "node {} uses {used} % of its disk; from {limit} % on it takes no new stores",
                    full.node
                ));
            }
            found.then("shopctl node list", "how much is left on each")
        }
        _ => {
            let mut found = found.because("no_capacity", "no connected node has that much left to reserve");
            let mut rooms = connected;
            rooms.sort_by_key(|room| std::cmp::Reverse(room.free.memory_bytes));
            for near in rooms.into_iter().take(3) {
                found = found.shown_by(format!("node {} has {} left", near.node, room(near.free)));
            }
            found
                .then("shopctl node join", "another host")
                .then("shopctl store list", "what could be paused or deleted")
        }
    })
}

fn node_away(facts: &Facts<'_>) -> Option<Found> {
    let placement = facts.store.placement.as_ref()?;
    let Some(node) = facts.node else {
        return Some(Found::one(
            "node_removed",
            format!(
                "its node {} is not part of the fleet any more",
                placement.node
            ),
        ));
    };
    let since = match node.link {
        Link::Up { .. } => return None,
        Link::Never => "it never had a session".to_owned(),
        Link::Down { since } => format!("since {since} ({})", ago(facts.now, since)),
    };
    Some(
        Found::one("node_away", format!("its node {} has no session with the control plane; what runs of the store goes on there", node.name))
            .shown_by(since)
            .then("shopctl node list", "whether others are away, too: then look at the control plane's network")
            .then("systemctl status shopfleet-node", format!("on host {}: whether the node agent runs, and what it says", node.name)),
    )
}

fn not_taken(facts: &Facts<'_>) -> Option<Found> {
    let store = facts.store;
    let (name, generation) = (&store.name, store.generation.get());
    if store.is_behind() {
        return Some(
            Found::one("needs_review", "node or agent hold something newer than this control plane knows, as after a restored backup; nothing is ordered until somebody says what holds")
                .shown_by(format!("known here: generation {generation}; held there: {}", store.newest_held()))
                .then(format!("shopctl store start {name}"), "what is known here holds from now on"),
        );
    }
    if matches!(store.on_node.state.as_str(), "refused" | "error") {
        let found = Found::one("node_refuses", "its node does not carry the order out")
            .shown_by(format!("{}: {}", store.on_node.code, store.on_node.message));
        return Some(match store.on_node.code.as_str() {
            "image_missing" => found.then(
                "shopctl node list",
                "the node it is on; load the image there, it goes on by itself",
            ),
            "image_not_allowed" => found.then(
                format!("shopctl store update {name} --image SERVICE="),
                "the template's image again; the administrator of the host allows others in the node's file allowed-images",
            ),
            "no_subnet" => found.then(
                "shopctl node join",
                "another host: this one's pool of addresses is used up",
            ),
            "host_taken" => found.then(
                "shopctl store list",
                "which two stores have the host name; with one of them deleted it goes on by itself",
            ),
            "node_disk" => found.then(
                "shopctl node list",
                "how full its disk is; with room it goes on by itself",
            ),
            "volume_lost" => found.then(format!("shopctl store get {name}"), "which volume"),
            _ => found.then(
                format!("shopctl store events {name}"),
                "what happened before",
            ),
        });
    }
    if store.on_agent.refusal(store.generation) == Some(Refusal::Passing) {
        return Some(
            Found::one(
                "agent_cannot_write",
                "its shop agent cannot write the order down; it is asked again by itself",
            )
            .shown_by(store.on_agent.refused_code.clone())
            .then(
                "shopctl node list",
                "how full the node's disk is; with room it goes on by itself",
            ),
        );
    }
    if store.on_agent.refused_generation == generation {
        return Some(
            Found::one("agent_refuses", "its shop agent does not take the order")
                .shown_by(store.on_agent.refused_code.clone())
                .then("shopctl node list", "versions: control plane and node agent render the same plan only when both know its rendering")
                .then(format!("shopctl store events {name}"), "what the agent said"),
        );
    }
    None
}

fn agent_away(facts: &Facts<'_>) -> Option<Found> {
    let store = facts.store;
    if facts.agent_connected || store.status == StoreStatus::Pending {
        return None;
    }
    let name = &store.name;
    if !store.on_agent.enrolled {
        return Some(
            Found::one("agent_not_enrolled", "its shop agent has not shown up yet")
                .shown_by(match store.on_node.state.as_str() {
                    "" => "its node has not answered yet".to_owned(),
                    state => format!("its node is at: {state}"),
                })
                .then(
                    format!("shopctl store events {name}"),
                    "how far the node is",
                ),
        );
    }
    let last = store.report.as_ref().map_or_else(String::new, |report| {
        format!("its last word: {}", report.state)
    });
    Some(
        Found::one("agent_away", "its shop agent has no session with the control plane; what runs goes on, and what is shown here is its last word")
            .shown_by(last)
            .then(format!("shopctl store events {name}"), "whether the node restarts it"),
    )
}

fn lost_data(facts: &Facts<'_>) -> Option<Found> {
    let report = facts.store.report.as_ref()?;
    let volumes = match report.lost_volumes.as_slice() {
        [] => return None,
        volumes => volumes.join(", "),
    };
    Some(
        Found::one("volume_lost", format!("data that was there is gone from its node: {volumes}. Nothing that needs it is started, and no empty one takes its place"))
            .then(format!("shopctl store events {}", facts.store.name), "when it was first missed")
            .then(format!("shopctl store stop {}", facts.store.name), "before a copy of the volume is put back on the node; it is found again by itself"),
    )
}

fn halted(facts: &Facts<'_>) -> Option<Found> {
    let store = facts.store;
    let update = facts.store.report.as_ref()?.update.as_ref()?;
    (update.phase == "halted").then(|| {
        Found::one("update_halted", format!("revision r{} changed the database for good and does not serve well; buyers see the maintenance page", update.to_revision))
            .shown_by(format!("{}: {}", update.reason, update.message))
            .then(format!("shopctl store update {} --set …", store.name), "a revision that works with this database")
            .then(format!("shopctl store revisions {}", store.name), "what was tried")
    })
}

/// What the agent itself says it waits for.
fn waiting(facts: &Facts<'_>) -> Option<Found> {
    let store = facts.store;
    let report = current_report(store)?;
    let code = match report.reason.as_str() {
        "awaiting_secrets" => "awaiting_secrets",
        "unknown_plan" => "unknown_plan",
        "engine_unavailable" => "engine_unavailable",
        _ => return None,
    };
    Some(Found::one(code, report.message.clone()).then(
        format!("shopctl store events {}", store.name),
        "what happened before",
    ))
}

fn given_up(facts: &Facts<'_>) -> Option<Found> {
    let store = facts.store;
    let operation = facts.operations.first().filter(|operation| {
        operation.state == OperationState::Failed && operation.generation == store.generation
    })?;
    if matches!(store.status, StoreStatus::Running) {
        return None;
    }
    Some(
        Found::one(
            "operation_failed",
            format!("{} was given up", operation.kind),
        )
        .shown_by(format!("{}: {}", operation.reason, operation.message))
        .then(
            format!("shopctl operation watch {}", operation.id),
            "its steps, and the last lines of what failed",
        )
        .then(format!("shopctl store start {}", store.name), "try again"),
    )
}

fn otherwise(facts: &Facts<'_>) -> Option<Found> {
    let store = facts.store;
    if store.status == StoreStatus::Running {
        return None;
    }
    let found = Found::one(
        "under_way",
        match store.message.as_str() {
            "" => format!("it is on its way: {}", store.status),
            message => message.to_owned(),
        },
    )
    .shown_by(store.reason.clone());
    Some(
        match facts
            .operations
            .first()
            .filter(|operation| !operation.state.ended())
        {
            Some(operation) => found.then(
                format!("shopctl operation watch {}", operation.id),
                "how far it is",
            ),
            None => found.then(
                format!("shopctl store events {}", store.name),
                "what happened",
            ),
        },
    )
}

/// Who asked for it last, when, and why.
fn asked_by(facts: &Facts<'_>, kind: OperationKind) -> String {
    let Some(operation) = facts
        .operations
        .iter()
        .find(|operation| operation.kind == kind)
    else {
        return String::new();
    };
    let reason = match operation.requested_reason.as_str() {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    format!(
        "{} by {} at {} ({}){reason}",
        operation.kind,
        operation.requested_by,
        operation.created_at,
        ago(facts.now, operation.created_at)
    )
}

fn room(reservation: Reservation) -> String {
    format!(
        "{} MiB of memory and {}.{:03} cores",
        reservation.memory_bytes >> 20,
        reservation.cpu_millis / 1000,
        reservation.cpu_millis % 1000
    )
}

/// In the largest unit that fits.
fn ago(now: Timestamp, then: Timestamp) -> String {
    let past = now.duration_since(then).max(SignedDuration::ZERO).as_secs();
    match past {
        0..60 => format!("{past} s ago"),
        60..3600 => format!("{} min ago", past / 60),
        3600..86400 => format!("{} h ago", past / 3600),
        _ => format!("{} days ago", past / 86400),
    }
}
