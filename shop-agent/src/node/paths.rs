//! Where a node keeps what it keeps. Everything carries the node id, so two nodes on one machine never meet.

use std::path::{Path, PathBuf};

use shop_proto::{NodeId, ServiceName, StoreId};

/// Directories and files of one node.
#[derive(Debug, Clone)]
pub struct Paths {
    state: PathBuf,
    run: PathBuf,
}

impl Paths {
    /// Below the two roots, such as `/var/lib/shopfleet` and `/run/shopfleet`.
    #[must_use]
    pub fn new(state_root: &Path, run_root: &Path, node: &NodeId) -> Self {
        Self {
            state: state_root.join(node.as_str()),
            run: run_root.join(node.as_str()),
        }
    }

    /// Everything that must survive a reboot.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Sockets and what is made anew after a reboot.
    #[must_use]
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// Who we are and whom we trust.
    #[must_use]
    pub fn node_file(&self) -> PathBuf {
        self.state.join("node.json")
    }

    /// Key and certificate.
    #[must_use]
    pub fn credential_file(&self) -> PathBuf {
        self.state.join("credential.json")
    }

    /// Held while a node agent runs on this state.
    #[must_use]
    pub fn lock_file(&self) -> PathBuf {
        self.state.join("lock")
    }

    /// One file per store.
    #[must_use]
    pub fn stores(&self) -> PathBuf {
        self.state.join("stores")
    }

    /// One file per store being retired.
    #[must_use]
    pub fn tombstones(&self) -> PathBuf {
        self.state.join("tombstones")
    }

    /// One file per container being created.
    #[must_use]
    pub fn intents(&self) -> PathBuf {
        self.state.join("intents")
    }

    /// Subnets that must rest before they are used again.
    #[must_use]
    pub fn quarantine_file(&self) -> PathBuf {
        self.state.join("quarantine.json")
    }

    /// The images that the host's administrator allows in place of the templates' own.
    #[must_use]
    pub fn allowed_images_file(&self) -> PathBuf {
        self.state.join("allowed-images")
    }

    /// Which image archives were loaded.
    #[must_use]
    pub fn images_file(&self) -> PathBuf {
        self.state.join("images.json")
    }

    /// The newest roster seen, as signed.
    #[must_use]
    pub fn roster_file(&self) -> PathBuf {
        self.state.join("roster.json")
    }

    /// The key that wraps a store's vault at rest.
    #[must_use]
    pub fn wrapping_key(&self, store: &StoreId) -> PathBuf {
        self.state.join("keys").join(store.as_str())
    }

    /// Data of a store's volumes.
    #[must_use]
    pub fn volumes(&self, store: &StoreId) -> PathBuf {
        self.state.join("volumes").join(store.as_str())
    }

    /// Data of one volume.
    #[must_use]
    pub fn volume(&self, store: &StoreId, volume: &ServiceName) -> PathBuf {
        self.volumes(store).join(volume.as_str())
    }

    /// The vault of the shop agent. No volume of a plan can have this name: theirs have no underscore.
    #[must_use]
    pub fn vault(&self, store: &StoreId) -> PathBuf {
        self.volumes(store).join("_vault")
    }

    /// What a shop agent sees as `/run/shopfleet`. Never removed while its container lives.
    #[must_use]
    pub fn sockets(&self, store: &StoreId) -> PathBuf {
        self.run.join("stores").join(store.as_str())
    }

    /// What the name responder sees.
    #[must_use]
    pub fn names(&self) -> PathBuf {
        self.run.join("names")
    }

    /// Which of the two places of the edge gets new connections.
    #[must_use]
    pub fn edge_file(&self) -> PathBuf {
        self.state.join("edge.json")
    }

    /// The edge's ACME account and certificates.
    #[must_use]
    pub fn edge_data(&self) -> PathBuf {
        self.state.join("edge")
    }
}
