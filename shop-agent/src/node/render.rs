//! From a plan to containers, volumes and networks of this node. Pure. A shop agent names a replica key; every field is written here.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use serde::Serialize;
use shop_plan::{
    ArgumentProblem, ContainerPlan, NetworkName, ServiceKind, StorePlan, address,
    names::{self, label},
};
use shop_proto::{Digest, NodeId, ReplicaKey, ServiceName, Slot, StoreId};

use super::{
    docker::{
        Attachment, ContainerSpec, MountSpec, NetworkSpec, Networking, Restart, VolumeKind,
        VolumeSpec,
    },
    ipam::{Cidr, Subnet},
    paths::Paths,
    state::StoreRecord,
};

/// The shop agent's image.
pub const AGENT_IMAGE: &str = "shopfleet/shop-agent:1";
/// The vault of the shop agent, among the names of volumes.
pub const VAULT: &str = "agent-vault";
/// Memory limit of a shop agent.
const AGENT_MEMORY: u64 = 32 << 20;
/// CPU limit of a shop agent: its start must not be slow.
const AGENT_CPU_MILLIS: u32 = 500;
/// Threads of a shop agent.
const AGENT_PIDS: u32 = 32;
/// A shop agent flushes and goes; services run on.
const AGENT_GRACE: Duration = Duration::from_secs(5);
/// Networks the shop agent is always in; it joins `app-b` when there is one.
const AGENT_NETWORKS: [NetworkName; 3] = [NetworkName::AppA, NetworkName::AppB, NetworkName::Data];

/// Everything a rendering depends on besides the plan.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Whose containers they are.
    pub node: &'a NodeId,
    /// Where directories are.
    pub paths: &'a Paths,
    /// Where addresses come from.
    pub pool: Cidr,
    /// The store: its uids, subnets, host names.
    pub record: &'a StoreRecord,
}

/// A request that the plan does not allow, or not yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// No such replica or task in the plan.
    #[error("the plan has no {0}")]
    NotInPlan(String),
    /// The network has no address range yet.
    #[error("network {} is not there yet", .0.as_str())]
    NoSubnet(NetworkName),
    /// A task was asked to run with arguments that it does not take.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Arguments(Vec<ArgumentProblem>),
}

impl Place<'_> {
    /// The container of a replica.
    ///
    /// # Errors
    /// When the plan does not allow the key.
    pub fn replica(
        &self,
        plan: &StorePlan,
        key: &ReplicaKey,
    ) -> Result<ContainerSpec, RenderError> {
        let service = plan
            .service(&key.service)
            .filter(|_| plan.allows(key))
            .ok_or_else(|| RenderError::NotInPlan(key.to_string()))?;
        let attachments = service
            .container
            .networks_in(key.slot)
            .into_iter()
            .map(|network| {
                let part = address::replica(plan, key, network)
                    .ok_or_else(|| RenderError::NotInPlan(key.to_string()))?;
                self.attachment(network, part, key.service.as_str())
            })
            .collect::<Result<Vec<_>, _>>()?;
        let labels = [
            (label::KIND, "service".to_owned()),
            (label::SERVICE, key.service.to_string()),
            (label::SLOT, key.slot.to_string()),
            (label::REPLICA, key.replica.to_string()),
            (label::REVISION, plan.revision.to_string()),
            (label::SPEC_HASH, service.spec_hash.to_string()),
            (label::SHAPE, plan.shape_hash(service).to_string()),
        ];
        let mut spec = self.of_plan(&service.container, &key.service, attachments, labels);
        spec.name = names::replica(self.node, self.store(), key);
        spec.hostname = key.to_string();
        spec.extra_hosts = self.own_hosts(&service.container, key.slot)?;
        spec.extra_hosts
            .extend(self.neighbours(plan, &service.container, key.slot, &key.service));
        Ok(spec)
    }

    /// The container of a task's run.
    ///
    /// # Errors
    /// When the plan has no such task.
    pub fn task(
        &self,
        plan: &StorePlan,
        name: &ServiceName,
        run: &str,
        arguments: &[String],
    ) -> Result<ContainerSpec, RenderError> {
        let missing = || RenderError::NotInPlan(format!("task {name}"));
        let task = plan.task(name).ok_or_else(missing)?;
        let part = address::task(plan, name).ok_or_else(missing)?;
        let command = task
            .command_line(arguments)
            .map_err(RenderError::Arguments)?;
        let attachments = task
            .container
            .networks_in(Slot::Fixed)
            .into_iter()
            .map(|network| self.attachment(network, part, name.as_str()))
            .collect::<Result<Vec<_>, _>>()?;
        let labels = [
            (label::KIND, "task".to_owned()),
            (label::TASK, name.to_string()),
            (label::RUN, run.to_owned()),
            (label::REVISION, plan.revision.to_string()),
            (label::SPEC_HASH, Digest::of_value(task).to_string()),
        ];
        let mut spec = self.of_plan(&task.container, &task.source, attachments, labels);
        spec.name = names::task(self.node, self.store(), name, run);
        spec.hostname = name.to_string();
        spec.extra_hosts = self.neighbours(plan, &task.container, Slot::Fixed, name);
        if !command.is_empty() {
            spec.command = Some(command);
        }
        Ok(spec)
    }

    /// The shop agent's container. Known plans decide which secrets volumes it writes; `image_id` makes a new image a new container.
    ///
    /// # Errors
    /// When its networks have no address range yet.
    pub fn agent(
        &self,
        plans: &[&StorePlan],
        image_id: &str,
    ) -> Result<ContainerSpec, RenderError> {
        let uid = self.record.uid_base;
        let attachments = AGENT_NETWORKS
            .into_iter()
            .filter(|network| *network != NetworkName::AppB || self.record.second_slot)
            .map(|network| self.attachment(network, address::AGENT, "agent"))
            .collect::<Result<Vec<_>, _>>()?;
        let mut mounts = vec![
            MountSpec::Directory {
                source: text(&self.paths.sockets(self.store())),
                path: "/run/shopfleet".to_owned(),
                read_only: true,
            },
            MountSpec::Volume {
                name: names::vault_volume(self.node, self.store()),
                path: "/var/lib/shopfleet".to_owned(),
                read_only: false,
            },
        ];
        mounts.extend(
            consumers(plans)
                .into_keys()
                .map(|consumer| MountSpec::Volume {
                    name: names::secrets_volume(self.node, self.store(), &consumer),
                    path: format!("/secrets/{consumer}"),
                    read_only: false,
                }),
        );
        let mut spec = ContainerSpec {
            name: names::agent(self.node, self.store()),
            image: AGENT_IMAGE.to_owned(),
            entrypoint: None,
            command: Some(vec!["run".to_owned()]),
            env: BTreeMap::new(),
            user: (uid, uid),
            labels: BTreeMap::new(),
            hostname: "agent".to_owned(),
            memory_bytes: AGENT_MEMORY,
            cpu_millis: AGENT_CPU_MILLIS,
            pids: AGENT_PIDS,
            read_only: true,
            mounts,
            networking: Networking::Bridges(attachments),
            extra_hosts: BTreeMap::new(),
            stop_signal: "SIGTERM".to_owned(),
            stop_grace: AGENT_GRACE,
            restart: Restart::Never,
            own_image: None,
        };
        // Networks are joined while it runs; only the rest makes a new container.
        let mut fixed = spec.clone();
        fixed.networking = Networking::Host;
        let hash = Digest::of(format!("{} {image_id}", fixed.content_digest()).as_bytes());
        spec.labels = self.labels([
            (label::KIND, "agent".to_owned()),
            (label::SERVICE, "agent".to_owned()),
            (label::SPEC_HASH, hash.to_string()),
        ]);
        Ok(spec)
    }

    /// A network of the store.
    ///
    /// # Errors
    /// When it has no address range yet.
    pub fn network(&self, network: NetworkName) -> Result<NetworkSpec, RenderError> {
        let index = self
            .record
            .subnets
            .get(&network)
            .ok_or(RenderError::NoSubnet(network))?;
        let subnet = self.pool.subnet(*index);
        Ok(NetworkSpec {
            name: names::network(self.node, self.store(), network),
            bridge: names::bridge(self.node, index.get()),
            subnet: subnet.to_string(),
            gateway: subnet.gateway(),
            internal: network.internal(),
            labels: self.labels([(label::KIND, "network".to_owned())]),
        })
    }

    /// All volumes that these plans and the shop agent need: data with its owner's uid, then secrets.
    #[must_use]
    pub fn volumes(&self, plans: &[&StorePlan]) -> Vec<(VolumeSpec, Option<DataDirectory>)> {
        let uid = |offset: u16| self.record.uid_base + u32::from(offset);
        let labels = || self.labels([(label::KIND, "volume".to_owned())]);
        let vault = self.data_volume(
            names::vault_volume(self.node, self.store()),
            DataDirectory {
                name: VAULT.to_owned(),
                path: self.paths.vault(self.store()),
                owner: uid(0),
                mode: PRIVATE,
                never_emptied: true,
            },
        );
        let mut data: BTreeMap<ServiceName, DataDirectory> = BTreeMap::new();
        for plan in plans {
            for volume in &plan.volumes {
                let directory = data.entry(volume.name.clone()).or_insert(DataDirectory {
                    name: volume.name.to_string(),
                    path: self.paths.volume(self.store(), &volume.name),
                    owner: 0,
                    mode: PRIVATE,
                    never_emptied: false,
                });
                directory.owner = uid(volume.uid_offset);
                if plan.read_by_others(volume) {
                    directory.mode = READ_BY_OTHERS;
                }
                directory.never_emptied |= plan.services.iter().any(|service| {
                    let mounts = &service.container.mounts;
                    service.kind == ServiceKind::Database
                        && mounts.iter().any(|mount| mount.volume == volume.name)
                });
            }
        }
        let data = data.into_iter().map(|(name, directory)| {
            self.data_volume(names::volume(self.node, self.store(), &name), directory)
        });
        let secrets = consumers(plans).into_iter().map(|(consumer, offset)| {
            let volume = VolumeSpec {
                name: names::secrets_volume(self.node, self.store(), &consumer),
                kind: VolumeKind::Secrets {
                    owner_uid: self.record.uid_base,
                    reader_gid: uid(offset),
                },
                labels: labels(),
            };
            (volume, None)
        });
        std::iter::once(vault).chain(data).chain(secrets).collect()
    }

    /// Where a web replica of a slot answers, when it has an address.
    #[must_use]
    pub fn web_address(&self, plan: &StorePlan, slot: Slot, replica: u8) -> Option<Ipv4Addr> {
        let key = ReplicaKey {
            service: plan.edge.service.clone(),
            slot,
            replica,
        };
        let network = if slot == Slot::B {
            NetworkName::AppB
        } else {
            NetworkName::AppA
        };
        let part = address::replica(plan, &key, network)?;
        Some(self.subnet(network)?.host(part))
    }

    /// Address range of a network.
    #[must_use]
    pub fn subnet(&self, network: NetworkName) -> Option<Subnet> {
        let index = self.record.subnets.get(&network)?;
        Some(self.pool.subnet(*index))
    }

    fn store(&self) -> &StoreId {
        &self.record.store
    }

    fn data_volume(
        &self,
        name: String,
        directory: DataDirectory,
    ) -> (VolumeSpec, Option<DataDirectory>) {
        let volume = VolumeSpec {
            name,
            kind: VolumeKind::Directory(text(&directory.path)),
            labels: self.labels([(label::KIND, "volume".to_owned())]),
        };
        (volume, Some(directory))
    }

    fn of_plan<const N: usize>(
        &self,
        container: &ContainerPlan,
        consumer: &ServiceName,
        attachments: Vec<Attachment>,
        labels: [(&str, String); N],
    ) -> ContainerSpec {
        let uid = self.record.uid_base + u32::from(container.uid_offset);
        let secrets = (!container.secrets.is_empty()).then(|| MountSpec::Volume {
            name: names::secrets_volume(self.node, self.store(), consumer),
            path: "/run/secrets".to_owned(),
            read_only: true,
        });
        let volumes = container.mounts.iter().map(|mount| MountSpec::Volume {
            name: names::volume(self.node, self.store(), &mount.volume),
            path: mount.path.clone(),
            read_only: mount.read_only,
        });
        let memory = container.tmpfs.iter().map(|tmpfs| MountSpec::Memory {
            path: tmpfs.path.clone(),
            size_bytes: tmpfs.size_bytes,
        });
        ContainerSpec {
            name: String::new(),
            image: container.image.clone(),
            entrypoint: None,
            command: container.command.clone(),
            env: container.env.clone(),
            user: (uid, uid),
            labels: self.labels(labels),
            hostname: String::new(),
            memory_bytes: container.memory_bytes,
            cpu_millis: container.cpu_millis,
            pids: container.pids,
            read_only: container.read_only,
            mounts: secrets.into_iter().chain(volumes).chain(memory).collect(),
            networking: Networking::Bridges(attachments),
            extra_hosts: BTreeMap::new(),
            stop_signal: container.stop_signal.as_str().to_owned(),
            stop_grace: container.stop_grace,
            restart: Restart::Never,
            own_image: container.own_image.clone(),
        }
    }

    /// A shop calls itself through the edge, which it finds at its gateway.
    fn own_hosts(
        &self,
        container: &ContainerPlan,
        slot: Slot,
    ) -> Result<BTreeMap<String, Ipv4Addr>, RenderError> {
        let Some(network) = container.networks_in(slot).into_iter().next() else {
            return Ok(BTreeMap::new());
        };
        let gateway = self
            .subnet(network)
            .ok_or(RenderError::NoSubnet(network))?
            .gateway();
        Ok(self
            .record
            .routed_hosts()
            .map(|host| (host.to_string(), gateway))
            .collect())
    }

    /// Services that stay at one address, by name. A page asks for them some times each, and Docker, which answers otherwise, is at its
    /// slowest while it makes and removes containers; web and PHP come and go and are asked for.
    fn neighbours(
        &self,
        plan: &StorePlan,
        container: &ContainerPlan,
        slot: Slot,
        own: &ServiceName,
    ) -> BTreeMap<String, Ipv4Addr> {
        let networks = container.networks_in(slot);
        plan.services
            .iter()
            .filter(|service| !service.kind.slotted() && service.name != *own)
            .filter_map(|service| {
                let key = ReplicaKey {
                    service: service.name.clone(),
                    slot: Slot::Fixed,
                    replica: 0,
                };
                networks.iter().find_map(|network| {
                    let part = address::replica(plan, &key, *network)?;
                    let address = self.subnet(*network)?.host(part);
                    Some((service.name.to_string(), address))
                })
            })
            .collect()
    }

    fn attachment(
        &self,
        network: NetworkName,
        part: u8,
        alias: &str,
    ) -> Result<Attachment, RenderError> {
        let subnet = self.subnet(network).ok_or(RenderError::NoSubnet(network))?;
        Ok(Attachment {
            network: names::network(self.node, self.store(), network),
            address: subnet.host(part),
            alias: alias.to_owned(),
        })
    }

    fn labels<const N: usize>(&self, more: [(&str, String); N]) -> BTreeMap<String, String> {
        [
            (label::NODE, self.node.to_string()),
            (label::STORE, self.store().to_string()),
        ]
        .into_iter()
        .chain(more)
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }
}

/// A directory behind a data volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DataDirectory {
    /// As the volume is called within the store.
    pub name: String,
    /// Where.
    pub path: std::path::PathBuf,
    /// uid and gid.
    pub owner: u32,
    /// Permissions.
    pub mode: u32,
    /// Whether something is in it from the first start on: a database's files, the vault. Uploads may all be deleted by a shop's own admin.
    pub never_emptied: bool,
}

/// A data directory that one user's containers mount.
const PRIVATE: u32 = 0o750;
/// One that another user's container mounts too: it opens files whose names it knows, and lists nothing.
const READ_BY_OTHERS: u32 = 0o751;

/// Consumers of secrets in any of the plans, with the uid offset that reads.
fn consumers(plans: &[&StorePlan]) -> BTreeMap<ServiceName, u16> {
    plans
        .iter()
        .flat_map(|plan| plan.secret_consumers())
        .map(|(consumer, container)| (consumer, container.uid_offset))
        .collect()
}

fn text(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
