//! A container spec as the engine's create request. Every field that could open a way out is written here, whatever a plan says.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig,
    HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount, MountTmpfsOptions, MountType,
    MountVolumeOptions, NetworkingConfig, RestartPolicy, RestartPolicyNameEnum,
};

use super::spec::{Attachment, ContainerSpec, MountSpec, Networking, Restart};

/// Shared memory of a container; counted against its memory limit.
const SHM_BYTES: i64 = 16 << 20;
/// One log file; three are kept, so a chatty service cannot fill the disk.
const LOG_FILE_SIZE: &str = "5m";
const LOG_FILES: &str = "3";
/// World-writable with the sticky bit, as /tmp is.
const TMPFS_MODE: i64 = 0o1777;

/// The whole create request, for a host with this many cores.
pub(super) fn create_body(spec: &ContainerSpec, cores: u32) -> ContainerCreateBody {
    let (uid, gid) = spec.user;
    let first = match &spec.networking {
        Networking::Host => None,
        Networking::Bridges(attachments) => attachments.first(),
    };
    ContainerCreateBody {
        hostname: match spec.networking {
            Networking::Host => None,
            Networking::Bridges(_) => Some(spec.hostname.clone()),
        },
        user: Some(format!("{uid}:{gid}")),
        attach_stdin: Some(false),
        attach_stdout: Some(false),
        attach_stderr: Some(false),
        tty: Some(false),
        open_stdin: Some(false),
        env: Some(
            spec.env
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
        ),
        entrypoint: spec.entrypoint.clone(),
        cmd: spec.command.clone(),
        // Readiness is asked by the shop agent; the engine's own probes would leak command lines into events.
        healthcheck: Some(bollard::models::HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..Default::default()
        }),
        image: Some(spec.image.clone()),
        labels: Some(spec.labels.clone().into_iter().collect()),
        stop_signal: Some(spec.stop_signal.clone()),
        stop_timeout: Some(seconds(spec)),
        host_config: Some(host_config(spec, first, cores)),
        networking_config: first.map(|attachment| NetworkingConfig {
            endpoints_config: Some(HashMap::from([(
                attachment.network.clone(),
                endpoint(attachment),
            )])),
        }),
        ..Default::default()
    }
}

/// A container's place in a network.
pub(super) fn endpoint(attachment: &Attachment) -> EndpointSettings {
    EndpointSettings {
        ipam_config: Some(EndpointIpamConfig {
            ipv4_address: Some(attachment.address.to_string()),
            ..Default::default()
        }),
        aliases: Some(vec![attachment.alias.clone()]),
        ..Default::default()
    }
}

/// Whole seconds of grace, at least one.
pub(super) fn seconds(spec: &ContainerSpec) -> i64 {
    i64::try_from(spec.stop_grace.as_secs().clamp(1, 600)).unwrap_or(600)
}

fn host_config(spec: &ContainerSpec, first: Option<&Attachment>, cores: u32) -> HostConfig {
    let memory = i64::try_from(spec.memory_bytes).unwrap_or(i64::MAX);
    HostConfig {
        memory: Some(memory),
        memory_swap: Some(memory),
        // The engine refuses more than there is.
        nano_cpus: Some(i64::from(spec.cpu_millis.min(cores * 1000)) * 1_000_000),
        pids_limit: Some(i64::from(spec.pids)),
        oom_kill_disable: Some(false),
        init: Some(false),
        mounts: Some(spec.mounts.iter().map(mount).collect()),
        network_mode: Some(first.map_or_else(
            || "host".to_owned(),
            |attachment| attachment.network.clone(),
        )),
        restart_policy: Some(RestartPolicy {
            name: Some(match spec.restart {
                Restart::Never => RestartPolicyNameEnum::NO,
                Restart::UnlessStopped => RestartPolicyNameEnum::UNLESS_STOPPED,
            }),
            maximum_retry_count: None,
        }),
        auto_remove: Some(false),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        // A lookup of a name that does not exist would otherwise hang for 20 s on an internal network.
        dns_options: match spec.networking {
            Networking::Host => None,
            Networking::Bridges(_) => Some(vec!["timeout:1".to_owned(), "attempts:1".to_owned()]),
        },
        extra_hosts: Some(
            spec.extra_hosts
                .iter()
                .map(|(name, address)| format!("{name}:{address}"))
                .collect(),
        ),
        ipc_mode: Some("private".to_owned()),
        privileged: Some(false),
        publish_all_ports: Some(false),
        readonly_rootfs: Some(spec.read_only),
        shm_size: Some(SHM_BYTES),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), LOG_FILE_SIZE.to_owned()),
                ("max-file".to_owned(), LOG_FILES.to_owned()),
            ])),
        }),
        ..Default::default()
    }
}

fn mount(spec: &MountSpec) -> Mount {
    match spec {
        MountSpec::Volume {
            name,
            path,
            read_only,
        } => Mount {
            typ: Some(MountType::VOLUME),
            source: Some(name.clone()),
            target: Some(path.clone()),
            read_only: Some(*read_only),
            // Filling a volume from the image is not crash-safe; entrypoints do it themselves.
            volume_options: Some(MountVolumeOptions {
                no_copy: Some(true),
                ..Default::default()
            }),
            ..Default::default()
        },
        MountSpec::Directory {
            source,
            path,
            read_only,
        } => Mount {
            typ: Some(MountType::BIND),
            source: Some(source.clone()),
            target: Some(path.clone()),
            read_only: Some(*read_only),
            ..Default::default()
        },
        // The engine mounts these noexec, nosuid, nodev.
        MountSpec::Memory { path, size_bytes } => Mount {
            typ: Some(MountType::TMPFS),
            target: Some(path.clone()),
            tmpfs_options: Some(MountTmpfsOptions {
                size_bytes: Some(i64::try_from(*size_bytes).unwrap_or(i64::MAX)),
                mode: Some(TMPFS_MODE),
                ..Default::default()
            }),
            ..Default::default()
        },
    }
}
