//! Deleting a store: after a time of grace or at once, taking it back, giving up on a node, and the receipt of what was taken down.

use jiff::{SignedDuration, Timestamp};
use shop_proto::Digest;

use super::{allowed, change::refused, check_reason};
use crate::{
    app::{App, AppError, DeleteStore, ForgetStore, OperationView, Problem, StoreAction},
    domain::{
        access::Caller,
        deletion::{Due, NotForgotten, delete, forget},
        event::{Severity, StoreEvent},
        operation::{OperationKind, OperationState},
        receipt::Receipt,
        store::{IllegalTransition, Store},
    },
    operations::settle,
};

/// The longest time of grace: a store that nobody wants for a quarter of a year is not wanted.
const MAX_GRACE: SignedDuration = SignedDuration::from_hours(24 * 90);

impl App {
    /// Wants a store gone, volumes included. It is stopped at once; until its time of grace is over there is a way back.
    ///
    /// # Errors
    /// When there is no such store, or it is not as the caller saw it.
    pub async fn delete_store(
        &self,
        caller: &Caller,
        input: DeleteStore,
    ) -> Result<OperationView, AppError> {
        let DeleteStore { action, now, grace } = input;
        let named = self.grace(now, &grace)?;
        let asked = (
            "delete",
            &action.store,
            &action.reason,
            action.if_generation,
            now,
            &grace,
        );
        let request = Digest::of_value(&asked);
        let default = self.context().settings.delete_grace;
        self.change_with(
            caller,
            action,
            OperationKind::Delete,
            request,
            |store, latest, at| {
                let after = |grace| at.saturating_add(grace).unwrap_or(Timestamp::MAX);
                let due = match named {
                    _ if now => Due::Now,
                    Some(grace) => Due::At(after(grace)),
                    None => Due::Default(after(
                        SignedDuration::try_from(default).unwrap_or(MAX_GRACE),
                    )),
                };
                delete(store, latest, due).map_err(|refusal| refused(store, refusal))
            },
        )
        .await
    }

    /// Takes a deletion back while its time of grace lasts: the store becomes what it was.
    ///
    /// # Errors
    /// When there is no such store, it is not being deleted, or it is too late.
    pub async fn undelete_store(
        &self,
        caller: &Caller,
        input: StoreAction,
    ) -> Result<OperationView, AppError> {
        self.change_store(caller, input, OperationKind::Undelete)
            .await
    }

    /// Ends the record of a store whose node does not come back. What is left there is taken down when it does.
    ///
    /// # Errors
    /// When the store is not being deleted, or its node is there to do it.
    pub async fn forget_store(
        &self,
        caller: &Caller,
        input: ForgetStore,
    ) -> Result<OperationView, AppError> {
        let mut problems = Vec::new();
        check_reason(&input.reason, &mut problems);
        if !problems.is_empty() {
            return Err(AppError::Invalid { problems });
        }
        let context = self.context();
        let now = context.clock.now();
        let mut tx = context.db.write().await?;
        let before = self.found(&mut tx, &input.store).await?;
        let node = match &before.placement {
            Some(placement) => tx.node(&placement.node).await?.map(|node| node.link),
            None => None,
        };
        let mut store = forget(&before, node).map_err(|why| not_forgotten(&before, why))?;
        let remains = remains(&before);
        let mut operation = tx
            .latest_operation(&store.id)
            .await?
            .filter(|operation| operation.kind == OperationKind::Delete)
            .ok_or_else(|| not_forgotten(&before, IllegalTransition::Live.into()))?;
        if !operation.state.ended() {
            operation.state = OperationState::Succeeded;
            "forgotten".clone_into(&mut operation.reason);
            operation.message.clone_from(&remains);
            operation.ended_at = Some(now);
            tx.save_operation(&mut operation).await?;
        }
        settle(&mut tx, &mut store, &before, self.limits(), now).await?;
        tx.insert_event(&StoreEvent {
            seq: 0,
            store: Some(store.id.clone()),
            node: store.placement.as_ref().map(|placed| placed.node.clone()),
            code: "forgotten".to_owned(),
            severity: Severity::Warning,
            message: remains,
            service: String::new(),
            at: now,
        })
        .await?;
        let subject = format!("store:{}", store.id);
        tx.audit(allowed(caller, "store.forget", subject, &input.reason, now))
            .await?;
        tx.commit().await?;
        Ok(OperationView {
            operation,
            replicas: Vec::new(),
        })
    }

    /// What a node signed about a store that it took down. By id, or by name: the store of that name that was deleted last.
    ///
    /// # Errors
    /// When there is none, with the reason.
    pub async fn store_receipt(&self, store: &str) -> Result<Receipt, AppError> {
        let mut tx = self.context().db.read().await?;
        if let Some(receipt) = tx.receipt(store).await? {
            return Ok(receipt);
        }
        if let Some(store) = tx.find_store(store).await? {
            return Err(AppError::conflict(
                "store_present",
                format!(
                    "store {} is there ({}); its node signs a receipt when it has taken the store down",
                    store.name, store.status
                ),
            ));
        }
        if let Some(id) = tx.deleted_store(store).await? {
            return Err(AppError::conflict(
                "no_receipt",
                format!(
                    "store {store} ({id}) was deleted and there is no receipt: it was never placed, it was forgotten, \
                     or its node agent is older than receipts; `shopctl operation list --store {id}` says which"
                ),
            ));
        }
        Err(AppError::NotFound {
            what: "receipt",
            name: store.chars().take(80).collect(),
        })
    }

    fn grace(&self, now: bool, text: &str) -> Result<Option<SignedDuration>, AppError> {
        if text.is_empty() {
            return Ok(None);
        }
        let wrong = |code, message: &str| AppError::Invalid {
            problems: vec![Problem::at("/grace", code, message)],
        };
        if now {
            return Err(wrong(
                "conflicting",
                "now and a time of grace exclude each other; give one of them",
            ));
        }
        text.parse::<SignedDuration>()
            .ok()
            .filter(|grace| grace.is_positive() && *grace <= MAX_GRACE)
            .map(Some)
            .ok_or_else(|| {
                wrong(
                    "out_of_range",
                    "a time of grace is written such as 30m, 1h or 72h; at most 90 days",
                )
            })
    }
}

/// What forgetting a store may leave behind.
fn remains(store: &Store) -> String {
    let id = &store.id;
    match &store.placement {
        Some(placement) => format!(
            "forgotten without proof: node {} may still hold containers, networks, secrets and all data of store {} ({id}); \
             it takes them down when it comes back, and signs a receipt then",
            placement.node, store.name
        ),
        None => format!("store {} ({id}) was on no node", store.name),
    }
}

fn not_forgotten(store: &Store, why: NotForgotten) -> AppError {
    let name = &store.name;
    match why {
        NotForgotten::NodeConnected => AppError::conflict(
            "node_connected",
            format!(
                "the node of store {name} is connected and takes it down itself; see `shopctl store get {name}`"
            ),
        ),
        NotForgotten::Illegal(IllegalTransition::Grace) => AppError::conflict(
            "store_in_grace",
            format!(
                "store {name} waits for its deletion; `shopctl store delete {name} --now` ends the wait, then it can be forgotten"
            ),
        ),
        NotForgotten::Illegal(_) => AppError::conflict(
            "store_live",
            format!(
                "store {name} is not being deleted; only what could not be deleted is forgotten: `shopctl store delete {name} --now` first"
            ),
        ),
    }
}
