//! Containers and the user ids they run under.

use std::{collections::BTreeSet, time::Duration};

use shop_proto::{Resources, ServiceName};

use super::{Active, broken};
use crate::{
    ContainerPlan, Mount, RenderError, ServiceKind, StopSignal, Tmpfs,
    compose::{ComposeName, Service},
};

/// Offsets by kind; the agent has 0. Workers follow in the order of their names.
const DATABASE_UID: u16 = 1;
const CACHE_UID: u16 = 2;
const SEARCH_UID: u16 = 3;
const PHP_UID: u16 = 4;
const WEB_UID: u16 = 5;
const FIRST_WORKER_UID: u16 = 6;

/// What compose does when nothing is said.
const DEFAULT_STOP_SIGNAL: StopSignal = StopSignal::Term;
const DEFAULT_STOP_GRACE: Duration = Duration::from_secs(10);

impl Active<'_> {
    /// The uid offset of a service under the chosen profiles.
    pub(super) fn uid_of(&self, name: &ServiceName) -> Result<u16, RenderError> {
        let (_, entry) = self.services.get(name).ok_or_else(|| {
            broken(format!(
                "service {name} does not exist under these profiles"
            ))
        })?;
        match entry.kind {
            ServiceKind::Database => Ok(DATABASE_UID),
            ServiceKind::Cache => Ok(CACHE_UID),
            ServiceKind::Search => Ok(SEARCH_UID),
            ServiceKind::PhpFpm => Ok(PHP_UID),
            ServiceKind::Web => Ok(WEB_UID),
            ServiceKind::Worker => self
                .services
                .iter()
                .filter(|(_, (_, other))| other.kind == ServiceKind::Worker)
                .position(|(other, _)| other == name)
                .and_then(|position| u16::try_from(position).ok())
                .map(|position| FIRST_WORKER_UID + position)
                .ok_or_else(|| broken(format!("worker {name} has no user id"))),
        }
    }

    /// The service whose image a task shares: it has that one's user id, so that they share files, and that one's image, whatever it is.
    pub(super) fn owner_of_image(
        &self,
        task: &Service,
        from: &ComposeName,
    ) -> Result<&ServiceName, RenderError> {
        let shares = |compose: &ComposeName| {
            self.template
                .services
                .get(compose)
                .is_some_and(|service| service.image == task.image)
        };
        self.services
            .iter()
            .find(|(_, (compose, _))| shares(compose))
            .map(|(name, _)| name)
            .ok_or_else(|| {
                broken(format!(
                    "no service has the image of {from}, so its tasks have no user id"
                ))
            })
    }

    /// The container of a compose service, with a task's command or the resources of a service put in. Its user id and an image that an
    /// operator chose are those of `owner`.
    pub(super) fn container(
        &self,
        service: &Service,
        owner: &ServiceName,
        command: Option<Vec<String>>,
        resources: Option<&Resources>,
    ) -> Result<ContainerPlan, RenderError> {
        let env = service
            .environment
            .iter()
            .map(|(name, value)| {
                let value = value
                    .resolve(&self.variables)
                    .map_err(|error| broken(error.to_string()))?;
                Ok((name.0.clone(), value))
            })
            .collect::<Result<_, RenderError>>()?;
        let own_command = || {
            service
                .command
                .as_ref()
                .map(|words| words.iter().map(|word| word.0.clone()).collect())
        };
        let mut mounts: Vec<Mount> = service
            .volumes
            .iter()
            .map(|used| Mount {
                volume: used.volume.clone(),
                path: used.path.0.clone(),
                read_only: used.read_only,
            })
            .collect();
        mounts.sort_by(|a, b| a.path.cmp(&b.path));
        let mut tmpfs: Vec<Tmpfs> = service
            .tmpfs
            .iter()
            .map(|used| Tmpfs {
                path: used.path.0.clone(),
                size_bytes: used.size.0,
            })
            .collect();
        tmpfs.sort_by(|a, b| a.path.cmp(&b.path));
        let secrets: BTreeSet<String> = service.secrets.iter().map(|name| name.0.clone()).collect();
        let own_image = service.image.0.clone();
        let (image, own_image) = match self.checked.images.get(owner) {
            Some(image) => (image.clone(), Some(own_image)),
            None => (own_image, None),
        };
        Ok(ContainerPlan {
            image,
            command: command.or_else(own_command),
            env,
            uid_offset: self.uid_of(owner)?,
            networks: service.networks.keys().copied().collect(),
            mounts,
            tmpfs,
            secrets: secrets.into_iter().collect(),
            memory_bytes: resources
                .and_then(|resources| resources.memory_bytes)
                .unwrap_or(service.mem_limit.0),
            cpu_millis: resources
                .and_then(|resources| resources.cpu_millis)
                .unwrap_or(service.cpus.0),
            pids: service.pids_limit,
            read_only: service.read_only,
            stop_signal: service
                .stop_signal
                .map_or(DEFAULT_STOP_SIGNAL, |signal| signal.0),
            stop_grace: service
                .stop_grace_period
                .map_or(DEFAULT_STOP_GRACE, |span| span.0),
            own_image,
        })
    }
}
