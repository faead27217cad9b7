//! Which containers to start now. The engine gets no faster with more than a few starts at once, and it starts them in no order;
//! so they are asked for a few at a time, in the order in which others wait for them: database, other fixed services, slotted ones.
//! A container that lacks only what is on its way keeps its place.
//!
//! Before its once-tasks are done, a store starts its slotted containers one after the other: the other place is for the tasks,
//! without which nobody can serve.

use shop_plan::{ServiceKind, ServicePlan};
use shop_proto::ReplicaKey;
use tokio::time::Instant;

use super::{Input, Replica, Step, Target, Wanted, rotation};
use crate::engine::ContainerState;

/// Starts of one store at once.
const AT_ONCE: usize = 2;

/// The starts to ask for now.
pub fn due(input: &Input<'_>, now: Instant) -> Vec<Step> {
    let mut wanted: Vec<Wanted<'_>> = input.wanted().collect();
    // What serves comes up before what shall serve.
    wanted.sort_by_key(|it| (it.next, rank(it.service.kind)));
    let starting = |slotted_only: bool| {
        wanted
            .iter()
            .filter(|it| (it.service.kind.slotted() || !slotted_only) && starts(input, &it.key))
            .count()
    };
    let mut room = AT_ONCE.saturating_sub(starting(false));
    let slotted_at_once = if input.once_tasks_done() { AT_ONCE } else { 1 };
    let mut slotted_room = slotted_at_once.saturating_sub(starting(true));
    let mut steps = Vec::new();
    for it in wanted {
        let service = it.service;
        let has_room = room > 0 && (slotted_room > 0 || !service.kind.slotted());
        if !has_room || !comes_up(input, service, &it.key, now) {
            continue;
        }
        room -= 1;
        slotted_room -= usize::from(service.kind.slotted());
        if can_start(input, &it) {
            steps.push(Step::Start(it.key));
        }
    }
    steps
}

const fn rank(kind: ServiceKind) -> u8 {
    match kind {
        ServiceKind::Database => 0,
        ServiceKind::Cache | ServiceKind::Search | ServiceKind::Worker => 1,
        ServiceKind::PhpFpm => 2,
        ServiceKind::Web => 3,
    }
}

/// Whether it is being started now.
fn starts(input: &Input<'_>, key: &ReplicaKey) -> bool {
    let there = input
        .replicas
        .get(key)
        .is_some_and(|replica| !replica.running());
    there && input.busy.contains(&Target::Replica(key.clone()))
}

/// Whether it can be started, or could if its container and its secrets, which are on their way, were there.
fn comes_up(input: &Input<'_>, service: &ServicePlan, key: &ReplicaKey, now: Instant) -> bool {
    let on_its_way = |target: &Target| input.busy.contains(target) || input.free(target, now);
    let target = Target::Replica(key.clone());
    let container = match input.replicas.get(key) {
        None => on_its_way(&target),
        Some(replica) => !replica.running() && input.free(&target, now),
    };
    let secrets = input.has_secrets(&service.name, &service.container.secrets)
        || on_its_way(&Target::Secrets(service.name.clone()));
    container && secrets && needs_met(input, service)
}

fn can_start(input: &Input<'_>, wanted: &Wanted<'_>) -> bool {
    let Wanted { service, key, .. } = wanted;
    let fits = |replica: &Replica| {
        let rests = matches!(
            replica.state,
            ContainerState::Created | ContainerState::Exited(_)
        );
        rests && input.fits(replica, wanted)
    };
    input.replicas.get(key).is_some_and(fits)
        && input.has_secrets(&service.name, &service.container.secrets)
        && !rotation::waits(input, wanted)
}

fn needs_met(input: &Input<'_>, service: &ServicePlan) -> bool {
    let done = |task| input.entries.tasks_done.contains(task);
    service.kind.slotted()
        || (service
            .depends_on
            .iter()
            .all(|name| input.service_ready(name))
            && service.after_tasks.iter().all(done))
}
