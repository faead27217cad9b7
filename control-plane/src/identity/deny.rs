//! Who is turned away although the certificate is good. Read at the handshake, at each call and by every open session.

use std::sync::Arc;

use shop_proto::Identity;
use tokio::sync::watch;

use super::Leaf;
use crate::domain::identity::DenyList;

/// The identities and serials that are denied now. Cheap to clone; all clones see the same set.
#[derive(Debug, Clone)]
pub struct DenySet {
    list: Arc<watch::Sender<DenyList>>,
}

impl Default for DenySet {
    fn default() -> Self {
        Self {
            list: Arc::new(watch::Sender::new(DenyList::default())),
        }
    }
}

impl DenySet {
    /// Whether the bearer of this leaf is turned away.
    #[must_use]
    pub fn denies(&self, leaf: &Leaf) -> bool {
        let list = self.list.borrow();
        list.identities.contains(&leaf.identity) || list.serials.contains(leaf.serial.as_str())
    }

    /// Whether this identity is turned away, whatever its certificate.
    #[must_use]
    pub fn denies_identity(&self, identity: &Identity) -> bool {
        self.list.borrow().identities.contains(identity)
    }

    /// Turns an identity away from now on; its sessions end.
    pub fn insert(&self, identity: Identity) {
        self.list
            .send_if_modified(|list| list.identities.insert(identity));
    }

    /// What the database says, in place of what was known.
    pub fn replace(&self, denied: DenyList) {
        self.list.send_if_modified(|list| {
            let changed = *list != denied;
            *list = denied;
            changed
        });
    }

    /// Wakes at every change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<DenyList> {
        self.list.subscribe()
    }
}
