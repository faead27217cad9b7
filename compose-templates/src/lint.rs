//! Rules that every plan keeps, whatever it was rendered from. The reconcilers rely on them.

mod tasks;

use std::collections::BTreeSet;

use shop_proto::{ReplicaKey, ServiceName, Slot};

use crate::{
    ContainerPlan, MEMORY_BOUNDS, NetworkName, NetworkRole, PLAN_FORMAT, Probe, ServiceKind,
    StorePlan, address, choices::CPU_BOUNDS,
};

/// A rule that a plan breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{subject} breaks a rule: a good one {rule}")]
pub struct LintProblem {
    /// Service, task or volume.
    pub subject: String,
    /// The rule, in words.
    pub rule: &'static str,
}

/// uids per store; the agent has offset 0.
const UIDS: u16 = 64;
/// Where secrets are mounted; nothing else may be there.
const RESERVED_PATHS: [&str; 6] = ["/run/secrets", "/secrets", "/proc", "/sys", "/dev", "/etc"];

/// Checks a plan.
#[must_use]
pub fn lint(plan: &StorePlan) -> Vec<LintProblem> {
    let mut lint = Lint {
        plan,
        problems: Vec::new(),
    };
    lint.form();
    lint.names();
    lint.order();
    lint.edge();
    lint.uids();
    lint.addresses();
    lint.secrets();
    for service in &plan.services {
        lint.container(&service.name, &service.container);
    }
    for task in &plan.tasks {
        lint.arguments(task);
        lint.container(&task.name, &task.container);
    }
    lint.problems
}

struct Lint<'p> {
    plan: &'p StorePlan,
    problems: Vec<LintProblem>,
}

impl Lint<'_> {
    fn require(&mut self, holds: bool, subject: &dyn std::fmt::Display, rule: &'static str) {
        if !holds {
            self.problems.push(LintProblem {
                subject: subject.to_string(),
                rule,
            });
        }
    }

    fn form(&mut self) {
        self.require(
            self.plan.format == PLAN_FORMAT,
            &"plan",
            "has a format this release does not know",
        );
        self.require(
            crate::RENDER_VERSIONS.contains(&self.plan.render_version),
            &"plan",
            "has a render version this release does not know",
        );
        self.require(
            self.plan.revision > 0,
            &"plan",
            "has a revision number from 1",
        );
    }

    fn names(&mut self) {
        let services = self.plan.services.iter().map(|service| &service.name);
        let tasks = self.plan.tasks.iter().map(|task| &task.name);
        let mut seen = BTreeSet::new();
        for name in services.chain(tasks) {
            self.require(
                seen.insert(name),
                name,
                "is the name of one service or task only",
            );
            self.require(
                name.as_str() != "agent",
                name,
                "is a name of the shop agent's",
            );
        }
        let mut seen = BTreeSet::new();
        for volume in &self.plan.volumes {
            self.require(
                seen.insert(&volume.name),
                &volume.name,
                "is the name of one volume only",
            );
            let reserved = volume.name.as_str().starts_with("secrets-")
                || volume.name.as_str() == "agent-vault";
            self.require(!reserved, &volume.name, "is a volume name of ours");
        }
    }

    fn order(&mut self) {
        let plan = self.plan;
        let mut started: BTreeSet<&ServiceName> = BTreeSet::new();
        for service in &plan.services {
            let dependencies_first = service.depends_on.iter().all(|name| started.contains(name));
            self.require(
                dependencies_first,
                &service.name,
                "comes after every service it depends on",
            );
            for name in &service.after_tasks {
                let fits = plan.task(name).is_some_and(|task| {
                    task.once && task.after.iter().all(|name| started.contains(name))
                });
                self.require(
                    fits,
                    &service.name,
                    "waits only for once-tasks whose own dependencies come before it",
                );
            }
            started.insert(&service.name);
        }
        for task in &plan.tasks {
            let exist = task.after.iter().all(|name| started.contains(name));
            self.require(exist, &task.name, "waits only for services of the plan");
            self.require(!task.timeout.is_zero(), &task.name, "has a timeout");
        }
        self.by_themselves();
    }

    fn edge(&mut self) {
        let plan = self.plan;
        let edge = plan.service(&plan.edge.service);
        self.require(
            edge.is_some_and(|service| service.kind == ServiceKind::Web),
            &plan.edge.service,
            "is the edge service, so it is a web service of the plan",
        );
        self.require(
            plan.edge.port >= 1024,
            &plan.edge.service,
            "listens on a port that needs no privilege",
        );
        for service in &plan.services {
            let wanted = service.name == plan.edge.service;
            self.require(
                service.deep.is_some() == wanted,
                &service.name,
                "has a deep probe exactly when it is the edge service",
            );
            for probe in [Some(&service.ready), service.deep.as_ref()]
                .into_iter()
                .flatten()
            {
                self.require(probe.port() > 0, &service.name, "is probed on a port");
                let path = match probe {
                    Probe::Http { path, .. } | Probe::Fastcgi { path, .. } => path.as_str(),
                    _ => "/",
                };
                let plain = path.bytes().all(|b| b.is_ascii_graphic() && b != b'$');
                self.require(
                    path.starts_with('/') && plain,
                    &service.name,
                    "is probed under a plain path",
                );
            }
        }
        for kind in [
            ServiceKind::Web,
            ServiceKind::PhpFpm,
            ServiceKind::Database,
            ServiceKind::Cache,
            ServiceKind::Search,
        ] {
            let mut of_kind = plan.services.iter().filter(|service| service.kind == kind);
            let second = of_kind.nth(1);
            if let Some(service) = second {
                self.require(
                    false,
                    &service.name,
                    "is the second service of a kind that has one",
                );
            }
        }
    }

    fn uids(&mut self) {
        let plan = self.plan;
        let mut seen = BTreeSet::new();
        for service in &plan.services {
            let uid = service.container.uid_offset;
            self.require(
                (1..UIDS).contains(&uid),
                &service.name,
                "has a user id of the store's range",
            );
            self.require(
                seen.insert(uid),
                &service.name,
                "shares its user id with no other service",
            );
        }
        for task in &plan.tasks {
            self.require(
                seen.contains(&task.container.uid_offset),
                &task.name,
                "runs as the user of a service",
            );
            let same = plan
                .tasks
                .iter()
                .filter(|other| other.source == task.source)
                .all(|other| {
                    other.container.uid_offset == task.container.uid_offset
                        && other.container.secrets == task.container.secrets
                });
            self.require(
                same,
                &task.name,
                "shares user id and secrets with the tasks of the same source",
            );
            self.require(
                plan.service(&task.source).is_none(),
                &task.name,
                "has a source that is no service, so that its secrets volume is its own",
            );
        }
        for volume in &plan.volumes {
            self.require(
                seen.contains(&volume.uid_offset),
                &volume.name,
                "is owned by a service",
            );
        }
    }

    fn addresses(&mut self) {
        let plan = self.plan;
        for network in NetworkName::ALL {
            let mut taken = BTreeSet::from([address::GATEWAY, address::AGENT]);
            for service in &plan.services {
                let slots: &[Slot] = if service.kind.slotted() {
                    &[Slot::A, Slot::B]
                } else {
                    &[Slot::Fixed]
                };
                for &slot in slots {
                    if !service.container.networks_in(slot).contains(&network) {
                        continue;
                    }
                    let replicas = if service.kind.slotted() {
                        ReplicaKey::MAX_REPLICAS
                    } else {
                        1
                    };
                    for replica in 0..replicas {
                        let key = ReplicaKey {
                            service: service.name.clone(),
                            slot,
                            replica,
                        };
                        let own = address::replica(plan, &key, network)
                            .is_some_and(|host| taken.insert(host));
                        self.require(
                            own,
                            &key,
                            "has an address of its own in each of its networks",
                        );
                    }
                }
            }
            for task in &plan.tasks {
                let own = address::task(plan, &task.name).is_some_and(|host| taken.insert(host));
                self.require(own, &task.name, "has an address of its own");
            }
        }
    }

    fn secrets(&mut self) {
        let plan = self.plan;
        let mut known = BTreeSet::new();
        for secret in &plan.secrets {
            self.require(
                known.insert(secret.name.as_str()),
                &secret.name,
                "is the name of one secret only",
            );
            self.require(
                (16..=256).contains(&secret.length),
                &secret.name,
                "has 16 to 256 characters",
            );
        }
        for credential in plan.credentials.values() {
            let exists = known.contains(credential.password_secret.as_str());
            self.require(
                exists,
                &credential.password_secret,
                "is a credential's secret, so it is one of the plan",
            );
        }
        for service in &plan.services {
            if let Probe::Redis {
                password_secret: Some(name),
                ..
            } = &service.ready
            {
                self.require(
                    known.contains(name.as_str()),
                    &service.name,
                    "is probed with a secret of the plan",
                );
            }
        }
        let containers = plan
            .services
            .iter()
            .map(|service| (&service.name, &service.container));
        let tasks = plan.tasks.iter().map(|task| (&task.name, &task.container));
        for (name, container) in containers.chain(tasks) {
            let exist = container
                .secrets
                .iter()
                .all(|secret| known.contains(secret.as_str()));
            self.require(exist, name, "uses only secrets of the plan");
        }
    }

    fn container(&mut self, name: &ServiceName, container: &ContainerPlan) {
        let plain = |text: &str| !text.contains('$') && !text.chars().any(char::is_control);
        let command = container.command.as_deref().unwrap_or_default();
        self.require(
            plain(&container.image) && command.iter().all(|word| plain(word)),
            name,
            "has no variable in its image or command",
        );
        self.require(
            container
                .command
                .as_ref()
                .is_none_or(|words| words.first().is_some_and(|word| !word.is_empty())),
            name,
            "has a command that is not empty",
        );
        self.require(!container.networks.is_empty(), name, "is in a network");
        let slotted = self
            .plan
            .service(name)
            .is_some_and(|service| service.kind.slotted());
        self.require(
            slotted || !container.networks.contains(&NetworkRole::App),
            name,
            "is in an app network only when it has a slot",
        );
        let mounts = container.mounts.iter().map(|mount| mount.path.as_str());
        let paths: Vec<&str> = mounts
            .chain(container.tmpfs.iter().map(|tmpfs| tmpfs.path.as_str()))
            .collect();
        let distinct: BTreeSet<&&str> = paths.iter().collect();
        self.require(
            distinct.len() == paths.len(),
            name,
            "mounts one thing at a path",
        );
        for path in paths {
            let inside = |parent: &str| {
                path == parent
                    || path
                        .strip_prefix(parent)
                        .is_some_and(|rest| rest.starts_with('/'))
            };
            let normal = path.starts_with('/')
                && path[1..]
                    .split('/')
                    .all(|part| !part.is_empty() && part != "." && part != "..");
            self.require(normal, name, "mounts at absolute, normalised paths");
            self.require(
                !RESERVED_PATHS.into_iter().any(inside) && path != "/run",
                name,
                "mounts nothing at a reserved path",
            );
        }
        for mount in &container.mounts {
            let exists = self
                .plan
                .volumes
                .iter()
                .any(|volume| volume.name == mount.volume);
            self.require(exists, name, "mounts volumes of the plan");
        }
        let (low, high) = MEMORY_BOUNDS;
        self.require(
            (low..=high).contains(&container.memory_bytes),
            name,
            "has a sane memory limit",
        );
        let (low, high) = CPU_BOUNDS;
        self.require(
            (low..=high).contains(&container.cpu_millis),
            name,
            "has a sane CPU limit",
        );
        self.require(
            (8..=8192).contains(&container.pids),
            name,
            "has a sane limit of processes",
        );
        let grace = container.stop_grace.as_secs();
        self.require(
            (1..=600).contains(&grace),
            name,
            "may take 1 to 600 seconds to stop",
        );
    }
}
