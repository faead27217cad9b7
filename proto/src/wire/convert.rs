//! Wire ↔ domain, at one place, with an error that names the field.

use crate::{
    Generation, Host, Isolation, ReplicaKey, Resources, Revision, RunState, SPEC_FORMAT, Spec,
    Watch, wire::common::v1 as api,
};

/// A message that is well-formed protobuf but no valid value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct WireError {
    /// Path of the field, such as `spec.revision.template_digest`.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

impl WireError {
    /// An error at a field.
    pub fn at(field: &'static str, problem: impl ToString) -> Self {
        Self {
            field,
            problem: problem.to_string(),
        }
    }
}

/// `None` on the wire where a value is required.
pub fn required<T>(value: Option<T>, field: &'static str) -> Result<T, WireError> {
    value.ok_or_else(|| WireError::at(field, "is required"))
}

/// A generation that must be there.
pub fn generation(value: u64, field: &'static str) -> Result<Generation, WireError> {
    Generation::new(value).ok_or_else(|| WireError::at(field, "starts at 1"))
}

impl From<&ReplicaKey> for api::ReplicaKey {
    fn from(key: &ReplicaKey) -> Self {
        let ReplicaKey {
            service,
            slot,
            replica,
        } = key;
        Self {
            service: service.to_string(),
            slot: slot.to_string(),
            replica: u32::from(*replica),
        }
    }
}

impl TryFrom<api::ReplicaKey> for ReplicaKey {
    type Error = WireError;

    fn try_from(key: api::ReplicaKey) -> Result<Self, WireError> {
        let api::ReplicaKey {
            service,
            slot,
            replica,
        } = key;
        Self::parse(&service, &slot, replica).map_err(|error| WireError::at("key", error))
    }
}

impl From<&Resources> for api::Resources {
    fn from(resources: &Resources) -> Self {
        Self {
            memory_bytes: resources.memory_bytes.unwrap_or(0),
            cpu_millis: resources.cpu_millis.unwrap_or(0),
        }
    }
}

impl From<api::Resources> for Resources {
    fn from(resources: api::Resources) -> Self {
        Self {
            memory_bytes: (resources.memory_bytes > 0).then_some(resources.memory_bytes),
            cpu_millis: (resources.cpu_millis > 0).then_some(resources.cpu_millis),
        }
    }
}

impl From<&Revision> for api::Revision {
    fn from(revision: &Revision) -> Self {
        let Revision {
            number,
            template,
            template_digest,
            parameters,
            profiles,
            images,
            resources,
            isolation,
        } = revision;
        Self {
            number: *number,
            template: template.clone(),
            template_digest: template_digest.to_string(),
            parameters: parameters.clone(),
            profiles: profiles.clone(),
            images: images
                .iter()
                .map(|(service, image)| (service.to_string(), image.clone()))
                .collect(),
            resources: resources
                .iter()
                .map(|(service, resources)| (service.to_string(), resources.into()))
                .collect(),
            isolation: isolation.as_str().to_owned(),
        }
    }
}

impl TryFrom<api::Revision> for Revision {
    type Error = WireError;

    fn try_from(revision: api::Revision) -> Result<Self, WireError> {
        let api::Revision {
            number,
            template,
            template_digest,
            parameters,
            profiles,
            images,
            resources,
            isolation,
        } = revision;
        Ok(Self {
            number,
            template,
            template_digest: template_digest
                .parse()
                .map_err(|error| WireError::at("revision.template_digest", error))?,
            parameters,
            profiles,
            images: images
                .into_iter()
                .map(|(service, image)| Ok((service.parse()?, image)))
                .collect::<Result<_, crate::IdError>>()
                .map_err(|error| WireError::at("revision.images", error))?,
            resources: resources
                .into_iter()
                .map(|(service, resources)| Ok((service.parse()?, resources.into())))
                .collect::<Result<_, crate::IdError>>()
                .map_err(|error| WireError::at("revision.resources", error))?,
            isolation: match isolation.as_str() {
                "standard" => Isolation::Standard,
                _ => return Err(WireError::at("revision.isolation", "must be standard")),
            },
        })
    }
}

impl From<&Spec> for api::Spec {
    fn from(spec: &Spec) -> Self {
        let Spec {
            format,
            store_name,
            revision,
            hosts,
            scale,
            run_state,
            restart_seq,
            maintenance,
            hold_until_unix_ms,
            watch,
            rotations,
        } = spec;
        Self {
            format: *format,
            revision: Some(revision.into()),
            hosts: hosts
                .iter()
                .map(|host| api::HostName {
                    name: host.name.to_string(),
                    verified: host.verified,
                })
                .collect(),
            scale: scale
                .iter()
                .map(|(service, replicas)| (service.to_string(), u32::from(*replicas)))
                .collect(),
            run_state: run_state.as_str().to_owned(),
            restart_seq: *restart_seq,
            store_name: store_name.to_string(),
            maintenance: *maintenance,
            hold_until_unix_ms: hold_until_unix_ms.unwrap_or(0),
            watch: watch.as_ref().map(Into::into),
            rotations: rotations.clone().into_iter().collect(),
        }
    }
}

impl From<&Watch> for api::Watch {
    fn from(watch: &Watch) -> Self {
        let Watch {
            window_seconds,
            failed_checks,
            restarts,
            error_permille,
            error_factor,
            min_requests,
        } = *watch;
        Self {
            window_seconds,
            failed_checks,
            restarts,
            error_permille,
            error_factor,
            min_requests,
        }
    }
}

impl TryFrom<api::Watch> for Watch {
    type Error = WireError;

    fn try_from(watch: api::Watch) -> Result<Self, WireError> {
        let api::Watch {
            window_seconds,
            failed_checks,
            restarts,
            error_permille,
            error_factor,
            min_requests,
        } = watch;
        let watch = Self {
            window_seconds,
            failed_checks,
            restarts,
            error_permille,
            error_factor,
            min_requests,
        };
        watch
            .check()
            .map_err(|error| WireError::at("spec.watch", error))?;
        Ok(watch)
    }
}

impl TryFrom<api::Spec> for Spec {
    type Error = WireError;

    fn try_from(spec: api::Spec) -> Result<Self, WireError> {
        let api::Spec {
            format,
            revision,
            hosts,
            scale,
            run_state,
            restart_seq,
            store_name,
            maintenance,
            hold_until_unix_ms,
            watch,
            rotations,
        } = spec;
        if format != SPEC_FORMAT {
            return Err(WireError::at(
                "spec.format",
                format!("is {format}; this release knows {SPEC_FORMAT}"),
            ));
        }
        Ok(Self {
            format,
            store_name: store_name
                .parse()
                .map_err(|error| WireError::at("spec.store_name", error))?,
            revision: required(revision, "spec.revision")?.try_into()?,
            hosts: hosts
                .into_iter()
                .map(|host| {
                    Ok(Host {
                        name: host
                            .name
                            .parse()
                            .map_err(|error| WireError::at("spec.hosts", error))?,
                        verified: host.verified,
                    })
                })
                .collect::<Result<_, WireError>>()?,
            scale: scale
                .into_iter()
                .map(|(service, replicas)| {
                    let replicas = u8::try_from(replicas)
                        .ok()
                        .filter(|n| (1..=ReplicaKey::MAX_REPLICAS).contains(n))
                        .ok_or_else(|| WireError::at("spec.scale", "must be 1 to 6"))?;
                    let service = service
                        .parse()
                        .map_err(|error| WireError::at("spec.scale", error))?;
                    Ok((service, replicas))
                })
                .collect::<Result<_, WireError>>()?,
            run_state: RunState::parse(&run_state).ok_or_else(|| {
                WireError::at("spec.run_state", "must be running, stopped or paused")
            })?,
            restart_seq,
            maintenance,
            hold_until_unix_ms: (hold_until_unix_ms > 0).then_some(hold_until_unix_ms),
            watch: watch.map(Watch::try_from).transpose()?,
            rotations: rotations.into_iter().collect(),
        })
    }
}
