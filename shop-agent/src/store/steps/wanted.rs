//! Which containers should exist: those of the plan in force, and, while an update is open, those of the plan on its way in.

use shop_plan::{ServicePlan, StorePlan};
use shop_proto::{ReplicaKey, Slot};

use super::{Input, update};

/// A container that should exist.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// Of this plan.
    pub plan: &'a StorePlan,
    /// Of this service.
    pub service: &'a ServicePlan,
    /// Which one.
    pub key: ReplicaKey,
    /// Of the plan on its way in.
    pub next: bool,
}

impl<'a> Input<'a> {
    /// Containers of a service in a slot; a fixed one has its own.
    pub fn keys<'p>(
        &self,
        service: &'p ServicePlan,
        slot: Slot,
    ) -> impl Iterator<Item = ReplicaKey> + use<'p> {
        let (slot, replicas) = if service.kind.slotted() {
            (slot, self.spec.replicas(&service.name))
        } else {
            (Slot::Fixed, 1)
        };
        (0..replicas).map(move |replica| ReplicaKey {
            service: service.name.clone(),
            slot,
            replica,
        })
    }

    /// Containers that should exist of a service of the plan in force.
    pub fn wanted_of<'p>(
        &self,
        service: &'p ServicePlan,
    ) -> impl Iterator<Item = ReplicaKey> + use<'p> {
        self.keys(service, self.slot())
    }

    /// All containers that should exist, in start order: those of the plan in force, then those on their way in.
    pub fn wanted(&self) -> impl Iterator<Item = Wanted<'a>> + '_ {
        let next = self.next.map(|(plan, _)| plan);
        let parks = update::parks(self);
        let held = self
            .plan
            .services
            .iter()
            .filter(move |service| !(parks && service.kind.slotted()))
            .flat_map(move |service| {
                let moved = next
                    .filter(|_| !service.kind.slotted() && self.fixed_moved(service.kind))
                    .and_then(|next| Some((next, next.service(&service.name)?)));
                let (plan, service, is_next) = match moved {
                    Some((next, new)) if new.spec_hash != service.spec_hash => (next, new, true),
                    _ => (self.plan, service, false),
                };
                let keys = self.keys(service, self.slot());
                keys.map(move |key| Wanted {
                    plan,
                    service,
                    key,
                    next: is_next,
                })
            });
        held.chain(self.coming())
    }

    /// Containers that only the plan on its way in has.
    fn coming(&self) -> impl Iterator<Item = Wanted<'a>> + '_ {
        let slot = self.entries.open_update().map(|update| update.slot);
        self.next
            .zip(slot)
            .into_iter()
            .flat_map(move |((plan, _), slot)| {
                let comes = move |service: &&ServicePlan| {
                    if service.kind.slotted() {
                        slot != self.slot()
                    } else {
                        self.plan.service(&service.name).is_none()
                    }
                };
                plan.services.iter().filter(comes).flat_map(move |service| {
                    self.keys(service, slot).map(move |key| Wanted {
                        plan,
                        service,
                        key,
                        next: true,
                    })
                })
            })
    }
}
