//! A store's volumes: made once, remembered, and never made anew. A volume whose data is gone is said to be lost, and nothing that mounts it
//! is started: an empty one in its place would look like a shop without orders. Whoever puts the data back finds it taken up again.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use shop_plan::names;
use shop_proto::{NodeId, StoreId};

use super::{
    context::{Node, Store},
    docker::{ContainerSpec, MountSpec},
    paths::Paths,
    prepare::of,
    render::{DataDirectory, VAULT},
    replicas::ReplicaError,
    state::{
        ChangeError, StoreRecord,
        files::{self, FileError},
    },
    tasks::blocking,
};

/// In a marker: the directory was made, and may be empty at any time.
const MADE: &[u8] = b"made\n";
/// In a marker: the directory was made, and waits for what is to stay in it.
const TO_BE_FILLED: &[u8] = b"to be filled\n";
/// Held while a marker is changed.
static MARKING: Mutex<()> = Mutex::new(());
/// In a marker: something was in the directory, and must be from then on.
const FILLED: &[u8] = b"filled\n";

/// Sees that volumes are there: all of the store's, or those that a container mounts. Lost ones are left as they are.
///
/// # Errors
/// [`ReplicaError::VolumeLost`] when the container mounts a lost one.
pub async fn ready(
    node: &Node,
    store: &Store,
    container: Option<&ContainerSpec>,
) -> Result<(), ReplicaError> {
    // One at a time: several containers of one volume are made at once.
    let gate = store.gate("volumes");
    let turn = gate.acquire().await;
    let _turn = turn.map_err(|_| ReplicaError::Closed)?;
    let record = node.state.store(&store.id).ok_or(ChangeError::Unknown)?;
    let plans = store.plans(&record).map_err(ReplicaError::Plan)?;
    let wanted: Vec<_> = node
        .place(&record)
        .volumes(&of(&plans))
        .into_iter()
        .filter(|(volume, _)| container.is_none_or(|it| mounts(it, &volume.name)))
        .collect();
    let directories: Vec<DataDirectory> = wanted.iter().filter_map(|(_, it)| it.clone()).collect();
    let id = store.id.clone();
    let made = blocking(&node.state, move |state| {
        let mut fresh = Vec::new();
        for directory in directories {
            if !record.volumes.contains(&directory.name) {
                make(&directory)?;
                fresh.push(directory.name);
            } else if directory.path.is_dir() {
                // Another plan may let others read it.
                keep(&directory)?;
            }
        }
        state.change(&id, |record| record.volumes.extend(fresh))
    });
    let record = made.await??;
    let lost = lost(node, &record).await?;
    let is_lost = |name: &str| {
        let short = short(&node.id, &store.id, name);
        lost.iter().find(|it| Some(it.as_str()) == short)
    };
    let mut ensure = Vec::new();
    for (volume, _) in &wanted {
        match is_lost(&volume.name) {
            Some(name) if container.is_some() => {
                return Err(ReplicaError::VolumeLost(name.clone()));
            }
            Some(_) => {}
            // Docker's object may be gone; the data behind it is not.
            None => ensure.push(node.engine.ensure_volume(volume)),
        }
    }
    futures::future::try_join_all(ensure).await?;
    Ok(())
}

/// Volumes that were made here and whose data is gone.
///
/// # Errors
/// When the disk says no.
pub async fn lost(node: &Node, record: &StoreRecord) -> Result<Vec<String>, ReplicaError> {
    let (paths, id) = (Arc::new(node.paths.clone()), record.store.clone());
    let volumes = record.volumes.clone();
    let lost = blocking(&paths, move |paths| {
        let mut lost = Vec::new();
        for name in volumes {
            if !there(&directory(paths, &id, &name)).map_err(|source| FileError::Io {
                path: directory(paths, &id, &name),
                source,
            })? {
                lost.push(name);
            }
        }
        Ok::<_, FileError>(lost)
    });
    Ok(lost.await??)
}

/// Whether a container mounts a lost volume.
///
/// # Errors
/// [`ReplicaError::VolumeLost`] when it does.
pub async fn check(node: &Node, store: &Store, spec: &ContainerSpec) -> Result<(), ReplicaError> {
    let record = node.state.store(&store.id).ok_or(ChangeError::Unknown)?;
    let lost = lost(node, &record).await?;
    let prefix = names::prefix(&node.id, &store.id);
    match lost
        .into_iter()
        .find(|name| mounts(spec, &format!("{prefix}-{name}")))
    {
        Some(name) => Err(ReplicaError::VolumeLost(name)),
        None => Ok(()),
    }
}

/// The marker beside a volume's directory: outside what a store can write.
fn marker(directory: &Path) -> std::path::PathBuf {
    // Names of volumes have no dot.
    directory.with_extension("made")
}

fn keep(directory: &DataDirectory) -> Result<(), FileError> {
    let owner = Some((directory.owner, directory.owner));
    files::directory(&directory.path, directory.mode, owner)
}

fn make(directory: &DataDirectory) -> Result<(), FileError> {
    keep(directory)?;
    let content = if directory.never_emptied {
        TO_BE_FILLED
    } else {
        MADE
    };
    files::replace(&marker(&directory.path), content, 0o600)
}

/// Whether the data is there: its directory, the marker, and something inside once there was something that is to stay.
fn there(directory: &Path) -> io::Result<bool> {
    let marker = marker(directory);
    let known = match fs::read(&marker) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    let mut entries = match fs::read_dir(directory) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(false);
        }
        other => other?,
    };
    if known == MADE {
        return Ok(true);
    }
    let filled = entries.next().is_some();
    if filled && known != FILLED {
        // Several look at once, and a file is replaced through one beside it.
        let _turn = MARKING.lock().unwrap_or_else(PoisonError::into_inner);
        files::replace(&marker, FILLED, 0o600).map_err(io::Error::other)?;
    }
    Ok(filled || known != FILLED)
}

fn directory(paths: &Paths, store: &StoreId, name: &str) -> std::path::PathBuf {
    if name == VAULT {
        paths.vault(store)
    } else {
        paths.volumes(store).join(name)
    }
}

fn mounts(spec: &ContainerSpec, volume: &str) -> bool {
    spec.mounts
        .iter()
        .any(|mount| matches!(mount, MountSpec::Volume { name, .. } if name == volume))
}

fn short<'a>(node: &NodeId, store: &StoreId, name: &'a str) -> Option<&'a str> {
    name.strip_prefix(&names::prefix(node, store))?
        .strip_prefix('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(path: &Path) -> DataDirectory {
        let owner = rustix::process::getuid().as_raw();
        DataDirectory {
            name: "db-data".to_owned(),
            path: path.to_owned(),
            owner,
            mode: 0o750,
            never_emptied: true,
        }
    }

    #[test]
    fn a_volume_is_lost_with_its_directory_its_marker_or_all_that_was_in_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("db-data");
        make(&data(&path)).unwrap();
        assert!(there(&path).unwrap(), "new ones are empty");
        fs::write(path.join("ibdata1"), b"orders").unwrap();
        assert!(there(&path).unwrap());

        fs::remove_file(path.join("ibdata1")).unwrap();
        assert!(!there(&path).unwrap(), "there were orders in it");
        fs::write(path.join("ibdata1"), b"restored").unwrap();
        assert!(there(&path).unwrap());

        fs::rename(marker(&path), place.path().join("elsewhere")).unwrap();
        assert!(!there(&path).unwrap(), "another disk is mounted there");
        fs::rename(place.path().join("elsewhere"), marker(&path)).unwrap();
        fs::remove_dir_all(&path).unwrap();
        assert!(!there(&path).unwrap());
    }

    #[test]
    fn a_shop_may_delete_all_of_its_uploads() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("media");
        make(&DataDirectory {
            name: "media".to_owned(),
            never_emptied: false,
            ..data(&path)
        })
        .unwrap();
        fs::write(path.join("cup.jpg"), b"x").unwrap();
        assert!(there(&path).unwrap());
        fs::remove_file(path.join("cup.jpg")).unwrap();
        assert!(there(&path).unwrap());
    }
}
