//! The engine's events as hints: which store may have changed. Never the truth, and never the whole story.

use std::collections::HashMap;

use bollard::{
    models::{EventMessage, EventMessageTypeEnum},
    query_parameters::EventsOptionsBuilder,
};
use futures::{Stream, StreamExt as _};
use shop_plan::names::label;
use shop_proto::{NodeId, StoreId};

use super::engine::Engine;

/// Hints: the store concerned, or `None` for something of the node itself.
pub type Events = std::pin::Pin<Box<dyn Stream<Item = Option<StoreId>> + Send>>;

impl Engine {
    /// Container events of a node, and what happens to its networks and volumes. Ends when a connection does; the caller relists and asks
    /// again.
    #[must_use]
    pub fn events(&self, node: &NodeId) -> Events {
        let containers = HashMap::from([
            ("type".to_owned(), words(&["container"])),
            ("label".to_owned(), vec![format!("{}={node}", label::NODE)]),
            (
                "event".to_owned(),
                words(&["create", "start", "die", "oom", "destroy", "update"]),
            ),
        ]);
        // These say a name and no labels.
        let others = HashMap::from([
            ("type".to_owned(), words(&["network", "volume"])),
            ("event".to_owned(), words(&["destroy", "disconnect"])),
        ]);
        let listen = |filters: &HashMap<String, Vec<String>>| {
            let options = EventsOptionsBuilder::default().filters(filters).build();
            self.docker.events(Some(options))
        };
        let prefix = format!("sf-{node}-");
        let stream = futures::stream::select(
            listen(&containers).map(Some).chain(ended()),
            listen(&others).map(Some).chain(ended()),
        )
        .take_while(|event| std::future::ready(matches!(event, Some(Ok(_)))))
        .filter_map(move |event| {
            let event = event.and_then(Result::ok);
            std::future::ready(event.and_then(|event| hint(&prefix, event)))
        });
        Box::pin(stream)
    }
}

/// Whom an event concerns; nothing for those of others.
pub(super) fn hint(prefix: &str, event: EventMessage) -> Option<Option<StoreId>> {
    let actor = event.actor?;
    let attributes = actor.attributes.unwrap_or_default();
    if attributes.contains_key(label::NODE) {
        return Some(attributes.get(label::STORE).and_then(|it| it.parse().ok()));
    }
    let name = match event.typ {
        Some(EventMessageTypeEnum::VOLUME) => actor.id.as_deref()?,
        _ => attributes.get("name")?,
    };
    let store = name.strip_prefix(prefix)?.split('-').next()?;
    store.parse().ok().map(Some)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|it| (*it).to_owned()).collect()
}

/// One stream that ends ends both.
fn ended<T>() -> impl futures::Stream<Item = Option<T>> {
    futures::stream::once(std::future::ready(None))
}
