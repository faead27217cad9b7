//! What the control plane says when everything has settled, and what must be true then.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use control_plane::app::{App, AppError, ListStores, PageRequest};
use shop_agent::engine::Serve;
use shop_proto::StoreId;

use crate::{
    machine::Machine,
    operator::{Operator, Shape},
    plane::Job,
};

/// The control plane's view of the fleet.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Stores: name, id, status, node.
    pub stores: BTreeMap<String, Seen>,
    /// Operations by id: state and reason.
    pub operations: BTreeMap<String, (String, String)>,
    /// What could not be read.
    pub failed: Option<String>,
}

/// A store as the control plane sees it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its id.
    pub id: StoreId,
    /// Its status.
    pub status: String,
    /// For people.
    pub message: String,
}

/// Where a view arrives.
pub type Glass = Arc<Mutex<Option<View>>>;

/// A job that looks.
#[must_use]
pub fn look(operations: Vec<String>, glass: Glass) -> Job {
    Box::new(move |app| {
        Box::pin(async move {
            let view = match viewed(&app, operations).await {
                Ok(view) => view,
                Err(error) => View {
                    failed: Some(format!("{error:?}")),
                    ..View::default()
                },
            };
            *glass.lock().unwrap_or_else(PoisonError::into_inner) = Some(view);
        })
    })
}

async fn viewed(app: &App, operations: Vec<String>) -> Result<View, AppError> {
    let list = ListStores {
        page: PageRequest {
            size: PageRequest::MAX,
            token: None,
        },
        ..ListStores::default()
    };
    let stores = app.list_stores(list).await?.items;
    let mut view = View::default();
    for it in stores {
        let seen = Seen {
            id: it.store.id.clone(),
            status: it.store.status.as_str().to_owned(),
            message: it.store.message.clone(),
        };
        view.stores.insert(it.store.name.to_string(), seen);
    }
    for id in operations {
        let found = app.get_operation(&id).await?.operation;
        let state = found.state.as_str().to_owned();
        view.operations.insert(id, (state, found.reason));
    }
    Ok(view)
}

/// What is not as it was acknowledged, yet.
#[must_use]
pub fn differences(view: &View, operator: &Operator, machines: &[Arc<Machine>]) -> Vec<String> {
    let mut differences = Vec::new();
    differences.extend(view.failed.clone());
    for (name, expected) in &operator.expected {
        let seen = view.stores.get(name);
        let status = seen.map_or("gone", |seen| seen.status.as_str());
        let wanted = match expected.shape {
            Shape::Running { .. } => "running",
            Shape::Stopped => "stopped",
            Shape::Paused => "paused",
            Shape::Leaving => "deleting",
            Shape::Gone => "gone",
        };
        let same = status == wanted
            // In maintenance a store may say so instead.
            || (wanted == "running" && status == "maintenance");
        // What never was on a host has nothing to wait for.
        let same = same || (status == "gone" && expected.shape == Shape::Leaving);
        if !same {
            let message = seen.map_or("", |seen| seen.message.as_str());
            differences.push(format!(
                "{name} ({}) is {status}, not {wanted}: {message}",
                expected.id
            ));
        }
        differences.extend(on_hosts(&expected.id, expected.shape, machines));
    }
    for (wish, id) in &operator.acknowledged {
        match view.operations.get(id) {
            None => differences.push(format!("the operation of {wish:?} is lost")),
            Some((state, reason)) if state == "pending" && !reason.is_empty() => {}
            Some((state, _)) if matches!(state.as_str(), "succeeded" | "failed" | "cancelled") => {}
            Some((state, reason)) => {
                differences.push(format!("the operation of {wish:?} is {state} ({reason})"));
            }
        }
    }
    differences.extend(orphans(view, machines));
    differences
}

/// What is on the hosts of one store.
fn on_hosts(store: &StoreId, shape: Shape, machines: &[Arc<Machine>]) -> Vec<String> {
    let mut differences = Vec::new();
    let held: Vec<_> = machines
        .iter()
        .filter(|machine| machine.lock().stores.contains_key(store))
        .collect();
    let some = held.as_slice();
    if shape == Shape::Gone {
        let left = some
            .iter()
            .map(|machine| format!("{store} is left on {}", machine.name));
        differences.extend(left);
        return differences;
    }
    let machine = match some {
        [machine] => machine,
        // A paused store has given its room back, and may never have had any.
        [] if matches!(shape, Shape::Paused | Shape::Leaving) => return differences,
        several => {
            differences.push(format!("{store} is on {} hosts", several.len()));
            return differences;
        }
    };
    let running = machine.running(store);
    let inner = machine.lock();
    let Some(bench) = inner.stores.get(store) else {
        return differences;
    };
    let runs = matches!(shape, Shape::Running { .. });
    if running.is_empty() == runs {
        differences.push(format!("{store} is to be {shape:?}, but {running:?} runs"));
    }
    let right = match shape {
        Shape::Running { maintenance: false } => matches!(bench.serving, Serve::Slot { .. }),
        Shape::Running { maintenance: true } => bench.serving == Serve::Maintenance,
        Shape::Paused => bench.serving == Serve::Paused,
        _ => !matches!(bench.serving, Serve::Slot { .. }),
    };
    if !right {
        differences.push(format!(
            "{store} is to be {shape:?}, and serves {:?}",
            bench.serving
        ));
    }
    differences
}

/// Nothing is on a host that the control plane does not know.
fn orphans(view: &View, machines: &[Arc<Machine>]) -> Vec<String> {
    let known: BTreeSet<_> = view.stores.values().map(|seen| seen.id.clone()).collect();
    machines
        .iter()
        .flat_map(|machine| {
            let held: Vec<_> = machine.lock().stores.keys().cloned().collect();
            held.into_iter().map(move |store| (machine.name, store))
        })
        .filter(|(_, store)| !known.contains(store))
        .map(|(machine, store)| format!("{store} on {machine} is known to nobody"))
        .collect()
}
