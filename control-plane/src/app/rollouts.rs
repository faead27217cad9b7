//! Rollouts: one update for many stores, wave after wave. Here they are asked for and controlled; `background::rollouts` carries them out.

use jiff::Timestamp;
use shop_proto::Digest;

use super::{
    AmendStore, Amended, Amendment, App, AppError, ListStores, Page, PageRequest, Problem,
    RolloutAction, RolloutView, StartRollout, UpdateStore, WatchInput, cursor,
    stores::{check_key, mismatch},
};
use crate::{
    db::{IdempotencyRecord, Tx},
    domain::{
        access::Caller,
        audit::{AuditRecord, Decision},
        rollout::{Batch, Member, MemberState, Rollout, RolloutEvent, RolloutState, Wish},
        selector::Selector,
        store::{Lifecycle, Store},
    },
    policy::rollout::waves,
};

/// Stores of one rollout.
const MAX_STORES: usize = 10_000;
/// Longest reason an operator may give.
const MAX_REASON: usize = 500;

/// Why a store takes no part: a stable code and a sentence.
pub(crate) type Skip = (String, String);

impl App {
    /// Begins a rollout, or says which stores it would reach in which wave.
    ///
    /// # Errors
    /// Everything that is wrong with what is asked, at once; and when no store can take part.
    pub async fn start_rollout(
        &self,
        caller: &Caller,
        input: StartRollout,
    ) -> Result<RolloutView, AppError> {
        let context = self.context();
        let request = Digest::of_value(&("rollout", &input));
        let wish = self.wish(&input)?;
        let key = input.idempotency_key.as_deref().filter(|_| !input.dry_run);
        // Before the stores are looked at: what was begun since is no reason for another answer.
        if let Some(before) = self.begun(caller, key, request).await? {
            return Ok(before);
        }
        let members = self.members(caller, &wish).await?;
        let now = context.clock.now();
        let rollout = Rollout {
            id: context.ids.operation(),
            wish,
            state: RolloutState::Running,
            reason: String::new(),
            message: String::new(),
            wave: 0,
            forgiven: 0,
            goes_back: false,
            requested_by: caller.actor.clone(),
            requested_reason: input.reason,
            created_at: now,
            ended_at: None,
        };
        if !input.dry_run {
            let mut tx = context.db.write().await?;
            // The same request, at the same time: one of the two is first.
            if let Some(first) = asked_before(&mut tx, caller, key, request).await? {
                drop(tx);
                return self.get_rollout(&first).await;
            }
            tx.insert_rollout(&rollout, &members).await?;
            if let Some(key) = key {
                let record = IdempotencyRecord {
                    request: request.to_string(),
                    answer: rollout.id.clone(),
                };
                tx.remember_rollout(&caller.actor, key, &record, now)
                    .await?;
            }
            self.audit_rollout(&mut tx, caller, "start", &rollout, now)
                .await?;
            tx.commit().await?;
        }
        Ok(RolloutView { rollout, members })
    }

    /// The rollout that the same request under the same key began.
    async fn begun(
        &self,
        caller: &Caller,
        key: Option<&str>,
        request: Digest,
    ) -> Result<Option<RolloutView>, AppError> {
        let mut tx = self.context().db.read().await?;
        let first = asked_before(&mut tx, caller, key, request).await?;
        drop(tx);
        match first {
            Some(first) => Ok(Some(self.get_rollout(&first).await?)),
            None => Ok(None),
        }
    }

    /// A rollout with its stores.
    ///
    /// # Errors
    /// When there is none.
    pub async fn get_rollout(&self, id: &str) -> Result<RolloutView, AppError> {
        let mut tx = self.context().db.read().await?;
        let rollout = tx.rollout(id).await?.ok_or_else(|| unknown(id))?;
        let members = tx.rollout_members(id).await?;
        Ok(RolloutView { rollout, members })
    }

    /// Rollouts, newest first.
    ///
    /// # Errors
    /// When the page token is wrong.
    pub async fn list_rollouts(&self, page: PageRequest) -> Result<Page<RolloutView>, AppError> {
        let before = match &page.token {
            Some(token) => Some(cursor::decode::<1>(token)?[0].clone()),
            None => None,
        };
        let limit = page.limit();
        let mut tx = self.context().db.read().await?;
        let mut found = tx.list_rollouts(before.as_deref(), limit + 1).await?;
        let next = (found.len() > limit as usize)
            .then(|| {
                found.truncate(limit as usize);
                found.last().map(|last| cursor::encode(&[&last.id]))
            })
            .flatten();
        let mut items: Vec<RolloutView> = Vec::with_capacity(found.len());
        let mut stores = 0;
        for rollout in found {
            let members = tx.rollout_members(&rollout.id).await?;
            stores += members.len();
            // Two hundred rollouts of a large fleet are more than fits into one answer: the page ends early.
            if let Some(last) = items.last().filter(|_| stores > MAX_STORES) {
                let next = Some(cursor::encode(&[&last.rollout.id]));
                return Ok(Page { items, next });
            }
            items.push(RolloutView { rollout, members });
        }
        Ok(Page { items, next })
    }

    /// Pauses, resumes or aborts a rollout. Stores that are being updated come to their end in any case.
    ///
    /// # Errors
    /// When there is none, or it has ended.
    pub async fn control_rollout(
        &self,
        caller: &Caller,
        input: RolloutAction,
    ) -> Result<RolloutView, AppError> {
        let RolloutAction {
            rollout: id,
            event,
            goes_back,
            reason,
        } = input;
        check_reason(&reason)?;
        let now = self.context().clock.now();
        let mut tx = self.context().db.write().await?;
        let mut rollout = tx.rollout(&id).await?.ok_or_else(|| unknown(&id))?;
        let members = tx.rollout_members(&id).await?;
        let was = rollout.state;
        rollout.state = was.next(event).map_err(|is| {
            AppError::conflict(
                "rollout_ended",
                format!("rollout {id} is {}; begin a new one", is.0.as_str()),
            )
        })?;
        let action = match event {
            RolloutEvent::Pause => {
                rollout.message =
                    "paused; stores that are being updated come to their end".to_owned();
                "pause"
            }
            RolloutEvent::Resume => {
                let failed = members
                    .iter()
                    .filter(|member| member.state == MemberState::Failed)
                    .count();
                rollout.forgiven = u32::try_from(failed).unwrap_or(u32::MAX);
                rollout.reason.clear();
                rollout.message.clear();
                "resume"
            }
            RolloutEvent::Abort | RolloutEvent::TooManyFailures | RolloutEvent::Finish => {
                rollout.goes_back |= goes_back;
                rollout.reason = "aborted".to_owned();
                rollout.message = if rollout.goes_back {
                    "aborted; stores that were updated go back to the revision they had".to_owned()
                } else {
                    "aborted; stores that were updated stay so".to_owned()
                };
                rollout.ended_at = rollout.ended_at.or(Some(now));
                "abort"
            }
        };
        tx.save_rollout(&rollout, was).await?;
        rollout.requested_reason = reason;
        self.audit_rollout(&mut tx, caller, action, &rollout, now)
            .await?;
        tx.commit().await?;
        self.get_rollout(&id).await
    }

    /// Why a store takes no part now.
    pub(crate) fn sits_out(&self, store: &Store) -> Option<Skip> {
        let skip = |code: &str, message: String| Some((code.to_owned(), message));
        match store.lifecycle {
            Lifecycle::Live(shop_proto::RunState::Running) => {}
            Lifecycle::Live(run_state) => {
                return skip(
                    run_state.as_str(),
                    format!(
                        "the store is {}; update it when it runs",
                        run_state.as_str()
                    ),
                );
            }
            _ => return skip("deleting", "the store is being deleted".to_owned()),
        }
        // From a backup, what was wanted then is not to be carried out over what was done since.
        if store.is_behind() {
            return skip(
                "needs_review",
                "its node or agent holds something newer than this control plane knows; look at it first".to_owned(),
            );
        }
        let now = self.context().clock.now().as_millisecond();
        match store.spec.hold_until_unix_ms {
            Some(until) if until > now => skip("held", "the store is on hold".to_owned()),
            _ => None,
        }
    }

    fn wish(&self, input: &StartRollout) -> Result<Wish, AppError> {
        let mut problems = Vec::new();
        if let Err(AppError::Invalid { problems: wrong }) = check_reason(&input.reason) {
            problems.extend(wrong);
        }
        check_key(input.idempotency_key.as_deref(), &mut problems);
        if input.max_failures_percent > 100 {
            problems.push(Problem::at(
                "/max_failures_percent",
                "out_of_range",
                "a share of a wave is 0 to 100",
            ));
        }
        if input.max_failures > 0 && input.max_failures_percent > 0 {
            problems.push(Problem::at(
                "/max_failures_percent",
                "contradiction",
                "say how many stores of a wave may fail, or which share of it, not both",
            ));
        }
        if let Err(error) = Selector::parse(&input.selector) {
            problems.push(Problem::at(
                "/selector",
                "selector_shape",
                error.to_string(),
            ));
        }
        if !input.template.is_empty() && self.context().catalogue.find(&input.template).is_none() {
            problems.push(Problem::at(
                "/template",
                "unknown_template",
                "there is no such template; see `shopctl template list`",
            ));
        }
        let nothing =
            input.template.is_empty() && input.parameters.is_empty() && input.profiles.is_empty();
        if nothing {
            problems.push(Problem::at(
                "/template",
                "required",
                "say what is to change: a template, parameters or profiles",
            ));
        }
        let batch = match input.batch.as_str() {
            "" => Batch::default(),
            text => text
                .parse()
                .unwrap_or_else(|error: crate::domain::rollout::BatchError| {
                    problems.push(Problem::at("/batch", "out_of_range", error.to_string()));
                    Batch::default()
                }),
        };
        if !problems.is_empty() {
            return Err(AppError::Invalid { problems });
        }
        Ok(Wish {
            selector: input.selector.clone(),
            template: input.template.clone(),
            parameters: input.parameters.clone(),
            profiles: input.profiles.clone(),
            watch: input.watch,
            allow_irreversible: input.allow_irreversible,
            canary: input.canary,
            batch,
            max_failures: input.max_failures,
            max_failures_percent: input.max_failures_percent,
        })
    }

    /// The stores that are selected: those that take part in their waves, and those that sit out with the reason.
    async fn members(&self, caller: &Caller, wish: &Wish) -> Result<Vec<Member>, AppError> {
        let mut taking_part = Vec::new();
        let mut sitting_out = Vec::new();
        let mut last_refusal = None;
        let mut page = PageRequest {
            size: PageRequest::MAX,
            token: None,
        };
        loop {
            let list = ListStores {
                page: page.clone(),
                selector: wish.selector.clone(),
                ..ListStores::default()
            };
            let found = self.list_stores(list).await?;
            for view in found.items {
                let skip = match self.sits_out(&view.store) {
                    Some(skip) => Some(skip),
                    None => match self.refusal(caller, wish, &view.store).await? {
                        Some(skip) => {
                            last_refusal = Some((view.store.name.clone(), skip.clone()));
                            Some(skip)
                        }
                        None => None,
                    },
                };
                match skip {
                    None => taking_part.push(member(view.store, None)),
                    skip => sitting_out.push(member(view.store, skip)),
                }
            }
            if taking_part.len() + sitting_out.len() > MAX_STORES {
                return Err(AppError::conflict(
                    "too_many_stores",
                    format!(
                        "a rollout reaches at most {MAX_STORES} stores; choose a narrower selector"
                    ),
                ));
            }
            match found.next {
                Some(token) => page.token = Some(token),
                None => break,
            }
        }
        if taking_part.is_empty() {
            let why = match last_refusal {
                Some((store, (_, message))) => format!("; store {store}: {message}"),
                None => String::new(),
            };
            return Err(AppError::conflict(
                "no_stores",
                format!(
                    "of {} selected stores none can be updated so{why}",
                    sitting_out.len()
                ),
            ));
        }
        let count = u32::try_from(taking_part.len()).unwrap_or(u32::MAX);
        for (member, wave) in taking_part
            .iter_mut()
            .zip(waves(count, wish.canary, wish.batch))
        {
            member.wave = wave;
        }
        taking_part.extend(sitting_out);
        Ok(taking_part)
    }

    /// Why this update cannot be of this store, as a dry run finds it.
    async fn refusal(
        &self,
        caller: &Caller,
        wish: &Wish,
        store: &Store,
    ) -> Result<Option<Skip>, AppError> {
        let mut input = update_of(wish, store);
        input.dry_run = true;
        match self.amend(caller, input).await {
            Ok(Amended::Preview(preview)) if preview.unchanged => Ok(Some((
                "already_there".to_owned(),
                "the store is so already".to_owned(),
            ))),
            Ok(Amended::Preview(preview)) => Ok(preview.refused),
            Ok(Amended::Accepted(_)) => Ok(None),
            Err(error @ (AppError::Unavailable { .. } | AppError::Internal { .. })) => Err(error),
            Err(AppError::Invalid { problems }) => Ok(Some((
                "invalid_request".to_owned(),
                problems
                    .into_iter()
                    .map(|problem| problem.message)
                    .collect::<Vec<_>>()
                    .join("; "),
            ))),
            Err(error) => Ok(Some((error.code().to_owned(), error.to_string()))),
        }
    }

    async fn audit_rollout(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        action: &str,
        rollout: &Rollout,
        now: Timestamp,
    ) -> Result<(), AppError> {
        tx.audit(AuditRecord {
            at: now,
            actor: caller.actor.clone(),
            source: caller.source.clone(),
            request_id: caller.request_id.clone(),
            action: format!("rollout.{action}"),
            subject: format!("rollout:{}", rollout.id),
            decision: Decision::Allowed,
            reason: rollout.requested_reason.clone(),
        })
        .await?;
        Ok(())
    }
}

/// What is asked of one store.
pub(crate) fn update_of(wish: &Wish, store: &Store) -> AmendStore {
    let watch = wish.watch;
    AmendStore {
        store: store.id.to_string(),
        what: Amendment::Update(UpdateStore {
            template: wish.template.clone(),
            parameters: wish.parameters.clone(),
            profiles: wish.profiles.clone(),
            watch: WatchInput {
                window_seconds: watch.window_seconds,
                failed_checks: watch.failed_checks,
                restarts: watch.restarts,
                error_permille: watch.error_permille,
                error_factor: watch.error_factor,
                min_requests: watch.min_requests,
            },
            allow_irreversible: wish.allow_irreversible,
            ..UpdateStore::default()
        }),
        ..AmendStore::default()
    }
}

fn member(store: Store, skip: Option<Skip>) -> Member {
    let (state, (reason, message)) = match skip {
        Some(skip) => (MemberState::Skipped, skip),
        None => (MemberState::Waiting, Skip::default()),
    };
    Member {
        before: store.spec.revision.number,
        store: store.id,
        name: store.name,
        organisation: store.organisation,
        wave: 0,
        state,
        operation: None,
        reason,
        message,
    }
}

fn check_reason(reason: &str) -> Result<(), AppError> {
    if reason.len() > MAX_REASON || reason.chars().any(char::is_control) {
        return Err(AppError::Invalid {
            problems: vec![Problem::at(
                "/reason",
                "text_shape",
                format!("a reason is one line of at most {MAX_REASON} bytes"),
            )],
        });
    }
    Ok(())
}

/// Id of the rollout that was asked for under a key.
async fn asked_before(
    tx: &mut Tx,
    caller: &Caller,
    key: Option<&str>,
    request: Digest,
) -> Result<Option<String>, AppError> {
    let Some(key) = key else { return Ok(None) };
    match tx.idempotent(&caller.actor, key).await? {
        None => Ok(None),
        Some(record) if record.request == request.to_string() => Ok(Some(record.answer)),
        Some(_) => Err(mismatch()),
    }
}

fn unknown(id: &str) -> AppError {
    AppError::NotFound {
        what: "rollout",
        name: id.chars().take(80).collect(),
    }
}
