//! Starts are asked for in waves: a node starts few containers at a time, so what takes longest to become ready goes first.
//! Each wave is over in the time that the database needs to boot, so the later ones cost nothing.
//! Before its once-tasks are done, a store starts its slotted containers one after the other: that leaves a place for the tasks,
//! which nobody can serve without.

use shop_plan::{ServiceKind, ServicePlan};
use shop_proto::ReplicaKey;
use tokio::time::Instant;

use super::{Input, Replica, Target};

/// A wave of starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wave {
    Database,
    OtherFixed,
    Slotted,
}

impl Wave {
    pub const ALL: [Self; 3] = [Self::Database, Self::OtherFixed, Self::Slotted];

    /// How many starts of this wave may be asked for now.
    pub fn room(self, input: &Input<'_>, now: Instant) -> usize {
        let earlier = input.wanted().any(|(service, key)| {
            Self::of(service.kind) < self && comes_up(input, service, &key, now)
        });
        if earlier {
            return 0;
        }
        if self != Self::Slotted || input.once_tasks_done() {
            return usize::MAX;
        }
        let starting = |key: &ReplicaKey| {
            input.busy.contains(&Target::Replica(key.clone()))
                && !input.replicas.get(key).is_some_and(Replica::running)
        };
        let one_starts = input
            .wanted()
            .any(|(service, key)| Self::of(service.kind) == self && starting(&key));
        usize::from(!one_starts)
    }

    pub const fn of(kind: ServiceKind) -> Self {
        match kind {
            ServiceKind::Database => Self::Database,
            ServiceKind::Cache | ServiceKind::Search | ServiceKind::Worker => Self::OtherFixed,
            ServiceKind::Web | ServiceKind::PhpFpm => Self::Slotted,
        }
    }
}

/// Whether a container is being started, or will be in a moment: it lacks nothing but secrets that are on their way.
fn comes_up(input: &Input<'_>, service: &ServicePlan, key: &ReplicaKey, now: Instant) -> bool {
    let target = Target::Replica(key.clone());
    let secrets = Target::Secrets(service.name.clone());
    let running = input.replicas.get(key).is_some_and(Replica::running);
    let secrets_come = input.has_secrets(&service.name, &service.container.secrets)
        || input.busy.contains(&secrets)
        || input.free(&secrets, now);
    let startable = input.free(&target, now) && secrets_come && input.needs_met(service);
    !running && (input.busy.contains(&target) || startable)
}
