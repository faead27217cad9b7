//! What the control plane says when everything has settled, and what must be true then.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use control_plane::app::{App, AppError, ListStores, PageRequest};
use shop_agent::{engine::Serve, store::PREPARE};
use shop_proto::{StoreId, Watch};

use crate::{
    machine::Machine,
    operator::{OPEN, Operator, Shape, Want, Wish},
    plane::Job,
};

/// Once trouble is over, everything is as it was acknowledged within so long: up to half a minute until the next try of a session or of a
/// container that ended again and again, a minute in which such a container has to prove itself, and half a minute for all else.
pub const SETTLE: Duration = Duration::from_secs(120);

/// Reasons of a store that an update without a way back left on the page, of the control plane and of the shop agent.
const HALTED: [&str; 2] = ["halted", "update_halted"];

/// The control plane's view of the fleet.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Stores: name, id, status, node.
    pub stores: BTreeMap<String, Seen>,
    /// Operations by id.
    pub operations: BTreeMap<String, SeenOperation>,
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
    /// Typed.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Secrets that are to have a new value, and the generation that asked last.
    pub rotations: BTreeMap<String, u64>,
}

/// An operation as the control plane sees it.
#[derive(Debug, Clone)]
pub struct SeenOperation {
    /// Its state.
    pub state: String,
    /// Typed.
    pub reason: String,
    /// The generation that it made.
    pub generation: u64,
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
            reason: it.store.reason.clone(),
            message: it.store.message.clone(),
            rotations: it.store.spec.rotations.clone(),
        };
        view.stores.insert(it.store.name.to_string(), seen);
    }
    for id in operations {
        let found = app.get_operation(&id).await?.operation;
        let seen = SeenOperation {
            state: found.state.as_str().to_owned(),
            reason: found.reason,
            generation: found.generation.get(),
        };
        view.operations.insert(id, seen);
    }
    Ok(view)
}

/// Something that is not as it was acknowledged, yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// For people.
    pub what: String,
    /// How long it may take once trouble is over.
    pub patience: Duration,
}

impl From<String> for Difference {
    fn from(what: String) -> Self {
        let patience = SETTLE;
        Self { what, patience }
    }
}

/// What is not as it was acknowledged, yet.
#[must_use]
pub fn differences(view: &View, operator: &Operator, machines: &[Arc<Machine>]) -> Vec<Difference> {
    let mut differences: Vec<String> = Vec::new();
    let mut rotated: Vec<String> = Vec::new();
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
        // Where there is no way back, buyers see the page until an operator decides.
        let halted = operator.changed_for_good(name)
            && seen.is_some_and(|it| HALTED.contains(&it.reason.as_str()));
        let shape = match expected.shape {
            Shape::Running { .. } if halted => Shape::Running { maintenance: true },
            shape => shape,
        };
        if !(same || halted) {
            let message = seen.map_or("", |seen| seen.message.as_str());
            differences.push(format!(
                "{name} ({}) is {status}, not {wanted}: {message}",
                expected.id
            ));
        }
        differences.extend(on_hosts(&expected.id, shape, machines));
        let runs = matches!(expected.shape, Shape::Running { .. }) && !halted;
        let held = machines
            .iter()
            .find(|it| it.lock().stores.contains_key(&expected.id));
        if let Some((seen, machine)) = seen.zip(held) {
            rotated.extend(rotations(seen, runs, machine));
            rotated.extend(ends_of_rotations(view, operator, name, machine));
        }
    }
    differences.extend(orphans(view, machines));
    let unsettled = operator.acknowledged.iter();
    let unsettled = unsettled
        .filter(|(wish, id)| !waits_for_its_store(view, operator, wish, id))
        .filter_map(|(wish, id)| unsettled_operation(view, wish, id));
    differences
        .into_iter()
        .map(Difference::from)
        .chain(unsettled)
        .chain(rotated.into_iter().map(|what| Difference {
            what,
            // It may ride on containers that never become ready, whoever asked for those last.
            patience: SETTLE + PREPARE + window(),
        }))
        .collect()
}

/// A task's run in a store that is not to run now: queued, or begun and its end not heard before the store came to rest.
fn waits_for_its_store(view: &View, operator: &Operator, wish: &Wish, id: &str) -> bool {
    let Some(expected) = operator.expected.get(&wish.name) else {
        return false;
    };
    let rests = match view.operations.get(id).map(|it| it.state.as_str()) {
        Some("pending") => expected.shape != OPEN,
        Some("running") => !matches!(expected.shape, Shape::Running { .. }),
        _ => false,
    };
    wish.want == Want::Task && rests
}

/// How long the new containers of a store are watched where nobody said for how long.
fn window() -> Duration {
    Duration::from_secs(Watch::default().window_seconds.into())
}

/// An operation that has not ended, although nothing keeps it.
fn unsettled_operation(view: &View, wish: &Wish, id: &str) -> Option<Difference> {
    let Some(SeenOperation { state, reason, .. }) = view.operations.get(id) else {
        return Some(format!("the operation of {wish:?} is lost").into());
    };
    match state.as_str() {
        "succeeded" | "failed" | "cancelled" => return None,
        "running" if HALTED.contains(&reason.as_str()) => return None,
        // A task's run always has one, and is due all the same.
        "pending" if !reason.is_empty() && wish.want != Want::Task => return None,
        _ => {}
    }
    // New containers that never become ready are given this long before they are given up; meanwhile buyers notice nothing.
    let tried = match wish.want {
        Want::BadUpdate => PREPARE,
        // A store that was never updated watches its new containers for as long as is usual.
        Want::Rotate => window(),
        _ => Duration::ZERO,
    };
    Some(Difference {
        what: format!("the operation of {wish:?} is {state} ({reason})"),
        patience: SETTLE + tried,
    })
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
        // What does not run may never have had a place. One that had keeps it: whatever is torn down is judged there.
        [] if matches!(shape, Shape::Stopped | Shape::Paused | Shape::Leaving) => {
            return differences;
        }
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

/// Where control plane and shop agent do not agree on which rotations there were, and what a store that runs has not done of them.
fn rotations(seen: &Seen, runs: bool, machine: &Machine) -> Vec<String> {
    let (id, entries) = (&seen.id, machine.entries(&seen.id));
    let mut differences = Vec::new();
    let accepted = entries.accepted.as_ref();
    if accepted.is_some_and(|it| it.spec.rotations != seen.rotations) {
        differences.push(format!("{id} knows of other rotations than are wanted"));
    }
    if !runs {
        return differences;
    }
    if entries.rotating.is_some() {
        differences.push(format!("a rotation in {id} is not over"));
    }
    for (secret, counter) in &seen.rotations {
        if entries.rotations.get(secret).is_none_or(|it| it < counter) {
            differences.push(format!("rotation g{counter} of {secret} in {id} is due"));
        }
    }
    differences
}

/// Rotations of which the control plane says something else than what became of the password.
fn ends_of_rotations(
    view: &View,
    operator: &Operator,
    name: &str,
    machine: &Machine,
) -> Vec<String> {
    let inner = machine.lock();
    let asked = operator.acknowledged.iter().filter(|(wish, _)| {
        // What rests is rotated when it runs again, and asked for all the same.
        wish.want == Want::Rotate && wish.name == name && wish.shape == OPEN
    });
    asked
        .filter_map(|(_, id)| view.operations.get(id))
        .filter_map(|operation| {
            let expected = operator.expected.get(name)?;
            let over = &inner.stores.get(&expected.id)?.logins.over;
            let new = over.get(&operation.generation).copied().unwrap_or(false);
            let wrong = match operation.state.as_str() {
                "succeeded" => !new,
                "failed" => new,
                _ => false,
            };
            wrong.then(|| {
                let SeenOperation {
                    state, generation, ..
                } = operation;
                format!("rotation g{generation} of {name} has {state}, and the new password counts: {new}")
            })
        })
        .collect()
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
