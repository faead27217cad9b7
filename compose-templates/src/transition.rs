//! What going from one plan of a store to another means for each service and for the database. Pure; it decides nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shop_proto::{Digest, ServiceName};

use crate::{ContainerPlan, Mount, Schema, ServiceKind, ServicePlan, StorePlan};

/// The difference between two plans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// What happens to the database's schema.
    pub migration: Migration,
    /// The older code cannot run on the newer schema: going there must be refused.
    pub back_refused: bool,
    /// Whether web and php-fpm start anew in the free slot, and traffic moves.
    pub slots: bool,
    /// Every service of either plan, in the new plan's start order, those that go at the end.
    pub services: Vec<ServiceChange>,
}

/// What happens to the database's schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Migration {
    /// Nothing.
    None,
    /// It grows, and the old code works on it: going back is a switch back.
    Reversible,
    /// The old code does not work on it: under maintenance, and there is no way back.
    Irreversible,
}

/// What happens to a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceChange {
    /// Its name.
    pub service: ServiceName,
    /// Its role; of the new plan where both have it.
    pub kind: ServiceKind,
    /// What changes.
    pub change: Change,
    /// What exactly, by field; never a secret, for a plan holds none.
    pub fields: Vec<FieldChange>,
    /// What its buyers see of it.
    pub restarts: Restarts,
    /// Whether going back to the old plan undoes it.
    pub reversible: bool,
}

/// What changes about a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Only the new plan has it.
    Added,
    /// Only the old plan has it.
    Removed,
    /// It needs a new container.
    Recreated,
    /// Memory or CPU only: the running container takes them.
    LimitsOnly,
    /// Its container stays as it is.
    Same,
}

/// How a change takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restarts {
    /// Nothing that runs is touched.
    Never,
    /// A new one starts in the free slot, then traffic moves: nobody waits.
    InFreeSlot,
    /// The old one stops, then the new one starts: who needs it waits that long.
    StopFirst,
    /// The running container takes the change.
    Live,
}

/// One field of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    /// Such as `image`, `environment.SHOP_NAME` or `memory_bytes`.
    pub field: String,
    /// None: it was not there.
    pub from: Option<String>,
    /// None: it is not there any more.
    pub to: Option<String>,
}

/// What going from `old` to `new` means.
#[must_use]
pub fn transition(old: &StorePlan, new: &StorePlan) -> Transition {
    let migration = migration(old, new);
    let changes: Vec<(&ServicePlan, Change)> = new
        .services
        .iter()
        .map(|service| (service, change(old, new, service)))
        .chain(
            old.services
                .iter()
                .filter(|service| new.service(&service.name).is_none())
                .map(|service| (service, Change::Removed)),
        )
        .collect();
    let moves = |(service, change): &(&ServicePlan, Change)| {
        service.kind.slotted() && !matches!(change, Change::Same | Change::LimitsOnly)
    };
    let slots = migration != Migration::None || changes.iter().any(moves);
    let services = changes
        .into_iter()
        .map(|(service, change)| {
            let before = old.service(&service.name);
            let after = new.service(&service.name);
            ServiceChange {
                service: service.name.clone(),
                kind: service.kind,
                change,
                fields: fields_changed(
                    &before.map(|s| fields(old, s)).unwrap_or_default(),
                    &after.map(|s| fields(new, s)).unwrap_or_default(),
                ),
                restarts: restarts(service.kind, change, slots),
                reversible: reversible(before, after, migration),
            }
        })
        .collect();
    Transition {
        migration,
        back_refused: !Schema::of(old).carries(new),
        slots,
        services,
    }
}

fn migration(old: &StorePlan, new: &StorePlan) -> Migration {
    if new.schema() <= old.schema() {
        Migration::None
    } else if old.schema() >= new.works_from() {
        Migration::Reversible
    } else {
        Migration::Irreversible
    }
}

fn change(old: &StorePlan, new: &StorePlan, service: &ServicePlan) -> Change {
    match old.service(&service.name) {
        None => Change::Added,
        Some(before) if before.spec_hash == service.spec_hash => Change::Same,
        Some(before) if old.shape_hash(before) == new.shape_hash(service) => Change::LimitsOnly,
        Some(_) => Change::Recreated,
    }
}

const fn restarts(kind: ServiceKind, change: Change, slots: bool) -> Restarts {
    match change {
        Change::Added | Change::Recreated | Change::Same if kind.slotted() && slots => {
            Restarts::InFreeSlot
        }
        Change::LimitsOnly if kind.slotted() && slots => Restarts::InFreeSlot,
        Change::LimitsOnly => Restarts::Live,
        Change::Recreated => Restarts::StopFirst,
        Change::Added | Change::Removed | Change::Same => Restarts::Never,
    }
}

/// A database that a newer program has opened may not open in the older one again; and what needs the new schema has no way back.
fn reversible(
    before: Option<&ServicePlan>,
    after: Option<&ServicePlan>,
    migration: Migration,
) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => match after.kind {
            ServiceKind::Database => before.container.image == after.container.image,
            ServiceKind::Web | ServiceKind::PhpFpm | ServiceKind::Worker => {
                migration != Migration::Irreversible
            }
            ServiceKind::Cache | ServiceKind::Search => true,
        },
        _ => true,
    }
}

fn fields_changed(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Vec<FieldChange> {
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names
        .into_iter()
        .map(|name| (name, before.get(name), after.get(name)))
        .filter(|(_, from, to)| from != to)
        .map(|(name, from, to)| FieldChange {
            field: name.clone(),
            from: from.cloned(),
            to: to.cloned(),
        })
        .collect()
}

/// A service in words, by field.
fn fields(plan: &StorePlan, service: &ServicePlan) -> BTreeMap<String, String> {
    let container = &service.container;
    let mut fields = BTreeMap::new();
    let mut say = |name: String, value: String| fields.insert(name, value);
    say("image".to_owned(), container.image.clone());
    if let Some(command) = &container.command {
        say("command".to_owned(), command.join(" "));
    }
    for (name, value) in &container.env {
        say(format!("environment.{name}"), value.clone());
    }
    for mount in &container.mounts {
        let Mount {
            volume,
            path,
            read_only,
        } = mount;
        let mode = if *read_only { " (read-only)" } else { "" };
        say(format!("volumes.{path}"), format!("{volume}{mode}"));
    }
    for tmpfs in &container.tmpfs {
        say(
            format!("tmpfs.{}", tmpfs.path),
            tmpfs.size_bytes.to_string(),
        );
    }
    say("networks".to_owned(), format!("{:?}", container.networks));
    say("secrets".to_owned(), container.secrets.join(" "));
    say(
        "memory_bytes".to_owned(),
        container.memory_bytes.to_string(),
    );
    say("cpu_millis".to_owned(), container.cpu_millis.to_string());
    say("pids".to_owned(), container.pids.to_string());
    say("read_only".to_owned(), container.read_only.to_string());
    say("uid_offset".to_owned(), container.uid_offset.to_string());
    say(
        "stop_signal".to_owned(),
        container.stop_signal.as_str().to_owned(),
    );
    say(
        "stop_grace".to_owned(),
        format!("{} s", container.stop_grace.as_secs()),
    );
    if let Some(port) = plan.edge_port(service) {
        say("edge_port".to_owned(), port.to_string());
    }
    fields
}

impl StorePlan {
    /// Digest of what needs a new container when it changes, limits left out: those a running container takes.
    #[must_use]
    pub fn shape_hash(&self, service: &ServicePlan) -> Digest {
        #[derive(Serialize)]
        struct Shape<'a> {
            name: &'a ServiceName,
            kind: ServiceKind,
            container: ContainerPlan,
            edge_port: Option<u16>,
        }
        Digest::of_value(&Shape {
            name: &service.name,
            kind: service.kind,
            container: ContainerPlan {
                memory_bytes: 0,
                cpu_millis: 0,
                ..service.container.clone()
            },
            edge_port: self.edge_port(service),
        })
    }

    fn edge_port(&self, service: &ServicePlan) -> Option<u16> {
        (service.name == self.edge.service).then_some(self.edge.port)
    }
}

impl ContainerPlan {
    /// Digest of the limits that a running container can be given.
    #[must_use]
    pub fn limits_hash(&self) -> Digest {
        #[derive(Serialize)]
        struct Limits {
            memory_bytes: u64,
            cpu_millis: u32,
        }
        Digest::of_value(&Limits {
            memory_bytes: self.memory_bytes,
            cpu_millis: self.cpu_millis,
        })
    }
}

#[cfg(test)]
mod tests;
