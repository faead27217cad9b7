//! Rendering, version 1. Frozen: whatever it made once it makes for ever; changes go into the next version.

mod containers;
mod order;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use shop_proto::{Digest, ServiceName, StoreId};

use crate::{
    ContainerPlan, CredentialPlan, CronPlan, EdgePlan, PLAN_FORMAT, Probe, RenderError, SecretPlan,
    ServiceKind, ServicePlan, StorePlan, TaskPlan, Template, UpdatePlan, VolumePlan,
    choices::Checked,
    compose::{ComposeName, Condition, Service},
    interpolate::Variables,
    manifest::{ServiceEntry, TaskEntry, holds, plan_name},
};

/// The part of a template that exists under the chosen profiles.
struct Active<'t> {
    template: &'t Template,
    checked: &'t Checked,
    variables: Variables,
    services: BTreeMap<ServiceName, (&'t ComposeName, &'t ServiceEntry)>,
    tasks: BTreeMap<ServiceName, (&'t ComposeName, &'t TaskEntry)>,
}

fn broken(reason: impl Into<String>) -> RenderError {
    RenderError::Template(reason.into())
}

pub(super) fn plan(
    store: &StoreId,
    number: u64,
    template: &Template,
    checked: &Checked,
) -> Result<StorePlan, RenderError> {
    let active = Active::new(template, checked)?;
    let tasks = active.tasks()?;
    let services = order::by_dependencies(active.services(&tasks)?, &tasks)?;
    let manifest = &template.manifest;
    Ok(StorePlan {
        format: PLAN_FORMAT,
        render_version: 1,
        store: store.clone(),
        template: template.name.clone(),
        template_version: template.version.clone(),
        template_digest: template.digest,
        revision: number,
        volumes: active.volumes(&services, &tasks)?,
        secrets: manifest
            .secrets
            .iter()
            .map(|(name, entry)| SecretPlan {
                name: name.0.clone(),
                alphabet: entry.generate,
                length: entry.length,
            })
            .collect(),
        cron: manifest
            .cron
            .iter()
            .map(|entry| &entry.value)
            .filter(|entry| tasks.iter().any(|task| task.name == entry.task))
            .map(|entry| CronPlan {
                task: entry.task.clone(),
                when: entry.when.clone(),
            })
            .collect(),
        edge: EdgePlan {
            service: manifest.edge.service.clone(),
            port: manifest.edge.port,
        },
        credentials: active.credentials()?,
        update: manifest
            .update
            .as_ref()
            .map(|update| UpdatePlan::from(&update.value)),
        services,
        tasks,
    })
}

impl<'t> Active<'t> {
    fn new(template: &'t Template, checked: &'t Checked) -> Result<Self, RenderError> {
        let mut services = BTreeMap::new();
        for (key, entry) in &template.manifest.services {
            if holds(&entry.when, &checked.profiles) {
                insert(&mut services, entry.name.as_ref(), key, entry)?;
            }
        }
        let mut tasks = BTreeMap::new();
        for (key, entry) in &template.manifest.tasks {
            if holds(&entry.when, &checked.profiles) {
                insert(&mut tasks, entry.name.as_ref(), key, entry)?;
            }
        }
        let parameters = checked
            .parameters
            .iter()
            .map(|(name, value)| (name.variable(), value.clone()));
        let profiles = checked
            .profiles
            .iter()
            .map(|(name, choice)| (crate::validate::profile_variable(name), choice.clone()));
        Ok(Self {
            template,
            checked,
            variables: parameters.chain(profiles).collect(),
            services,
            tasks,
        })
    }

    fn compose(&self, name: &ComposeName) -> Result<&'t Service, RenderError> {
        self.template
            .services
            .get(name)
            .ok_or_else(|| broken(format!("there is no compose service {name}")))
    }

    /// Plan name of a compose service that is a service of a store, whatever the profiles are.
    fn service_of(&self, compose: &ComposeName) -> Option<ServiceName> {
        let entry = self.template.manifest.services.get(compose)?;
        plan_name(entry.name.as_ref(), compose)
    }

    /// Services that a compose service waits for; those outside the profiles are left out.
    fn depends_on(&self, service: &Service) -> Vec<ServiceName> {
        let names: BTreeSet<ServiceName> = service
            .depends_on
            .iter()
            .filter(|(_, dependency)| dependency.condition == Condition::ServiceHealthy)
            .filter_map(|(name, _)| self.service_of(name))
            .filter(|name| self.services.contains_key(name))
            .collect();
        names.into_iter().collect()
    }

    /// Once-tasks that a compose service waits for: those made like a compose service that it waits to complete.
    fn after_tasks(&self, service: &Service) -> Vec<ServiceName> {
        let awaited = |from: &ComposeName| {
            service.depends_on.get(from).is_some_and(|dependency| {
                dependency.condition == Condition::ServiceCompletedSuccessfully
            })
        };
        self.tasks
            .iter()
            .filter(|(_, (_, entry))| entry.once && awaited(&entry.from))
            .map(|(name, _)| name.clone())
            .collect()
    }

    fn services(&self, tasks: &[TaskPlan]) -> Result<Vec<ServicePlan>, RenderError> {
        let edge = &self.template.manifest.edge;
        let known: BTreeSet<&ServiceName> = tasks.iter().map(|task| &task.name).collect();
        self.services
            .iter()
            .map(|(name, (key, entry))| {
                let service = self.compose(key)?;
                let container =
                    self.container(service, name, None, self.checked.resources.get(name))?;
                let edge_port = (name == &edge.service).then_some(edge.port);
                let mut after_tasks = self.after_tasks(service);
                after_tasks.retain(|task| known.contains(task));
                Ok(ServicePlan {
                    spec_hash: spec_hash(name, entry.kind, &container, edge_port),
                    name: name.clone(),
                    kind: entry.kind,
                    container,
                    depends_on: self.depends_on(service),
                    after_tasks,
                    ready: Probe::from(&entry.ready),
                    deep: entry.deep.as_ref().map(Probe::from),
                })
            })
            .collect()
    }

    fn tasks(&self) -> Result<Vec<TaskPlan>, RenderError> {
        self.tasks
            .iter()
            .map(|(name, (_, entry))| {
                let service = self.compose(&entry.from)?;
                let command = entry.command.iter().map(|word| word.0.clone()).collect();
                let owner = self.owner_of_image(service, &entry.from)?;
                let after = match &entry.after {
                    Some(after) => after
                        .iter()
                        .filter(|name| self.services.contains_key(name))
                        .cloned()
                        .collect(),
                    None => self.depends_on(service),
                };
                Ok(TaskPlan {
                    name: name.clone(),
                    container: self.container(service, owner, Some(command), None)?,
                    source: entry.from.0.parse().map_err(|_| {
                        broken(format!(
                            "{} is too long a name for a task's source",
                            entry.from
                        ))
                    })?,
                    once: entry.once,
                    timeout: entry.timeout.0,
                    after,
                    arguments: entry
                        .arguments
                        .iter()
                        .map(|argument| argument.value.0.clone())
                        .collect(),
                    exclusive: entry.exclusive,
                    idempotent: entry.idempotent,
                })
            })
            .collect()
    }

    /// Volumes that something mounts, each owned by its service's uid.
    fn volumes(
        &self,
        services: &[ServicePlan],
        tasks: &[TaskPlan],
    ) -> Result<Vec<VolumePlan>, RenderError> {
        let containers = services
            .iter()
            .map(|service| &service.container)
            .chain(tasks.iter().map(|task| &task.container));
        let mounted: BTreeSet<&ServiceName> = containers
            .flat_map(|container| container.mounts.iter().map(|mount| &mount.volume))
            .collect();
        mounted
            .into_iter()
            .map(|name| {
                let entry = self
                    .template
                    .manifest
                    .volumes
                    .get(name)
                    .ok_or_else(|| broken(format!("volume {name} has no owner")))?;
                Ok(VolumePlan {
                    name: name.clone(),
                    uid_offset: self.uid_of(&entry.owner)?,
                })
            })
            .collect()
    }

    fn credentials(&self) -> Result<BTreeMap<String, CredentialPlan>, RenderError> {
        self.template
            .manifest
            .credentials
            .iter()
            .map(|(name, entry)| {
                let user = entry
                    .user
                    .resolve(&self.variables)
                    .map_err(|error| broken(error.to_string()))?;
                let plan = CredentialPlan {
                    path: entry.path.0.clone(),
                    user,
                    password_secret: entry.password_secret.0.clone(),
                };
                Ok((name.clone(), plan))
            })
            .collect()
    }
}

fn insert<'t, T>(
    into: &mut BTreeMap<ServiceName, (&'t ComposeName, &'t T)>,
    name: Option<&ServiceName>,
    key: &'t ComposeName,
    entry: &'t T,
) -> Result<(), RenderError> {
    let name =
        plan_name(name, key).ok_or_else(|| broken(format!("{key} needs a shorter `name`")))?;
    match into.insert(name.clone(), (key, entry)) {
        None => Ok(()),
        Some((other, _)) => Err(broken(format!(
            "{other} and {key} are both {name} under the same profiles"
        ))),
    }
}

/// What needs a new container when it changes: not the order of starting, not the probes.
fn spec_hash(
    name: &ServiceName,
    kind: ServiceKind,
    container: &ContainerPlan,
    edge_port: Option<u16>,
) -> Digest {
    #[derive(Serialize)]
    struct Hashed<'a> {
        name: &'a ServiceName,
        kind: ServiceKind,
        container: &'a ContainerPlan,
        edge_port: Option<u16>,
    }
    Digest::of_value(&Hashed {
        name,
        kind,
        container,
        edge_port,
    })
}
