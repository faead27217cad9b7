//! What a node remembers of itself and of each store.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shop_plan::NetworkName;
use shop_proto::{Digest, Generation, NodeId, RunState, Slot, Spec, StoreId};

use super::files::Kept;
use crate::node::ipam::{Cidr, CidrError, SubnetIndex};

/// Who we are and whom we trust. Written once, when the node joins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Given by the control plane.
    pub id: NodeId,
    /// What people call it; also tells nodes apart that share a state directory.
    pub name: String,
    /// Public-key hashes of the control plane's roots.
    pub root_pins: Vec<Digest>,
    /// Where every address comes from.
    pub pool: PoolText,
    /// First uid of the first store.
    pub first_uid: u32,
    /// Network of the name responder.
    pub names_subnet: SubnetIndex,
    /// Public-key hash of the operator root whose roster is handed on, if one was pinned at joining.
    pub operator_root_pin: Option<Digest>,
}

/// A pool in its text form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PoolText(String);

/// The newest roster, as signed. Judged by shop agents, handed on here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterRecord {
    /// The document.
    pub document: Vec<u8>,
    /// The operator root's signature over it.
    pub signature: Vec<u8>,
}

/// A spec that was accepted at a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Newer than all before it.
    pub generation: Generation,
    /// Which rendering.
    pub render_version: u32,
    /// What the store should be.
    pub spec: Spec,
    /// Names the spec.
    pub spec_digest: Digest,
    /// Names what it renders to.
    pub plan_digest: Digest,
}

/// A store on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreRecord {
    /// Whose record it is.
    pub store: StoreId,
    /// First of its uids: its agent's.
    pub uid_base: u32,
    /// What was accepted last.
    pub newest: Accepted,
    /// What serves, when it is not the newest.
    pub serving: Option<Accepted>,
    /// Address ranges of its networks, also of one that is not made yet.
    pub subnets: BTreeMap<NetworkName, SubnetIndex>,
    /// Where buyers are sent.
    pub serve: Serve,
    /// The agent's keys, as it introduced itself last.
    pub agent: Option<AgentKeys>,
    /// Whether the second slot was ever used: `app-b` is made when it is.
    #[serde(default)]
    pub second_slot: bool,
}

/// Where buyers are sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "to")]
pub enum Serve {
    /// Nowhere: the edge says 503.
    #[default]
    Nothing,
    /// To the maintenance page.
    Maintenance,
    /// To these web replicas.
    Slot {
        /// The slot.
        slot: Slot,
        /// Its web replicas.
        replicas: Vec<u8>,
    },
}

/// The public keys of a shop agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentKeys {
    /// Digest of the identity key's SubjectPublicKeyInfo.
    pub spki: Digest,
    /// X25519.
    pub sealing: Vec<u8>,
}

/// A store that is being removed from this node, until the control plane has recorded that it is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// Which store.
    pub store: StoreId,
    /// Of the order to retire it.
    pub generation: Generation,
    /// What there is to remove; gone from here when it is gone.
    pub remains: Option<StoreRecord>,
}

/// A freed subnet and when it may be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resting {
    /// Which /27.
    pub subnet: SubnetIndex,
    /// Unix milliseconds.
    pub until_unix_ms: i64,
}

/// All freed subnets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// In the order they were freed.
    pub resting: Vec<Resting>,
}

/// A container about to be created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Its name.
    pub name: String,
    /// A label on it.
    pub nonce: String,
}

impl Kept for NodeRecord {
    const FORMAT: u32 = 1;
}
impl Kept for RosterRecord {
    const FORMAT: u32 = 1;
}
impl Kept for StoreRecord {
    const FORMAT: u32 = 1;
}
impl Kept for Tombstone {
    const FORMAT: u32 = 1;
}
impl Kept for Quarantine {
    const FORMAT: u32 = 1;
}
impl Kept for Intent {
    const FORMAT: u32 = 1;
}

impl PoolText {
    /// Back as a network.
    ///
    /// # Errors
    /// When the file was edited into something else.
    pub fn cidr(&self) -> Result<Cidr, CidrError> {
        self.0.parse()
    }
}

impl From<Cidr> for PoolText {
    fn from(cidr: Cidr) -> Self {
        Self(cidr.to_string())
    }
}

impl StoreRecord {
    /// The plans a request may name: the newest, and the one that serves.
    pub fn known(&self) -> impl Iterator<Item = &Accepted> {
        std::iter::once(&self.newest).chain(&self.serving)
    }

    /// Host names that are routed: verified ones, in the order of the spec.
    pub fn routed_hosts(&self) -> impl Iterator<Item = &shop_proto::HostName> {
        self.newest
            .spec
            .hosts
            .iter()
            .filter(|host| host.verified)
            .map(|host| &host.name)
    }

    /// Where buyers are really sent: nowhere when the store is to be stopped.
    #[must_use]
    pub fn serving_now(&self) -> &Serve {
        match self.newest.spec.run_state {
            RunState::Running => &self.serve,
            RunState::Stopped | RunState::Paused => &Serve::Nothing,
        }
    }
}
