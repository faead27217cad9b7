//! What shop agents say.

use shop_proto::StoreId;

use super::{After, change, denied, deny, event};
use crate::{
    app::App,
    db::{DbError, Tx},
    domain::{
        event::Severity,
        refusal::Refusal,
        session::{AgentHello, AgentOrder, StoreReport},
    },
};

/// Sealed vaults kept of one store.
pub(super) const ESCROWS_KEPT: u32 = 3;

pub(super) async fn up(
    app: &App,
    tx: &mut Tx,
    id: &StoreId,
    hello: AgentHello,
    after: &mut After,
) -> Result<(), DbError> {
    let Some(store) = tx.store(id).await? else {
        return Ok(());
    };
    if hello.generation > store.generation.get() {
        let message = format!(
            "the store's agent holds generation {}, newer than {}: this control plane is behind, perhaps from a backup",
            hello.generation, store.generation
        );
        let about = (Some(id), None);
        tx.insert_event(&event(app, about, Severity::Error, "needs_review", message))
            .await?;
    } else if hello.generation == store.generation.get()
        && hello
            .spec_digest
            .is_some_and(|held| held != store.spec.digest())
    {
        let message = "the store's agent holds other content under the same generation: this control plane is behind, perhaps from a backup";
        let about = (Some(id), None);
        tx.insert_event(&event(
            app,
            about,
            Severity::Error,
            "needs_review",
            message.to_owned(),
        ))
        .await?;
    }
    change(app, tx, id, |store| {
        store.on_agent.enrolled = true;
        store.on_agent.generation = hello.generation;
        // What it refused before, it may take now: it may be another release.
        store.on_agent.refused_generation = 0;
        store.on_agent.refused_code.clear();
    })
    .await?;
    if let Some(roster) = tx.roster().await? {
        after
            .to_agents
            .push((id.clone(), AgentOrder::Roster(roster)));
    }
    after.agents_up.push(id.clone());
    Ok(())
}

pub(super) async fn report(
    app: &App,
    tx: &mut Tx,
    id: &StoreId,
    report: StoreReport,
) -> Result<(), DbError> {
    change(app, tx, id, |store| {
        store.on_agent.enrolled = true;
        store.on_agent.generation = report.generation;
        // What it could not take for a while it has taken.
        if report.generation >= store.generation.get()
            && store.on_agent.refusal(store.generation) == Some(Refusal::Passing)
        {
            store.on_agent.refused_generation = 0;
            store.on_agent.refused_code.clear();
        }
        // A report about an older generation says nothing about what the store should be now.
        if report.generation >= store.ordered().0.get() && store.lifecycle.wanted().is_some() {
            store.report = Some(report);
        }
    })
    .await
}

pub(super) async fn refused(
    app: &App,
    tx: &mut Tx,
    id: &StoreId,
    generation: u64,
    code: String,
    message: String,
) -> Result<(), DbError> {
    let about = (Some(id), None);
    if Refusal::of(&code) == Refusal::Passing {
        return cannot(app, tx, id, generation, code, message).await;
    }
    let text = format!("the store's agent refuses generation {generation}: {message}");
    tx.insert_event(&event(app, about, Severity::Error, &code, text))
        .await?;
    // Node and agent that differ, or an order from the past: somebody may have tampered.
    let subject = format!("store:{id}");
    deny(
        app,
        tx,
        denied(app, subject.clone(), "store.desired", subject, &code),
    )
    .await?;
    change(app, tx, id, |store| {
        if generation == store.generation.get() {
            store.on_agent.refused_generation = generation;
            store.on_agent.refused_code = code;
        }
    })
    .await
}

/// An order that the agent would take and cannot write down now. It is sent again; told once, and nobody has tampered.
async fn cannot(
    app: &App,
    tx: &mut Tx,
    id: &StoreId,
    generation: u64,
    code: String,
    message: String,
) -> Result<(), DbError> {
    let Some(store) = tx.store(id).await? else {
        return Ok(());
    };
    let agent = &store.on_agent;
    // Of an older order, or of one that it has taken since, it says nothing.
    if generation != store.generation.get() || agent.generation >= generation {
        return Ok(());
    }
    if agent.refused_generation != generation || agent.refused_code != code {
        let text = format!(
            "the store's agent cannot take generation {generation} now and is asked again: {message}"
        );
        let about = (Some(id), None);
        tx.insert_event(&event(app, about, Severity::Warning, &code, text))
            .await?;
    }
    change(app, tx, id, |store| {
        store.on_agent.refused_generation = generation;
        store.on_agent.refused_code = code;
    })
    .await
}
