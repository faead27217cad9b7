//! Seeing stores, their events, and their changes.

use std::collections::BTreeMap;

use shop_proto::NodeId;
use tokio::sync::watch;

use crate::{
    app::{
        App, AppError, ListEvents, ListStores, Page, PageRequest, Problem, StoreChange,
        StoreChanged, StoreView, cursor,
    },
    db::{StoreFilter, StoreSort, Tx},
    domain::{
        event::StoreEvent,
        node::Node,
        selector::Selector,
        store::{Lifecycle, Store, StoreStatus},
    },
};

impl App {
    /// A store by name or id.
    ///
    /// # Errors
    /// When there is none.
    pub async fn get_store(&self, store: &str) -> Result<StoreView, AppError> {
        let mut tx = self.context().db.read().await?;
        let store = self.found(&mut tx, store).await?;
        let node = match &store.placement {
            Some(placement) => tx.node(&placement.node).await?,
            None => None,
        };
        Ok(view(store, node.as_ref()))
    }

    /// One page of the stores that a selector and a status leave.
    ///
    /// # Errors
    /// When the filter is wrong.
    pub async fn list_stores(&self, input: ListStores) -> Result<Page<StoreView>, AppError> {
        let (selector, mut filter) = filter(&input)?;
        let limit = input.page.limit() as usize;
        let mut tx = self.context().db.read().await?;
        let nodes = nodes(&mut tx).await?;
        let mut items = Vec::new();
        let mut more = true;
        // A selector may leave few of many; labels are compared here, page by page.
        while items.len() <= limit && more {
            let stores = tx.list_stores(&filter).await?;
            more = stores.len() == PageRequest::MAX as usize;
            filter.after = stores.last().map(|last| sort_key(last, filter.sort));
            items.extend(
                stores
                    .into_iter()
                    .filter(|store| selector.matches(&store.labels)),
            );
        }
        let next = (items.len() > limit)
            .then(|| {
                items.truncate(limit);
                items.last().map(|last| {
                    let (key, id) = sort_key(last, filter.sort);
                    cursor::encode(&[&key, id.as_str()])
                })
            })
            .flatten();
        let items = items
            .into_iter()
            .map(|store| {
                let node = store
                    .placement
                    .as_ref()
                    .and_then(|placement| nodes.get(&placement.node));
                view(store, node)
            })
            .collect();
        Ok(Page { items, next })
    }

    /// Events of a store, newest first.
    ///
    /// # Errors
    /// When there is no such store.
    pub async fn list_events(&self, input: ListEvents) -> Result<Page<StoreEvent>, AppError> {
        let before = match &input.page.token {
            Some(token) => Some(
                cursor::decode::<1>(token)?[0]
                    .parse()
                    .map_err(|_| cursor::wrong())?,
            ),
            None => None,
        };
        let limit = input.page.limit();
        let mut tx = self.context().db.read().await?;
        let store = self.found(&mut tx, &input.store).await?;
        let mut items = tx.list_events(&store.id, before, limit + 1).await?;
        let next = (items.len() > limit as usize)
            .then(|| {
                items.truncate(limit as usize);
                items
                    .last()
                    .map(|last| cursor::encode(&[&last.seq.to_string()]))
            })
            .flatten();
        Ok(Page { items, next })
    }

    /// Hint that something changed: the newest change_seq. [`App::stores_changed_after`] is the truth.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.context().db.changes()
    }

    /// At most 200 changes of stores after `seq`, in order; from 0, the present stores. `store`: only this one, by name or id.
    ///
    /// # Errors
    /// [`AppError::OutOfRange`] for a `seq` that was never reached here: this control plane came from a backup.
    pub async fn stores_changed_after(
        &self,
        seq: u64,
        store: Option<&str>,
    ) -> Result<Vec<StoreChange>, AppError> {
        let mut tx = self.context().db.read().await?;
        if seq > tx.change_seq().await? {
            return Err(AppError::OutOfRange { after: seq });
        }
        let only = match store {
            None => None,
            Some(text) => Some(match tx.find_store(text).await? {
                Some(store) => store.id,
                // Its deletion is a change worth seeing for who knows the id.
                None => text.parse().map_err(|_| not_found(text))?,
            }),
        };
        let stores = tx
            .stores_changed_after(seq, only.as_ref(), PageRequest::MAX)
            .await?;
        let nodes = nodes(&mut tx).await?;
        Ok(stores
            .into_iter()
            .map(|store| StoreChange {
                change_seq: store.change_seq,
                what: if store.lifecycle == Lifecycle::Deleted {
                    StoreChanged::Gone {
                        id: store.id,
                        name: store.name,
                    }
                } else {
                    let node = store
                        .placement
                        .as_ref()
                        .and_then(|placement| nodes.get(&placement.node));
                    StoreChanged::Present(Box::new(view(store, node)))
                },
            })
            .collect())
    }

    /// A store that is not deleted.
    pub(in crate::app) async fn found(&self, tx: &mut Tx, store: &str) -> Result<Store, AppError> {
        tx.find_store(store).await?.ok_or_else(|| not_found(store))
    }
}

fn not_found(store: &str) -> AppError {
    AppError::NotFound {
        what: "store",
        name: store.chars().take(80).collect(),
    }
}

async fn nodes(tx: &mut Tx) -> Result<BTreeMap<NodeId, Node>, AppError> {
    let nodes = tx.list_nodes().await?;
    Ok(nodes
        .into_iter()
        .map(|node| (node.id.clone(), node))
        .collect())
}

fn sort_key(store: &Store, sort: StoreSort) -> (String, shop_proto::StoreId) {
    let key = if sort.by_creation {
        store.created_at.as_millisecond().to_string()
    } else {
        store.name.to_string()
    };
    (key, store.id.clone())
}

fn filter(input: &ListStores) -> Result<(Selector, StoreFilter), AppError> {
    let mut problems = Vec::new();
    let selector = Selector::parse(&input.selector)
        .map_err(|error| {
            problems.push(Problem::at(
                "/selector",
                "selector_shape",
                error.to_string(),
            ));
        })
        .unwrap_or_default();
    let status = match input.status.as_str() {
        "" => None,
        text => {
            let status = StoreStatus::LISTED
                .into_iter()
                .find(|status| status.as_str() == text);
            if status.is_none() {
                let known: Vec<&str> = StoreStatus::LISTED.iter().map(|s| s.as_str()).collect();
                problems.push(Problem::at(
                    "/status",
                    "unknown_status",
                    format!("a status is one of {}", known.join(", ")),
                ));
            }
            status
        }
    };
    let (descending, column) = match input.sort.strip_prefix('-') {
        Some(column) => (true, column),
        None => (false, input.sort.as_str()),
    };
    if !matches!(column, "" | "name" | "created") {
        problems.push(Problem::at(
            "/sort",
            "unknown_sort",
            "stores are sorted by name or created, with a leading - from the end",
        ));
    }
    let after = match &input.page.token {
        Some(token) => {
            let [key, id] = cursor::decode::<2>(token)?;
            Some((key, id.parse().map_err(|_| cursor::wrong())?))
        }
        None => None,
    };
    if !problems.is_empty() {
        return Err(AppError::Invalid { problems });
    }
    let filter = StoreFilter {
        status,
        sort: StoreSort {
            by_creation: column == "created",
            descending,
        },
        after,
        limit: PageRequest::MAX,
    };
    Ok((selector, filter))
}

/// A store with what follows from its node.
fn view(store: Store, node: Option<&Node>) -> StoreView {
    let host = store.spec.hosts.iter().find(|host| host.verified);
    let url = match (host, node) {
        (Some(host), Some(node)) => node.url(host.name.as_str()),
        _ => None,
    };
    let admin_url = url
        .as_ref()
        .filter(|_| !store.admin_path.is_empty())
        .map(|url| format!("{url}{}", store.admin_path));
    StoreView {
        observed_generation: store.report.as_ref().map_or(0, |report| report.generation),
        url,
        admin_url,
        store,
    }
}
