//! Streams of changes for both APIs: the present first, then what changes. The database's `change_seq` is the truth; the hint only saves waiting.

use std::{collections::VecDeque, time::Duration};

use futures::{Stream, stream::try_unfold};
use tokio::{
    sync::watch::Receiver,
    time::{Instant, sleep, timeout},
};

use super::guard::Standing;
use crate::app::{App, AppError, OperationView, StoreChange};

/// Without a hint, look again after this: a hint may be lost, for instance between two control planes.
const RELIST: Duration = Duration::from_secs(5);
/// However fast things change, one watcher asks the database no more often than this.
const BREATH: Duration = Duration::from_millis(50);
/// How often a stream asks whether its caller's token is still good.
const RECHECK: Duration = Duration::from_secs(30);

/// Wakes a watcher.
struct Pulse {
    hint: Receiver<u64>,
    standing: Option<Standing>,
    checked: Instant,
}

impl Pulse {
    fn new(app: &App, standing: Option<Standing>) -> Self {
        Self {
            hint: app.changes(),
            standing,
            checked: Instant::now(),
        }
    }

    /// Returns when it is worth looking again.
    async fn next(&mut self) -> Result<(), AppError> {
        sleep(BREATH).await;
        // A closed hint channel means that the control plane is going down; the timer alone is then enough.
        if let Ok(Err(_)) = timeout(RELIST, self.hint.changed()).await {
            sleep(RELIST).await;
        }
        if self.checked.elapsed() >= RECHECK
            && let Some(standing) = &self.standing
        {
            standing.check().await?;
            self.checked = Instant::now();
        }
        Ok(())
    }
}

struct Stores {
    app: App,
    pulse: Pulse,
    after: u64,
    store: Option<String>,
    ready: VecDeque<StoreChange>,
}

/// Changes of stores after a `change_seq`; 0 starts with all stores as they are. Never ends by itself.
pub(super) fn stores(
    app: App,
    standing: Option<Standing>,
    after: u64,
    store: Option<String>,
) -> impl Stream<Item = Result<StoreChange, AppError>> + Send + 'static {
    let state = Stores {
        pulse: Pulse::new(&app, standing),
        app,
        after,
        store,
        ready: VecDeque::new(),
    };
    try_unfold(state, |mut state| async move {
        loop {
            if let Some(change) = state.ready.pop_front() {
                state.after = state.after.max(change.change_seq);
                return Ok(Some((change, state)));
            }
            // Marks the hint as seen before looking, so that a change in between wakes us again.
            state.pulse.hint.borrow_and_update();
            let found = state
                .app
                .stores_changed_after(state.after, state.store.as_deref())
                .await?;
            state.ready = found.into();
            if state.ready.is_empty() {
                state.pulse.next().await?;
            }
        }
    })
}

/// What a person would call the same: equal when nothing they see has changed.
fn same(one: &OperationView, other: &OperationView) -> bool {
    one.operation == other.operation && one.replicas == other.replicas
}

struct Operation {
    app: App,
    pulse: Pulse,
    id: String,
    last: Option<OperationView>,
}

/// An operation as it is, then each change; ends after the operation has ended.
pub(super) fn operation(
    app: App,
    standing: Option<Standing>,
    id: String,
) -> impl Stream<Item = Result<OperationView, AppError>> + Send + 'static {
    let state = Operation {
        pulse: Pulse::new(&app, standing),
        app,
        id,
        last: None,
    };
    try_unfold(state, |mut state| async move {
        if state
            .last
            .as_ref()
            .is_some_and(|view| view.operation.state.ended())
        {
            return Ok(None);
        }
        loop {
            state.pulse.hint.borrow_and_update();
            let view = state.app.get_operation(&state.id).await?;
            if state.last.as_ref().is_none_or(|last| !same(last, &view)) {
                state.last = Some(view.clone());
                return Ok(Some((view, state)));
            }
            state.pulse.next().await?;
        }
    })
}

/// An operation once it has ended, or as it is when patience is out.
pub(super) async fn settled(
    app: &App,
    id: &str,
    patience: Duration,
) -> Result<OperationView, AppError> {
    let deadline = Instant::now() + patience;
    let mut pulse = Pulse::new(app, None);
    loop {
        pulse.hint.borrow_and_update();
        let view = app.get_operation(id).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        if view.operation.state.ended() || left.is_zero() {
            return Ok(view);
        }
        if let Ok(pulse) = timeout(left, pulse.next()).await {
            pulse?;
        }
    }
}
