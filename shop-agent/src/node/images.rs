//! Images that came with the person who joined this host, as archives in a directory (`--images DIR`): there may be no registry.
//! Each archive is looked into, loaded once, and remembered with what it brought; one that has not changed is left alone.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize};

use super::{
    allowed,
    archive::{self, ArchiveError},
    context::Node,
    docker::EngineError,
    state::files::{self, FileError, Kept},
};

/// What was loaded, kept in the node's state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// By file name.
    archives: BTreeMap<String, Archive>,
}

impl Kept for Loaded {
    const FORMAT: u32 = 1;
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Archive {
    bytes: u64,
    modified_unix_ms: u64,
    /// Content ids by tag, as the engine had them afterwards.
    images: BTreeMap<String, String>,
}

/// Why images are not here.
#[derive(Debug, thiserror::Error)]
pub enum ImagesError {
    /// The directory.
    #[error("the images in {} cannot be listed: give --images the directory that quickstart saved", .0.display())]
    Directory(PathBuf, #[source] std::io::Error),
    /// Nothing in it.
    #[error("{} holds no image archive (*.tar): make one with `deploy/images/build --save DIR` on the host that has the images", .0.display())]
    Empty(PathBuf),
    /// One archive.
    #[error("{} is not loaded", .0.display())]
    Archive(PathBuf, #[source] ArchiveError),
    /// The engine has not got what the archive was to bring.
    #[error("{} was loaded, but {tag} is not there", archive.display())]
    Missing {
        /// Which archive.
        archive: PathBuf,
        /// Which image.
        tag: String,
    },
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// What we keep.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Whether any archive was ever loaded on this node.
pub fn first_time(node: &Node) -> Result<bool, FileError> {
    Ok(files::kept::<Loaded>(&node.paths.images_file())?.is_none())
}

/// For a node that has them already and was given the option again: stores come first, and a directory that is gone is no reason to end.
pub async fn renew(node: Arc<Node>, directory: PathBuf) {
    if let Err(error) = load(&node, &directory).await {
        tracing::warn!(
            error = %anyhow::Error::from(error).chain().map(ToString::to_string).collect::<Vec<_>>().join(": "),
            "the node goes on with the images it has"
        );
    }
}

/// Loads what is new in the directory.
///
/// # Errors
/// When there is nothing to load, or an archive is not ours.
pub async fn load(node: &Node, directory: &Path) -> Result<(), ImagesError> {
    let file = node.paths.images_file();
    let mut loaded = files::kept::<Loaded>(&file)?.unwrap_or_default();
    let mut archives = archives(directory)?;
    archives.sort_unstable();
    if archives.is_empty() {
        return Err(ImagesError::Empty(directory.to_path_buf()));
    }
    let allowed = allowed::list(node).await;
    for path in archives {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let (bytes, modified_unix_ms) =
            stamp(&path).map_err(|error| ImagesError::Archive(path.clone(), error.into()))?;
        if let Some(known) = loaded.archives.get(&name)
            && (known.bytes, known.modified_unix_ms) == (bytes, modified_unix_ms)
            && all_here(node, &known.images).await?
        {
            continue;
        }
        let tags = archive::images(&path, &allowed)
            .map_err(|error| ImagesError::Archive(path.clone(), error))?;
        tracing::info!(archive = %path.display(), images = tags.len(), "loading images");
        node.engine.load_images(&path).await?;
        let mut images = BTreeMap::new();
        for tag in tags {
            let id = node.engine.image_id(&tag).await?;
            let id = id.ok_or_else(|| ImagesError::Missing {
                archive: path.clone(),
                tag: tag.clone(),
            })?;
            images.insert(tag, id);
        }
        let archive = Archive {
            bytes,
            modified_unix_ms,
            images,
        };
        loaded.archives.insert(name, archive);
        files::keep(&file, &loaded)?;
    }
    tracing::info!(directory = %directory.display(), "every image of the directory is here");
    Ok(())
}

fn archives(directory: &Path) -> Result<Vec<PathBuf>, ImagesError> {
    let problem = |error| ImagesError::Directory(directory.to_path_buf(), error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(problem)? {
        let path = entry.map_err(problem)?.path();
        if path.extension().is_some_and(|extension| extension == "tar") {
            found.push(path);
        }
    }
    Ok(found)
}

fn stamp(path: &Path) -> std::io::Result<(u64, u64)> {
    let meta = std::fs::metadata(path)?;
    let modified = meta
        .modified()?
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Ok((
        meta.len(),
        u64::try_from(modified.as_millis()).unwrap_or(u64::MAX),
    ))
}

async fn all_here(node: &Node, images: &BTreeMap<String, String>) -> Result<bool, EngineError> {
    for (tag, id) in images {
        if node.engine.image_id(tag).await?.as_ref() != Some(id) {
            return Ok(false);
        }
    }
    Ok(true)
}
