//! Images in place of a template's: what a store's node allows, as it said last. Early, for a good answer; the node decides.

use shop_plan::{AllowedImages, Permission, StorePlan};
use shop_proto::ServiceName;

use super::{amend::Worked, check::Checked, preview::Refused};
use crate::{
    app::{App, Problem},
    db::{DbError, Tx},
    domain::{
        node::{Link, Node},
        store::Store,
    },
};

/// A node tells of so many images; with as many there may be more.
const TOLD_AT_MOST: usize = 200;

impl App {
    /// Images in place of the template's that a store is to run: the template's own, and the one chosen.
    pub(crate) fn images_of(&self, store: &Store) -> Vec<(String, String)> {
        if store.spec.revision.images.is_empty() {
            return Vec::new();
        }
        let Ok((_, plan)) = self.planned(store, &store.spec.revision) else {
            return Vec::new();
        };
        plan.overrides()
            .map(|(_, own, image)| (own.to_owned(), image.to_owned()))
            .collect()
    }

    /// Why a store's node would refuse an image of its next plan. One that the store is to run already is no reason.
    pub(super) async fn image_refused(
        &self,
        tx: &mut Tx,
        store: &Store,
        plan: &StorePlan,
    ) -> Result<Option<Refused>, DbError> {
        let Some(node) = node_of(tx, store, plan).await? else {
            return Ok(None);
        };
        let wanted = &store.spec.revision.images;
        let denied = denied(plan, &node.allowed_images())
            .into_iter()
            .find(|(service, image)| wanted.get(*service).is_none_or(|held| held != image));
        Ok(denied.map(|(service, image)| Refused {
            code: "image_not_allowed",
            message: sentence(&node, service, image),
        }))
    }

    /// Says of images that the node had not when it told of them last; they may be there by now.
    pub(super) async fn image_notes(
        &self,
        tx: &mut Tx,
        store: &Store,
        worked: &mut Worked,
    ) -> Result<(), DbError> {
        let Some(node) = node_of(tx, store, &worked.plan).await? else {
            return Ok(());
        };
        let here = &node.capacity.images;
        if here.len() >= TOLD_AT_MOST {
            return Ok(());
        }
        let missing = |image: &str| !image.contains('@') && !here.iter().any(|it| it == image);
        let notes = worked
            .plan
            .overrides()
            .filter(|(_, _, image)| missing(image))
            .map(|(service, _, image)| {
                format!(
                    "image {image} of {service} was not on node {} when it told of its images last; without it the update is refused there",
                    node.name
                )
            });
        let notes: Vec<String> = notes.collect();
        worked.notes.extend(notes);
        Ok(())
    }

    /// Images of a new store that no node which may take it allows.
    pub(super) async fn images_nowhere(
        &self,
        tx: &mut Tx,
        checked: &Checked,
        plan: &StorePlan,
    ) -> Result<Vec<Problem>, DbError> {
        if plan.overrides().next().is_none() {
            return Ok(Vec::new());
        }
        let mut nodes = tx.list_nodes().await?;
        nodes.retain(|node| {
            node.link != Link::Never && checked.node.as_ref().is_none_or(|pin| *pin == node.id)
        });
        let allows = |node: &Node| denied(plan, &node.allowed_images()).is_empty();
        let Some(first) = nodes.first().filter(|_| !nodes.iter().any(allows)) else {
            return Ok(Vec::new());
        };
        Ok(denied(plan, &first.allowed_images())
            .into_iter()
            .map(|(service, image)| {
                Problem::at(
                    format!("/images/{service}"),
                    "image_not_allowed",
                    sentence(first, service, image),
                )
            })
            .collect())
    }
}

/// The node of a store whose next plan names images of its own.
async fn node_of(tx: &mut Tx, store: &Store, plan: &StorePlan) -> Result<Option<Node>, DbError> {
    match &store.placement {
        Some(placement) if plan.overrides().next().is_some() => tx.node(&placement.node).await,
        _ => Ok(None),
    }
}

fn denied<'a>(plan: &'a StorePlan, allowed: &AllowedImages) -> Vec<(&'a ServiceName, &'a str)> {
    plan.overrides()
        .filter(|(_, own, image)| allowed.permission(own, image) == Permission::Denied)
        .map(|(service, _, image)| (service, image))
        .collect()
}

fn sentence(node: &Node, service: &ServiceName, image: &str) -> String {
    format!(
        "node {} does not allow image {image} for {service}; it allows {}. Choose another image, or have the administrator of that host add a \
         line to the node's file allowed-images; the node tells of it within half a minute",
        node.name,
        node.allowed_images()
    )
}
