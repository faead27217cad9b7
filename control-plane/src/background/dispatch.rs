//! Tells nodes and agents what stores should be, until they acknowledge it.

use std::{sync::Arc, time::Duration};

use super::sent::{Sent, Target};
use crate::{
    app::App,
    db::DbError,
    domain::{
        refusal::Refusal,
        session::{AgentOrder, NodeOrder},
        store::{Lifecycle, Store},
    },
};

/// Looks at least so often, whatever was missed.
const INTERVAL: Duration = Duration::from_secs(5);

pub(super) async fn run(app: App, sent: Arc<Sent>) {
    let mut changes = app.changes();
    loop {
        changes.mark_unchanged();
        if let Err(error) = tick(&app, &sent).await {
            tracing::warn!(task = "dispatch", error = %error, "a tick failed and is tried again");
            tokio::time::sleep(super::RETRY).await;
            continue;
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = sent.woken() => {}
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

async fn tick(app: &App, sent: &Sent) -> Result<(), DbError> {
    sent.prune();
    let stores = app.context().db.read().await?.undispatched_stores().await?;
    // What waits for room on its node stays as it is until there is some.
    for store in stores.iter().filter(|store| !store.waits_for_room()) {
        to_node(app, sent, store);
        to_agent(app, sent, store);
    }
    Ok(())
}

fn to_node(app: &App, sent: &Sent, store: &Store) {
    let Some(placement) = &store.placement else {
        return;
    };
    let (ordered, spec) = store.ordered();
    let generation = ordered.get();
    let refusal = store.on_node.refusal();
    let order = match store.lifecycle {
        Lifecycle::Deleting => NodeOrder::Retire {
            store: store.id.clone(),
            generation: store.generation,
        },
        // What a node refused for good it would refuse again, until there is a newer generation.
        Lifecycle::Live(_) | Lifecycle::Grace { .. }
            if store.on_node.generation < generation && refusal != Some(Refusal::Lasting) =>
        {
            NodeOrder::Assign {
                store: store.id.clone(),
                generation: ordered,
                render_version: store.render_version,
                spec: spec.clone(),
            }
        }
        Lifecycle::Live(_) | Lifecycle::Grace { .. } | Lifecycle::Deleted => return,
    };
    let target = Target::Node(placement.node.clone(), store.id.clone());
    if sent.due(&target, generation) && app.context().orders.to_node(&placement.node, order) {
        sent.record(target, generation, refusal.is_some());
    }
}

fn to_agent(app: &App, sent: &Sent, store: &Store) {
    let (ordered, spec) = store.ordered();
    let generation = ordered.get();
    let agent = &store.on_agent;
    let refusal = agent.refusal(ordered);
    if store.lifecycle.wanted().is_none()
        || agent.generation >= generation
        || refusal == Some(Refusal::Lasting)
    {
        return;
    }
    let target = Target::Agent(store.id.clone());
    if !sent.due(&target, generation) {
        return;
    }
    let order = AgentOrder::Desired {
        generation: ordered,
        render_version: store.render_version,
        spec: spec.clone(),
    };
    if app.context().orders.to_agent(&store.id, order) {
        sent.record(target, generation, refusal.is_some());
    }
}
