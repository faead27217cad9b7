//! Volumes: directories of the node for data (so that a quota can be put on them), memory for secrets.

use std::collections::BTreeMap;

use bollard::{
    models::VolumeCreateRequest,
    query_parameters::{ListVolumesOptionsBuilder, RemoveVolumeOptionsBuilder},
};
use shop_plan::names::label;

use super::{
    containers::{Created, Removed, filters},
    engine::{CHANGE, Engine, EngineError, READ, within},
    spec::Scope,
};

/// A volume, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeSpec {
    /// Deterministic, carries the node id.
    pub name: String,
    /// Where its bytes are.
    pub kind: VolumeKind,
    /// Ours only.
    pub labels: BTreeMap<String, String>,
}

/// Where a volume's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeKind {
    /// A directory that the node has made.
    Directory(String),
    /// Memory of the host: empty again after every time that nobody used it.
    Secrets {
        /// Writes.
        owner_uid: u32,
        /// Reads.
        reader_gid: u32,
    },
}

impl Engine {
    /// Makes the volume or adopts the one there is.
    ///
    /// # Errors
    /// [`EngineError::Foreign`] when the name belongs to somebody else: the engine would hand it over silently.
    pub async fn ensure_volume(&self, spec: &VolumeSpec) -> Result<Created, EngineError> {
        let existing = match within(
            "inspect a volume",
            READ,
            self.docker.inspect_volume(&spec.name),
        )
        .await
        {
            Ok(found) => Some(found),
            Err(EngineError::Refused { status: 404, .. }) => None,
            Err(error) => return Err(error),
        };
        let options = spec.kind.options();
        if let Some(found) = existing {
            return if found.labels.get(label::NODE) != spec.labels.get(label::NODE) {
                Err(EngineError::Foreign {
                    name: spec.name.clone(),
                })
            } else if found.options.into_iter().collect::<BTreeMap<_, _>>() != options {
                Err(EngineError::OtherSpec {
                    name: spec.name.clone(),
                })
            } else {
                Ok(Created::Adopted)
            };
        }
        let request = VolumeCreateRequest {
            name: Some(spec.name.clone()),
            driver: Some("local".to_owned()),
            driver_opts: Some(options.into_iter().collect()),
            labels: Some(spec.labels.clone().into_iter().collect()),
            cluster_volume_spec: None,
        };
        within(
            "create a volume",
            CHANGE,
            self.docker.create_volume(request),
        )
        .await
        .map(|_| Created::New)
    }

    /// Names of all volumes of a node or a store.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn volume_names(&self, scope: Scope<'_>) -> Result<Vec<String>, EngineError> {
        let options = ListVolumesOptionsBuilder::default()
            .filters(&filters(scope))
            .build();
        let found = within(
            "list volumes",
            READ,
            self.docker.list_volumes(Some(options)),
        )
        .await?;
        Ok(found
            .volumes
            .unwrap_or_default()
            .into_iter()
            .map(|volume| volume.name)
            .collect())
    }

    /// Removes a volume; the directory behind it is the node's to remove.
    ///
    /// # Errors
    /// Status 409 while a container has it.
    pub async fn remove_volume(&self, name: &str) -> Result<Removed, EngineError> {
        let options = RemoveVolumeOptionsBuilder::default().force(false).build();
        match within(
            "remove a volume",
            CHANGE,
            self.docker.remove_volume(name, Some(options)),
        )
        .await
        {
            Ok(()) => Ok(Removed::Now),
            Err(EngineError::Refused { status: 404, .. }) => Ok(Removed::Absent),
            Err(error) => Err(error),
        }
    }
}

impl VolumeKind {
    fn options(&self) -> BTreeMap<String, String> {
        let entry = |key: &str, value: String| (key.to_owned(), value);
        match self {
            Self::Directory(path) => BTreeMap::from([
                entry("type", "none".to_owned()),
                entry("o", "bind".to_owned()),
                entry("device", path.clone()),
            ]),
            // Set-group-id: files that the agent makes there are readable by the service's group.
            Self::Secrets {
                owner_uid,
                reader_gid,
            } => BTreeMap::from([
                entry("type", "tmpfs".to_owned()),
                entry("device", "tmpfs".to_owned()),
                entry(
                    "o",
                    format!(
                        "size=1m,mode=2750,uid={owner_uid},gid={reader_gid},noexec,nosuid,nodev"
                    ),
                ),
            ]),
        }
    }
}
