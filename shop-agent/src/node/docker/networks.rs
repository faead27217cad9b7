//! Bridges: created with an explicit subnet and interface name, looked up by label first.

use std::{collections::BTreeMap, net::Ipv4Addr};

use bollard::query_parameters::{InspectNetworkOptions, ListNetworksOptionsBuilder};
use bytes::Bytes;
use http_body_util::Full;
use shop_plan::names::label;

use super::{
    containers::{Created, Removed, filters},
    engine::{CHANGE, Engine, EngineError, READ, within},
    http::unix_request,
    spec::Scope,
};

/// A bridge, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSpec {
    /// Deterministic, carries the node id.
    pub name: String,
    /// Interface name on the host, at most 15 characters.
    pub bridge: String,
    /// Such as `10.200.0.32/27`.
    pub subnet: String,
    /// The host's own address in it.
    pub gateway: Ipv4Addr,
    /// No route to the outside.
    pub internal: bool,
    /// Ours only.
    pub labels: BTreeMap<String, String>,
}

/// A network as the engine has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// First subnet.
    pub subnet: String,
}

impl Engine {
    /// Makes the network or adopts the one there is.
    ///
    /// # Errors
    /// [`EngineError::OtherSpec`] when it exists with another subnet.
    pub async fn ensure_network(&self, spec: &NetworkSpec) -> Result<Created, EngineError> {
        if let Some(found) = self.network(&spec.name).await? {
            return adopt(spec, &found);
        }
        match self.create_network(spec).await {
            Err(EngineError::Refused { status: 409, .. }) => {
                match self.network(&spec.name).await? {
                    Some(found) => adopt(spec, &found),
                    None => Err(EngineError::Foreign {
                        name: spec.name.clone(),
                    }),
                }
            }
            Ok(()) => Ok(Created::New),
            Err(error) => Err(error),
        }
    }

    /// A network by its full name.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn network(&self, name: &str) -> Result<Option<Observed>, EngineError> {
        let call = self
            .docker
            .inspect_network(name, None::<InspectNetworkOptions>);
        match within("inspect a network", READ, call).await {
            Ok(found) => Ok(Some(Observed {
                id: found.id.unwrap_or_default(),
                name: found.name.unwrap_or_default(),
                labels: found.labels.unwrap_or_default().into_iter().collect(),
                subnet: found
                    .ipam
                    .and_then(|ipam| ipam.config)
                    .and_then(|config| config.into_iter().next())
                    .and_then(|config| config.subnet)
                    .unwrap_or_default(),
            })
            .filter(|found| found.name == name)),
            Err(EngineError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Names of all networks of a node or a store.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn network_names(&self, scope: Scope<'_>) -> Result<Vec<String>, EngineError> {
        let options = ListNetworksOptionsBuilder::default()
            .filters(&filters(scope))
            .build();
        let found = within(
            "list networks",
            READ,
            self.docker.list_networks(Some(options)),
        )
        .await?;
        Ok(found
            .into_iter()
            .filter_map(|network| network.name)
            .collect())
    }

    /// Removes a network.
    ///
    /// # Errors
    /// Status 403 while containers are connected.
    pub async fn remove_network(&self, name: &str) -> Result<Removed, EngineError> {
        match within("remove a network", CHANGE, self.docker.remove_network(name)).await {
            Ok(()) => Ok(Removed::Now),
            Err(EngineError::Refused { status: 404, .. }) => Ok(Removed::Absent),
            Err(error) => Err(error),
        }
    }

    /// bollard's request has no `CheckDuplicate`, without which engines before 23 make a second network of the same name.
    async fn create_network(&self, spec: &NetworkSpec) -> Result<(), EngineError> {
        let operation = "create a network";
        let (major, minor) = self.api;
        let body = serde_json::json!({
            "Name": spec.name,
            "CheckDuplicate": true,
            "Driver": "bridge",
            "Internal": spec.internal,
            "EnableIPv6": false,
            "IPAM": { "Driver": "default", "Config": [{ "Subnet": spec.subnet, "Gateway": spec.gateway }] },
            "Options": { "com.docker.network.bridge.name": spec.bridge },
            "Labels": spec.labels,
        });
        let request = http::Request::post(format!("/v{major}.{minor}/networks/create"))
            .header(http::header::HOST, "engine")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(|_| EngineError::Malformed { operation })?;
        let (status, answer) = match unix_request(&self.socket, request, CHANGE).await {
            Ok(answer) => answer,
            Err(super::UnixHttpError::Deadline) => {
                return Err(EngineError::Deadline {
                    operation,
                    after: CHANGE,
                });
            }
            Err(error) => {
                return Err(EngineError::Unreachable {
                    operation,
                    source: Box::new(std::io::Error::other(error).into()),
                });
            }
        };
        if (200..300).contains(&status) {
            return Ok(());
        }
        Err(EngineError::Refused {
            operation,
            status,
            text: String::from_utf8_lossy(&answer).into_owned(),
        })
    }
}

fn adopt(spec: &NetworkSpec, found: &Observed) -> Result<Created, EngineError> {
    let name = spec.name.clone();
    let node = spec.labels.get(label::NODE);
    if found.labels.get(label::NODE) != node {
        return Err(EngineError::Foreign { name });
    }
    if found.subnet != spec.subnet {
        return Err(EngineError::OtherSpec { name });
    }
    Ok(Created::Adopted)
}
