//! Which container is in which network, in one question: what somebody took apart by hand is found here.

use std::collections::BTreeMap;

use bollard::{
    models::NetworkDisconnectRequest,
    query_parameters::{ListContainersOptionsBuilder, ListNetworksOptionsBuilder},
};

use super::{
    containers::filters,
    engine::{CHANGE, Engine, EngineError, READ, within},
    spec::Scope,
};

/// A container and the networks it believes to be in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// Without the leading slash.
    pub name: String,
    /// All labels.
    pub labels: BTreeMap<String, String>,
    /// Names of networks with their ids; an id is empty while the container was never started.
    pub networks: BTreeMap<String, String>,
}

impl Engine {
    /// All containers of a store, those that do not run too.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn connections(&self, scope: Scope<'_>) -> Result<Vec<Connected>, EngineError> {
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters(scope))
            .build();
        let call = self.docker.list_containers(Some(options));
        let found = within("list containers", READ, call).await?;
        let connected = found.into_iter().filter_map(|it| {
            let name = it.names?.into_iter().next()?;
            let networks = it
                .network_settings
                .and_then(|settings| settings.networks)
                .unwrap_or_default();
            Some(Connected {
                name: name.strip_prefix('/').unwrap_or(&name).to_owned(),
                labels: it.labels.unwrap_or_default().into_iter().collect(),
                networks: networks
                    .into_iter()
                    .map(|(name, endpoint)| (name, endpoint.network_id.unwrap_or_default()))
                    .collect(),
            })
        });
        Ok(connected.collect())
    }

    /// Names and ids of all networks of a store.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn network_ids(
        &self,
        scope: Scope<'_>,
    ) -> Result<BTreeMap<String, String>, EngineError> {
        let options = ListNetworksOptionsBuilder::default()
            .filters(&filters(scope))
            .build();
        let call = self.docker.list_networks(Some(options));
        let found = within("list networks", READ, call).await?;
        let named = found.into_iter().filter_map(|it| Some((it.name?, it.id?)));
        Ok(named.collect())
    }

    /// Takes a container out of a network; one that is not in it is as good.
    ///
    /// # Errors
    /// When the engine does not do it.
    pub async fn disconnect(&self, network: &str, container: &str) -> Result<(), EngineError> {
        let request = NetworkDisconnectRequest {
            container: container.to_owned(),
            force: Some(true),
        };
        let call = self.docker.disconnect_network(network, request);
        match within("disconnect a network", CHANGE, call).await {
            Ok(()) | Err(EngineError::Refused { status: 404, .. }) => Ok(()),
            Err(EngineError::Refused { text, .. }) if text.contains("is not connected") => Ok(()),
            Err(error) => Err(error),
        }
    }
}
