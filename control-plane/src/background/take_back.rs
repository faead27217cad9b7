//! What an agent tried and took back is not wanted any more: the next generation points at the revision that serves.
//!
//! In the same transaction as the report that says so, and once: the next generation has another revision, about which nothing bad was said.

use shop_proto::Generation;

use crate::{
    app::App,
    db::{DbError, Tx},
    domain::{
        access::Caller,
        amend::{Target, take_back},
        audit::{AuditRecord, Decision},
        event::{Severity, StoreEvent},
        revision::{KeptRevision, RevisionState},
        store::{Lifecycle, Store},
        update::{Setback, setback},
    },
    operations::settle,
};

/// Looks whether the wanted revision of a store was taken back, and wants the one that serves.
pub(super) async fn look(app: &App, tx: &mut Tx, store: &Store) -> Result<(), DbError> {
    let wanted = store.spec.revision.number;
    if !matches!(store.lifecycle, Lifecycle::Live(_)) || setback(store, Generation::FIRST).is_none()
    {
        return Ok(());
    }
    let Some(tried) = tx.revision(&store.id, wanted).await? else {
        return Ok(());
    };
    let setback = match setback(store, tried.asked) {
        None | Some(Setback::Halted { .. }) => return Ok(()),
        Some(setback) => setback,
    };
    // What was asked for here, because it served, cannot have been tried: an agent that says so could have two revisions take each other's
    // place for ever.
    let latest = tx.latest_operation(&store.id).await?;
    if latest.is_none_or(|latest| latest.generation < tried.asked) {
        return Ok(());
    }
    let Some(serving) = serving(tx, store).await? else {
        return Ok(());
    };
    if app.outgrown(store, &target(app, store, &serving).spec) {
        return Ok(());
    }
    let before = store.clone();
    let mut next = take_back(store, target(app, store, &serving));
    tx.revision_held_back(&store.id, wanted, setback.reason(), setback.message())
        .await?;
    tx.revision_asked(&store.id, serving.content.number, next.generation)
        .await?;
    let now = app.context().clock.now();
    settle(tx, &mut next, &before, app.limits(), now).await?;
    let reason = format!(
        "revision r{wanted} was taken back ({}); r{} serves",
        setback.reason(),
        serving.content.number
    );
    tx.insert_event(&StoreEvent {
        seq: 0,
        store: Some(store.id.clone()),
        node: None,
        code: "revision_held_back".to_owned(),
        severity: Severity::Error,
        message: reason.clone(),
        service: String::new(),
        at: now,
    })
    .await?;
    let system = Caller::system("");
    tx.audit(AuditRecord {
        at: now,
        actor: system.actor,
        source: system.source,
        request_id: system.request_id,
        action: "store.take_back".to_owned(),
        subject: format!("store:{}", store.id),
        decision: Decision::Allowed,
        reason,
    })
    .await
}

/// The kept revision that serves instead; `None` when no other one does.
async fn serving(tx: &mut Tx, store: &Store) -> Result<Option<KeptRevision>, DbError> {
    let wanted = store.spec.revision.number;
    let reported = store
        .report
        .as_ref()
        .map_or(0, |report| report.serving_revision);
    if reported == wanted {
        return Ok(None);
    }
    if reported != 0 {
        // One that is not known here, after a restore from a backup, is not guessed at.
        return tx.revision(&store.id, reported).await;
    }
    let kept = tx.revisions(&store.id).await?;
    Ok(kept.into_iter().find(|revision| {
        revision.state == RevisionState::Serving && revision.content.number != wanted
    }))
}

fn target(app: &App, store: &Store, serving: &KeptRevision) -> Target {
    let mut target = Target::of(store);
    target.spec.revision = serving.content.clone();
    target
        .template_version
        .clone_from(&serving.template_version);
    if let Some(needs) = app.needs_of(store, &target.spec) {
        target.reserved = needs.reserved;
        target.admin_path = needs.admin_path;
    }
    target
}
