//! Images in place of a template's own: an order that names one which the node does not allow is not taken. The node asks the same of each
//! container; here the order is refused before anything of it is begun.

use shop_plan::{AllowedImages, Permission};

use super::Reconciler;
use crate::{
    engine::StoreEngine,
    store::order::{Order, Refusal},
};

impl<E: StoreEngine> Reconciler<E> {
    /// Refuses an order with an image that the node's allow-list does not hold. Before the node was heard, nothing is begun either.
    pub(super) async fn may_run(&mut self, order: &Order) -> Result<(), Refusal> {
        if !self.world.listed || self.denied(order, &self.world.allowed_images).is_none() {
            return Ok(());
        }
        // Its administrator may have allowed it just now.
        if let Ok(listing) = self.tools.engine.list().await {
            self.world.allowed_images = listing.allowed_images;
        }
        match self.denied(order, &self.world.allowed_images) {
            None => Ok(()),
            Some(image) => Err(Refusal {
                generation: order.accepted.generation.get(),
                code: "image_not_allowed",
                message: format!("this node does not allow image {image}"),
            }),
        }
    }

    /// The first image that is not allowed. What is in force already is no reason to refuse: the store can be stopped, or updated.
    fn denied(&self, order: &Order, allowed: &AllowedImages) -> Option<String> {
        let serving = self.entries.serving.as_ref();
        let held = serving.into_iter().chain(&self.entries.accepted);
        let known: Vec<_> = held.map(|it| &it.spec.revision.images).collect();
        order
            .rendered
            .plan
            .overrides()
            .filter(|(service, _, image)| {
                let same = |chosen: &&std::collections::BTreeMap<_, String>| {
                    chosen.get(*service).is_some_and(|it| it == image)
                };
                !known.iter().any(same)
            })
            .find(|(_, own, image)| allowed.permission(own, image) == Permission::Denied)
            .map(|(service, _, image)| format!("{image} of {service}"))
    }
}
