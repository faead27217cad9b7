//! Start, stop, restart: each a new generation, and an operation that takes the place of the one under way.

use jiff::Timestamp;
use serde::Serialize;
use shop_proto::{Digest, RunState};

use super::{allowed, check_key, check_reason, preview, remember, replay};
use crate::{
    app::{App, AppError, OperationView, StoreAction},
    db::Tx,
    domain::{
        access::Caller,
        amend::withdraw,
        change::{Decision, Refusal, decide},
        operation::{Deadline, Operation, OperationKind, OperationState},
        progress::cancelled,
        store::{IllegalTransition, Lifecycle, Store},
    },
    operations::settle,
    policy::placement::{Request, Why},
};

/// What was decided about a request, and on what.
pub(super) struct Decided {
    pub kind: OperationKind,
    /// Digest of the request, for its idempotency key.
    pub request: Digest,
    pub store: Store,
    /// Its newest operation.
    pub latest: Option<Operation>,
    pub decision: Decision,
}

/// What is the same whenever a request comes again under its key.
fn asked(kind: OperationKind, input: &StoreAction) -> impl Serialize {
    (
        kind.as_str(),
        &input.store,
        &input.reason,
        input.if_generation,
    )
}

impl App {
    /// Wants a store running.
    ///
    /// # Errors
    /// When there is no such store, it is not as the caller saw it, or it is being deleted.
    pub async fn start_store(
        &self,
        caller: &Caller,
        input: StoreAction,
    ) -> Result<OperationView, AppError> {
        self.change_store(caller, input, OperationKind::Start).await
    }

    /// Wants a store stopped. Volumes and identity stay.
    ///
    /// # Errors
    /// As [`App::start_store`].
    pub async fn stop_store(
        &self,
        caller: &Caller,
        input: StoreAction,
    ) -> Result<OperationView, AppError> {
        self.change_store(caller, input, OperationKind::Stop).await
    }

    /// Wants a running store's services started anew.
    ///
    /// # Errors
    /// As [`App::start_store`]; and when it is stopped or still being set up.
    pub async fn restart_store(
        &self,
        caller: &Caller,
        input: StoreAction,
    ) -> Result<OperationView, AppError> {
        self.change_store(caller, input, OperationKind::Restart)
            .await
    }

    pub(super) async fn change_store(
        &self,
        caller: &Caller,
        input: StoreAction,
        kind: OperationKind,
    ) -> Result<OperationView, AppError> {
        let request = Digest::of_value(&asked(kind, &input));
        self.change_with(caller, input, kind, request, |store, latest, _| {
            decide(store, latest, kind).map_err(|refusal| refused(store, refusal))
        })
        .await
    }

    /// Takes back a change that waits for room. Nothing of it was sent.
    ///
    /// # Errors
    /// As [`App::start_store`]; and when it has got its room meanwhile.
    pub(in crate::app) async fn withdraw(
        &self,
        caller: &Caller,
        input: StoreAction,
        kind: OperationKind,
    ) -> Result<OperationView, AppError> {
        let request = Digest::of_value(&("withdraw", asked(kind, &input)));
        self.change_with(caller, input, kind, request, |store, _, _| {
            if store.room_awaited().is_some() {
                return Ok(Decision::Change(Box::new(withdraw(store, kind))));
            }
            Err(AppError::conflict(
                "too_late",
                format!(
                    "there is room for the {kind} of store {} now, and it has begun; ask for the opposite: a newer request takes its place",
                    store.name
                ),
            ))
        })
        .await
    }

    /// What every change of a store shares: keys, preconditions, one decision, one operation, the audit entry, one transaction.
    /// `decide` is given the store, its newest operation and the time.
    pub(super) async fn change_with(
        &self,
        caller: &Caller,
        input: StoreAction,
        kind: OperationKind,
        request: Digest,
        decide: impl FnOnce(&Store, Option<&Operation>, Timestamp) -> Result<Decision, AppError> + Send,
    ) -> Result<OperationView, AppError> {
        let context = self.context();
        let mut problems = Vec::new();
        check_reason(&input.reason, &mut problems);
        check_key(input.idempotency_key.as_deref(), &mut problems);
        if !problems.is_empty() {
            return Err(AppError::Invalid { problems });
        }
        let key = input.idempotency_key.as_deref();
        let mut tx = context.db.write().await?;
        if let Some(before) = replay(self, &mut tx, caller, key, request).await? {
            return Ok(before);
        }
        let now = context.clock.now();
        let store = self.found(&mut tx, &input.store).await?;
        precondition(&store, input.if_generation)?;
        let latest = tx.latest_operation(&store.id).await?;
        let decision = decide(&store, latest.as_ref(), now)?;
        let view = self
            .carry_out(
                &mut tx,
                caller,
                &input,
                Decided {
                    kind,
                    request,
                    store,
                    latest,
                    decision,
                },
            )
            .await?;
        tx.commit().await?;
        Ok(view)
    }

    /// Writes down what was decided about a store: its next generation, its operation, the audit entry.
    pub(super) async fn carry_out(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        input: &StoreAction,
        decided: Decided,
    ) -> Result<OperationView, AppError> {
        let Decided {
            kind,
            request,
            store,
            latest,
            decision,
        } = decided;
        let now = self.context().clock.now();
        let key = input.idempotency_key.as_deref();
        let operation = match (decision, latest) {
            (Decision::Ongoing, Some(latest)) => latest,
            (Decision::Change(next), latest) => {
                // What is to rest runs no code, and data that was to go is kept whatever it has become.
                let runs = next.lifecycle == Lifecycle::Live(RunState::Running)
                    && kind != OperationKind::Undelete;
                if runs && self.outgrown(&store, &next.spec) {
                    let revision = &next.spec.revision;
                    let refused = preview::too_new(&store, revision, &next.template_version);
                    return Err(AppError::conflict(refused.code, refused.message));
                }
                if let Some(active) = latest.filter(|latest| !latest.state.ended()) {
                    tx.save_operation(&mut cancelled(&active, kind, now))
                        .await?;
                }
                let mut operation = self.new_operation(caller, input, kind, &next);
                if let Some(growth) = Request::growth(&next) {
                    Why::NoCapacity.code().clone_into(&mut operation.reason);
                    operation.message = Why::NoCapacity.message(&growth);
                }
                self.apply(tx, operation, &store, *next).await?
            }
            (Decision::Unchanged | Decision::Ongoing, _) => {
                let mut operation = self.new_operation(caller, input, kind, &store);
                operation.state = OperationState::Succeeded;
                "unchanged".clone_into(&mut operation.reason);
                operation.message =
                    format!("store {} was so already; nothing was changed", store.name);
                operation.ended_at = Some(now);
                tx.insert_operation(&mut operation).await?;
                operation
            }
        };
        remember(tx, caller, key, request, &operation.id, now).await?;
        let action = format!("store.{kind}");
        let subject = format!("store:{}", store.id);
        tx.audit(allowed(caller, &action, subject, &input.reason, now))
            .await?;
        self.operation_view(tx, operation).await
    }

    async fn apply(
        &self,
        tx: &mut Tx,
        mut operation: Operation,
        before: &Store,
        mut next: Store,
    ) -> Result<Operation, AppError> {
        tx.insert_operation(&mut operation).await?;
        let now = self.context().clock.now();
        let settled = settle(tx, &mut next, before, self.limits(), now).await?;
        Ok(settled.operation.unwrap_or(operation))
    }

    fn new_operation(
        &self,
        caller: &Caller,
        input: &StoreAction,
        kind: OperationKind,
        store: &Store,
    ) -> Operation {
        let context = self.context();
        Operation {
            id: context.ids.operation(),
            kind,
            organisation: store.organisation.clone(),
            store: store.id.clone(),
            store_name: store.name.clone(),
            generation: store.generation,
            state: OperationState::Pending,
            reason: String::new(),
            message: String::new(),
            steps: Vec::new(),
            requested_by: caller.actor.clone(),
            requested_reason: input.reason.clone(),
            request_id: caller.request_id.clone(),
            created_at: context.clock.now(),
            started_at: None,
            ended_at: None,
            deadline: Deadline::None,
            change_seq: 0,
        }
    }
}

/// Only when the store is still as the caller saw it.
pub(super) fn precondition(store: &Store, expected: Option<u64>) -> Result<(), AppError> {
    let actual = store.generation.get();
    match expected.filter(|expected| *expected != actual) {
        None => Ok(()),
        Some(expected) => Err(AppError::PreconditionFailed {
            store: store.name.to_string(),
            expected,
            actual,
        }),
    }
}

pub(super) fn refused(store: &Store, refusal: Refusal) -> AppError {
    let name = &store.name;
    match refusal {
        Refusal::Illegal(IllegalTransition::Deleting | IllegalTransition::Deleted) => {
            AppError::conflict(
                "store_deleting",
                format!("store {name} is being deleted; there is no way back"),
            )
        }
        Refusal::Illegal(IllegalTransition::Stopped) => AppError::conflict(
            "store_stopped",
            format!("store {name} is stopped; start it with `shopctl store start {name}`"),
        ),
        Refusal::Illegal(IllegalTransition::Paused) => AppError::conflict(
            "store_paused",
            format!("store {name} is paused; wake it with `shopctl store wake {name}`"),
        ),
        Refusal::Illegal(IllegalTransition::Grace) => AppError::conflict(
            "store_deleting",
            format!(
                "store {name} is stopped and waits for its deletion; take that back first with `shopctl store undelete {name}`"
            ),
        ),
        Refusal::Illegal(IllegalTransition::Live) => {
            AppError::conflict("store_live", format!("store {name} is not being deleted"))
        }
        Refusal::StillStarting => AppError::conflict(
            "operation_in_progress",
            format!("store {name} is still on its way up; wait for it, or stop it"),
        ),
    }
}
