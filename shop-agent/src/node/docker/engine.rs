//! The connection: one API version for every call, a deadline on each, starts limited.

use std::{future::Future, path::Path, path::PathBuf, sync::Arc, time::Duration};

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker, errors::Error as Bollard};

use shop_proto::Digest;

use super::starts::Starts;

/// Engine 20.10's API: the oldest we speak, and what we speak wherever it is still understood.
const PINNED: (u32, u32) = (1, 41);
/// Reads take milliseconds; an engine that needs longer is stuck.
pub(super) const READ: Duration = Duration::from_secs(2);
/// Creates and starts queue inside the engine when many stores come at once.
pub(super) const CHANGE: Duration = Duration::from_secs(30);
/// What a stop may take beyond the container's own grace.
pub(super) const STOP_MARGIN: Duration = Duration::from_secs(10);
/// bollard's own limit until response headers; ours are shorter, except for a stop with the longest grace.
const TRANSPORT_TIMEOUT_SECONDS: u64 = 700;

/// A connection to a container engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(super) docker: Docker,
    pub(super) socket: Arc<Path>,
    pub(super) api: (u32, u32),
    pub(super) starts: Starts,
    pub(super) cores: u32,
    version: Arc<str>,
}

/// Why a call had no outcome.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nothing answers on the socket.
    #[error("the container engine does not answer on its socket ({operation})")]
    Unreachable {
        /// What was tried.
        operation: &'static str,
        /// Cause.
        #[source]
        source: Box<Bollard>,
    },
    /// The answer took too long; what was asked may or may not have happened.
    #[error("the container engine took longer than {} s to {operation}", .after.as_secs())]
    Deadline {
        /// What was tried.
        operation: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// The image is not on this host.
    #[error("the image is not on this node")]
    ImageMissing,
    /// The engine said no.
    #[error("the container engine refused to {operation} (status {status})")]
    Refused {
        /// What was tried.
        operation: &'static str,
        /// HTTP status.
        status: u16,
        /// The engine's text: for the log only.
        text: String,
    },
    /// Something else has this name.
    #[error("something that this node did not make has the name {name}")]
    Foreign {
        /// The name.
        name: String,
    },
    /// The same key was made from another spec.
    #[error("{name} exists and was made from another spec")]
    OtherSpec {
        /// The name.
        name: String,
    },
    /// A container that does not run by the engine's word has a process all the same, and it does not end.
    #[error(
        "{name} does not run by the engine's word, but a process of it does, and does not end: end it by hand (see the node's log)"
    )]
    Forgotten {
        /// The container.
        name: String,
    },
    /// An engine too old or too new.
    #[error("this engine speaks API {min} to {max}; 1.41 or newer is needed")]
    Version {
        /// Oldest it speaks.
        min: String,
        /// Newest it speaks.
        max: String,
    },
    /// An answer that makes no sense.
    #[error("the container engine's answer to {operation} could not be read")]
    Malformed {
        /// What was tried.
        operation: &'static str,
    },
}

impl EngineError {
    /// For the log: the engine's own words, where there are any.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Refused { text, .. } => text.chars().take(400).collect(),
            Self::Unreachable { source, .. } => source.to_string(),
            _ => String::new(),
        }
    }
}

impl Engine {
    /// Connects, and settles on one API version.
    ///
    /// # Errors
    /// When nothing answers or the engine is too old.
    pub async fn connect(socket: &Path) -> Result<Self, EngineError> {
        let operation = "connect";
        let path = socket.to_string_lossy().into_owned();
        let plain =
            Docker::connect_with_socket(&path, TRANSPORT_TIMEOUT_SECONDS, API_DEFAULT_VERSION)
                .map_err(|source| refine(operation, source))?;
        // Unversioned: every engine answers it.
        let version = within(operation, READ, plain.version()).await?;
        let max = version.api_version.unwrap_or_default();
        let min = version.min_api_version.unwrap_or_default();
        let api = choose(&min, &max).ok_or(EngineError::Version { min, max })?;
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Ok(Self {
            docker: plain.with_request_modifier(move |request| pin(request, api)),
            socket: PathBuf::from(socket).into(),
            api,
            starts: Starts::new(cores.max(2)),
            cores: u32::try_from(cores).unwrap_or(u32::MAX / 1000),
            version: version.version.unwrap_or_default().into(),
        })
    }

    /// Version of the engine, such as `20.10.24`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What of a CPU limit this host can give: the engine refuses more than there is.
    #[must_use]
    pub fn cpu_millis(&self, wanted: u32) -> u32 {
        wanted.min(self.cores * 1000)
    }

    /// Whether it answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), EngineError> {
        within("ping", READ, self.docker.ping()).await.map(|_| ())
    }

    /// Tags of the images that are here.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn images(&self) -> Result<Vec<String>, EngineError> {
        let options = bollard::query_parameters::ListImagesOptionsBuilder::default().build();
        let images = within("list images", READ, self.docker.list_images(Some(options))).await?;
        let mut tags: Vec<String> = images
            .into_iter()
            .flat_map(|image| image.repo_tags)
            .filter(|tag| tag != "<none>:<none>")
            .collect();
        tags.sort_unstable();
        tags.dedup();
        Ok(tags)
    }

    /// Digests that name an image's content: its id, and those of the registries it came from. `None` when it is not here.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn image_digests(&self, image: &str) -> Result<Option<Vec<Digest>>, EngineError> {
        let found = match within("inspect an image", READ, self.docker.inspect_image(image)).await {
            Ok(found) => found,
            Err(EngineError::Refused { status: 404, .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let named = found.repo_digests.unwrap_or_default();
        let texts = found.id.into_iter().chain(named);
        Ok(Some(
            texts
                .filter_map(|text| text.rsplit_once("sha256:")?.1.parse().ok())
                .collect(),
        ))
    }

    /// Content id of an image, or `None` when it is not here.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn image_id(&self, image: &str) -> Result<Option<String>, EngineError> {
        match within("inspect an image", READ, self.docker.inspect_image(image)).await {
            Ok(found) => Ok(found.id),
            Err(EngineError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Every call goes through here: a deadline, and one mapping of errors.
pub(super) async fn within<T>(
    operation: &'static str,
    deadline: Duration,
    call: impl Future<Output = Result<T, Bollard>>,
) -> Result<T, EngineError> {
    match tokio::time::timeout(deadline, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(refine(operation, error)),
        Err(_) => Err(EngineError::Deadline {
            operation,
            after: deadline,
        }),
    }
}

fn refine(operation: &'static str, error: Bollard) -> EngineError {
    match error {
        Bollard::DockerResponseServerError {
            status_code,
            message,
        } => EngineError::Refused {
            operation,
            status: status_code,
            text: message,
        },
        Bollard::JsonDataError { .. } | Bollard::JsonSerdeError { .. } => {
            EngineError::Malformed { operation }
        }
        other => EngineError::Unreachable {
            operation,
            source: Box::new(other),
        },
    }
}

/// The version spoken with an engine that understands `min` to `max`.
pub(super) fn choose(min: &str, max: &str) -> Option<(u32, u32)> {
    let (min, max) = (parse(min).unwrap_or((1, 0)), parse(max)?);
    let chosen = PINNED.max(min);
    (chosen <= max).then_some(chosen)
}

fn parse(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// bollard leaves the version out of its paths, so every engine would answer in its own newest API.
fn pin(request: BollardRequest, (major, minor): (u32, u32)) -> BollardRequest {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut uri = parts.uri.clone().into_parts();
    if let Ok(pinned) = format!("/v{major}.{minor}{path}").parse() {
        uri.path_and_query = Some(pinned);
    }
    if let Ok(uri) = http::Uri::from_parts(uri) {
        parts.uri = uri;
    }
    BollardRequest::from_parts(parts, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_version_is_chosen_for_old_and_new_engines() {
        assert_eq!(choose("1.12", "1.41"), Some((1, 41)));
        assert_eq!(choose("1.24", "1.51"), Some((1, 41)));
        assert_eq!(choose("1.44", "1.52"), Some((1, 44)));
        assert_eq!(choose("1.12", "1.40"), None);
        assert_eq!(choose("", "nonsense"), None);
    }
}
