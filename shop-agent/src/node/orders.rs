//! What the control plane orders, checked and written down. Acting is the workers' business.

use std::sync::Arc;

use shop_proto::{Digest, Generation, Spec, StoreId};
use shop_seal::{Roster, RosterError};

use super::{
    allowed,
    context::{Node, plan_of},
    outbox::{Progress, Reason, Stage, Status},
    retire::word,
    state::{Accept, Order, RosterRecord, Tombstone},
    tasks::blocking,
    workers,
};

/// An assignment as it arrived.
pub struct Assignment {
    /// Whose.
    pub store: StoreId,
    /// How new.
    pub generation: Generation,
    /// Which rendering.
    pub render_version: u32,
    /// What the store should be.
    pub spec: Spec,
    /// What the control plane says the spec's digest is.
    pub spec_digest: Digest,
}

/// Takes an assignment, or says why not.
pub async fn assign(node: &Arc<Node>, assignment: Assignment) {
    let (store, generation) = (assignment.store.clone(), assignment.generation);
    let said = match take(node, assignment).await {
        Ok((plan_digest, accept)) => {
            if accept == Accept::Taken {
                tracing::info!(%store, %generation, "assignment accepted");
                node.routing.notify_one();
            }
            Status {
                store: store.clone(),
                generation,
                plan_digest: Some(plan_digest),
                progress: Progress::Accepted,
            }
        }
        Err(reason) => {
            tracing::warn!(%store, %generation, code = reason.code, "assignment refused: {}", reason.message);
            node.outbox.status(Status {
                store,
                generation,
                plan_digest: None,
                progress: Progress::Refused(reason),
            });
            return;
        }
    };
    // A known one is where the worker has said it is.
    if node.stores.get(&store).is_none() || !same_generation(node, &said) {
        node.outbox.status(said);
    }
    workers::ensure(node, &store);
}

fn same_generation(node: &Node, said: &Status) -> bool {
    node.outbox
        .said(&said.store)
        .is_some_and(|latest| latest.generation == said.generation)
}

async fn take(node: &Arc<Node>, assignment: Assignment) -> Result<(Digest, Accept), Reason> {
    let refuse = |code, message: String| Reason { code, message };
    let Assignment {
        store,
        generation,
        render_version,
        spec,
        spec_digest,
    } = assignment;
    if spec.digest() != spec_digest {
        return Err(refuse(
            "spec_digest",
            "the spec is not the one its digest names".to_owned(),
        ));
    }
    if !shop_plan::RENDER_VERSIONS.contains(&render_version) {
        return Err(refuse(
            "render_version_unsupported",
            format!("this node does not know render version {render_version}"),
        ));
    }
    let plan = plan_of(&store, &spec, render_version).map_err(|error| {
        let code = match error {
            super::context::PlanError::Untrusted(_) => "template_untrusted",
            super::context::PlanError::Render(_) => "not_renderable",
        };
        refuse(code, error.to_string())
    })?;
    let record = node.state.store(&store);
    allowed::of_order(node, record.as_deref(), &plan).await?;
    let plan_digest = plan.digest();
    let order = Order {
        store,
        generation,
        render_version,
        spec,
        plan_digest,
    };
    let now = node.surroundings();
    let accept = blocking(&node.state, move |state| state.accept(order, &now))
        .await
        .map_err(|error| refuse("node_disk", error.to_string()))?
        .map_err(|error| Reason::from(&error))?;
    Ok((plan_digest, accept))
}

/// Takes an order to remove a store: the tombstone is on disk before this returns.
pub async fn retire(node: &Arc<Node>, store: StoreId, generation: Generation) {
    let id = store.clone();
    let buried = blocking(&node.state, move |state| state.bury(&id, generation)).await;
    let refused = |message: String| {
        let tombstone = Tombstone::new(store.clone(), generation, None);
        node.outbox
            .retirement(word(&tombstone, Stage::Refused, message));
    };
    match buried {
        Ok(Ok(tombstone)) => {
            tracing::info!(%store, %generation, "store is being retired");
            let known = node.stores.get(&store).is_some();
            if !known || tombstone.receipt.is_none() {
                node.outbox
                    .retirement(word(&tombstone, Stage::Tombstoned, String::new()));
            }
            workers::ensure(node, &store);
        }
        Ok(Err(error)) => refused(error.to_string()),
        Err(error) => refused(error.to_string()),
    }
}

/// The control plane has recorded that a store is gone.
pub async fn retired(node: &Arc<Node>, store: StoreId) {
    let id = store.clone();
    match blocking(&node.state, move |state| state.forget(&id)).await {
        Ok(Ok(())) => node.ring(&store),
        Ok(Err(error)) => tracing::warn!(%error, %store, "a tombstone could not be removed"),
        Err(error) => tracing::warn!(%error, %store, "a tombstone could not be removed"),
    }
}

/// The control plane has recorded a voucher.
pub fn vouched(node: &Node, store: &StoreId, spki: Digest) {
    if let Some(store) = node.stores.get(store) {
        store.vouched.send_replace(Some(spki));
    }
}

/// A roster to hand on to the shop agents. They judge it too, but a new store has no memory of its own: what was handed on before, here,
/// is what keeps an older roster, and with it a signer who was removed, away from it.
pub async fn roster(node: &Arc<Node>, roster: RosterRecord) {
    let Some(pin) = &node.record.operator_root_pin else {
        tracing::warn!("a roster came, but no operator root was pinned when this node joined");
        return;
    };
    if let Err(error) = succeeds(&roster, &node.state.roster(), pin) {
        tracing::warn!(%error, "roster refused");
        return;
    }
    match blocking(&node.state, move |state| state.keep_roster(roster)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the roster could not be kept"),
        Err(error) => tracing::warn!(%error, "the roster could not be kept"),
    }
}

/// Signed by the pinned root, and not older than what is held.
fn succeeds(offered: &RosterRecord, held: &RosterRecord, pin: &Digest) -> Result<(), RosterError> {
    // What is held and cannot be read was never handed on to any use.
    let known = Roster::verify(&held.document, &held.signature, pin)
        .and_then(|roster| roster.mark())
        .ok();
    Roster::verify_newer(&offered.document, &offered.signature, pin, known.as_ref()).map(drop)
}

#[cfg(test)]
mod tests {
    use shop_seal::{ROSTER_FORMAT, SigningKey, UnixMillis};

    use super::*;

    fn signed(root: &SigningKey, version: u64) -> RosterRecord {
        let roster = Roster {
            format: ROSTER_FORMAT,
            version,
            operator_root: root.verifying_key(),
            issued_at: UnixMillis::new(0),
            signers: Vec::new(),
            recovery_key: None,
            log_keys: Vec::new(),
        };
        let signed = roster.sign(root).unwrap();
        RosterRecord {
            document: signed.document,
            signature: signed.signature,
        }
    }

    /// The control plane relays rosters; it must be able neither to make one nor to bring an old one back.
    #[test]
    fn a_lying_control_plane_changes_no_roster() {
        let (root, other) = (
            SigningKey::generate().unwrap(),
            SigningKey::generate().unwrap(),
        );
        let pin = root.verifying_key().pin();
        let none = RosterRecord::default();
        let (one, two) = (signed(&root, 1), signed(&root, 2));
        assert!(succeeds(&one, &none, &pin).is_ok());
        assert!(succeeds(&two, &one, &pin).is_ok());
        assert!(succeeds(&two, &two, &pin).is_ok());
        assert!(succeeds(&one, &two, &pin).is_err());
        assert!(succeeds(&signed(&other, 3), &two, &pin).is_err());
        assert!(succeeds(&none, &two, &pin).is_err());
        let mut forged = signed(&root, 3);
        forged.signature.clone_from(&one.signature);
        assert!(succeeds(&forged, &two, &pin).is_err());
    }
}
