//! The engine's events as hints: which store may have changed. Never the truth, and never the whole story.

use std::collections::HashMap;

use bollard::query_parameters::EventsOptionsBuilder;
use futures::{Stream, StreamExt as _};
use shop_plan::names::label;
use shop_proto::{NodeId, StoreId};

use super::engine::Engine;

/// Hints: the store concerned, or `None` for something of the node itself.
pub type Events = std::pin::Pin<Box<dyn Stream<Item = Option<StoreId>> + Send>>;

impl Engine {
    /// Container events of a node. Ends when the connection does; the caller relists and asks again.
    #[must_use]
    pub fn events(&self, node: &NodeId) -> Events {
        let filters = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            ("label".to_owned(), vec![format!("{}={node}", label::NODE)]),
            (
                "event".to_owned(),
                ["create", "start", "die", "oom", "destroy"]
                    .map(str::to_owned)
                    .to_vec(),
            ),
        ]);
        let options = EventsOptionsBuilder::default().filters(&filters).build();
        let stream = self
            .docker
            .events(Some(options))
            .take_while(|event| std::future::ready(event.is_ok()))
            .filter_map(|event| std::future::ready(event.ok()))
            .map(|event| {
                event
                    .actor
                    .and_then(|actor| actor.attributes)
                    .and_then(|attributes| attributes.get(label::STORE)?.parse().ok())
            });
        Box::pin(stream)
    }
}
