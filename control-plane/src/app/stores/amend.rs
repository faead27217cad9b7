//! Changes of a store that goes on serving: what is asked for is turned into a spec, held against the node's room, and written as the next
//! generation with its operation; or only told.

use shop_plan::{RENDER_VERSIONS, StorePlan, Template};
use shop_proto::{Digest, Revision, Spec};

use super::{
    change::{Decided, precondition, refused},
    check_key, check_reason,
    preview::{self, Origin, Refused},
    replay,
    room::{Demand, reservation},
    target,
};
use crate::{
    app::{AmendStore, Amended, Amendment, App, AppError, StoreAction},
    db::Tx,
    domain::{
        access::Caller,
        amend::{AmendRefusal, Target, amend, withdraw},
        change::{Decision, Refusal, decide},
        operation::{Operation, OperationKind},
        revision::{KeptRevision, RevisionState},
        store::{Reservation, Store},
    },
};

/// A change worked out in full, not written.
pub(super) struct Worked {
    pub target: Target,
    /// Plan of what is wanted.
    pub plan: StorePlan,
    /// The revision is a new one, and is kept.
    pub fresh: bool,
    pub notes: Vec<String>,
}

/// What follows from a spec once it is rendered.
pub(crate) struct Needs {
    pub reserved: Reservation,
    pub admin_path: String,
}

impl App {
    /// Changes a store, or says what the change would do.
    ///
    /// # Errors
    /// Everything that is wrong with what is asked, at once; and when the store's state, its node's room or its database do not allow it.
    pub async fn amend(&self, caller: &Caller, input: AmendStore) -> Result<Amended, AppError> {
        let context = self.context();
        let kind = input.what.kind();
        let mut problems = Vec::new();
        check_reason(&input.reason, &mut problems);
        check_key(input.idempotency_key.as_deref(), &mut problems);
        target::check(&input.what, &mut problems);
        if !problems.is_empty() {
            return Err(AppError::Invalid { problems });
        }
        let asked = (
            kind.as_str(),
            &input.store,
            &input.reason,
            input.if_generation,
            &input.what,
        );
        let request = Digest::of_value(&asked);
        let mut tx = if input.dry_run {
            context.db.read().await?
        } else {
            context.db.write().await?
        };
        let key = input.idempotency_key.as_deref();
        if !input.dry_run
            && let Some(before) = replay(self, &mut tx, caller, key, request).await?
        {
            return Ok(Amended::Accepted(Box::new(before)));
        }
        let store = self.found(&mut tx, &input.store).await?;
        precondition(&store, input.if_generation)?;
        let latest = tx.latest_operation(&store.id).await?;
        // What waits for room gives way to whatever else is asked for.
        let base = if kind.brings_revision() {
            store.clone()
        } else {
            store.withdrawn()
        };
        let mut worked = self.work_out(&mut tx, &base, &input.what).await?;
        let mut decision = self.decide_amendment(&base, latest.as_ref(), kind, &worked);
        // To ask for what was before, in the way in which something that waits was asked for, takes that back.
        let withdrawn = !kind.brings_revision() && store.room_awaited().is_some();
        if withdrawn && matches!(decision, Ok(Decision::Ongoing)) {
            decision = Ok(Decision::Change(Box::new(withdraw(&store, kind))));
        }
        let demand = self.demand(&mut tx, &store, kind, &worked).await?;
        let refusal = self
            .refusals(
                &mut tx,
                &store,
                &input.what,
                (&worked, &demand),
                decision.as_ref(),
            )
            .await?;
        if input.dry_run {
            let unchanged = matches!(decision, Ok(Decision::Unchanged));
            let origin = self.origin(&mut tx, &store).await?;
            self.image_notes(&mut tx, &store, &mut worked).await?;
            worked.notes.extend(demand.warning(&store));
            let preview = preview::preview(&store, kind, worked, origin, unchanged, refusal);
            return Ok(Amended::Preview(Box::new(preview)));
        }
        if let Some(refused) = refusal {
            return Err(AppError::conflict(refused.code, refused.message));
        }
        let mut decision = decision?;
        if let Decision::Change(next) = &mut decision {
            demand.arrange(&store, next);
            self.keep_revision(&mut tx, caller, &input, &worked, next)
                .await?;
        }
        let action = StoreAction {
            store: input.store,
            reason: input.reason,
            idempotency_key: input.idempotency_key,
            if_generation: input.if_generation,
        };
        let view = self
            .carry_out(
                &mut tx,
                caller,
                &action,
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
        Ok(Amended::Accepted(Box::new(view)))
    }

    fn decide_amendment(
        &self,
        store: &Store,
        latest: Option<&Operation>,
        kind: OperationKind,
        worked: &Worked,
    ) -> Result<Decision, AppError> {
        if matches!(kind, OperationKind::Pause | OperationKind::Wake) {
            return decide(store, latest, kind).map_err(|refusal| refused(store, refusal));
        }
        amend(store, latest, kind, worked.target.clone()).map_err(|refusal| match refusal {
            AmendRefusal::Illegal(illegal) => refused(store, Refusal::Illegal(illegal)),
            AmendRefusal::Busy => AppError::conflict(
                "operation_in_progress",
                format!(
                    "store {name} has an operation under way, and this would end it; wait for it: `shopctl operation list --store {name}`",
                    name = store.name
                ),
            ),
        })
    }

    /// What is wanted after the change, rendered.
    async fn work_out(
        &self,
        tx: &mut Tx,
        store: &Store,
        what: &Amendment,
    ) -> Result<Worked, AppError> {
        let kept = match what {
            Amendment::Update(_) | Amendment::Rollback { .. } | Amendment::Rotate(_) => {
                tx.revisions(&store.id).await?
            }
            _ => Vec::new(),
        };
        let now = self.context().clock.now();
        let wished = target::wished(self.context().catalogue, store, &kept, what, now)?;
        let (template, plan) = self.planned(store, &wished.spec.revision)?;
        let mut target = Target::of(store);
        if wished.spec.revision != store.spec.revision {
            target.template_version = template.version.clone();
            target.admin_path = admin_path(&plan);
        }
        let wanted = reservation(&plan, &wished.spec);
        target.spec = wished.spec;
        target.reserved = wanted;
        Ok(Worked {
            target,
            plan,
            fresh: wished.fresh,
            notes: wished.notes,
        })
    }

    /// A revision of a store, rendered.
    ///
    /// # Errors
    /// When this release does not carry its template.
    pub(in crate::app) fn planned(
        &self,
        store: &Store,
        revision: &Revision,
    ) -> Result<(&'static Template, StorePlan), AppError> {
        let catalogue = self.context().catalogue;
        let template = catalogue
            .by_digest(&revision.template_digest)
            .ok_or_else(|| {
                AppError::conflict(
                    "template_gone",
                    format!(
                        "this release does not carry the template of revision r{}; choose one it has: `shopctl template list`",
                        revision.number
                    ),
                )
            })?;
        let newest = RENDER_VERSIONS.last().copied().unwrap_or_default();
        let version = if RENDER_VERSIONS.contains(&store.render_version) {
            store.render_version
        } else {
            newest
        };
        let plan = shop_plan::render(&store.id, revision, template, version)
            .map_err(|error| AppError::conflict("render_failed", error.to_string()))?;
        Ok((template, plan))
    }

    /// What a store would reserve, and where its admin is, under a spec; `None` when this release cannot render it.
    pub(crate) fn needs_of(&self, store: &Store, spec: &Spec) -> Option<Needs> {
        let (_, plan) = self.planned(store, &spec.revision).ok()?;
        Some(Needs {
            reserved: reservation(&plan, spec),
            admin_path: admin_path(&plan),
        })
    }

    /// Whether a store's code could not run on its database any more, as its agent said last: on whichever way it would come there. What
    /// cannot be rendered here is refused elsewhere.
    pub(crate) fn outgrown(&self, store: &Store, next: &Spec) -> bool {
        let data = store.report.as_ref().and_then(|report| report.data);
        data.is_some_and(|data| {
            let planned = self.planned(store, &next.revision);
            planned.is_ok_and(|(_, plan)| !data.carries(&plan))
        })
    }

    /// What the decision itself cannot see: the database's way back, and the room on the node.
    async fn refusals(
        &self,
        tx: &mut Tx,
        store: &Store,
        what: &Amendment,
        (worked, demand): (&Worked, &Demand),
        decision: Result<&Decision, &AppError>,
    ) -> Result<Option<Refused>, AppError> {
        match decision {
            Err(error) => {
                return Ok(Some(Refused {
                    code: error.code(),
                    message: error.to_string(),
                }));
            }
            Ok(Decision::Change(_)) => {}
            Ok(_) => return Ok(None),
        }
        let target = &worked.target;
        if !matches!(what, Amendment::Pause) && self.outgrown(store, &target.spec) {
            let revision = &target.spec.revision;
            return Ok(Some(preview::too_new(
                store,
                revision,
                &target.template_version,
            )));
        }
        let allowed = match what {
            Amendment::Update(update) => update.allow_irreversible,
            Amendment::Rollback {
                allow_irreversible, ..
            } => *allow_irreversible,
            _ => return Ok(demand.refused(store)),
        };
        for transition in demand.transitions() {
            if let Some(refused) = preview::database(store, target, transition, allowed) {
                return Ok(Some(refused));
            }
        }
        if let Some(refused) = self.image_refused(tx, store, &worked.plan).await? {
            return Ok(Some(refused));
        }
        Ok(demand.refused(store))
    }

    /// What serves now, rendered; `None` when this release cannot.
    async fn origin(&self, tx: &mut Tx, store: &Store) -> Result<Option<Origin>, AppError> {
        let origins = preview::origins(tx, store).await?;
        Ok(origins.last().and_then(|revision| {
            let (template, plan) = self.planned(store, revision).ok()?;
            Some(Origin {
                revision: revision.number,
                template: format!("{}@{}", template.name, template.version),
                plan,
            })
        }))
    }

    async fn keep_revision(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        input: &AmendStore,
        worked: &Worked,
        next: &Store,
    ) -> Result<(), AppError> {
        if !input.what.kind().brings_revision() {
            return Ok(());
        }
        let revision = &next.spec.revision;
        if worked.fresh {
            let kept = KeptRevision {
                content: revision.clone(),
                template_version: next.template_version.clone(),
                plan_digest: worked.plan.digest(),
                created_by: caller.actor.clone(),
                created_at: self.context().clock.now(),
                reason: input.reason.clone(),
                state: RevisionState::Pending,
                asked: next.generation,
            };
            tx.insert_revision(&next.id, &kept).await?;
            tx.prune_revisions(&next.id, revision.number).await?;
        } else {
            tx.revision_asked(&next.id, revision.number, next.generation)
                .await?;
        }
        Ok(())
    }
}

/// Path of the shop's admin; empty when it has none.
pub(super) fn admin_path(plan: &StorePlan) -> String {
    plan.credentials
        .values()
        .next()
        .map(|credential| credential.path.clone())
        .unwrap_or_default()
}
