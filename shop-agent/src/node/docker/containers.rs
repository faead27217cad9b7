//! Containers: create (or adopt), start, stop, signal, remove, observe.

use std::{collections::HashMap, time::Duration};

use bollard::{
    models::{
        ContainerInspectResponse, ContainerStateStatusEnum, ContainerUpdateBody,
        NetworkConnectRequest,
    },
    query_parameters::{
        CreateContainerOptionsBuilder, InspectContainerOptions, KillContainerOptionsBuilder,
        ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder,
        StopContainerOptionsBuilder, WaitContainerOptions,
    },
};
use futures::{StreamExt as _, future::try_join_all};
use shop_plan::names::label;

use super::{
    body,
    engine::{CHANGE, Engine, EngineError, READ, STOP_MARGIN, within},
    spec::{ContainerSpec, ContainerState, Limits, Observed, Scope},
    starts::Urgency,
};

/// Pause before a lost wait is asked for again.
const WAIT_AGAIN: Duration = Duration::from_millis(200);

/// How long containerd gets to clear up after a keeper that was killed.
const CLEARED: Duration = Duration::from_millis(300);

/// Longest wait for a start's turn: many stores at once take a while.
const QUEUE: Duration = Duration::from_secs(60);

/// How a create ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// Made now.
    New,
    /// There already, made from the same spec.
    Adopted,
}

/// How a start ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// Started now.
    Now,
    /// It ran already.
    Already,
}

/// How a stop or a signal ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Stopped (or signalled) now.
    Now,
    /// It did not run.
    Already,
    /// There is no such container.
    Absent,
}

/// How a removal ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// Removed now.
    Now,
    /// There was none.
    Absent,
    /// The engine is at it; ask again.
    InProgress,
}

impl Engine {
    /// Creates the container with all its networks, or adopts the one that a crash or a lost answer left.
    ///
    /// # Errors
    /// [`EngineError::OtherSpec`] when the same key was made from another spec; nothing is changed then.
    pub async fn create(&self, spec: &ContainerSpec) -> Result<Created, EngineError> {
        let operation = "create a container";
        let options = CreateContainerOptionsBuilder::default()
            .name(&spec.name)
            .build();
        let call = self
            .docker
            .create_container(Some(options), body::create_body(spec, self.cores));
        let created = match within(operation, CHANGE, call).await {
            Ok(_) => Created::New,
            Err(EngineError::Refused { status: 409, .. }) => Created::Adopted,
            Err(EngineError::Refused {
                status: 404, text, ..
            }) if text.contains("image") => {
                return Err(EngineError::ImageMissing);
            }
            Err(error) => return Err(error),
        };
        let networks = match created {
            Created::New => spec_first(spec),
            Created::Adopted => self.adoptable(spec).await?.networks,
        };
        self.attach(spec, &networks).await?;
        Ok(created)
    }

    /// Starts it; the networks it should have are checked first. No more than a few starts run at once. What an engine that was killed left
    /// running of it is ended first.
    ///
    /// # Errors
    /// When it is absent (status 404) or the engine fails.
    pub async fn start(
        &self,
        spec: &ContainerSpec,
        urgency: Urgency,
    ) -> Result<Started, EngineError> {
        let observed = self.adoptable(spec).await?;
        if observed.running() {
            return Ok(Started::Already);
        }
        self.attach(spec, &observed.networks).await?;
        let operation = "start a container";
        let turn = tokio::time::timeout(QUEUE, self.starts.turn(urgency)).await;
        let Ok(_turn) = turn else {
            return Err(EngineError::Deadline {
                operation,
                after: QUEUE,
            });
        };
        let start = async || {
            let call = self.docker.start_container(&observed.id, None);
            match within(operation, CHANGE, call).await {
                Ok(()) => Ok(Started::Now),
                Err(EngineError::Refused { status: 304, .. }) => Ok(Started::Already),
                Err(error) => Err(error),
            }
        };
        match start().await {
            Err(EngineError::Refused { text, .. }) if barred(&text) => {
                tracing::warn!(container = spec.name, %text, "the engine does not start what it forgot");
                self.end_forgotten(&spec.name, &observed.id).await?;
                // containerd sees that its keeper is gone, and clears up after it.
                tokio::time::sleep(CLEARED).await;
                let started = start().await;
                if matches!(&started, Err(EngineError::Refused { text, .. }) if barred(text)) {
                    // What is left of it nobody can end: it bars the way for good. All that is to stay lies on volumes: the container goes,
                    // and whoever wants it makes another.
                    tracing::warn!(
                        container = spec.name,
                        "removing what the engine can never start again"
                    );
                    self.remove(&spec.name, true).await?;
                }
                started
            }
            other => other,
        }
    }

    /// Asks it to stop, then kills it after `grace`.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn stop(&self, name: &str, grace: Duration) -> Result<Stopped, EngineError> {
        let seconds = i32::try_from(grace.as_secs().clamp(1, 600)).unwrap_or(600);
        let options = StopContainerOptionsBuilder::default().t(seconds).build();
        let call = self.docker.stop_container(name, Some(options));
        stopped(within("stop a container", grace + STOP_MARGIN, call).await)
    }

    /// Gives it another name, which nothing has. It goes on meanwhile.
    ///
    /// # Errors
    /// Status 404 when it is absent, 409 when the name is taken.
    pub async fn rename(&self, name: &str, to: &str) -> Result<(), EngineError> {
        let options = RenameContainerOptionsBuilder::default().name(to).build();
        let call = self.docker.rename_container(name, options);
        within("rename a container", READ, call).await
    }

    /// Sends a signal, by its name.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn signal(&self, name: &str, signal: &str) -> Result<Stopped, EngineError> {
        let options = KillContainerOptionsBuilder::default()
            .signal(signal)
            .build();
        let call = self.docker.kill_container(name, Some(options));
        match within("signal a container", READ, call).await {
            // "is not running"
            Err(EngineError::Refused { status: 409, .. }) => Ok(Stopped::Already),
            other => stopped(other),
        }
    }

    /// Gives it other limits while it runs.
    ///
    /// # Errors
    /// When it is absent (status 404), or the kernel does not take them: a memory limit below what is in use.
    pub async fn limit(&self, name: &str, limits: Limits) -> Result<(), EngineError> {
        let memory = i64::try_from(limits.memory_bytes).unwrap_or(i64::MAX);
        let body = ContainerUpdateBody {
            memory: Some(memory),
            memory_swap: Some(memory),
            nano_cpus: Some(i64::from(self.cpu_millis(limits.cpu_millis)) * 1_000_000),
            pids_limit: Some(i64::from(limits.pids)),
            ..Default::default()
        };
        let call = self.docker.update_container(name, body);
        within("limit a container", READ, call).await.map(|_| ())
    }

    /// Removes it; `force` kills it first. Its volumes stay. Nothing of it runs on afterwards, not even what the engine forgot.
    ///
    /// # Errors
    /// Status 409 when it runs and `force` is not set.
    pub async fn remove(&self, name: &str, force: bool) -> Result<Removed, EngineError> {
        if let Some(found) = self.inspect(name).await?
            && !found.running()
        {
            self.end_forgotten(name, &found.id).await?;
        }
        let options = RemoveContainerOptionsBuilder::default()
            .force(force)
            .v(false)
            .build();
        let call = self.docker.remove_container(name, Some(options));
        match within("remove a container", CHANGE, call).await {
            Ok(()) => Ok(Removed::Now),
            Err(EngineError::Refused { status: 404, .. }) => Ok(Removed::Absent),
            Err(EngineError::Refused {
                status: 409, text, ..
            }) if text.contains("already in progress") => Ok(Removed::InProgress),
            Err(error) => Err(error),
        }
    }

    /// One container by its full name, or `None`.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn inspect(&self, name: &str) -> Result<Option<Observed>, EngineError> {
        let call = self
            .docker
            .inspect_container(name, None::<InspectContainerOptions>);
        match within("inspect a container", READ, call).await {
            // A name or id prefix of something else must not pass for it.
            Ok(found) => Ok(Some(observed(found)).filter(|it| it.name == name || it.id == name)),
            Err(EngineError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All containers of a node or a store, those that do not run too.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn list(&self, scope: Scope<'_>) -> Result<Vec<Observed>, EngineError> {
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters(scope))
            .build();
        let summaries = within(
            "list containers",
            READ,
            self.docker.list_containers(Some(options)),
        )
        .await?;
        let ids: Vec<String> = summaries.into_iter().filter_map(|it| it.id).collect();
        let found = try_join_all(ids.iter().map(|id| self.inspect(id))).await?;
        // The filter is the engine's; the check is ours.
        Ok(found
            .into_iter()
            .flatten()
            .filter(|it| in_scope(it, scope))
            .collect())
    }

    /// Waits until it has ended, or is no more.
    ///
    /// # Errors
    /// [`EngineError::Deadline`] when it still runs then.
    pub async fn wait(&self, name: &str, deadline: Duration) -> Result<(), EngineError> {
        let ended = async {
            loop {
                // Any end of the stream is only a hint: the connection may have been lost.
                let mut stream = self
                    .docker
                    .wait_container(name, None::<WaitContainerOptions>);
                while stream.next().await.is_some() {}
                match self.inspect(name).await {
                    Ok(Some(found)) if found.running() => {}
                    Ok(_) => return,
                    Err(error) => tracing::debug!(%error, "waiting for a container"),
                }
                tokio::time::sleep(WAIT_AGAIN).await;
            }
        };
        tokio::time::timeout(deadline, ended)
            .await
            .map_err(|_| EngineError::Deadline {
                operation: "end a container",
                after: deadline,
            })
    }

    /// What has the spec's name, if it was made from the spec.
    async fn adoptable(&self, spec: &ContainerSpec) -> Result<Observed, EngineError> {
        let name = spec.name.clone();
        let Some(observed) = self.inspect(&name).await? else {
            return Err(EngineError::Refused {
                operation: "find a container",
                status: 404,
                text: String::new(),
            });
        };
        if spec.made(&observed) {
            Ok(observed)
        } else if observed.label(label::NODE) == spec.label(label::NODE)
            && observed.label(label::STORE) == spec.label(label::STORE)
        {
            Err(EngineError::OtherSpec { name })
        } else {
            Err(EngineError::Foreign { name })
        }
    }

    /// Connects the networks that are missing. One after the other: the engine takes a lock for each.
    ///
    /// # Errors
    /// When the engine does not do it.
    pub async fn attach(
        &self,
        spec: &ContainerSpec,
        present: &[String],
    ) -> Result<(), EngineError> {
        for attachment in spec.missing(present) {
            let request = NetworkConnectRequest {
                container: spec.name.clone(),
                endpoint_config: Some(body::endpoint(attachment)),
            };
            let call = self.docker.connect_network(&attachment.network, request);
            match within("connect a network", CHANGE, call).await {
                Ok(()) => {}
                // Connected by a call whose answer was lost.
                Err(EngineError::Refused {
                    status: 403, text, ..
                }) if text.contains("already exists in network") => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether the engine refuses to start a container because its containerd has it, or something of it, already: in the words of Docker's
/// releases.
fn barred(text: &str) -> bool {
    let task = text.starts_with("task ") && text.ends_with(": already exists");
    let place = text.contains("failed to start shim") && text.contains("file exists");
    task || place || text.contains("id already in use")
}

fn spec_first(spec: &ContainerSpec) -> Vec<String> {
    spec.missing(&[])
        .take(1)
        .map(|attachment| attachment.network.clone())
        .collect()
}

fn stopped(result: Result<(), EngineError>) -> Result<Stopped, EngineError> {
    match result {
        Ok(()) => Ok(Stopped::Now),
        Err(EngineError::Refused { status: 304, .. }) => Ok(Stopped::Already),
        Err(EngineError::Refused { status: 404, .. }) => Ok(Stopped::Absent),
        Err(error) => Err(error),
    }
}

pub(super) fn filters(scope: Scope<'_>) -> HashMap<String, Vec<String>> {
    let labels = match scope {
        Scope::Node(node) => vec![format!("{}={node}", label::NODE)],
        Scope::Store(node, store) => vec![
            format!("{}={node}", label::NODE),
            format!("{}={store}", label::STORE),
        ],
        Scope::Kind(node, store, kind) => vec![
            format!("{}={node}", label::NODE),
            format!("{}={store}", label::STORE),
            format!("{}={kind}", label::KIND),
        ],
    };
    HashMap::from([("label".to_owned(), labels)])
}

fn in_scope(observed: &Observed, scope: Scope<'_>) -> bool {
    match scope {
        Scope::Node(node) => observed.label(label::NODE) == Some(node.as_str()),
        Scope::Store(node, store) => {
            observed.label(label::NODE) == Some(node.as_str())
                && observed.label(label::STORE) == Some(store.as_str())
        }
        Scope::Kind(node, store, kind) => {
            in_scope(observed, Scope::Store(node, store))
                && observed.label(label::KIND) == Some(kind)
        }
    }
}

pub(super) fn observed(found: ContainerInspectResponse) -> Observed {
    let name = found.name.unwrap_or_default();
    let config = found.config.unwrap_or_default();
    let host = found.host_config.unwrap_or_default();
    let number = |value: Option<i64>| u64::try_from(value.unwrap_or(0)).unwrap_or(0);
    Observed {
        id: found.id.unwrap_or_default(),
        name: name.strip_prefix('/').unwrap_or(&name).to_owned(),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        limits: Limits {
            memory_bytes: number(host.memory),
            cpu_millis: u32::try_from(number(host.nano_cpus) / 1_000_000).unwrap_or(u32::MAX),
            pids: u32::try_from(number(host.pids_limit)).unwrap_or(u32::MAX),
        },
        stop_signal: config.stop_signal.unwrap_or_default(),
        stop_grace: config
            .stop_timeout
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map(Duration::from_secs),
        state: found.state.map_or(ContainerState::Dead, state),
        networks: found
            .network_settings
            .and_then(|settings| settings.networks)
            .unwrap_or_default()
            .into_keys()
            .collect(),
    }
}

fn state(state: bollard::models::ContainerState) -> ContainerState {
    let started_unix_ms = unix_ms(state.started_at.as_deref());
    match state.status {
        Some(ContainerStateStatusEnum::CREATED) => ContainerState::Created,
        Some(ContainerStateStatusEnum::EXITED) => ContainerState::Exited {
            code: state
                .exit_code
                .and_then(|code| i32::try_from(code).ok())
                .unwrap_or(-1),
            oom_killed: state.oom_killed.unwrap_or(false),
            started_unix_ms,
            finished_unix_ms: unix_ms(state.finished_at.as_deref()),
        },
        Some(ContainerStateStatusEnum::REMOVING) => ContainerState::Removing,
        Some(ContainerStateStatusEnum::DEAD) => ContainerState::Dead,
        _ => ContainerState::Running { started_unix_ms },
    }
}

/// 0 for "never", which the engine writes as the year 1.
fn unix_ms(text: Option<&str>) -> i64 {
    text.and_then(|text| text.parse::<jiff::Timestamp>().ok())
        .map_or(0, |at| at.as_millisecond().max(0))
}
