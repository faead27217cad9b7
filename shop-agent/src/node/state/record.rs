//! What a node remembers of itself and of each store.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use shop_plan::NetworkName;
use shop_proto::{Digest, Generation, HostName, NodeId, RunState, Slot, Spec, StoreId};

use super::files::Kept;
use crate::node::{
    ipam::{Cidr, CidrError, SubnetIndex},
    receipt::{Removed, Stop},
};

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

/// Plans that are kept though they never served: more orders than this do not come while one update is under way.
const PASSED: usize = 3;

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
    /// What was told to serve last; none while nothing ever did.
    pub serving: Option<Accepted>,
    /// What served before that: the way back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Accepted>,
    /// What was the newest and never served, while its agent may still be at it; the youngest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed: Vec<Accepted>,
    /// Address ranges of its networks, also of one that is not made yet.
    pub subnets: BTreeMap<NetworkName, SubnetIndex>,
    /// Where buyers are sent.
    pub serve: Serve,
    /// The agent's keys, as it introduced itself last.
    pub agent: Option<AgentKeys>,
    /// Data volumes that were made, the vault's too: never made anew.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub volumes: BTreeSet<String>,
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
    /// To the page that says that the shop is paused.
    Paused,
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
    /// What was there, gathered before it was removed.
    #[serde(default, skip_serializing_if = "Removed::is_empty")]
    pub removed: Removed,
    /// How the services ended, once they have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
    /// The receipt's document, once nothing is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
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

impl Tombstone {
    /// Before anything is removed.
    #[must_use]
    pub fn new(store: StoreId, generation: Generation, remains: Option<StoreRecord>) -> Self {
        Self {
            store,
            generation,
            remains,
            removed: Removed::default(),
            stop: None,
            receipt: None,
        }
    }
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
    /// The plans a request may name, each once: the newest, the one that serves, the one that served before it, and those passed over.
    #[must_use]
    pub fn known(&self) -> Vec<&Accepted> {
        let mut known = vec![&self.newest];
        for accepted in self
            .serving
            .iter()
            .chain(&self.previous)
            .chain(&self.passed)
        {
            if known
                .iter()
                .all(|it| it.plan_digest != accepted.plan_digest)
            {
                known.push(accepted);
            }
        }
        known
    }

    /// Says what the release before left unsaid: the newest served when no other was named.
    pub(super) fn fill_in(&mut self) {
        if self.serving.is_none() && matches!(self.serve, Serve::Slot { .. }) {
            self.serving = Some(self.newest.clone());
        }
    }

    /// The plan that was told to serve last.
    #[must_use]
    pub fn serving_digest(&self) -> Option<Digest> {
        self.serving.as_ref().map(|serving| serving.plan_digest)
    }

    /// A newer spec takes the place of the newest one.
    pub fn renew(&mut self, accepted: Accepted) {
        let before = std::mem::replace(&mut self.newest, accepted);
        self.passed.insert(0, before);
        let told = [&self.serving, &self.previous].map(|it| it.as_ref().map(|it| it.plan_digest));
        let mut seen = vec![Some(self.newest.plan_digest)];
        self.passed.retain(|it| {
            let digest = Some(it.plan_digest);
            let new = !told.contains(&digest) && !seen.contains(&digest);
            seen.push(digest);
            new
        });
        self.passed.truncate(PASSED);
    }

    /// Buyers are sent elsewhere, under a plan that is known.
    pub fn send_to(&mut self, plan: Digest, serve: Serve) {
        if matches!(serve, Serve::Slot { .. }) {
            if self.serving_digest() != Some(plan) {
                let chosen = self.known().into_iter().find(|it| it.plan_digest == plan);
                let chosen = chosen.cloned();
                let before = std::mem::replace(&mut self.serving, chosen);
                self.previous = before.or(self.previous.take());
            }
            // What came between may be in force all the same: behind the maintenance page nobody is told to serve.
            let told =
                [&self.serving, &self.previous].map(|it| it.as_ref().map(|it| it.plan_digest));
            self.passed
                .retain(|it| !told.contains(&Some(it.plan_digest)));
        }
        self.serve = serve;
    }

    /// Host names that are routed: verified ones, in the order of the spec.
    pub fn routed_hosts(&self) -> impl Iterator<Item = &HostName> {
        routed_hosts(&self.newest.spec)
    }

    /// Where buyers are really sent: what the spec says of it holds without its agent's word.
    #[must_use]
    pub fn serving_now(&self) -> &Serve {
        let spec = &self.newest.spec;
        match (spec.run_state, &self.serve) {
            (RunState::Stopped, _) => &Serve::Nothing,
            (RunState::Paused, _) => &Serve::Paused,
            (RunState::Running, _) if spec.maintenance => &Serve::Maintenance,
            (RunState::Running, serve) => serve,
        }
    }
}

/// Host names that a spec has routed: verified ones, in its order.
pub(super) fn routed_hosts(spec: &Spec) -> impl Iterator<Item = &HostName> {
    let verified = spec.hosts.iter().filter(|host| host.verified);
    verified.map(|host| &host.name)
}
