//! Start order: a service comes after all it depends on, stateful ones first where the order is free.

use std::collections::BTreeSet;

use shop_proto::ServiceName;

use super::broken;
use crate::{RenderError, ServiceKind, ServicePlan, TaskPlan};

const fn rank(kind: ServiceKind) -> u8 {
    match kind {
        ServiceKind::Database => 0,
        ServiceKind::Cache => 1,
        ServiceKind::Search => 2,
        ServiceKind::PhpFpm => 3,
        ServiceKind::Worker => 4,
        ServiceKind::Web => 5,
    }
}

pub(super) fn by_dependencies(
    mut waiting: Vec<ServicePlan>,
    tasks: &[TaskPlan],
) -> Result<Vec<ServicePlan>, RenderError> {
    waiting.sort_by(|a, b| (rank(a.kind), &a.name).cmp(&(rank(b.kind), &b.name)));
    let mut placed: BTreeSet<ServiceName> = BTreeSet::new();
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let free = |service: &ServicePlan| {
            let of_tasks = tasks
                .iter()
                .filter(|task| service.after_tasks.contains(&task.name))
                .flat_map(|task| &task.after);
            service
                .depends_on
                .iter()
                .chain(of_tasks)
                .all(|name| placed.contains(name))
        };
        let next = waiting
            .iter()
            .position(free)
            .ok_or_else(|| broken("services wait for each other in a circle"))?;
        let service = waiting.remove(next);
        placed.insert(service.name.clone());
        ordered.push(service);
    }
    Ok(ordered)
}
