//! Carries rollouts out: sees how far each store is, begins the next ones, and stops when too many failed.
//!
//! A store's update is asked for under an idempotency key of the rollout and the store, so that a kill between asking and remembering asks
//! again for the same and gets the same operation.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use shop_proto::{NodeId, StoreId};

use crate::{
    app::{AmendStore, Amended, Amendment, App, AppError, CancelOperation, rollout_update},
    db::DbError,
    domain::{
        access::Caller,
        event::{Severity, StoreEvent},
        operation::OperationState,
        rollout::{Member, MemberState, Rollout, RolloutEvent, RolloutState},
    },
    policy::rollout::{Verdict, next, wave},
};

const INTERVAL: Duration = Duration::from_secs(5);
/// Stores named in the sentence of a halt.
const NAMED: usize = 5;

pub(super) async fn run(app: App) {
    super::on_change(app, "rollouts", INTERVAL, tick).await;
}

async fn tick(app: App) -> Result<(), DbError> {
    let rollouts = app.context().db.read().await?.rollouts_under_way().await?;
    for rollout in rollouts {
        match look_after(&app, rollout).await {
            // An operator was faster: the next tick sees it.
            Err(DbError::Stale { .. }) | Ok(()) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn look_after(app: &App, mut rollout: Rollout) -> Result<(), DbError> {
    let (mut members, waiting) = follow(app, &rollout).await?;
    if rollout.state.ended() {
        withdraw(app, &rollout, &waiting).await?;
        return if rollout.goes_back {
            go_back(app, &rollout, members).await
        } else {
            Ok(())
        };
    }
    let mut full: BTreeSet<NodeId> = waiting.into_iter().map(|waits| waits.node).collect();
    let held_up = held_up(app, &rollout, wave(&members), &full).await?;
    let was = rollout.state;
    let now = app.context().clock.now();
    let mut told = None;
    match next(&rollout.wish, &members, rollout.forgiven, &held_up) {
        Verdict::Start(stores) if rollout.state.next(RolloutEvent::Finish).is_ok() => {
            for member in &mut members {
                if stores.contains(&member.store) {
                    begin(app, &rollout, member, &mut full).await?;
                }
            }
        }
        Verdict::Start(_) | Verdict::Wait => {}
        Verdict::Halt {
            wave,
            failed,
            of,
            may,
        } => {
            if let Ok(state) = rollout.state.next(RolloutEvent::TooManyFailures) {
                rollout.state = state;
                "too_many_failures".clone_into(&mut rollout.reason);
                let names: Vec<&str> = members
                    .iter()
                    .filter(|member| failed.contains(&member.store))
                    .map(|member| member.name.as_str())
                    .take(NAMED)
                    .collect();
                rollout.message = format!(
                    "{} of the {of} stores of wave {wave} failed ({}), {may} may; look at `shopctl store explain {}`, then `shopctl rollout resume` \
                     or `abort`",
                    failed.len(),
                    names.join(", "),
                    names.first().copied().unwrap_or_default()
                );
                told = Some((Severity::Error, "rollout_halted"));
            }
        }
        Verdict::Finish => {
            if let Ok(state) = rollout.state.next(RolloutEvent::Finish) {
                rollout.state = state;
                rollout.message = finished(&members);
                rollout.ended_at = Some(now);
                told = Some((Severity::Info, "rollout_finished"));
            }
        }
    }
    if rollout.state == was {
        // A halt stays in the wave that it happened in.
        let under_way = wave(&members).unwrap_or(rollout.wave);
        if was != RolloutState::Running || under_way == rollout.wave {
            return Ok(());
        }
        rollout.wave = under_way;
    }
    let mut tx = app.context().db.write().await?;
    tx.save_rollout(&rollout, was).await?;
    if let Some((severity, code)) = told {
        tx.insert_event(&event(severity, code, &rollout, now))
            .await?;
    }
    tx.commit().await
}

/// An update that waits for room: it has not begun.
struct Waits {
    operation: String,
    node: NodeId,
}

/// What the ends of operations make of the stores, and which updates wait for room.
async fn follow(app: &App, rollout: &Rollout) -> Result<(Vec<Member>, Vec<Waits>), DbError> {
    let mut tx = app.context().db.read().await?;
    let mut members = tx.rollout_members(&rollout.id).await?;
    let mut changed = Vec::new();
    let mut waiting = Vec::new();
    for member in &mut members {
        if member.state == MemberState::Updating
            && let Some(id) = &member.operation
            && let Some(operation) = tx.operation(id).await?
        {
            if member.follow(&operation) {
                changed.push(member.clone());
            }
            if operation.state == OperationState::Pending
                && let Some(store) = tx.store(&member.store).await?
                && store.room_awaited().is_some()
                && let Some(placement) = store.placement
            {
                waiting.push(Waits {
                    operation: operation.id,
                    node: placement.node,
                });
            }
        }
    }
    drop(tx);
    save(app, rollout, &changed).await?;
    Ok((members, waiting))
}

/// Stores of a wave that are on nodes without room: one update waits there already, and more would only stand in line.
async fn held_up(
    app: &App,
    rollout: &Rollout,
    wave: Option<u32>,
    full: &BTreeSet<NodeId>,
) -> Result<BTreeSet<StoreId>, DbError> {
    let Some(wave) = wave.filter(|_| !full.is_empty()) else {
        return Ok(BTreeSet::new());
    };
    let mut tx = app.context().db.read().await?;
    let places = tx.rollout_places(&rollout.id, wave).await?;
    Ok(places
        .into_iter()
        .filter(|(_, node)| full.contains(node))
        .map(|(store, _)| store)
        .collect())
}

/// After an abort, what has not begun does not begin.
async fn withdraw(app: &App, rollout: &Rollout, waiting: &[Waits]) -> Result<(), DbError> {
    for waits in waiting {
        let input = CancelOperation {
            operation: waits.operation.clone(),
            reason: reason(rollout),
            idempotency_key: Some(format!("rollout:{}:{}", rollout.id, waits.operation)),
        };
        if let Err(error) = app.cancel_operation(&caller(rollout), input).await {
            // It has begun meanwhile, or ended: the next tick sees it.
            tracing::info!(operation = %waits.operation, error = %error, "an update of an aborted rollout is not withdrawn");
        }
    }
    Ok(())
}

async fn save(app: &App, rollout: &Rollout, members: &[Member]) -> Result<(), DbError> {
    if members.is_empty() {
        return Ok(());
    }
    let mut tx = app.context().db.write().await?;
    for member in members {
        tx.save_member(&rollout.id, member).await?;
    }
    tx.commit().await
}

/// Asks for one store's update, and remembers the operation. On a node that is `full`, it is the turn of those that wait there.
async fn begin(
    app: &App,
    rollout: &Rollout,
    member: &mut Member,
    full: &mut BTreeSet<NodeId>,
) -> Result<(), DbError> {
    let store = app.context().db.read().await?.store(&member.store).await?;
    let Some(store) = store else {
        return Ok(());
    };
    let node = store.placement.as_ref().map(|it| it.node.clone());
    if node.as_ref().is_some_and(|node| full.contains(node)) {
        return Ok(());
    }
    let asked = match app.sits_out(&store) {
        Some((code, message)) => {
            (member.state, member.reason, member.message) = (MemberState::Skipped, code, message);
            return save(app, rollout, std::slice::from_ref(member)).await;
        }
        None => {
            let mut input = rollout_update(&rollout.wish, &store);
            input.idempotency_key = Some(format!("rollout:{}:{}", rollout.id, store.id));
            input.reason = reason(rollout);
            app.amend(&caller(rollout), input).await
        }
    };
    if let Ok(Amended::Accepted(view)) = &asked
        && view.operation.state == OperationState::Pending
    {
        full.extend(node);
    }
    if let Some(reached) = reached(member, asked, MemberState::Updating) {
        *member = reached;
        save(app, rollout, std::slice::from_ref(member)).await?;
    }
    Ok(())
}

/// Stores that an aborted rollout has updated go back to the revision they had.
async fn go_back(app: &App, rollout: &Rollout, members: Vec<Member>) -> Result<(), DbError> {
    for member in members {
        if member.state != MemberState::Done || member.reason == "unchanged" {
            continue;
        }
        let input = AmendStore {
            store: member.store.to_string(),
            reason: reason(rollout),
            idempotency_key: Some(format!("rollout:{}:{}:back", rollout.id, member.store)),
            what: Amendment::Rollback {
                number: Some(member.before),
                allow_irreversible: false,
            },
            ..AmendStore::default()
        };
        let asked = app.amend(&caller(rollout), input).await;
        if let Some(reached) = reached(&member, asked, MemberState::WentBack) {
            save(app, rollout, &[reached]).await?;
        }
    }
    Ok(())
}

/// The store after it was asked; `None`: nothing came of it, ask again.
fn reached(
    member: &Member,
    asked: Result<Amended, AppError>,
    state: MemberState,
) -> Option<Member> {
    let mut reached = member.clone();
    match asked {
        Ok(Amended::Accepted(view)) => {
            reached.state = state;
            reached.operation = Some(view.operation.id);
        }
        Ok(Amended::Preview(_)) => return None,
        Err(error @ (AppError::Unavailable { .. } | AppError::Internal { .. })) => {
            tracing::warn!(store = %member.name, error = %error, "a store of a rollout is asked again");
            return None;
        }
        Err(error) => {
            // Somebody else is at work on it, or it is gone: that is no failure of the new revision.
            reached.state = match &error {
                AppError::NotFound { .. } => MemberState::Skipped,
                AppError::Conflict { code, .. }
                    if *code == "update_in_progress" || code.starts_with("store_") =>
                {
                    MemberState::Skipped
                }
                _ => MemberState::Failed,
            };
            reached.reason = error.code().to_owned();
            reached.message = error.to_string();
        }
    }
    Some(reached)
}

/// Who asks, in each store's operations and in the audit chain.
fn caller(rollout: &Rollout) -> Caller {
    Caller {
        actor: format!("rollout:{}", rollout.id),
        ..Caller::system(&rollout.id)
    }
}

fn reason(rollout: &Rollout) -> String {
    let by = &rollout.requested_by;
    match rollout.requested_reason.as_str() {
        "" => format!("a rollout of {by}"),
        reason => format!("a rollout of {by}: {reason}"),
    }
    .chars()
    .take(300)
    .collect()
}

fn finished(members: &[Member]) -> String {
    let count = |state| {
        members
            .iter()
            .filter(|member| member.state == state)
            .count()
    };
    format!(
        "{} updated, {} failed, {} left out",
        count(MemberState::Done),
        count(MemberState::Failed),
        count(MemberState::Skipped)
    )
}

fn event(severity: Severity, code: &str, rollout: &Rollout, now: Timestamp) -> StoreEvent {
    StoreEvent {
        seq: 0,
        store: None,
        node: None,
        code: code.to_owned(),
        severity,
        message: format!("rollout {}: {}", rollout.id, rollout.message),
        service: String::new(),
        at: now,
    }
}
