//! How a store comes to rest: nobody serves, then the services nobody running depends on, and so on; slotted ones before fixed ones.

use shop_proto::ReplicaKey;
use tokio::time::Instant;

use super::{Goal, Input, Step, Target, serve, tasks, update};

/// What to stop now.
pub fn due(input: &Input<'_>, goal: Goal, now: Instant) -> Vec<Step> {
    let rest = serve::at_rest(input.spec.run_state);
    let quiet = *input.serving == rest;
    let silence = Step::Serve(rest);
    if !quiet && (input.free(&Target::Serve, now) || input.busy.contains(&Target::Serve)) {
        // Buyers first. When it fails the stop goes on.
        return vec![silence];
    }
    // What a migration has begun it ends: nobody knows what half of one is.
    let migrates = update::migrates(input);
    if (now < input.tasks_until || migrates) && tasks::any_busy(input) {
        return Vec::new();
    }
    let mut steps: Vec<Step> = input
        .replicas
        .iter()
        .filter(|(key, replica)| replica.running() && !needed(input, key))
        .map(|(key, _)| Step::Stop(key.clone()))
        .collect();
    if !quiet {
        steps.push(silence);
    }
    let at_rest = steps.is_empty() && input.busy.is_empty();
    if goal == Goal::Restart && at_rest {
        steps.push(Step::Restarted(input.spec.restart_seq));
    }
    steps
}

/// Whether something that runs, or is just being started or stopped, still depends on it.
fn needed(input: &Input<'_>, key: &ReplicaKey) -> bool {
    let Some(service) = input.plan.service(&key.service) else {
        return false;
    };
    input
        .replicas
        .iter()
        .filter(|(other, replica)| {
            other.service != key.service
                && (replica.running() || input.busy.contains(&Target::Replica((*other).clone())))
        })
        .filter_map(|(other, _)| input.plan.service(&other.service))
        .any(|other| {
            other.depends_on.contains(&service.name)
                || (other.kind.slotted() && !service.kind.slotted())
        })
}
