//! Which service is not well, and why: from what buyers miss down to the service that keeps the others from being ready.

use jiff::{SignedDuration, Timestamp};
use shop_proto::Slot;

use super::{Facts, Found};
use crate::domain::{session::ReplicaReport, store::StoreStatus};

/// Services that others need come first: the first of these that is not well keeps the later ones from being ready.
fn depth(replica: &ReplicaReport) -> (bool, &str) {
    let name = replica.key.service.as_str();
    // Web and php-fpm need the fixed ones, web needs php-fpm.
    (
        replica.key.slot != Slot::Fixed,
        if name == "web" { "~" } else { name },
    )
}

pub(super) fn unwell(facts: &Facts<'_>) -> Option<Found> {
    let store = facts.store;
    if matches!(store.status, StoreStatus::Stopping) {
        return None;
    }
    let report = store.report.as_ref()?;
    let mut unwell: Vec<&ReplicaReport> = report
        .replicas
        .iter()
        .filter(|replica| !matches!(replica.phase.as_str(), "ready" | "created" | "stopping"))
        .collect();
    unwell.sort_by(|a, b| depth(b).cmp(&depth(a)));
    let deepest = *unwell.last()?;
    // One that is just starting explains a store that has not served yet, and nothing else.
    let told = !deepest.reason.is_empty() || deepest.exit_code.is_some() || deepest.restarts > 0;
    if !told && store.status == StoreStatus::Running {
        return None;
    }
    let mut found = Found::default();
    for outer in unwell
        .iter()
        .filter(|outer| outer.key.service != deepest.key.service)
    {
        found = found.because(
            "service_not_ready",
            format!("{} is not ready", label(outer)),
        );
    }
    Some(behind(facts, found, deepest))
}

fn behind(facts: &Facts<'_>, found: Found, replica: &ReplicaReport) -> Found {
    let (name, service) = (&facts.store.name, &replica.key.service);
    let logs = format!("shopctl store logs {name} {service}");
    let restarts = match replica.restarts {
        0 => String::new(),
        1 => "restarted once".to_owned(),
        times => format!("restarted {times} times"),
    };
    if replica.oom_killed {
        return found
            .because(
                "out_of_memory",
                format!(
                    "{} was killed for using more memory than its limit",
                    label(replica)
                ),
            )
            .shown_by(format!("exit code {}", replica.exit_code.unwrap_or(137)))
            .shown_by(limit(facts, replica))
            .shown_by(restarts)
            .then(
                format!("shopctl store update {name} --resources {service}.memory=…"),
                "give it more",
            )
            .then(logs, "what it said last");
    }
    match replica.reason.as_str() {
        "image_missing" => found
            .because(
                "image_missing",
                format!("the image of {service} is not on the node"),
            )
            .then(
                "shopctl node list",
                "the node it is on; load the image there, it goes on by itself",
            ),
        "image_not_allowed" => found
            .because(
                "image_not_allowed",
                format!("the node's allow-list does not hold the image of {service}"),
            )
            .then(
                format!("shopctl store update {name} --image {service}="),
                "the template's image again; the administrator of the host allows others in the node's file allowed-images",
            ),
        "volume_lost" => found.because(
            "volume_lost",
            format!("{service} is not started, because a volume of it is gone"),
        ),
        "engine_unavailable" | "engine_timeout" => found
            .because(
                "engine_unavailable",
                "the container engine of its node does not answer in time",
            )
            .shown_by(label(replica))
            .then("shopctl node list", "the node's state")
            .then(
                "systemctl status docker",
                "on that host: whether the engine is well",
            ),
        _ => {
            let (code, what) = match (replica.phase.as_str(), replica.exit_code) {
                ("crash_looping", _) => (
                    "crash_looping",
                    format!(
                        "{} ends again and again soon after its start",
                        label(replica)
                    ),
                ),
                (_, Some(_)) => ("exited", format!("{} ended by itself", label(replica))),
                ("unready", None) => (
                    "probe_fails",
                    format!("{} runs and does not answer its probe", label(replica)),
                ),
                ("absent", None) => (
                    "not_made",
                    format!("{} has not been made yet", label(replica)),
                ),
                ("starting", None) if slow(facts, replica) => (
                    "probe_fails",
                    format!(
                        "{} has started and does not answer its probe",
                        label(replica)
                    ),
                ),
                _ => ("starting", format!("{} is starting", label(replica))),
            };
            let exit = replica
                .exit_code
                .map_or_else(String::new, |code| format!("exit code {code}"));
            let found = found
                .because(code, what)
                .shown_by(exit)
                .shown_by(since(replica))
                .shown_by(restarts)
                .shown_by(replica.reason.clone())
                .then(logs, "what it said last");
            if facts.store.spec.revision.number == 1 {
                return found;
            }
            found.then(
                format!("shopctl store rollback {name}"),
                "if it began with the last update",
            )
        }
    }
}

/// Longer than anything of ours takes from its start to its first answer.
const SLOW: SignedDuration = SignedDuration::from_secs(30);

fn slow(facts: &Facts<'_>, replica: &ReplicaReport) -> bool {
    let began = Timestamp::from_millisecond(replica.since_unix_ms);
    replica.since_unix_ms > 0 && began.is_ok_and(|began| facts.now.duration_since(began) > SLOW)
}

fn since(replica: &ReplicaReport) -> String {
    match Timestamp::from_millisecond(replica.since_unix_ms) {
        Ok(at) if replica.since_unix_ms > 0 => format!("so since {at}"),
        _ => String::new(),
    }
}

fn label(replica: &ReplicaReport) -> String {
    match replica.key.slot {
        Slot::Fixed => replica.key.service.to_string(),
        slot => format!("{} ({slot}-{})", replica.key.service, replica.key.replica),
    }
}

fn limit(facts: &Facts<'_>, replica: &ReplicaReport) -> String {
    let given = facts
        .store
        .spec
        .revision
        .resources
        .get(&replica.key.service);
    match given.and_then(|resources| resources.memory_bytes) {
        Some(bytes) => format!("limit {} MiB, set for this store", bytes >> 20),
        None => "limit of the template".to_owned(),
    }
}
