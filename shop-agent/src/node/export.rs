//! `shop-agent export`: what the volumes of a stopped store hold, as one tar archive on standard output. For the administrator of the host, who can
//! read all of it anyway: the control plane has no part in it. The vault stays: nobody but the store's agent can open it.

use std::{
    collections::BTreeSet,
    fs::{self, FileType},
    io::{self, BufWriter, IsTerminal as _, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use data_encoding::HEXLOWER;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use shop_plan::names::label;
use shop_proto::{NodeId, StoreId};
use tar::{Builder, Header};

use super::{
    docker::{ContainerState, Engine, EngineError, Observed, Scope},
    paths::Paths,
};

/// Version of the archive's form.
const FORMAT: u32 = 1;
/// First entry of an archive: what it is.
const ABOUT: &str = "shopfleet-export.json";
/// Written at once.
const BUFFER: usize = 1 << 20;

/// Arguments of `shop-agent export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Id of the store, as `shopctl store get` shows it.
    pub store: StoreId,
    /// Where the node agent keeps its state.
    #[arg(long, default_value = "/var/lib/shopfleet")]
    pub state_dir: PathBuf,
    /// The container engine's socket.
    #[arg(long, default_value = "/var/run/docker.sock")]
    pub docker: PathBuf,
}

/// Why there is no archive, or none that is whole.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It would be shown.
    #[error("an archive is nothing to look at: shop-agent export {0} > {0}.tar")]
    Terminal(StoreId),
    /// Another host's, or nobody's.
    #[error("no volume of store {0} is on this host; `shopctl store get` says on which node it is")]
    Unknown(StoreId),
    /// It could change under the copy.
    #[error(
        "store {store} runs ({running}): stop it first, with `shopctl store stop {store}`; nothing was written"
    )]
    Runs {
        /// Which.
        store: StoreId,
        /// Its containers.
        running: String,
    },
    /// It may have changed under the copy.
    #[error(
        "store {0} was started meanwhile: what was written is no copy of one moment; throw it away"
    )]
    Started(StoreId),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The disk, or who reads the archive.
    #[error("what was written is not whole; throw it away")]
    Io(#[from] io::Error),
}

/// What an archive is.
#[derive(Debug, Serialize)]
struct About<'a> {
    format: u32,
    store: &'a StoreId,
    node: &'a NodeId,
    at: String,
    volumes: &'a [String],
}

/// What was written.
struct Written {
    volumes: Vec<String>,
    files: u64,
    /// Sockets, pipes and devices, which no archive keeps.
    left_out: u64,
    bytes: u64,
    sha256: String,
}

/// Writes the archive, and on standard error what it is.
///
/// # Errors
/// See [`ExportError`].
pub async fn run(args: ExportArgs) -> Result<(), ExportError> {
    let store = args.store;
    if io::stdout().is_terminal() {
        return Err(ExportError::Terminal(store));
    }
    let (node, volumes) = find(&args.state_dir, &store)?;
    let engine = Engine::connect(&args.docker).await?;
    let before = at_rest(&engine, &node, &store).await?;
    let of = store.clone();
    let id = node.clone();
    let work = move || write(&volumes, &id, &of, io::stdout().lock());
    let written = tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)??;
    // What ended before may be gone by now; what is there may not have started since.
    match at_rest(&engine, &node, &store).await {
        Ok(after) if after.is_subset(&before) => {}
        Ok(_) | Err(ExportError::Runs { .. }) => return Err(ExportError::Started(store)),
        Err(other) => return Err(other),
    }
    eprintln!(
        "store {store}: {} files of {} ({}), {} bytes",
        written.files,
        many(written.volumes.len(), "volume"),
        written.volumes.join(", "),
        written.bytes
    );
    if written.left_out > 0 {
        eprintln!("left out: {} sockets, pipes and devices", written.left_out);
    }
    eprintln!("sha256 {}", written.sha256);
    Ok(())
}

fn many(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The node that holds the store here, and where.
fn find(state: &Path, store: &StoreId) -> Result<(NodeId, PathBuf), ExportError> {
    for entry in fs::read_dir(state)? {
        let name = entry?.file_name();
        let Some(node) = name.to_str().and_then(|name| name.parse::<NodeId>().ok()) else {
            continue;
        };
        let volumes = Paths::new(state, Path::new(""), &node).volumes(store);
        if volumes.is_dir() {
            return Ok((node, volumes));
        }
    }
    Err(ExportError::Unknown(store.clone()))
}

/// When each of the store's containers was started, of which none but its agent's runs: that one touches the vault alone.
async fn at_rest(
    engine: &Engine,
    node: &NodeId,
    store: &StoreId,
) -> Result<BTreeSet<(String, i64)>, ExportError> {
    let mut found = engine.list(Scope::Store(node, store)).await?;
    found.retain(|it| it.label(label::KIND) != Some("agent"));
    let running: BTreeSet<&str> = found
        .iter()
        .filter(|it| it.running())
        .map(|it| it.label(label::SERVICE).unwrap_or(&it.name))
        .collect();
    if running.is_empty() {
        return Ok(found.iter().filter_map(start).collect());
    }
    Err(ExportError::Runs {
        store: store.clone(),
        running: running.into_iter().collect::<Vec<_>>().join(", "),
    })
}

/// The start of a container that has run.
fn start(container: &Observed) -> Option<(String, i64)> {
    match container.state {
        ContainerState::Running { started_unix_ms }
        | ContainerState::Exited {
            started_unix_ms, ..
        } => Some((container.id.clone(), started_unix_ms)),
        ContainerState::Created | ContainerState::Removing | ContainerState::Dead => None,
    }
}

/// Writes everything below the volumes' directory, but for what is the agent's own.
fn write(root: &Path, node: &NodeId, store: &StoreId, out: impl Write) -> io::Result<Written> {
    // No volume of a plan begins like that.
    let mut volumes = names(root)?;
    volumes.retain(|name| !name.as_encoded_bytes().starts_with(b"_"));
    let told: Vec<String> = volumes
        .iter()
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    let mut archive = Builder::new(BufWriter::with_capacity(BUFFER, Hashing::new(out)));
    archive.follow_symlinks(false);
    let about = About {
        format: FORMAT,
        store,
        node,
        at: jiff::Timestamp::now().to_string(),
        volumes: &told,
    };
    let mut text = serde_json::to_vec_pretty(&about)?;
    text.push(b'\n');
    let mut header = Header::new_gnu();
    header.set_mode(0o600);
    header.set_size(text.len() as u64);
    archive.append_data(&mut header, ABOUT, text.as_slice())?;
    let (mut files, mut left_out) = (0, 0);
    let mut next: Vec<PathBuf> = volumes.into_iter().rev().map(PathBuf::from).collect();
    while let Some(inside) = next.pop() {
        let path = root.join(&inside);
        let at =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let kind = fs::symlink_metadata(&path).map_err(at)?.file_type();
        if !kept(kind) {
            left_out += 1;
            continue;
        }
        let name = Path::new("volumes").join(&inside);
        archive.append_path_with_name(&path, name).map_err(at)?;
        if kind.is_dir() {
            let within = names(&path).map_err(at)?.into_iter().rev();
            next.extend(within.map(|name| inside.join(name)));
        } else {
            files += 1;
        }
    }
    let mut out = archive.into_inner()?;
    out.flush()?;
    let Hashing { bytes, sha256, .. } = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(Written {
        volumes: told,
        files,
        left_out,
        bytes,
        sha256: HEXLOWER.encode(&sha256.finalize()),
    })
}

fn kept(kind: FileType) -> bool {
    kind.is_file() || kind.is_dir() || kind.is_symlink()
}

/// What is in a directory, sorted.
fn names(directory: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let mut names = fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Counts and digests what passes.
struct Hashing<W> {
    out: W,
    bytes: u64,
    sha256: Sha256,
}

impl<W> Hashing<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            bytes: 0,
            sha256: Sha256::new(),
        }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.sha256.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::{
        ffi::OsStrExt as _,
        fs::{PermissionsExt as _, symlink},
        net::UnixListener,
    };

    use super::*;

    const STORE: &str = "k3v9q2m8x1aa";

    fn ids() -> (NodeId, StoreId) {
        ("ryuboy".parse().unwrap(), STORE.parse().unwrap())
    }

    #[test]
    fn everything_comes_out_as_it_was_but_the_vault() {
        let place = tempfile::tempdir().unwrap();
        let (node, store) = ids();
        let root = place.path().join("volumes");
        let long = "d".repeat(120);
        let odd = std::ffi::OsStr::from_bytes(b"caf\xe9.jpg");
        fs::create_dir_all(root.join("media").join(&long)).unwrap();
        fs::create_dir_all(root.join("empty")).unwrap();
        fs::create_dir_all(root.join("_vault")).unwrap();
        fs::write(root.join("_vault/key"), "secret").unwrap();
        fs::write(root.join("media").join(&long).join(odd), "picture").unwrap();
        let mode = fs::Permissions::from_mode(0o640);
        fs::set_permissions(root.join("media").join(&long).join(odd), mode).unwrap();
        symlink("/etc/shadow", root.join("media/link")).unwrap();
        let _socket = UnixListener::bind(root.join("media/socket")).unwrap();
        let hole = fs::File::create(root.join("media/hole")).unwrap();
        hole.set_len(64 << 20).unwrap();

        let mut out = Vec::new();
        let written = write(&root, &node, &store, &mut out).unwrap();
        assert_eq!(written.volumes, ["empty", "media"]);
        assert_eq!((written.files, written.left_out), (3, 1));
        assert_eq!(written.bytes, out.len() as u64);
        assert_eq!(written.sha256, HEXLOWER.encode(&Sha256::digest(&out)));
        assert!(out.len() < 1 << 20, "a hole was written out");
        assert!(!out.windows(6).any(|part| part == b"secret"));

        let there = place.path().join("there");
        tar::Archive::new(out.as_slice()).unpack(&there).unwrap();
        let about: serde_json::Value =
            serde_json::from_slice(&fs::read(there.join(ABOUT)).unwrap()).unwrap();
        assert_eq!(about["format"], 1);
        assert_eq!(about["store"], STORE);
        let media = there.join("volumes/media");
        let picture = media.join(&long).join(odd);
        assert_eq!(fs::read(&picture).unwrap(), b"picture");
        let mode = fs::metadata(&picture).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        let link = fs::read_link(media.join("link")).unwrap();
        assert_eq!(link, Path::new("/etc/shadow"));
        assert_eq!(fs::metadata(media.join("hole")).unwrap().len(), 64 << 20);
        assert!(there.join("volumes/empty").is_dir());
        assert!(!there.join("volumes/_vault").exists());
    }

    #[test]
    fn who_reads_no_more_is_an_error() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let place = tempfile::tempdir().unwrap();
        let (node, store) = ids();
        assert!(write(place.path(), &node, &store, Gone).is_err());
    }

    #[test]
    fn the_store_is_found_whichever_node_of_the_host_has_it() {
        let state = tempfile::tempdir().unwrap();
        let (node, store) = ids();
        fs::create_dir_all(state.path().join("aaaaaa/volumes/other")).unwrap();
        fs::write(state.path().join("no-node"), "").unwrap();
        assert!(matches!(
            find(state.path(), &store),
            Err(ExportError::Unknown(_))
        ));
        let volumes = state.path().join("ryuboy/volumes").join(STORE);
        fs::create_dir_all(&volumes).unwrap();
        assert_eq!(find(state.path(), &store).unwrap(), (node, volumes));
    }
}
